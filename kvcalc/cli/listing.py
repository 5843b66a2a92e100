"""`kvcalc list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

import kvcalc
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output

if TYPE_CHECKING:
    from kvcalc.report.table import Table
    from kvcalc.rows import Record

app = typer.Typer(rich_markup_mode=None, add_completion=False)

WhatArgument = Annotated[
    Literal["models", "hardware"], typer.Argument(help="The bundled models, or the accelerators that --on knows.")
]


@app.command()
@with_options
def list_(
    out: Output,
    what: WhatArgument = "models",
) -> None:
    """List the bundled models with their attention, or the accelerators that --on knows.

    kvcalc list hardware
    """
    if what == "hardware":
        _list_hardware(out)
        return
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
        width = max(len(str(record["model"])) for record in records) + 2
        line = out.width()
        if line is None:
            return "".join(f"{record['model']!s:{width}}{record['attention']}\n" for record in records)
        from kvcalc.report.table import folded

        told = []
        for record in records:
            first, *rest = folded(str(record["attention"]), max(line - width, 20))
            told += [f"{record['model']!s:{width}}{first}\n", *(f"{'':{width}}{more}\n" for more in rest)]
        return "".join(told)

    out.write(lambda: records, tables, text)


def _list_hardware(out: Output) -> None:
    found = kvcalc.accelerators()

    def records() -> list[Record]:
        from kvcalc.report.hardware import hardware_records

        return hardware_records(found)

    def tables() -> list[Table]:
        from kvcalc.report.hardware import hardware_table

        return [hardware_table(found)]

    out.write(records, tables)
