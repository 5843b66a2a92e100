"""`kvcalc compare`."""

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
    ModelsArgument,
    PromptOption,
    SharedPrefixOption,
    WeightDtypeOption,
    make_request,
)

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
def compare(
    models: ModelsArgument,
    variants: VariantsOption = None,
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
    """Compare models, or one model rebuilt with every attention variant that makes sense.

    kvcalc compare deepseek-v2

    kvcalc compare llama-3.1-8b --variants mha,gqa-4,mla-512+64,swa-4096 --context 128k

    kvcalc compare mistral-7b-v0.1 gemma-3-27b my.yaml --format csv
    """
    from kvcalc.comparison import compare as compare_models
    from kvcalc.readers.load import load
    from kvcalc.variants import parse_variants

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
    wanted = None if variants is None else parse_variants(variants)
    comparison = compare_models([spec for source in models for spec in load(source)], request, wanted)
    out = Output(format_, output, color, quiet)
    out.tell(comparison.notes, comparison.warnings)

    def tables() -> list[Table]:
        from kvcalc.report.comparison import comparison_table

        return [comparison_table(comparison)]

    out.write(comparison.rows, tables)
