"""A figure in words: its numbers for people, and what it shows, for those who do not see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.amounts import in_full
from kvcalc.figures.words import size
from kvcalc.report.places import printable
from kvcalc.report.units import bytes_binary, decimal, duration

if TYPE_CHECKING:
    from kvcalc.figures.figure import Axis, Figure, Point

COUNTS = ("sequences", "devices")


def short(axis: Axis, value: float) -> str:
    """Four digits: '2.109 GiB', '32k tokens', '13.40 FLOPs/byte'."""
    if axis.unit == "bytes":
        return bytes_binary(round(value))
    if axis.unit == "tokens":
        return f"{size(int(value))} tokens"
    if axis.unit == "seconds":
        return duration(value)
    if axis.unit in COUNTS:
        return f"{value:,.0f} {axis.unit}"
    gap = "" if axis.unit in ("FLOPs", "FLOP/s") and not decimal(value)[-1:].isdigit() else " "
    return f"{decimal(value)}{gap}{axis.unit}".rstrip()


def exact(axis: Axis, value: float) -> str:
    """With all digits of an integer: '2.000 GiB (2,147,483,648 bytes)'; of a fraction four."""
    if axis.unit in COUNTS or not isinstance(value, int):
        return short(axis, value)
    return in_full(axis.key, value)


def axis_title(axis: Axis) -> str:
    """'context, tokens': with its unit, where neither the title nor the ticks say it."""
    return f"{axis.title}, {axis.unit.replace('/', ' a ')}" if axis.unit in ("tokens", "FLOPs/byte") else axis.title


def shown(figure: Figure) -> Figure:
    """The figure with every text of a file's making printable."""
    return figure._replace(
        title=printable(figure.title),
        subtitle=printable(figure.subtitle),
        series=tuple(one._replace(label=printable(one.label)) for one in figure.series),
        bands=tuple(one._replace(label=printable(one.label)) for one in figure.bands),
        roofs=tuple(one._replace(label=printable(one.label)) for one in figure.roofs),
    )


def alt_text(figure: Figure) -> str:
    """What the picture shows, in sentences."""
    kind = "Log-log chart" if figure.roofs else "Line chart"
    told = [f"{kind}. {figure.title}; {figure.subtitle}."]
    told += [f"{series.label}: {_ends(figure, series.points)}." for series in figure.series]
    told += [f"{band.label}: {short(figure.y, band.points[-1][1])}." for band in figure.bands]
    told += [f"Roof: {roof.label}." for roof in figure.roofs]
    return " ".join(told)


def _ends(figure: Figure, points: tuple[Point, ...]) -> str:
    """Its first point and its last; of a roofline those of each phase."""
    words = []
    for group in dict.fromkeys(point.group for point in points):
        mine = [point for point in points if point.group == group]
        ends = [f"{short(figure.y, end.y)} at {short(figure.x, end.x)}" for end in dict.fromkeys((mine[0], mine[-1]))]
        words.append(f"{group} {' to '.join(ends)}".strip())
    return ", ".join(words)
