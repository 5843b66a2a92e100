"""`kvcalc show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelArgument, VariantsOption

if TYPE_CHECKING:
    from kvcalc.report.table import Table
    from kvcalc.rows import Record

app = typer.Typer(rich_markup_mode=None, add_completion=False)

RecomputeOption = Annotated[
    bool, typer.Option("--recompute", help="Also: attention as an RNN, what is kept and recomputed instead of a cache.")
]
ProvenanceOption = Annotated[
    bool, typer.Option("--provenance", help="Instead: which key, or which assumed default, each number came from.")
]


@app.command()
@with_options
def show(
    model: ModelArgument,
    request: kvcalc.Request,
    out: Output,
    provenance: ProvenanceOption = False,
    recompute: RecomputeOption = False,
    variants: VariantsOption = None,
) -> None:
    """Show one model in depth: what each group of like layers stores, keeps and reads; parameters; FLOPs by part.

    kvcalc show gemma-3-27b --context 128k

    kvcalc show deepseek-v3 --on 8xH200 --batch 64

    kvcalc show path/config.json --provenance
    """
    if provenance:
        _show_provenance(model, out)
        return
    comparison = kvcalc.compare(kvcalc.load_all(model), request, kvcalc.parse_variants(variants or "none"))
    out.tell(comparison.notes, comparison.warnings)
    shown = [(report, kvcalc.facts(report, recompute=recompute)) for report in comparison.reports]
    bounds = [kvcalc.least_times(report) for report in comparison.reports if report.workload.machine]

    def tables() -> list[Table]:
        from kvcalc.report.detail import detail_tables

        detailed = [detail_tables(report, found, recompute=recompute) for report, found in shown]
        for at, told in enumerate(bounds):
            from kvcalc.report.roofline import roofline_table

            detailed[at].append(roofline_table(told, comparison.reports[at].spec))
        return [table for several in detailed for table in several]

    def records() -> list[Record]:
        told: list[Record] = []
        for at, (report, found) in enumerate(shown):
            told += [{"model": report.spec.name, "variant": report.variant, **fact._asdict()} for fact in found]
            if bounds:
                from kvcalc.report.roofline import roofline_facts

                told += roofline_facts(report.spec.name, report.variant, bounds[at])
        return told

    out.write(records, tables)


def _show_provenance(model: str, out: Output) -> None:
    loaded = [(found.spec, found.origins) for found in kvcalc.read_source(model)]

    def tables() -> list[Table]:
        from kvcalc.report.detail import origin_table

        return [origin_table(spec.name, origins) for spec, origins in loaded]

    out.write(
        lambda: [{"model": spec.name, **origin._asdict()} for spec, origins in loaded for origin in origins], tables
    )
