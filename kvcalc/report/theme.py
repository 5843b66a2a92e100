"""How charts look: colours that the colour-blind tell apart, dashes and markers that tell without, two themes."""

from __future__ import annotations

from typing import Any

from kvcalc.tuples import NamedTuple

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
DASHES = ([1, 0], [6, 3], [2, 3], [9, 3, 2, 3])  # of another number than the colours: the pairs come late again
SHAPES = (
    *("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"),
    "M0,-1L0.29,-0.4L0.95,-0.31L0.48,0.15L0.59,0.81L0,0.5L-0.59,0.81L-0.48,0.15L-0.95,-0.31L-0.29,-0.4Z",  # star
    "M-1,-1L1,-1L-1,1L1,1Z",  # hourglass
    "M-1,-1L-1,1L1,-1L1,1Z",  # the same, lying
    "M-0.5,-0.87L0.5,-0.87L1,0L0.5,0.87L-0.5,0.87L-1,0Z",  # hexagon
    "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z",  # pentagon
    "M-1,-0.35L1,-0.35L1,0.35L-1,0.35Z",  # bar
)


class Theme(NamedTuple):
    """Colours of what is no data, and those of series."""

    background: str
    text: str
    faint: str
    grid: str
    colors: tuple[str, ...]

    def color(self, at: int) -> str:
        """The colour of a series."""
        return self.colors[at % len(self.colors)]


# After Okabe and Ito's "Color Universal Design": blue, vermillion, green, rose, black or white, gold, violet or sky; by
# steps until each stands out from its ground by 3 to 1 and from each other in every eye, as a test measures.
LIGHT = Theme(
    "#ffffff", "#1a1a1a", "#555555", "#e3e3e3",
    ("#1f63c4", "#9a4000", "#0e8f50", "#c06088", "#1a1a1a", "#a08600", "#7e72b4"),
)  # fmt: skip
DARK = Theme(
    "#14171c", "#f0f0f0", "#b4b4b4", "#33383f",
    ("#3a8fe8", "#d55e20", "#24bd6a", "#c985a8", "#f0f0f0", "#ebc000", "#adccff"),
)  # fmt: skip


def config(theme: Theme) -> dict[str, Any]:
    """What the chart has of it."""
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
