"""`kvcalc list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

import kvcalc
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output

if TYPE_CHECKING:
    from kvcalc.report.table import Table
    from kvcalc.rows import Record

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@with_options
def list_(
    out: Output,
) -> None:
    """List the bundled models with their attention."""
    records: list[Record] = [
        {"model": name, "attention": attention, "layers": layers, "source": source}
        for name, (attention, layers, source) in kvcalc.models().items()
    ]

    def tables() -> list[Table]:
        from kvcalc.report.table import Column, Table

        columns = [
            Column(key, tuple(str(record[key]) for record in records), numeric=key == "layers") for key in records[0]
        ]
        return [Table("", tuple(columns))]

    def text() -> str:  # plain columns: rich would double the time
        width = max(len(str(record["model"])) for record in records)
        return "".join(f"{record['model']!s:{width}}  {record['attention']}\n" for record in records)

    out.write(lambda: records, tables, text)
