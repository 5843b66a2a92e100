"""`kvcalc compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

import kvcalc
from kvcalc.cli.hardware import OnOption
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelsArgument, VariantsOption, load_models

if TYPE_CHECKING:
    from kvcalc.report.table import Table
    from kvcalc.rows import Record

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@with_options
def compare(
    models: ModelsArgument,
    request: kvcalc.Request,
    out: Output,
    variants: VariantsOption = None,
    on: OnOption = None,
) -> None:
    """Compare models, or one model rebuilt with every attention variant that makes sense.

    kvcalc compare deepseek-v2

    kvcalc compare llama-3.1-8b --variants mha,gqa-4,mla-512+64,swa-4096 --context 128k

    kvcalc compare mistral-7b-v0.1 gemma-3-27b my.yaml --format csv

    kvcalc compare llama-3.1-8b --on 8xH100 --batch 64
    """
    machine = None if on is None else kvcalc.parse_machine(on)
    wanted = None if variants is None else kvcalc.parse_variants(variants)
    comparison = kvcalc.compare(load_models(models), request, wanted)
    out.tell((*comparison.notes, *(machine.cautions if machine else ())), comparison.warnings)

    bounds = [] if machine is None else [kvcalc.least_times(report, machine) for report in comparison.reports]

    def tables() -> list[Table]:
        from kvcalc.report.comparison import comparison_table

        table = comparison_table(comparison)
        if bounds:
            from kvcalc.report.roofline import with_roofline

            table = with_roofline(table, bounds)
        return [table]

    def records() -> list[Record]:
        rows: list[Record] = [*comparison.rows()]
        if bounds:
            from kvcalc.report.roofline import roofline_row

            return [{**row, **roofline_row(told)} for row, told in zip(rows, bounds, strict=True)]
        return rows

    out.write(records, tables)
