"""Characters to draw on: lines of braille dots, and letters over them, each with a colour."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SEVERAL = "*"
DOTS = 0x2800
UPPER, LOWER = 0x1B, 0xE4  # the dots of the upper and of the lower half of a character


class Screen:
    """Characters and their colours, row by row from the bottom."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.dots = [[0] * columns for _ in range(rows)]
        self.marks: list[list[str]] = [[""] * columns for _ in range(rows)]
        self.colors = [[0] * columns for _ in range(rows)]

    def mark(self, x: float, y: float, letter: str, color: int) -> None:
        """Put a letter at a place; a star where another is already."""
        row, column = self.cell(x, y)
        there = self.marks[row][column]
        alone = there in ("", letter) or (not there.isalpha() and there != SEVERAL)
        self.marks[row][column] = letter if alone else SEVERAL
        self.colors[row][column] = color if alone else 0

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """The row and the column of a place."""
        return min(round(y * (self.rows - 1)), self.rows - 1), min(round(x * (self.columns - 1)), self.columns - 1)

    def line(self, places: Sequence[tuple[float, float]], color: int) -> None:
        """Join places by dots."""
        from plotille import Canvas

        canvas = Canvas(self.columns, self.rows, 0, 0, 2 * self.columns, 4 * self.rows)
        dots = [(1 + 2 * x * (self.columns - 1), 2 + 4 * y * (self.rows - 1)) for x, y in places]
        for (x0, y0), (x1, y1) in pairwise(dots):
            canvas.line(x0, y0, x1, y1)
        for row, text in enumerate(reversed(canvas.plot().split("\n"))):
            for column, character in enumerate(text):
                found = ord(character) - DOTS
                if found > 0:
                    self.dots[row][column] |= found
                    self.colors[row][column] = color

    def across(self, places: Sequence[tuple[float, float]], character: str) -> None:
        """Join places by characters, one a column; they give way to whatever is there."""
        for x, y in places if len(places) == 1 else ():
            row, column = self.cell(x, y)
            self.marks[row][column] = self.marks[row][column] or character
        for column in range(self.columns):
            x = column / (self.columns - 1)
            for (x0, y0), (x1, y1) in pairwise(places):
                if x0 <= x <= x1:
                    row, _ = self.cell(x, y0 + (y1 - y0) * (x - x0) / (x1 - x0))
                    self.marks[row][column] = self.marks[row][column] or character

    def text(self, row: int, *, color: bool, plain: bool) -> str:
        """One row; `plain`: in ASCII."""
        cells = zip(self.marks[row], self.dots[row], self.colors[row], strict=True)
        return "".join(painted(mark or _dots(dots, plain=plain), paint if color else 0) for mark, dots, paint in cells)


def _dots(dots: int, *, plain: bool) -> str:
    if not dots:
        return " "
    if not plain:
        return chr(DOTS + dots)
    return ":" if dots & UPPER and dots & LOWER else "'" if dots & UPPER else "."


def painted(text: str, color: int) -> str:
    """In a colour of 256; 0: as it is."""
    return f"\x1b[38;5;{color}m{text}\x1b[0m" if color and text != " " else text
