"""A figure as a file: SVG, PNG, or a page that needs nothing but itself. vl-convert draws; it reaches no network.

What a picture says without its pixels is in it too: an alternative text, and in a page the numbers as a table.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.report.chart import chart
from kvcalc.report.figure import alt_text, axis_title, exact, shown
from kvcalc.report.html import escape
from kvcalc.report.theme import DARK, FONT, LIGHT

if TYPE_CHECKING:
    from kvcalc.figures.figure import Figure
    from kvcalc.report.theme import Theme

SCALE = 2  # pixels of a PNG for one of the SVG
VEGA_LITE = "6.1"


def to_picture(figure: Figure, format_: str, *, dark: bool = False) -> bytes:
    """Draw as 'svg', 'png', 'html', or as 'json', its Vega-Lite. Raises KvcalcError without vl-convert."""
    if format_ == "json":
        return (json.dumps(chart(figure, dark), ensure_ascii=False, indent=2) + "\n").encode()
    if format_ == "html":
        return _page(figure, dark=dark).encode()
    vl = _library()
    spec = chart(figure, dark)
    if format_ == "png":
        drawn: bytes = vl.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=SCALE, allowed_base_urls=[])
        return drawn
    return _told(vl.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[]), figure).encode()


def _library() -> Any:
    """vl_convert, which has no types."""
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        if error.name != "vl_convert":
            raise
        raise KvcalcError("a picture needs vl-convert-python", "pip install 'kvcalc[plot]'") from None
    return vl_convert


def _told(svg: str, figure: Figure) -> str:
    """The SVG with its title and what it shows, for who does not see it."""
    figure = shown(figure)
    told = escape(alt_text(figure))
    words = f"<title>{escape(figure.title)}</title><desc>{told}</desc>"
    return re.sub(
        r"<svg ([^>]*)>", lambda found: f'<svg {found[1]} role="img" aria-label="{told}">{words}', svg, count=1
    )


def _page(figure: Figure, *, dark: bool) -> str:
    """Light or dark as the reader's browser is, or dark alone."""
    figure = shown(figure)
    bundle = _library().javascript_bundle(vl_version=VEGA_LITE)
    specs = {"light": chart(figure, dark), "dark": chart(figure, dark=True)}
    data = json.dumps(specs, ensure_ascii=True).replace("<", "\\u003c")
    head = ["series", *(["phase"] if figure.roofs else []), axis_title(figure.x), axis_title(figure.y)]
    rows = [
        [series.label, *([point.group] if figure.roofs else []), exact(figure.x, point.x), exact(figure.y, point.y)]
        for series, point in figure.points
    ]
    told = {
        "FONT": FONT,
        "TITLE": escape(figure.title),
        "STYLE": _style(DARK) if dark else f"{_style(LIGHT)}@media (prefers-color-scheme: dark) {{{_style(DARK)}}}",
        "ALT": escape(alt_text(figure)),
        "HEAD": "".join(f'<th scope="col">{escape(name)}</th>' for name in head),
        "ROWS": "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows),
        "BUNDLE": bundle,
        "SPECS": data,
    }
    return re.sub(r"@([A-Z]+)@", lambda found: told[found[1]], PAGE)


def _style(theme: Theme) -> str:
    return f"body {{background: {theme.background}; color: {theme.text}}} td, th {{border-color: {theme.grid}}}"


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:">
<title>@TITLE@</title>
<style>
body {font: 15px/1.5 @FONT@; margin: 1rem}
h1 {position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
figure {margin: 0}
#chart {max-width: 100%; overflow-x: auto}
#chart svg.marks {max-width: 100%; min-width: 36rem; height: auto}
table {border-collapse: collapse}
td, th {border-bottom: 1px solid; padding: 0.15rem 0.8rem; text-align: left}
@STYLE@
</style>
</head>
<body>
<main>
<h1>@TITLE@</h1>
<figure aria-label="@ALT@"><div id="chart"></div></figure>
<details><summary>The numbers</summary>
<table><thead><tr>@HEAD@</tr></thead><tbody>
@ROWS@
</tbody></table></details>
</main>
<script>@BUNDLE@</script>
<script>
const specs = @SPECS@;
const dark = matchMedia("(prefers-color-scheme: dark)");
const draw = () => vegaEmbed("#chart", specs[dark.matches ? "dark" : "light"], {
  renderer: "svg", ast: true, tooltip: {theme: dark.matches ? "dark" : "light"},
  actions: {export: true, source: false, compiled: false, editor: false},
}).then(() => document.querySelector("#chart summary").setAttribute("aria-label", "Save the picture"));
dark.addEventListener("change", draw);
draw();
</script>
</body>
</html>
"""
