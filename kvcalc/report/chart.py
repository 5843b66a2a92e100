"""A figure as a Vega-Lite chart, a plain dict that needs no library: colour, dash and marker each tell series apart.

Every text of a file's making is data or a title, never an expression; what draws it escapes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.report.figure import alt_text, axis_title, exact, short, shown
from kvcalc.report.ticks import BINARY, TWOS, decades, ticks
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.figures.figure import Axis, Figure, Point, Series

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT = 560, 360
MARKED = 24  # points of a series that get a marker, at most
LETTER = 5.7  # pixels, about
SHORT_LABEL = 26  # characters of a legend that stands beside the plot
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
# Okabe and Ito, "Color Universal Design": blue, vermillion, bluish green, reddish purple, then black or white, orange
# and sky blue; their yellow cannot be seen on white. On black, blue is lightened to be seen.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "", "#E69F00", "#56B4E9")
ON_BLACK = {"#0072B2": "#4AA3E0"}
DASHES = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2])
SHAPES = (
    *("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"),
    "M0,-1L0.29,-0.4L0.95,-0.31L0.48,0.15L0.59,0.81L0,0.5L-0.59,0.81L-0.48,0.15L-0.95,-0.31L-0.29,-0.4Z",  # star
    "M-1,-1L1,-1L-1,1L1,1Z",  # hourglass
    "M-1,-1L-1,1L1,-1L1,1Z",  # the same, lying
    "M-0.5,-0.87L0.5,-0.87L1,0L0.5,0.87L-0.5,0.87L-1,0Z",  # hexagon
    "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z",  # pentagon
    "M-1,-0.35L1,-0.35L1,0.35L-1,0.35Z",  # bar
)


TOKENS = ((1024**2, "m"), (1024, "k"))


class Theme(NamedTuple):
    """Colours of what is no data."""

    background: str
    text: str
    faint: str
    grid: str


LIGHT = Theme("#ffffff", "#1a1a1a", "#555555", "#e3e3e3")
DARK = Theme("#14171c", "#f0f0f0", "#b4b4b4", "#33383f")


def chart(figure: Figure, dark: bool = False) -> dict[str, Any]:
    """The Vega-Lite specification of a figure, of plain dicts, lists, strings and numbers.

    Data named `points` has one record a point: series, x, y, group, and the words of its tooltip; a page may replace
    it. Numbers are those of the figure, integers exact.
    """
    theme = DARK if dark else LIGHT
    figure = shown(figure)
    layers = [*_bands(figure, theme), *_roofs(figure, theme), *_lines(figure, theme)]
    subtitle = [figure.subtitle] if figure.subtitle else []
    if any(point.group for _, point in figure.points):
        subtitle.append("filled: decode, hollow: prefill")
    return {
        "$schema": SCHEMA,
        "description": alt_text(figure),
        "title": {"text": figure.title, "subtitle": subtitle},
        "width": WIDTH,
        "height": HEIGHT,
        "background": theme.background,
        "padding": 12,
        "data": {"name": "points", "values": _values(figure)},
        "layer": layers,
        "config": _config(theme),
    }


def _values(figure: Figure) -> list[dict[str, Any]]:
    values = []
    for number, series in enumerate(figure.series):
        step, dash = -(-len(series.points) // MARKED), DASHES[number % len(DASHES)]
        for at, point in enumerate(series.points):
            values.append(
                {
                    "series": series.label,
                    "group": point.group,
                    "x": point.x,
                    "y": point.y,
                    "x_told": exact(figure.x, point.x),
                    "y_told": exact(figure.y, point.y),
                    "dash": dash,
                    "marked": at % step == 0 or at == len(series.points) - 1,
                    **dict(point.told),
                }
            )
    return values


def _lines(figure: Figure, theme: Theme) -> list[dict[str, Any]]:
    x, y = _channel(figure.x, "x"), _channel(figure.y, "y")
    for axis, channel, values in (
        (figure.x, x, [point.x for _, point in figure.points]),
        (figure.y, y, [point.y for _, point in figure.points]),
    ):
        if axis.log == 10:
            channel["axis"]["values"] = decades(min(values), max(values))
        elif not axis.log and axis.unit in TWOS:
            channel["axis"]["values"] = ticks(axis, 0, 2 * max(values), 12)
    named = {"field": "series", "type": "nominal", "title": None}
    legend = _legend(figure)
    color = {**named, "scale": _scale(figure, theme, "color"), "legend": legend}
    shape = {**named, "scale": _scale(figure, theme, "shape"), "legend": legend}
    dash = {"field": "dash", "type": "nominal", "scale": None}
    told = [
        {"field": "series", "title": "series"},
        {"field": "x_told", "title": figure.x.title},
        {"field": "y_told", "title": figure.y.title},
        *({"field": name, "title": name} for name in _told(figure.series)),
    ]
    places: dict[str, Any] = {"x": x, "y": y, "color": color}
    markers: list[dict[str, Any]] = [
        {
            "transform": [{"filter": f"datum.marked && datum.group {'===' if hollow else '!=='} 'prefill'"}],
            "mark": {"type": "point", "filled": not hollow, "size": 60, "strokeWidth": 1.5, "opacity": 1},
            "encoding": {**places, "shape": shape, "tooltip": told},
        }
        for hollow in ((False, True) if any(point.group for _, point in figure.points) else (False,))
    ]
    line = {"type": "line", "strokeWidth": 2}
    lines: dict[str, Any] = {"mark": line, "encoding": {**places, "strokeDash": dash, "detail": [{"field": "group"}]}}
    return [lines, *markers]


def _told(series: tuple[Series, ...]) -> list[str]:
    points: list[Point] = [point for one in series for point in one.points]
    return list(dict.fromkeys(name for point in points for name, _ in point.told))


def _bands(figure: Figure, theme: Theme) -> list[dict[str, Any]]:
    """Each from the least to the most that is left; labels at one end above, at the other below, so that none meet."""
    layers = []
    for at, band in enumerate(sorted(figure.bands, key=lambda band: -band.points[-1][2])):
        values = [{"x": x, "low": low, "high": high} for x, low, high in band.points]
        x, y = _channel(figure.x, "x"), _channel(figure.y, "high")
        shown = {"data": {"values": values}}
        edges = ("low", "high") if any(row["low"] != row["high"] for row in values) else ("low",)
        area = {"type": "area", "color": theme.faint, "opacity": 0.25}
        edge = {"type": "line", "color": theme.faint, "strokeWidth": 1.5, "strokeDash": [4, 4]}
        if len(edges) > 1:
            layers.append({**shown, "mark": area, "encoding": {"x": x, "y": y, "y2": {"field": "low"}}})
        layers += [{**shown, "mark": edge, "encoding": {"x": x, "y": {**y, "field": name}}} for name in edges]
        end, field, place = (
            (values[0], "low", {"align": "left", "baseline": "top", "dy": 5})
            if at % 2
            else (values[-1], "high", {"align": "right", "baseline": "bottom", "dy": -4})
        )
        label = {**end, "label": f"{band.label}: {_room(figure, end)}"}
        layers += _text(label, x, {**y, "field": field}, theme, place)
    return layers


def _room(figure: Figure, end: dict[str, Any]) -> str:
    """'180.2 GiB', or from the least to the most."""
    return " to ".join(dict.fromkeys(short(figure.y, end[name]) for name in ("low", "high")))


def _roofs(figure: Figure, theme: Theme) -> list[dict[str, Any]]:
    """Each with its name at its ridge, to the left, where nothing can be; else on it."""
    from math import log

    layers = []
    for roof in figure.roofs:
        values = [{"x": x, "y": y} for x, y in roof.points]
        low, ridge, high = (x for x, _ in roof.points)
        x, y = _channel(figure.x, "x"), _channel(figure.y, "y")
        line = {"type": "line", "color": theme.faint, "strokeWidth": 1.5}
        layers.append({"data": {"values": values}, "mark": line, "encoding": {"x": x, "y": y}})
        beside = WIDTH * log(ridge / low) / log(high / low) > LETTER * len(roof.label)
        place = (
            {"align": "right", "baseline": "middle", "dx": -8}
            if beside
            else {"align": "right", "baseline": "bottom", "dy": -8}
        )
        layers += _text({**values[1 if beside else 2], "label": roof.label}, x, y, theme, place)
    return layers


def _text(
    value: dict[str, Any], x: dict[str, Any], y: dict[str, Any], theme: Theme, place: dict[str, Any]
) -> list[dict[str, Any]]:
    """Words over whatever runs behind them."""
    text = {"type": "text", **place, "fontSize": 11, "color": theme.text}
    halo = {**text, "stroke": theme.background, "strokeWidth": 4, "aria": False}
    encoding = {"x": x, "y": y, "text": {"field": "label"}}
    return [{"data": {"values": [value]}, "mark": mark, "encoding": encoding} for mark in (halo, text)]


def _scale(figure: Figure, theme: Theme, what: str) -> dict[str, Any]:
    names = [series.label for series in figure.series]
    if what == "shape":
        return {"domain": names, "range": [SHAPES[at % len(SHAPES)] for at in range(len(names))]}
    return {"domain": names, "range": [_color(at, theme) for at in range(len(names))]}


def _color(at: int, theme: Theme) -> str:
    color = COLORS[at % len(COLORS)] or theme.text
    return ON_BLACK.get(color, color) if theme == DARK else color


def _legend(figure: Figure) -> dict[str, Any]:
    """Beside the plot, its entries in the order of the lines' ends; long ones below. It never covers data."""
    ranked = sorted(figure.series, key=lambda series: -series.points[-1].y)
    names = [series.label for series in (figure.series if figure.roofs else ranked)]
    told: dict[str, Any] = {"values": names, "symbolSize": 80, "symbolStrokeWidth": 2}
    if max(map(len, names)) <= SHORT_LABEL:
        return {**told, "orient": "right", "labelLimit": 240}
    columns = 2 if max(map(len, names)) <= 2 * SHORT_LABEL else 1
    return {**told, "orient": "bottom", "direction": "horizontal", "columns": columns, "labelLimit": WIDTH // columns}


def _channel(axis: Axis, field: str) -> dict[str, Any]:
    """Where a number stands: its axis has the units that people read."""
    scale: dict[str, Any] = {"type": "log", "base": axis.log} if axis.log else {"type": "linear", "zero": True}
    if field == "x" or axis.unit == "FLOP/s":
        scale |= {"nice": False, "padding": 10 if field == "x" else 24}
    told = {"title": axis_title(axis), "labelExpr": _label(axis), **({"tickCount": 8} if axis.log else {})}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": told}


def _label(axis: Axis) -> str:
    """A Vega expression that writes a tick."""
    value = "datum.value"
    if axis.unit in ("bytes", "tokens"):
        units = [(size, f" {unit}") for size, unit in BINARY] if axis.unit == "bytes" else TOKENS
        steps = (f"{value} >= {size} ? format({value} / {size}, '~r') + '{name}' : " for size, name in units)
        return f"{''.join(steps)}format({value}, '~r')"
    unit = axis.unit if axis.unit in ("FLOPs", "FLOP/s") else ""
    small = f"format({value}, '~r') + '{unit and ' '}{unit}'"
    return f"{value} < 1000 ? {small} : replace(format({value}, '~s'), /([a-zA-Z])$/, ' $1') + '{unit}'"


def _config(theme: Theme) -> dict[str, Any]:
    words = {"labelColor": theme.text, "titleColor": theme.text}
    return {
        "font": FONT,
        "title": {"anchor": "start", "fontSize": 15, "color": theme.text, "subtitleColor": theme.faint, "offset": 14},
        "axis": {
            **words, "gridColor": theme.grid, "domainColor": theme.faint, "tickColor": theme.faint,
            "titleFontWeight": "normal", "titleFontSize": 12, "labelFontSize": 11, "titlePadding": 10,
        },
        "legend": {**words, "labelFontSize": 12},
        "view": {"stroke": None},
    }  # fmt: skip
