"""The least time of a decode step and of a prefill on a machine: a bound, never a forecast.

    least time = max(sum of FLOPs / peak, sum of bytes / bandwidth)

Every FLOP runs at the fastest dense peak for its dtype; every byte of weights that is touched and of the cache is moved
once at full bandwidth; computing and moving overlap wholly, devices share both evenly. Communication, activations,
softmax, launches and rows looked up in an embedding cost time too, and are not counted. How many experts a batch
touches is an expectation over routing at random. FLOPs and bytes are exact; seconds are made here, for people.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.quantity import Quantity, Total
from kvcalc.weight_bytes import bytes_of, held, weight_format
from kvcalc.weight_formats import EVERYTHING, GGUF_BLOCKS
from kvcalc.workload import DTYPE_BITS

if TYPE_CHECKING:
    from kvcalc.analysis import Report
    from kvcalc.hardware.accelerator import Machine
    from kvcalc.weight_bytes import Held
    from kvcalc.weight_formats import WeightFormat

PIECES = ("attention core", "attention projections", "MLP and the rest", "lm_head")
UNQUANTIZED_BITS = 16


class Piece(NamedTuple):
    """A part of a step: FLOPs, the peak they run at, and bytes moved, a fraction only where that is an expectation."""

    name: str
    flops: int
    peak: str
    bytes: float
    compute_seconds: float
    memory_seconds: float


class Bound(NamedTuple):
    """The least time of one phase, over all devices, and what it is made of. `tokens` are processed in that time."""

    phase: str
    machine: Machine
    tokens: int
    pieces: tuple[Piece, ...]

    @property
    def flops(self) -> int:
        """All FLOPs."""
        return sum(piece.flops for piece in self.pieces)

    @property
    def bytes(self) -> float:
        """All bytes moved."""
        return sum(piece.bytes for piece in self.pieces)

    @property
    def compute_seconds(self) -> float:
        """What computing takes at the least."""
        return sum(piece.compute_seconds for piece in self.pieces)

    @property
    def memory_seconds(self) -> float:
        """What moving takes at the least."""
        return sum(piece.memory_seconds for piece in self.pieces)

    @property
    def seconds(self) -> float:
        """The least time."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound_by(self) -> str:
        """'compute' or 'memory'."""
        return "compute" if self.compute_seconds > self.memory_seconds else "memory"

    @property
    def tokens_per_second(self) -> float:
        """An upper limit."""
        return self.tokens / self.seconds

    @property
    def intensity(self) -> float | None:
        """FLOPs a byte; None where nothing is moved."""
        return self.flops / self.bytes if self.bytes else None

    @property
    def ridge(self) -> float | None:
        """The intensity above which this mixture of dtypes is bound by compute; None where nothing is computed."""
        bandwidth = self.machine.devices * self.machine.accelerator.bandwidth_bytes_per_second
        return self.flops / self.compute_seconds / bandwidth if self.compute_seconds else None


def least_times(report: Report, machine: Machine) -> tuple[Bound, Bound]:
    """The least time of the decode step and of the prefill."""
    return _bound(report, machine, "decode"), _bound(report, machine, "prefill")


def expected_experts(experts: int, visited: int, tokens: int) -> float:
    """Distinct experts that so many tokens are expected to visit: E(1 - (1 - k/E)^t), each token any k of them."""
    if visited >= experts:
        return float(experts)
    return -experts * math.expm1(tokens * math.log1p(-visited / experts))


def _bound(report: Report, machine: Machine, phase: str) -> Bound:
    workload = report.workload
    made = workload.batch * (1 if phase == "decode" else workload.prompt_tokens)
    runs = made if phase == "prefill" or workload.kv_cache else workload.batch * workload.context_tokens
    flops = _flops(report, phase)
    moved = _weights(report, phase, runs)
    moved["attention core"] = _cache(report, phase)
    bits = _bits(report)
    pieces = []
    for name, computed in flops.items():
        peak, rate = machine.accelerator.peak(bits[name])
        seconds = computed / (rate * machine.devices)
        bandwidth = machine.accelerator.bandwidth_bytes_per_second * machine.devices
        pieces.append(Piece(name, computed, peak, moved[name], seconds, moved[name] / bandwidth))
    return Bound(phase, machine, made, tuple(pieces))


def _value(report: Report, key: str) -> int:
    return report.value(key) or 0


def _flops(report: Report, phase: str) -> dict[str, int]:
    """FLOPs by piece; together they are the model's."""
    core, projection = (_value(report, f"{phase}_{part}_flops") for part in ("core", "projection"))
    node = report.quantities[f"{phase}_model_flops"]
    parts = node.parts if isinstance(node, Total) else ()
    logits = sum(part.times * part.node.evaluate(report.scope) for part in parts if part.what == "lm_head")
    rest = _value(report, f"{phase}_model_flops") - core - projection - logits
    return dict(zip(PIECES, (core, projection, rest, logits), strict=True))


def _cache(report: Report, phase: str) -> int:
    """A decode step reads what it attends to. A prefill writes or reads what is cached at its end."""
    return _value(report, "decode_cache_read_bytes" if phase == "decode" else "cache_bytes")


def _weights(report: Report, phase: str, tokens: int) -> dict[str, float]:
    """Bytes of weights by piece, each once; of experts those that so many tokens are expected to touch."""
    spec, stored = report.spec, weight_format(report.spec, report.workload)
    encodes = phase == "prefill" and not report.workload.cached_tokens
    moved: dict[str, float] = dict.fromkeys(PIECES, 0)
    for one in held(spec):
        if one.where == "embedding" and not (one.kind == "embedding" and spec.tie_word_embeddings):
            continue  # rows of it are looked up
        if not encodes and (one.encoder or _made_before(report, one)):
            continue
        moved[_piece(one)] += _touched(one, stored, tokens)
    return moved


def _piece(one: Held) -> str:
    places = {"attention": "attention projections", "embedding": "lm_head", "lm_head": "lm_head"}
    return places.get(one.where, "MLP and the rest")


def _made_before(report: Report, one: Held) -> bool:
    """Whether it made the keys and values of an encoder, which are cached."""
    across = {f"{branch.label} layer" for _, branch in report.spec.branches() if branch.reach.kind == "encoder"}
    return one.of in across and one.part.what in ("k", "v", "k bias", "v bias")


def _touched(one: Held, stored: WeightFormat, tokens: int) -> float:
    """Bytes of a part that so many tokens need."""
    whole = bytes_of(stored, one.kind, one.evaluate())
    if one.part.what not in ("routed experts", "routed experts' bias") or not isinstance(one.part.node, Quantity):
        return whole
    experts, visited = (Quantity("", symbol, one.part.node.symbols).evaluate({}) for symbol in ("E", "k"))
    return whole * expected_experts(experts, visited, tokens) / experts


def _bits(report: Report) -> dict[str, int]:
    """Bits of an element by piece: the narrowest in play, for the fastest peak."""
    stored, workload = weight_format(report.spec, report.workload), report.workload
    roles = {store.role for _, branch in report.spec.branches() for store in branch.memory.stores()}
    cached = [_element_bits(workload.dtype_of(role)) for role in roles]

    def weights(*kinds: str) -> int:
        inside = stored.kinds == EVERYTHING or set(kinds) & set(stored.kinds)
        return stored.element_bits if inside else UNQUANTIZED_BITS

    core = min(cached, default=UNQUANTIZED_BITS)
    held_in = (weights("attention"), weights("mlp", "experts", "shared experts"), weights("lm_head"))
    return dict(zip(PIECES, (core, *held_in), strict=True))


def _element_bits(dtype: str) -> int:
    return DTYPE_BITS[dtype] if dtype in DTYPE_BITS else GGUF_BLOCKS[dtype][2]
