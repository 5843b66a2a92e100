"""`kvcalc explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.completion import complete_quantity
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelArgument, VariantsOption

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)


QuantityArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[QUANTITY]",
        help="A key of the JSON rows, such as cache_bytes; all of them where left out.",
        autocompletion=complete_quantity,
    ),
]


@app.command()
@with_options
def explain(
    model: ModelArgument,
    request: kvcalc.Request,
    out: Output,
    quantity: QuantityArgument = None,
    variants: VariantsOption = None,
) -> None:
    """Explain a number: its formula in symbols, with numbers, the result and the source.

    kvcalc explain deepseek-v2 cache_elements_per_token

    kvcalc explain deepseek-v3 decode_core_flops --mla-decode naive

    kvcalc explain llama-3.1-8b decode_least_seconds --on H100 --batch 64
    """
    comparison = kvcalc.compare(kvcalc.load_all(model), request, kvcalc.parse_variants(variants or "none"))
    out.tell(comparison.notes, comparison.warnings)
    explained = [(report, kvcalc.explain(report, quantity)) for report in comparison.reports]

    def tables() -> list[Table]:
        from kvcalc.report.explanation import explanation_table

        return [explanation_table(report, lines) for report, lines in explained]

    def text() -> str:
        from kvcalc.report.explanation import to_text

        return "\n".join(to_text(report, lines) for report, lines in explained)

    out.write(
        lambda: [
            {"model": report.spec.name, "variant": report.variant, **line._asdict()}
            for report, lines in explained
            for line in lines
        ],
        tables,
        text,
    )
