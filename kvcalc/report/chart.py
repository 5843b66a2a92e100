"""A figure as a Vega-Lite chart, a plain dict that needs no library: colour, dash and marker each tell series apart.

Every text of a file's making is data or a title, never an expression; what draws it escapes it.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

from kvcalc.report.figure import alt_text, axis_title, exact, shown
from kvcalc.report.lettering import LETTER, room, words_of
from kvcalc.report.theme import DARK, DASHES, LIGHT, SHAPES, Theme, config
from kvcalc.report.ticks import BINARY, TIMES, TWOS, decades, ticks

if TYPE_CHECKING:
    from kvcalc.figures.figure import Axis, Figure, Point, Series

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT = 560, 360
MARKED = 24  # points of a series that get a marker, at most
SHORT_LABEL = 26  # characters of a legend that stands beside the plot
TOKENS = ((1024**2, "m"), (1024, "k"))


def chart(figure: Figure, dark: bool = False) -> dict[str, Any]:
    """The Vega-Lite specification of a figure, of plain dicts, lists, strings and numbers.

    Data named `points` has one record a point: series, x, y, group, and the words of its tooltip; a page may replace
    it. Numbers are those of the figure, integers exact.
    """
    theme = DARK if dark else LIGHT
    figure = shown(figure)
    layers = [*_bands(figure, theme), *_roofs(figure, theme), *_lines(figure, theme)]
    layers += [*_words(figure, theme), *_ridges(figure, theme)]  # over everything
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
        "config": config(theme),
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
    """Each from the least to the most that is left."""
    layers = []
    x, y = _channel(figure.x, "x"), _channel(figure.y, "high")
    area = {"type": "area", "color": theme.faint, "opacity": 0.25}
    line = {"type": "line", "color": theme.faint, "strokeWidth": 1.5, "strokeDash": [4, 4]}
    alone = {"type": "tick", "orient": "horizontal", "color": theme.faint, "thickness": 1.5, "size": 24}
    for band in figure.bands:
        rows = [
            {"x": at, "low": low, "high": high, "band": band.label, "told": room(figure, band, number)}
            for number, (at, low, high) in enumerate(band.points)
        ]
        wide = any(low != high for _, low, high in band.points)
        data: dict[str, Any] = {"data": {"values": rows}}
        told = [{"field": "band", "title": "room"}, {"field": "told", "title": axis_title(figure.y)}]
        if wide:
            layers.append({**data, "mark": area, "encoding": {"x": x, "y": y, "y2": {"field": "low"}}})
        for field in ("low", "high") if wide else ("low",):
            encoding = {"x": x, "y": {**y, "field": field}, "tooltip": told}
            layers.append({**data, "mark": line if len(rows) > 1 else alone, "encoding": encoding})
    return layers


def _words(figure: Figure, theme: Theme) -> list[dict[str, Any]]:
    """The words of the bands."""
    layers = []
    x, y = _channel(figure.x, "x"), _channel(figure.y, "y")
    for words in words_of(figure, WIDTH, HEIGHT):
        place: dict[str, Any] = {"align": words.align, "limit": words.limit}
        place |= {"baseline": "bottom", "dy": -4} if words.above else {"baseline": "top", "dy": 5}
        layers += _text({"x": words.x, "y": words.y, "label": words.text}, x, y, theme, place)
    return layers


def _roofs(figure: Figure, theme: Theme) -> list[dict[str, Any]]:
    x, y = _channel(figure.x, "x"), _channel(figure.y, "y")
    line = {"type": "line", "color": theme.faint, "strokeWidth": 1.5}
    return [
        {"data": {"values": [{"x": a, "y": b} for a, b in roof.points]}, "mark": line, "encoding": {"x": x, "y": y}}
        for roof in figure.roofs
    ]


def _ridges(figure: Figure, theme: Theme) -> list[dict[str, Any]]:
    """The words of a roof: at its ridge, to the left, where nothing can be; else above it."""
    layers = []
    x, y = _channel(figure.x, "x"), _channel(figure.y, "y")
    for roof in figure.roofs:
        low, ridge, high = (a for a, _ in roof.points)
        beside = WIDTH * log(ridge / low) / log(high / low) > LETTER * len(roof.label)
        place: dict[str, Any] = {"align": "right", "baseline": "middle" if beside else "bottom"}
        place |= {"dx": -8} if beside else {"dy": -8}
        at, top = roof.points[1 if beside else 2]
        layers += _text({"x": at, "y": top, "label": roof.label}, x, y, theme, place)
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
    return {"domain": names, "range": [theme.color(at) for at in range(len(names))]}


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
    if axis.unit == "seconds":
        steps = (f"{value} >= {size} ? format({value} / {size}, '~r') + ' {name}' : " for size, name in TIMES)
        return f"{''.join(steps)}format({value}, '~r')"
    if axis.unit in TWOS:
        return f"format({value}, ',')"
    unit = axis.unit if axis.unit in ("FLOPs", "FLOP/s") else ""
    small = f"format({value}, '~r') + '{unit and ' '}{unit}'"
    return f"{value} < 1000 ? {small} : replace(format({value}, '~s'), /([a-zA-Z])$/, ' $1') + '{unit}'"
