"""A figure in a terminal: lines of braille dots, a letter at each point, and a legend below that has the numbers.

A letter is a series, so that it reads without colour; in a roofline small ones are decode steps, capitals prefills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.report.figure import axis_title, short, shown
from kvcalc.report.lettering import room
from kvcalc.report.scale import Scale, scales
from kvcalc.report.screen import SEVERAL, Screen, painted
from kvcalc.report.ticks import tick_label, ticks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.figures.figure import Figure, Series

LETTERS = "abcdefghijklmn"
BANDS = "-=~#%@"
COLORS = (32, 166, 35, 169, 0, 178, 104)  # of 256, near the colours of a chart; 0: as text is


def to_text(figure: Figure, width: int, height: int | None = None, *, color: bool = False, plain: bool = False) -> str:
    """Draw into `width` columns and, with the legend, `height` lines. `plain`: ASCII alone. Raises KvcalcError."""
    _needed()
    figure = shown(figure)
    x, y = scales(figure)
    legend = list(_legend(figure, color=color))
    rows = max(10, min(24, width // 4))
    if height is not None:
        rows = max(10, min(rows, height - len(legend) - 7))
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
    star = [f"{SEVERAL}  several in one place"] if any(SEVERAL in row for row in screen.marks) else []
    return "\n".join([*head, *lines, *_below(x, screen.columns, left), *legend, *star]) + "\n"


def _needed() -> None:
    try:
        import plotille  # noqa: F401  # whether it is there
    except ModuleNotFoundError as error:
        if error.name != "plotille":
            raise
        raise KvcalcError("a plot in the terminal needs plotille", "pip install 'kvcalc[plot]'") from None


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
        yield f"{BANDS[at % len(BANDS)]}  {room(figure, band, -1)}  {band.label}"
    for roof in figure.roofs:
        yield f"   roof: {roof.label}"
    if figure.roofs:
        yield "   small letters: decode, capitals: prefill"


def _ends(figure: Figure, series: Series) -> str:
    """'67.50 MiB to 10.55 GiB'; of a roofline, where its decode step and its prefill start."""
    if figure.roofs:
        firsts = {point.group: point for point in reversed(series.points)}
        return ", ".join(f"{group} {short(figure.y, point.y)}" for group, point in sorted(firsts.items()))
    return " to ".join(dict.fromkeys(short(figure.y, point.y) for point in (series.points[0], series.points[-1])))


def _color(at: int) -> int:
    return COLORS[at % len(COLORS)]
