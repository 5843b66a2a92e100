"""`kvcalc compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelsArgument
from kvcalc.workload import Request

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)

VariantsOption = Annotated[
    str | None,
    typer.Option(
        "--variants",
        "-v",
        metavar="LIST",
        help="mha, gqa-8, mqa, mla, mla-512+64, mla-512+64/1536, swa-4096, by commas; or none. Default: all that make "
        "sense beside one model, none beside several.",
    ),
]


@app.command()
@with_options
def compare(
    models: ModelsArgument,
    request: Request,
    out: Output,
    variants: VariantsOption = None,
) -> None:
    """Compare models, or one model rebuilt with every attention variant that makes sense.

    kvcalc compare deepseek-v2

    kvcalc compare llama-3.1-8b --variants mha,gqa-4,mla-512+64,swa-4096 --context 128k

    kvcalc compare mistral-7b-v0.1 gemma-3-27b my.yaml --format csv
    """
    from kvcalc.comparison import compare as compare_models
    from kvcalc.readers.load import load
    from kvcalc.variants import parse_variants

    wanted = None if variants is None else parse_variants(variants)
    comparison = compare_models([spec for source in models for spec in load(source)], request, wanted)
    out.tell(comparison.notes, comparison.warnings)

    def tables() -> list[Table]:
        from kvcalc.report.comparison import comparison_table

        return [comparison_table(comparison)]

    out.write(comparison.rows, tables)
