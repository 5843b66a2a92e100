"""A live model beside kvcalc's numbers: each thing compared, and whether the two agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.model import runs
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verify.expect import Expectation
    from kvcalc.verify.observe import Held, Observation


class Compared(NamedTuple):
    """One number: what it is, where, the library's and kvcalc's. A None is not compared, and the note says why."""

    what: str
    where: str
    library: int | None
    kvcalc: int | None
    note: str = ""

    @property
    def equal(self) -> bool | None:
        """Whether they agree; None where one is missing."""
        return None if self.library is None or self.kvcalc is None else self.library == self.kvcalc

    @property
    def result(self) -> str:
        """'equal', 'different' or 'not compared'."""
        return {True: "equal", False: "different", None: "not compared"}[self.equal]


def compare(live: Observation, ours: Expectation) -> list[Compared]:
    """Parameters, what each group of like layers holds, the whole cache, FLOPs."""
    not_run = ours.unmodelled or live.unread or live.unseen
    held: int | None = ours.cache_elements
    if not live.cache_elements and held:
        held, ours, live = None, ours._replace(by_layer={}, decode_flops=None), live._replace(unseen=NO_CACHE)
    none = NO_CACHE if held is None else ""
    return [
        Compared("parameters", "language model", live.parameters, ours.parameters),
        *_layers(live, ours),
        Compared("cache_elements", f"after {live.tokens} tokens", live.cache_elements, held, none),
        Compared("prefill_flops", f"{live.tokens} tokens", live.prefill_flops, ours.prefill_flops, not_run),
        Compared("decode_flops", f"token {live.tokens + 1}", live.decode_flops, ours.decode_flops, live.unseen),
    ]


NO_CACHE = "the library keeps no cache of this model"


def _layers(live: Observation, ours: Expectation) -> Iterator[Compared]:
    """Like layers together: the same tensors, and the same number on our side."""
    by_layer = live.by_layer()
    if by_layer is None:
        return
    alike: dict[tuple[str, int, int], list[int]] = {}
    for layer in sorted({*by_layer, *ours.by_layer}):
        held = by_layer.get(layer, [])
        elements = sum(tensor.elements for tensor in held)
        alike.setdefault((_shapes(held), elements, ours.by_layer.get(layer, 0)), []).append(layer)
    for (shapes, elements, expected), layers in alike.items():
        where = " ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs(tuple(layers)))
        yield Compared("elements of a layer", f"layers {where}", elements, expected, shapes)


def _shapes(held: list[Held]) -> str:
    """'keys 1x8x37x128, values 1x8x37x128'."""
    return ", ".join(f"{tensor.name} {'x'.join(map(str, tensor.shape))}" for tensor in held)
