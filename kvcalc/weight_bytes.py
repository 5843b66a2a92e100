"""Bytes of the weights as a checkpoint stores them: which of them a format holds, and what the rest takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.quantity import Part, Quantity, Total
from kvcalc.rows import weight_dtype
from kvcalc.tuples import NamedTuple
from kvcalc.weight_formats import EVERYTHING, GGUF_BLOCKS, OF_GGUF, SOURCE_STORED, WeightFormat, format_of
from kvcalc.weights import parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.weight_formats import Quantization, Stored
    from kvcalc.workload import Workload

MATRICES = {  # of attention, by the names that memories give them; what is not here is left as it is
    *("q", "k", "v", "o", "kv", "q, k, v", "r, k, v", "r, k, v, g", "k and v", "tied k and v", "out", "in"),
    *("q down", "q up", "kv down", "kv up", "o of each group", "output gate", "index q", "index k", "RoPE key"),
    *("u", "z", "x", "x and y", "q of the experts", "o of the experts"),
}
OUTSIDE = {
    "embedding": "embedding",
    "position embedding": "positions",
    "encoder position embedding": "positions",
    "lm_head": "lm_head",
}
FEEDFORWARD = {
    "MLP": "mlp",
    "MLP bias": "vectors",
    "routed experts": "experts",
    "routed experts' bias": "vectors",
    "router": "router",
    "router bias": "vectors",
    "latent of the experts": "mlp",
    "shared experts": "shared experts",
    "shared experts' bias": "vectors",
    "shared expert gate": "router",
}


class Held(NamedTuple):
    """So many times the weights of one part: where it stands, and what kind it is.

    `where` is 'attention', 'feedforward', 'embedding', 'lm_head' or 'rest'. `kind` is one of a format's kinds, or
    'positions', 'router', 'vectors': norms, biases, tables of states, convolutions. `of` is the label of its layers.
    """

    part: Part
    where: str
    kind: str
    encoder: bool
    of: str

    def evaluate(self) -> int:
        """How many these are."""
        return self.part.times * self.part.node.evaluate({})


def held(spec: ModelSpec) -> Iterator[Held]:
    """Every weight of a model by part; their sum is its parameters."""
    whole = parameters(spec)
    for part in whole.parts if isinstance(whole, Total) else ():
        encoder = part.what.startswith("encoder ")
        if isinstance(part.node, Quantity):
            kind = OUTSIDE.get(part.what, "vectors")
            where = {"embedding": "embedding", "positions": "embedding", "lm_head": "lm_head"}.get(kind, "rest")
            yield Held(part, where, kind, encoder, part.what)
            continue
        for inner in part.node.parts:
            many = inner._replace(times=part.times * inner.times)
            if inner.what in FEEDFORWARD:
                yield Held(many, "feedforward", FEEDFORWARD[inner.what], encoder, part.what)
            else:
                yield Held(many, "attention", _kind_in_attention(inner), encoder, part.what)


def _kind_in_attention(part: Part) -> str:
    """A matrix that is counted together with its bias is left as it is: it is never counted too small."""
    alone = isinstance(part.node, Quantity) and not _is_sum(part.node.formula)
    return "attention" if part.what in MATRICES and alone else "vectors"


def _is_sum(formula: str) -> bool:
    """Whether it adds outside all parentheses."""
    depth = 0
    for letter in formula:
        depth += (letter == "(") - (letter == ")")
        if letter == "+" and not depth:
            return True
    return False


def weight_format(spec: ModelSpec, workload: Workload) -> WeightFormat:
    """How the weights are stored: as asked, else as the config says, else bf16. Its own format is as it has it."""
    name, own = weight_dtype(spec, workload), spec.quantization
    if own is None or name != own.format:
        return format_of(name)
    if own.stored:
        return _of_a_file(own)
    stored = format_of(name)
    left = {*own.kept, *(("experts",) if own.experts else ())}
    experts = format_of(own.experts) if own.experts else None
    return stored._replace(kinds=tuple(kind for kind in stored.kinds if kind not in left), experts=experts)


def _of_a_file(own: Quantization) -> WeightFormat:
    """What the tensors of a file hold; its tables that are no weights count with the vectors."""
    stored = tuple(one if one.kind != "buffers" else one._replace(kind="vectors", weights=0) for one in own.stored)
    matrices = [one for one in stored if one.kind in OF_GGUF and one.weights]
    narrowest = min((_element_bits(one) for one in matrices), default=16)
    kinds = tuple(dict.fromkeys(one.kind for one in matrices))
    return WeightFormat(own.format, 1, 16, narrowest, kinds, 16, SOURCE_STORED, stored)


def _element_bits(one: Stored) -> int:
    return GGUF_BLOCKS[one.type][2] if one.type in GGUF_BLOCKS else max(1, 8 * one.bytes // one.weights)


def _in_types(stored: WeightFormat) -> Total:
    """The bytes of a file's tensors, type by type."""
    sums: dict[str, int] = {}
    for one in stored.stored:
        sums[one.type] = sums.get(one.type, 0) + one.bytes
    parts = (Part(1, kind, Quantity(kind, "b", {"b": size}, SOURCE_STORED)) for kind, size in sums.items())
    return Total("bytes of the file's tensors", tuple(parts))


def weight_bytes(spec: ModelSpec, workload: Workload) -> Node:
    """Bytes of all weights, rounded up once for what the format holds and once for the rest."""
    stored, own = weight_format(spec, workload), spec.quantization
    if stored.stored and own:
        return Quantity("", "ceil_div(b*parameters, w)", {"b": _in_types(stored), "w": own.parameters}, stored.source)
    if stored.kinds == EVERYTHING:
        return Quantity("", f"ceil_div({stored.bits}*parameters, 8)", {}, stored.source)
    inside = Total("weights in blocks", tuple(one.part for one in held(spec) if one.kind in stored.kinds))
    formula = f"ceil_div({stored.bits}*w, {8 * stored.block})"
    if stored.experts is None:
        return Quantity(
            "", f"{formula} + ceil_div({stored.rest_bits}*(parameters - w), 8)", {"w": inside}, stored.source
        )
    routed = Total("routed experts", tuple(one.part for one in held(spec) if one.kind == "experts"))
    apart = stored.experts
    formula += (
        f" + ceil_div({apart.bits}*w_e, {8 * apart.block}) + ceil_div({stored.rest_bits}*(parameters - w - w_e), 8)"
    )
    return Quantity("", formula, {"w": inside, "w_e": routed}, f"{stored.source}; experts: {apart.source}")


def rate(stored: WeightFormat, kind: str) -> tuple[int, int]:
    """Bytes of a weight of one kind as a fraction, above and below: 16 and 8 of bf16; of a file's as `bytes_of`."""
    if stored.experts and kind == "experts":
        return rate(stored.experts, kind)
    if stored.stored:
        alike = [one for one in stored.stored if one.kind == kind] or list(stored.stored)
        return sum(one.bytes for one in alike), max(1, sum(one.weights for one in alike))
    if stored.kinds == EVERYTHING or kind in stored.kinds:
        return stored.bits, 8 * stored.block
    return stored.rest_bits, 8


def bytes_of(stored: WeightFormat, kind: str, weights: int) -> int:
    """Bytes of so many weights of one kind: of a file's at the mean of what it stores of that kind, else of all."""
    bits, to = rate(stored, kind)
    return -(-bits * weights // to)
