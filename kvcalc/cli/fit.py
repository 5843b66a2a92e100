"""`kvcalc fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.hardware import OnListOption
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelArgument, load_models
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.report.table import Table
    from kvcalc.rows import Record

app = typer.Typer(rich_markup_mode=None, add_completion=False)

BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", metavar="BYTES", help="Instead of --on: bytes for the cache on each device, as 40GiB."),
]
ReserveOption = Annotated[
    str | None,
    typer.Option("--reserve", metavar="BYTES", help="Set aside on each device, for activations say: 4GiB. Default: 0."),
]
UtilizationOption = Annotated[
    str | None,
    typer.Option(
        "--utilization", metavar="SHARE", help="Of a device's memory that is used: 0.9, 90%. Default: the engine's."
    ),
]


@app.command()
@with_options
def fit(
    model: ModelArgument,
    question: kvcalc.Question,
    out: Output,
    on: OnListOption = None,
    budget: BudgetOption = None,
    reserve: ReserveOption = None,
    utilization: UtilizationOption = None,
) -> None:
    """Say whether a model fits, with the budget line by line; of --context and --batch, one left out is solved for.

    kvcalc fit llama-3.1-8b --on H100 --context 32k

    kvcalc fit deepseek-v3 --on 8xH100,8xH200 --context 32k --batch 16

    kvcalc fit gemma-3-27b --budget 40GiB --engine vllm

    With both left out: the largest batch at each context. Exit code 0: it fits (on one of several), 1: it does not, 2:
    it could not run.
    """
    places = kvcalc.parse_places(on or [], budget, reserve, utilization)
    specs = load_models([model])
    if len(specs) != 1:
        raise KvcalcError(f"{model}: {len(specs)} models in one file", "fit takes one")
    found = kvcalc.fits(specs[0], question, places)
    out.tell(found.notes, found.warnings)

    def tables() -> list[Table]:
        from kvcalc.report.fit import fit_tables

        return fit_tables(found.answers)

    def records() -> list[Record]:
        return [one.row() for one in found.answers]

    out.write(records, tables)
    if not any(one.fits for one in found.answers):
        raise typer.Exit(1)
