"""Where the numbers of a figure stand, from 0 to 1 along each axis: what a terminal draws, and a chart about so."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.figures.figure import Axis, Figure


class Scale(NamedTuple):
    """An axis and the range of it that is drawn."""

    axis: Axis
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value stands."""
        low, high, value = (log(x) if self.axis.log else x for x in (self.low, self.high, value))
        return (value - low) / (high - low)


def scales(figure: Figure) -> tuple[Scale, Scale]:
    """Of x and of y, over everything that is drawn."""
    xs = [point.x for _, point in figure.points]
    ys = [point.y for _, point in figure.points]
    ys += [edge for band in figure.bands for _, *edges in band.points for edge in edges]
    for roof in figure.roofs:
        xs += [x for x, _ in roof.points]
        ys += [y for _, y in roof.points]
    return _scale(figure.x, xs), _scale(figure.y, ys)


def _scale(axis: Axis, values: list[float]) -> Scale:
    """From the least to the most; a linear axis from 0. One value alone stands in the middle."""
    low, high = min(values), max(values)
    if not axis.log:
        low = 0
    if low == high:
        return Scale(axis, low / 2, high * 2) if axis.log else Scale(axis, 0, high * 2 or 1)
    return Scale(axis, low, high)
