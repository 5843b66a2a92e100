"""`show --recompute` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.table import Column, Table
from kvcalc.report.units import count, decimal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.recompute import Trade

LEGEND = (
    "x tokens seen, t tokens kept; a FLOPs a pair, r to make K and V of a token anew, o of the new token's q and output"
)
WHAT = {
    "cache_elements": "elements kept",
    "decode_attention_flops": "FLOPs of a step's attention",
    "state_elements": "elements while a step runs",
    "input_elements": "elements kept",
    "step_attention_flops": "FLOPs of a step's attention",
    "activation_elements": "elements while a step runs",
    "working_elements": "elements while a step runs",
    "leaf_evaluations": "evaluations of the lowest layer",
    "leaf_evaluations_log10": "the same, its power of ten",
}


def recompute_table(trades: Sequence[Trade]) -> Table:
    """What is kept, and what a step costs without the rest."""
    told = [trade for trade in trades if trade.value is not None]
    columns = (
        Column("instead of a cache", tuple(trade.way for trade in told), numeric=False),
        Column("", tuple(WHAT[trade.quantity] for trade in told), numeric=False),
        Column("number", tuple(_value(trade.quantity, trade.value) for trade in told)),
        Column("by layer, or in all", tuple(trade.formula for trade in told), numeric=False, rank=1),
    )
    sources = dict.fromkeys(trade.source for trade in told if trade.source)
    return Table("", columns, (LEGEND, *(f"Source: {source}" for source in sources)))


def _value(quantity: str, value: int | float | None) -> str:
    if isinstance(value, float):
        return f"10^{value:.1f}"
    return decimal(value) if quantity.endswith("flops") else count(value or 0)
