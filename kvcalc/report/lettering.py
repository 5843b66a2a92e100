"""Where the words of a chart's bands stand: beside their band, over no other words and, if it can be, over no line."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from kvcalc.report.figure import short
from kvcalc.report.scale import scales
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.figures.figure import Band, Figure

LETTER, LINE = 5, 16  # pixels, about
SAMPLES = 32

Place = tuple[float, float]


class Words(NamedTuple):
    """Words at the end of a band, in the units of the axes: to the left of x or to its right, above y or below."""

    text: str
    x: float
    y: float
    align: str
    above: bool
    limit: int


def words_of(figure: Figure, width: int, height: int) -> list[Words]:
    """The words of each band, of which those that find no room are left out: the picture's description has them."""
    across, up = scales(figure)

    def pixel(x: float, y: float) -> Place:
        return across.at(x) * width, up.at(y) * height

    lines = [[pixel(point.x, point.y) for point in series.points] for series in figure.series]
    edges = {band: [pixel(x, low) for x, low, _ in band.points] for band in figure.bands}
    limit = width if len(figure.bands) == 1 else width // 2 - 20
    placed: list[Words] = []
    boxes: list[tuple[float, float, float, float]] = []
    for band in sorted(figure.bands, key=lambda band: -band.points[-1][2]):
        others = [*lines, *(places for other, places in edges.items() if other != band)]
        found = []
        for words in _tried(figure, band, limit):
            x, y = pixel(words.x, words.y)
            long = min(limit, LETTER * len(words.text))
            box = (x - long if words.align == "right" else x, y + 2 if words.above else y - LINE - 2, long, LINE)
            if not any(_meet(box, other) for other in boxes):
                found.append((_crossed(box, others), words, box))
        if found:
            _, words, box = min(found, key=lambda told: told[0])
            placed.append(words)
            boxes.append(box)
    return placed


def room(figure: Figure, band: Band, at: int) -> str:
    """'180.2 GiB', or from the least to the most, at one of its points."""
    return " to ".join(dict.fromkeys(short(figure.y, edge) for edge in band.points[at][1:]))


def _tried(figure: Figure, band: Band, limit: int) -> Iterator[Words]:
    for align, above in (("right", True), ("left", False), ("left", True), ("right", False)):
        at = -1 if align == "right" and len(band.points) > 1 else 0
        x, low, high = band.points[at]
        text = f"{room(figure, band, at)} {band.label}"
        yield Words(text, x, high if above else low, align, above, limit)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    (x, y, wide, high), (left, bottom, across, up) = one, other
    return x < left + across and left < x + wide and y < bottom + up and bottom < y + high


def _crossed(box: tuple[float, float, float, float], lines: Sequence[Sequence[Place]]) -> int:
    """How many lines run through a box."""
    x, y, wide, high = box
    steps = [at / SAMPLES for at in range(SAMPLES + 1)]
    return sum(
        any(
            x <= a + (c - a) * step <= x + wide and y <= b + (d - b) * step <= y + high
            for (a, b), (c, d) in pairwise(line)
            for step in steps
        )
        for line in lines
    )
