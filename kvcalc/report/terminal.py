"""A figure in a terminal: lines of braille dots, a letter at each point, and a legend below that has the numbers.

A letter is a series, so that it reads without colour; in a roofline small ones are decode steps, capitals prefills.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.report.figure import axis_title, short, shown
from kvcalc.report.screen import SEVERAL, Screen, painted
from kvcalc.report.ticks import tick_label, ticks
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.figures.figure import Axis, Figure, Series

LETTERS = "abcdefghijklmn"
BANDS = "-=~#%@"
COLORS = (32, 166, 36, 175, 0, 214, 74)  # of 256, near the colours of a chart; 0: as text is


class Scale(NamedTuple):
    """An axis and the range of it that is drawn."""

    axis: Axis
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value stands: from 0 to 1."""
        low, high, value = (log(x) if self.axis.log else x for x in (self.low, self.high, value))
        return (value - low) / (high - low)


def to_text(figure: Figure, width: int, height: int | None = None, *, color: bool = False, plain: bool = False) -> str:
    """Draw into `width` columns and, with the legend, `height` lines. `plain`: ASCII alone. Raises KvcalcError."""
    _needed()
    figure = shown(figure)
    x, y = _scales(figure)
    legend = list(_legend(figure, color=color))
    rows = max(10, min(24, width // 4))
    if height is not None:
        rows = max(6, min(rows, height - len(legend) - 6))
    values = ticks(y.axis, y.low, y.high, max(2, rows // 2))
    labels = {round(y.at(value) * (rows - 1)): tick_label(y.axis, value) for value in values}
    left = max(map(len, labels.values()), default=0)
    screen = Screen(max(20, width - left - 3), rows)
    for roof in figure.roofs:
        screen.line([(x.at(a), y.at(b)) for a, b in roof.points], 0)
    for at, series in enumerate(figure.series):
        for group in dict.fromkeys(point.group for point in series.points):
            screen.line([(x.at(p.x), y.at(p.y)) for p in series.points if p.group == group], _color(at))
    for at, band in enumerate(figure.bands):
        for edge in (1, 2):
            screen.across([(x.at(point[0]), y.at(point[edge])) for point in band.points], BANDS[at % len(BANDS)])
    for at, series in enumerate(figure.series):
        for point in series.points:
            letter = LETTERS[at].upper() if point.group == "prefill" else LETTERS[at]
            screen.mark(x.at(point.x), y.at(point.y), letter, _color(at))
    lines = [
        f"{labels.get(row, ''):>{left}} |{screen.text(row, color=color, plain=plain)}".rstrip()
        for row in reversed(range(rows))
    ]
    head = [line for line in (figure.title, figure.subtitle, axis_title(figure.y)) if line]
    return "\n".join([*head, *lines, *_below(x, screen.columns, left), *legend]) + "\n"


def _needed() -> None:
    try:
        import plotille  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "plotille":
            raise
        raise KvcalcError("a plot in the terminal needs plotille", "pip install 'kvcalc[plot]'") from None


def _scales(figure: Figure) -> tuple[Scale, Scale]:
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


def _below(x: Scale, columns: int, left: int) -> list[str]:
    """The x axis: a rule, and under it as many ticks as have room."""
    rule, words = ["-"] * columns, ""
    for value in ticks(x.axis, x.low, x.high, columns // 6):
        label = tick_label(x.axis, value)
        at = round(x.at(value) * (columns - 1))
        start = min(max(at - len(label) // 2, 0), columns - len(label))
        if not words or start > len(words):
            words = f"{words:<{start}}{label}"
            rule[at] = "+"
    title = axis_title(x.axis)
    return [f"{'':>{left}} +{''.join(rule)}", f"{'':>{left}}  {words}", f"{'':>{left}}  {title:^{columns}}".rstrip()]


def _legend(figure: Figure, *, color: bool) -> Iterator[str]:
    """A line a series, with where it starts and where it ends, and a line each for what else is drawn."""
    ends = [_ends(figure, series) for series in figure.series]
    wide = max(map(len, ends))
    for at, (series, told) in enumerate(zip(figure.series, ends, strict=True)):
        yield f"{painted(LETTERS[at], _color(at) if color else 0)}  {told:<{wide}}  {series.label}"
    for at, band in enumerate(figure.bands):
        room = dict.fromkeys(short(figure.y, edge) for edge in band.points[-1][1:])
        yield f"{BANDS[at % len(BANDS)]}  {' to '.join(room)}  {band.label}"
    for roof in figure.roofs:
        yield f"   roof: {roof.label}"
    if figure.roofs:
        yield "   small letters: decode, capitals: prefill"
    if len(figure.series) > 1:
        yield f"{SEVERAL}  several in one place"


def _ends(figure: Figure, series: Series) -> str:
    """'67.50 MiB to 10.55 GiB'; of a roofline, where its decode step and its prefill start."""
    if figure.roofs:
        firsts = {point.group: point for point in reversed(series.points)}
        return ", ".join(f"{group} {short(figure.y, point.y)}" for group, point in sorted(firsts.items()))
    return " to ".join(dict.fromkeys(short(figure.y, point.y) for point in (series.points[0], series.points[-1])))


def _color(at: int) -> int:
    return COLORS[at % len(COLORS)]
