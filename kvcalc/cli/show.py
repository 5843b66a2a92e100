"""`kvcalc show`."""

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

ProvenanceOption = Annotated[
    bool, typer.Option("--provenance", help="Instead: which key, or which assumed default, each number came from.")
]


@app.command()
def show(
    model: ModelArgument,
    provenance: ProvenanceOption = False,
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
    """Show one model in depth: what each group of like layers stores, keeps and reads; parameters; FLOPs by part.

    kvcalc show gemma-3-27b --context 128k

    kvcalc show path/config.json --provenance
    """
    out = Output(format_, output, color, quiet)
    if provenance:
        _show_provenance(model, out)
        return
    from kvcalc.comparison import compare
    from kvcalc.detail import facts
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
    out.tell(comparison.notes, comparison.warnings)
    shown = [(report, facts(report)) for report in comparison.reports]

    def tables() -> list[Table]:
        from kvcalc.report.detail import detail_tables

        return [table for report, found in shown for table in detail_tables(report, found)]

    out.write(
        lambda: [{"model": report.spec.name, **fact._asdict()} for report, found in shown for fact in found], tables
    )


def _show_provenance(model: str, out: Output) -> None:
    from kvcalc.readers.load import load_with_origins

    loaded = load_with_origins(model)

    def tables() -> list[Table]:
        from kvcalc.report.detail import origin_table

        return [origin_table(spec.name, origins) for spec, origins in loaded]

    out.write(
        lambda: [{"model": spec.name, **origin._asdict()} for spec, origins in loaded for origin in origins], tables
    )
