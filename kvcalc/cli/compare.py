"""`kvcalc compare`."""

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
def compare(
    models: ModelsArgument,
    request: kvcalc.Request,
    out: Output,
    variants: VariantsOption = None,
) -> None:
    """Compare models, or one model rebuilt with every attention variant that makes sense.

    kvcalc compare deepseek-v2

    kvcalc compare llama-3.1-8b --variants mha,gqa-4,mla-512+64,swa-4096 --context 128k

    kvcalc compare mistral-7b-v0.1 gemma-3-27b my.yaml --format csv

    kvcalc compare llama-3.1-8b --on H100,H200,B200 --batch 64
    """
    wanted = None if variants is None else kvcalc.parse_variants(variants)
    comparison = kvcalc.compare(load_models(models), request, wanted)
    out.tell(comparison.notes, comparison.warnings)

    def tables() -> list[Table]:
        from kvcalc.report.comparison import comparison_table

        return [comparison_table(comparison)]

    out.write(comparison.rows, tables)
