"""A table as HTML, for notebooks: every text escaped, numbers to the right, all columns."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from kvcalc.report.places import printable

if TYPE_CHECKING:
    from kvcalc.report.table import Column, Table


def escape(text: str) -> str:
    """Text of a file as HTML: no markup, and nothing in it that turns a line around or cannot be seen."""
    return html.escape("\n".join(map(printable, text.split("\n"))))


def to_html(table: Table) -> str:
    """Write one table with its title and the lines after it."""
    head = "".join(_cell("th", column, column.header) for column in table.columns)
    rows = zip(*(column.cells for column in table.columns), strict=True)
    body = ["".join(_cell("td", column, text) for column, text in zip(table.columns, row, strict=True)) for row in rows]
    return "\n".join(
        [
            f"<table><caption>{escape(table.title)}</caption>",
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *(f"<tr>{cells}</tr>" for cells in body),
            "</tbody></table>",
            *(f"<p>{escape(line)}</p>" for line in table.footer),
        ]
    )


def _cell(tag: str, column: Column, text: str) -> str:
    side = "right" if column.numeric else "left"
    return f'<{tag} style="text-align: {side}">{escape(text).replace(chr(10), "<br>")}</{tag}>'
