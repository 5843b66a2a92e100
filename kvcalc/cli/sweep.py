"""`kvcalc sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

import kvcalc
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelsArgument, VariantsOption, load_models

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
@with_options
def sweep(
    models: ModelsArgument,
    grid: kvcalc.Grid,
    out: Output,
    variants: VariantsOption = None,
) -> None:
    """Every combination of the options as a row, for a spreadsheet: each option takes a list, a size also a range.

    kvcalc sweep llama-3.1-8b --context 1k,8k,128k --batch 1:256:x2 --format csv

    kvcalc sweep configs/*.yaml --context 1k:1m:x2 --dtype bf16,fp8 -o rows.parquet

    A range is start:end:x2 (times 2) or start:end:1024 (plus 1024), its end included.
    """
    swept = kvcalc.sweep(load_models(models), grid, kvcalc.parse_variants(variants or "none"))
    out.tell(swept.notes, swept.warnings)

    def tables() -> list[Table]:
        from kvcalc.report.sweep import sweep_table

        return [sweep_table(swept)]

    out.stream(lambda: out.watched(swept.blocks(), swept.length), tables)
