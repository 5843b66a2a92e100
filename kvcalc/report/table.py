"""Tables for people, in the terminal with rich or as Markdown. No digit is ever cut, at any width.

A table is columns in order of importance: a narrow terminal gets the first ones that fit, a pipe gets them all.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from kvcalc.report.places import printable
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


_PIECES = re.compile(r"(?<=[,+]) ")
_BLANK_END = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$")


class Column(NamedTuple):
    """A header (lines of it), its cells, whether they are numbers, and its rank: 0 is always shown."""

    header: str
    cells: tuple[str, ...]
    numeric: bool = True
    rank: int = 0

    @property
    def width(self) -> int:
        """Characters its widest line needs."""
        return max(len(line) for text in (self.header, *self.cells) for line in text.split("\n"))


class Table(NamedTuple):
    """A title, columns in the order they are shown, and lines after them."""

    title: str
    columns: tuple[Column, ...]
    footer: tuple[str, ...] = ()


def fitting(columns: Sequence[Column], width: int | None) -> list[Column]:
    """Choose the columns that fit into `width` characters by their rank; None: all of them."""
    if width is None:
        return list(columns)
    chosen = {at for at, column in enumerate(columns) if column.rank == 0}
    for at in sorted(range(len(columns)), key=lambda at: columns[at].rank):
        tried = chosen | {at}
        if sum(columns[other].width for other in tried) + 2 * (len(tried) - 1) <= width:
            chosen = tried
    return [columns[at] for at in sorted(chosen)]


def folded(text: str, width: int | None, indent: str = "  ") -> list[str]:
    """Lines of at most `width` characters, those after the first further in; None: one line.

    They end after a comma or a plus, so that what stands between stays together; else wherever a blank is.
    """
    if width is None or len(text) <= width:
        return [text]
    from textwrap import wrap

    lines = [""]
    for piece in _PIECES.split(text):
        line = f"{lines[-1]} {piece}" if lines[-1].strip() else lines[-1] + piece
        if len(line) <= width:
            lines[-1] = line
            continue
        told = wrap(piece, max(width - len(indent), 20), break_long_words=False, break_on_hyphens=False) or [""]
        lines += [indent + words for words in told]
    return lines[lines[0] == "" :]


def _printable(table: Table) -> Table:
    """The same with nothing of a file's text that steers a terminal: a line ends where we end it."""

    def shown(text: str) -> str:
        return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))

    columns = (
        column._replace(header=shown(column.header), cells=tuple(map(shown, column.cells))) for column in table.columns
    )
    return Table(printable(table.title), tuple(columns), tuple(map(printable, table.footer)))


def to_terminal(tables: Sequence[Table], width: int | None, *, color: bool) -> str:
    """Draw with rich. `width` None: a pipe or a file, as wide as it takes."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = []
    for table in map(_printable, tables):
        columns = fitting(table.columns, width)
        needed = sum(column.width for column in columns) + 2 * len(columns)
        title = folded(table.title, width)
        footer = [line for told in table.footer for line in folded(told, width)]
        lines = [*title, *footer]
        console = Console(
            file=io.StringIO(),
            width=max(needed, width or 0, *(len(line) for line in lines)) + 1,
            color_system="standard" if color else None,
            force_terminal=color,
            no_color=not color,
            markup=False,
            highlight=False,
            emoji=False,
            legacy_windows=False,
        )
        grid = RichTable(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
        for column in columns:
            grid.add_column(
                Text(column.header), justify="right" if column.numeric else "left", no_wrap=True, min_width=column.width
            )
        for row in zip(*(column.cells for column in columns), strict=True):
            grid.add_row(*(Text(cell) for cell in row))
        with console.capture() as captured:
            for line in title if table.title else ():
                console.print(Text(line, style="bold"))
            if columns:
                console.print(grid)
            for line in footer:
                console.print(Text(line, style="dim"))
        drawn.append("\n".join(_BLANK_END.sub(r"\1", line) for line in captured.get().splitlines()))
    return "\n\n".join(drawn) + "\n"


def to_markdown(tables: Sequence[Table]) -> str:
    """Write GitHub tables, numbers to the right."""
    written = []
    for table in map(_printable, tables):
        head = [_cell(column.header) for column in table.columns]
        rule = ["---:" if column.numeric else ":---" for column in table.columns]
        rows = [[_cell(cell) for cell in row] for row in zip(*(c.cells for c in table.columns), strict=True)]
        lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
        title = [f"**{_cell(table.title)}**", ""] if table.title else []
        footer = ["", *(_cell(line) for line in table.footer)] if table.footer else []
        written.append("\n".join([*title, *lines, *footer]))
    return "\n\n".join(written) + "\n"


_ESCAPES = str.maketrans({**{c: f"\\{c}" for c in "\\`*_|[]~$"}, "&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "})
_CALLS = re.compile(r"(?<![A-Za-z0-9])@(?=[A-Za-z0-9])|#(?=[0-9])")  # a person, an issue


def _cell(text: str) -> str:
    """Text that is no markup; it mentions nobody, and a URL links where it says."""
    return _CALLS.sub(lambda found: f"{found[0]}<!-- -->", text.translate(_ESCAPES))
