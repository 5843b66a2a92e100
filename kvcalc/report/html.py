"""A table as HTML, for notebooks: every text escaped, numbers to the right, all columns."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.report.table import Column, Table


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
