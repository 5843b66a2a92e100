"""The least time of a decode step and of a prefill on a machine: a bound, never a forecast.

    least time = max(sum of FLOPs / peak, sum of bytes / bandwidth)

Every FLOP runs at the fastest dense peak for its dtype; every byte of weights that is touched and of the cache is moved
once at full bandwidth; computing and moving overlap wholly, devices share both evenly, each replica reads weights of
its own. Communication, activations, softmax, launches and rows looked up in an embedding cost time too, and are not
counted. How many experts a batch touches is an expectation over routing at random. What is counted are exact integers,
seconds the same trees of formulas over floating point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.memory_budget import deal
from kvcalc.phases import decode_phase, prefill_phase
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.real import evaluate_reals
from kvcalc.rows import longer
from kvcalc.storage import NO_CACHE, read_once_bytes
from kvcalc.tuples import NamedTuple
from kvcalc.weight_bytes import bytes_of, held, weight_format
from kvcalc.weight_formats import EVERYTHING, GGUF_BLOCKS
from kvcalc.workload import DTYPE_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.analysis import Report
    from kvcalc.engines import Engine
    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec
    from kvcalc.phases import Phase
    from kvcalc.quantity import Node
    from kvcalc.weight_bytes import Held
    from kvcalc.workload import Workload

CORE, PROJECTIONS, REST, LOGITS = PIECES = ("attention core", "attention projections", "MLP and the rest", "lm_head")
COMPUTED = dict(zip(PIECES, ("core", "projection", "rest", "logits"), strict=True))
UNQUANTIZED_BITS = 16
ROUTED = ("routed experts", "routed experts' bias", "q of the experts", "o of the experts")
TOUCHED = "w*(1 - (1 - k/E)**t)"  # of experts of w bytes
EXPECTED = "experts touched by t tokens, each visiting any k of E: an expectation, not a bound"
OVERLAP = "a bound, no forecast: computing and moving overlap wholly, peaks and bandwidth in full"


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
    compute_seconds: float
    memory_seconds: float
    seconds: float
    tokens_per_second: float

    @property
    def flops(self) -> int:
        """All FLOPs."""
        return sum(piece.flops for piece in self.pieces)

    @property
    def bytes(self) -> float:
        """All bytes moved."""
        return sum(piece.bytes for piece in self.pieces)

    @property
    def bound_by(self) -> str:
        """'compute' or 'memory'."""
        return longer(self.compute_seconds, self.memory_seconds)

    @property
    def intensity(self) -> float | None:
        """FLOPs a byte; None where nothing is moved."""
        return self.flops / self.bytes if self.bytes else None

    @property
    def ridge(self) -> float | None:
        """The intensity above which this mixture of dtypes is bound by compute; None where it has none."""
        if not self.compute_seconds or not self.memory_seconds:
            return None
        return self.flops / self.compute_seconds / (self.bytes / self.memory_seconds)


def least_times(report: Report, machine: Machine | None = None) -> tuple[Bound, Bound]:
    """The least time of the decode step and of the prefill, on the workload's machine or another.

    On another all devices share the model, unless the workload says how many do.
    """
    workload = report.workload
    if machine is not None and machine != workload.machine:
        workload = deal(workload._replace(machine=None), machine).workload._replace(machine=machine)
    if workload.machine is None:
        raise KvcalcError("least_times: the workload has no machine", 'machine=parse_machine("8xH100")')
    from kvcalc.analysis import analyze

    if workload != report.workload:
        report = analyze(report.spec, workload, report.variant)
    machine = workload.machine
    return _bound(report, machine, "decode"), _bound(report, machine, "prefill")


def _bound(report: Report, machine: Machine, phase: str) -> Bound:
    from kvcalc.analysis import running

    parts = _parts(running(report.spec, report.workload), report.workload, machine, phase)
    pieces = []
    for part in parts:
        nodes: dict[str, Node] = {"b": Total("", part.moved), "c": part.computing, "m": part.moving}
        moved, compute, memory = evaluate_reals(nodes, report.scope).values()
        flops = report.scope[f"{phase}_{COMPUTED[part.name]}_flops"]
        pieces.append(Piece(part.name, flops, part.peak, moved, compute, memory))
    workload = report.workload
    return Bound(
        phase,
        machine,
        workload.batch * (1 if phase == "decode" else workload.prompt_tokens),
        tuple(pieces),
        report.reals[f"{phase}_compute_seconds"],
        report.reals[f"{phase}_memory_seconds"],
        report.reals[f"{phase}_least_seconds"],
        report.reals[f"{phase}_tokens_per_second_at_most"],
    )


def counted(
    spec: ModelSpec, workload: Workload, engine: Engine, flops: Mapping[str, Node | None], machine: Machine
) -> dict[str, Node]:
    """The whole numbers that the roofline takes beside those of `flops`: FLOPs of what is no attention, bytes, tokens.

    `spec` is what runs of the model.
    """
    shares = deal(workload, machine)
    dealt = {"devices": shares.devices, "replicas": shares.replicas}
    found: dict[str, Node] = {
        "replicas_at_work": Quantity("", "min(B, replicas)", dealt, "a replica without a sequence is idle"),
        "devices_at_work": Quantity("", "devices*replicas_at_work", dealt),
    }
    for phase in (decode_phase(workload), prefill_phase(workload)):
        whole = flops[f"{phase.name}_model_flops"]
        parts = whole.parts if isinstance(whole, Total) else ()
        found[f"{phase.name}_rest_flops"] = Total("", tuple(p for p in parts[2:] if p.what != "lm_head"))
        found[f"{phase.name}_logits_flops"] = Total("", tuple(p for p in parts if p.what == "lm_head"))
        found[f"{phase.name}_run_tokens"] = _run(phase, encoder=False)
        if spec.encoder:
            found[f"{phase.name}_encoded_tokens"] = _run(phase, encoder=True)
    read = read_once_bytes(spec, workload, engine) if workload.kv_cache else NO_CACHE
    return {
        **found,
        "decode_moved_cache_bytes": read,
        "prefill_moved_cache_bytes": Quantity("", "cache_bytes", {}, "what is cached at its end is read or written"),
    }


def _run(phase: Phase, *, encoder: bool) -> Total:
    """Tokens that run through the layers, of the batch together."""
    if encoder:
        runs = [Quantity("", f"{call.encoded}*encoder_tokens") for call in phase.calls if call.encodes]
    else:
        runs = [Quantity("", f"{call.times}*x", {"x": call.tokens}) for call in phase.calls]
    return Total("", tuple(Part(1, "tokens", run) for run in runs))


def bounds(spec: ModelSpec, workload: Workload, machine: Machine) -> dict[str, Node]:
    """Seconds and tokens a second by row key, as formulas of `counted`, for kvcalc.real. `spec` is what runs of it."""
    found: dict[str, Node] = {}
    for phase, tokens in (("decode", "B"), ("prefill", "B*(n - K)")):
        parts = _parts(spec, workload, machine, phase)
        computing = Total("computing", tuple(Part(1, part.name, part.computing) for part in parts))
        everything = tuple(moved for part in parts for moved in part.moved)
        moving = _moving(machine, everything)
        least = Quantity("", "max(computing, moving)", {"computing": computing, "moving": moving}, OVERLAP)
        found[f"{phase}_compute_seconds"] = computing
        found[f"{phase}_memory_seconds"] = moving
        found[f"{phase}_least_seconds"] = least
        found[f"{phase}_tokens_per_second_at_most"] = Quantity("", f"{tokens}/{phase}_least_seconds")
    return {key: node._replace(name=key) for key, node in found.items()}


class _Parts(NamedTuple):
    """A piece as formulas: seconds of computing at a peak, bytes moved, and seconds of moving them."""

    name: str
    peak: str
    computing: Quantity
    moved: tuple[Part, ...]
    moving: Quantity


def _parts(spec: ModelSpec, workload: Workload, machine: Machine, phase: str) -> list[_Parts]:
    one = machine.accelerator
    bits, moved = _bits(spec, workload), _moved(spec, workload, machine, phase)
    found: list[_Parts] = []
    for name, computed in COMPUTED.items():
        peak, rate = one.peak(bits[name])
        known = any(part.peak == peak for part in found)
        source = f"dense {peak} of {one.name}{', as above' if known else _found(machine, 'peaks')}"
        computing = Quantity("", f"{phase}_{computed}_flops/(devices_at_work*peak)", {"peak": rate}, source)
        found.append(_Parts(name, peak, computing, moved[name], _moving(machine, moved[name])))
    return found


def _moving(machine: Machine, moved: tuple[Part, ...]) -> Quantity:
    one = machine.accelerator
    symbols: dict[str, int | Node] = {"bytes": Total("bytes", moved), "bandwidth": one.bandwidth_bytes_per_second}
    source = f"memory of {one.name}{_found(machine, 'bandwidth')}"
    return Quantity("moving", "bytes/(devices_at_work*bandwidth)", symbols, source)


def _found(machine: Machine, what: str) -> str:
    """Where a number of the machine was found, and that nobody checked it where so."""
    source = dict(machine.accelerator.sources).get(what)
    return f": {source}" if source else ""


def _moved(spec: ModelSpec, workload: Workload, machine: Machine, phase: str) -> dict[str, tuple[Part, ...]]:
    """Bytes by piece: weights once a replica, of experts those that its tokens are expected to touch, and the cache."""
    stored, replicas = weight_format(spec, workload), deal(workload, machine).replicas
    run = decode_phase(workload) if phase == "decode" else prefill_phase(workload)
    encodes = any(call.encodes for call in run.calls)
    whole: dict[str, int] = {}
    routed: dict[tuple[str, int, int, bool], int] = {}
    for one in held(spec):
        if one.where == "embedding" and not (one.kind == "embedding" and spec.tie_word_embeddings):
            continue  # rows of it are looked up
        if not encodes and (one.encoder or _made_before(spec, one)):
            continue
        size = bytes_of(stored, one.kind, _multiplied(spec, one))
        if one.part.what in ROUTED and isinstance(one.part.node, Quantity):
            experts, visited = (Quantity("", symbol, one.part.node.symbols).evaluate({}) for symbol in ("E", "k"))
            group = (_piece(one), experts, visited, one.encoder)
            routed[group] = routed.get(group, 0) + size
        else:
            whole[_piece(one)] = whole.get(_piece(one), 0) + size
    found: dict[str, list[Part]] = {name: [] for name in PIECES}
    found[CORE].append(Part(1, "cache", Quantity("", f"{phase}_moved_cache_bytes")))
    for piece, size in whole.items():
        found[piece].append(Part(1, f"weights of {piece}", _each(str(size), {}, stored.source, replicas)))
    for (piece, experts, visited, encoder), size in routed.items():
        tokens = f"{phase}_{'encoded' if encoder else 'run'}_tokens"
        t = Quantity("t", tokens if replicas == 1 else f"{tokens}/replicas_at_work", {}, "tokens of a replica")
        symbols: dict[str, int | Node] = {"w": size, "E": experts, "k": visited, "t": t}
        name = f"weights of {experts} experts, {visited} a token"
        found[piece].append(Part(1, name, _each(TOUCHED, symbols, EXPECTED, replicas)))
    return {name: tuple(parts) for name, parts in found.items()}


def _each(formula: str, symbols: dict[str, int | Node], source: str, replicas: int) -> Quantity:
    """So much for each replica at work."""
    if replicas == 1:
        return Quantity("", formula, symbols, source)
    return Quantity("", f"replicas_at_work*{formula}", symbols, source)


def _multiplied(spec: ModelSpec, one: Held) -> int:
    """How many of these weights a step reads: of what is neither attention nor MLP those in matmuls, 2 FLOPs each.

    The rest of such a part are rows that are looked up, and norms.
    """
    number, node = one.evaluate(), one.part.node
    stack = spec.encoder if one.encoder else spec
    if one.where == "rest" and stack is not None and isinstance(node, Quantity):
        for extra in (*stack.extras, *(extra for group in stack.groups for extra in group.layer.extras)):
            symbols = {**dict(extra.constants), "d": stack.hidden_size}
            if (extra.name, extra.parameters, symbols) == (node.name, node.formula, node.symbols):
                work = Quantity("", extra.work_per_token, symbols).evaluate({})
                return min(number, one.part.times * -(-work // 2))
    return number


def _piece(one: Held) -> str:
    return {"attention": PROJECTIONS, "embedding": LOGITS, "lm_head": LOGITS}.get(one.where, REST)


def _made_before(spec: ModelSpec, one: Held) -> bool:
    """Whether it made the keys and values of an encoder, which are cached."""
    return any(
        branch.reach.kind == "encoder"
        and one.of == f"{branch.label} layer"
        and one.part.what in {weights.name for weights in branch.memory.weights() if weights.writes}
        for _, branch in spec.branches()
    )


def _bits(spec: ModelSpec, workload: Workload) -> dict[str, int]:
    """Bits of an element by piece: the narrowest in play, for the fastest peak."""
    stored = weight_format(spec, workload)
    roles = {store.role for _, branch in spec.branches() for store in branch.memory.stores()}
    cached = [_element_bits(workload.dtype_of(role)) for role in roles]

    def weights(*kinds: str) -> int:
        inside = stored.kinds == EVERYTHING or set(kinds) & set(stored.kinds)
        bits = stored.element_bits if inside else UNQUANTIZED_BITS
        return min(bits, stored.experts.element_bits) if stored.experts and "experts" in kinds else bits

    core = min(cached, default=UNQUANTIZED_BITS)
    held_in = (weights("attention"), weights("mlp", "experts", "shared experts"), weights("lm_head"))
    return dict(zip(PIECES, (core, *held_in), strict=True))


def _element_bits(dtype: str) -> int:
    return DTYPE_BITS[dtype] if dtype in DTYPE_BITS else GGUF_BLOCKS[dtype][2]
