"""What an engine reserves beyond what the model needs, by name: the steps from one to the other, which add up.

repeated on ranks    heads that ranks repeat, vectors that each of them has whole
layout               the engine's dtypes and scales against those of the paper's count
window in flight     tokens that a window has passed, which are not free before their steps are over
window kept whole    tokens that a window has passed, and which stay
window's share       slots of a pool for windows alone
encoder's room       tokens of an encoder's input at most, against those that it has
rounding             blocks, cells or slots that are begun but not filled, spare states
padding              pages made of one size, groups filled up
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.quantity import Part, Quantity, Total
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.quantity import Node, Symbols

ONE = Quantity("states", "1")
EVERY = Quantity("window kept whole", "n")


class Step(NamedTuple):
    """Like layers: bytes of a row over all ranks and on one; rows of a sequence needed, kept, and in whole blocks.

    The name of `kept` says why it is more than what is needed. `of_all`: rows needed where ranks share a sequence's.
    """

    layers: int
    label: str
    whole_row: int
    row: int
    needed: Quantity
    kept: Quantity
    rounded: Quantity
    of_all: Quantity | None = None


def of_a_rank(rows: Quantity, ranks: int) -> Quantity:
    """Rows of a sequence on one of the ranks that share them."""
    return rows if ranks == 1 else Quantity("rows of a rank", "ceil_div(rows, cp)", {"rows": rows, "cp": ranks})


def waste(steps: Sequence[Step], tp: int, padding: Node | None = None, rounding: Node | None = None) -> Total:
    """The parts of what is reserved less paper_bytes, which is in the scope of its evaluation.

    `rounding` stands for that of the steps where it is the batch's and not a sequence's.
    """
    needed = "B*row*needed"
    whole = _sum(
        "needed on all ranks",
        steps,
        lambda step: (needed, {"row": step.whole_row, "needed": step.of_all or step.needed}),
    )
    ideal = Quantity("a rank's share", "ceil_div(whole, tp)", {"whole": whole, "tp": tp})
    ranked = _sum("needed on a rank", steps, lambda step: (needed, {"row": step.row, "needed": step.needed}))
    beyond: dict[str, list[Step]] = {}
    for step in steps:
        if _differ(step.kept, step.needed):
            beyond.setdefault(step.kept.name, []).append(step)
    rounding = rounding or _sum(
        "rounding",
        [step for step in steps if _differ(step.rounded, step.kept)],
        lambda step: ("B*row*(rounded - kept)", {"row": step.row, "rounded": step.rounded, "kept": step.kept}),
    )
    repeated = Quantity("", "ranked - share", {"ranked": ranked, "share": ideal})
    parts = [
        *([Part(1, "repeated on ranks", repeated)] if tp > 1 else []),
        Part(1, "layout", Quantity("", "share - paper_bytes", {"share": ideal})),
        *(Part(1, name, _sum(name, found, _beyond)) for name, found in beyond.items()),
        Part(1, "rounding", rounding),
        *([Part(1, "padding", padding)] if padding else []),
    ]
    return Total("waste", tuple(parts))


def _beyond(step: Step) -> tuple[str, Symbols]:
    return "B*row*(kept - needed)", {"row": step.row, "kept": step.kept, "needed": step.needed}


def _differ(one: Quantity, other: Quantity) -> bool:
    """Whether two are not the same formula of the same numbers, whatever their names."""
    return one._replace(name="", source="") != other._replace(name="", source="")


def _sum(name: str, steps: Sequence[Step], formula: Callable[[Step], tuple[str, Symbols]]) -> Total:
    """Over all layers, by a formula of each kind."""
    parts = [Part(step.layers, f"{step.label} layer", Quantity("", *formula(step))) for step in steps]
    return Total(name, tuple(parts))
