"""`explain` as indented text: one step a line, nothing cut, so that it reads the same at any width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.formula import written
from kvcalc.report.places import printable
from kvcalc.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.analysis import Report
    from kvcalc.explanation import Line


def to_text(report: Report, lines: Sequence[Line]) -> str:
    """Name = formula = with numbers = result, then the source; deeper steps are further in."""
    from kvcalc.explanation import symbols

    written = [f"{report.name}: {report.spec.attention}, {report.spec.layers} layers"]
    for line in lines:
        if line.depth == 0:
            written.append("")
        written.append(f"{'  ' * line.depth}{_equation(line)}")
        if line.source:
            written.append(f"{'  ' * line.depth}    [{line.source}]")
    if meanings := symbols(report, lines):
        written += ["", "Symbols:", *(f"  {symbol}: {meaning}" for symbol, meaning in meanings.items())]
    return "\n".join(map(printable, written)) + "\n"


def _equation(line: Line) -> str:
    result = f"{line.result:,.6g}" if isinstance(line.result, float) else f"{line.result:,}"
    if isinstance(line.result, float) and (whole := written(line.result)).isdigit():
        result = f"{int(whole):,}"
    sides = [line.name, line.formula, line.with_numbers]
    if line.with_numbers in (str(line.result), line.formula):
        sides.pop()
    if line.formula in (str(line.result), line.name):
        sides.remove(line.formula)
    return " = ".join([*sides, result])


def explanation_table(report: Report, lines: Sequence[Line]) -> Table:
    """The same steps as a table, for Markdown."""
    columns = (
        Column("step", tuple("- " * line.depth + line.name for line in lines), numeric=False),
        Column("formula", tuple(line.formula for line in lines), numeric=False),
        Column("with numbers", tuple(line.with_numbers for line in lines), numeric=False),
        Column("result", tuple(f"{line.result:,}" for line in lines)),
        Column("source", tuple(line.source for line in lines), numeric=False),
    )
    return Table(report.name, columns)
