"""How charts look: colours that the colour-blind tell apart, dashes and markers that tell without, two themes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
# Okabe and Ito, "Color Universal Design": blue, vermillion, bluish green, reddish purple, then black or white, orange
# and sky blue; their yellow cannot be seen on white. On black, blue is lightened to be seen.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "", "#E69F00", "#56B4E9")
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


class Theme(NamedTuple):
    """Colours of what is no data."""

    background: str
    text: str
    faint: str
    grid: str
    lightened: Mapping[str, str] = {}  # never mutated: a NamedTuple default

    def color(self, at: int) -> str:
        """The colour of a series."""
        color = COLORS[at % len(COLORS)] or self.text
        return self.lightened.get(color, color)


LIGHT = Theme("#ffffff", "#1a1a1a", "#555555", "#e3e3e3")
DARK = Theme("#14171c", "#f0f0f0", "#b4b4b4", "#33383f", {"#0072B2": "#4AA3E0"})


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
