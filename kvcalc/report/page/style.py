"""The page's style: page.css, and the colours and dashes that every picture has."""

from __future__ import annotations

import os

from kvcalc.report.theme import DARK, DASHES, LIGHT, Theme


def style() -> str:
    """All of it."""
    with open(os.path.join(os.path.dirname(__file__), "page.css"), encoding="utf-8") as file:
        return f"{file.read()}{_series()}"


def _series() -> str:
    """Of a line's stroke, a bar and a key; a class each for the colour and for the dash."""
    dark = f"@media screen and (prefers-color-scheme: dark) {{ {_named(DARK)} }}"
    colors = [
        f".s{at} {{ stroke: var(--s{at}); }} .f{at} {{ fill: var(--s{at}); }} .k{at} {{ background: var(--s{at}); }}"
        for at in range(len(LIGHT.colors))
    ]
    dashes = [f".d{at} {{ stroke-dasharray: {' '.join(map(str, dash))}; }}" for at, dash in enumerate(DASHES) if at]
    return "\n".join([_named(LIGHT), dark, *colors, *dashes, ""])


def _named(theme: Theme) -> str:
    return f":root {{ {' '.join(f'--s{at}: {color};' for at, color in enumerate(theme.colors))} }}"
