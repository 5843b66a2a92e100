"""`kvcalc explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvcalc.cli.output import ColorOption, FormatOption, Output, OutputOption, QuietOption
from kvcalc.cli.workload import (
    BatchOption,
    CachedOption,
    ContextOption,
    DtypeKOption,
    DtypeOption,
    DtypeVOption,
    GenerateOption,
    KvCacheOption,
    MlaDecodeOption,
    MlaPrefillOption,
    ModelArgument,
    PromptOption,
    SharedPrefixOption,
    WeightDtypeOption,
    make_request,
)

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)


def complete_quantity(incomplete: str) -> list[str]:
    """Complete the row keys."""
    from kvcalc.comparison import KEYS

    return [key for key in KEYS if key.startswith(incomplete)]


QuantityArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[QUANTITY]",
        help="A key of the JSON rows; all of them where left out.",
        autocompletion=complete_quantity,
    ),
]


@app.command()
def explain(
    model: ModelArgument,
    quantity: QuantityArgument = None,
    context: ContextOption = None,
    prompt: PromptOption = None,
    cached: CachedOption = None,
    generate: GenerateOption = None,
    batch: BatchOption = 1,
    shared_prefix: SharedPrefixOption = None,
    kv_cache: KvCacheOption = "on",
    dtype: DtypeOption = "bf16",
    dtype_k: DtypeKOption = None,
    dtype_v: DtypeVOption = None,
    weight_dtype: WeightDtypeOption = "bf16",
    mla_decode: MlaDecodeOption = "absorbed",
    mla_prefill: MlaPrefillOption = "naive",
    format_: FormatOption = None,
    output: OutputOption = None,
    color: ColorOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Explain a number: its formula in symbols, with numbers, the result and the source.

    kvcalc explain deepseek-v2 cache_elements_per_token

    kvcalc explain deepseek-v3 decode_core_flops --mla-decode naive
    """
    from kvcalc.comparison import compare
    from kvcalc.explanation import explain as explain_report
    from kvcalc.readers.load import load

    request = make_request(
        context=context,
        prompt=prompt,
        cached=cached,
        generate=generate,
        batch=batch,
        shared_prefix=shared_prefix,
        kv_cache=kv_cache,
        dtype=dtype,
        dtype_k=dtype_k,
        dtype_v=dtype_v,
        weight_dtype=weight_dtype,
        mla_decode=mla_decode,
        mla_prefill=mla_prefill,
    )
    comparison = compare(load(model), request, [])
    out = Output(format_, output, color, quiet)
    out.tell(comparison.notes, comparison.warnings)
    explained = [(report, explain_report(report, quantity)) for report in comparison.reports]

    def tables() -> list[Table]:
        from kvcalc.report.explanation import explanation_table

        return [explanation_table(report, lines) for report, lines in explained]

    def text() -> str:
        from kvcalc.report.explanation import to_text

        return "\n".join(to_text(report, lines) for report, lines in explained)

    out.write(
        lambda: [{"model": report.spec.name, **line._asdict()} for report, lines in explained for line in lines],
        tables,
        text,
    )
