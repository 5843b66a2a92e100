"""`kvcalc check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.completion import complete_model
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import DtypeKOption, DtypeOption, DtypeVOption, WeightDtypeOption
from kvcalc.errors import KvcalcError
from kvcalc.rows import Block

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)

FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...",
        help="Config files, model folders, bundled names, or - for stdin.",
        autocompletion=complete_model,
    ),
]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", metavar="FILE", help="What numbers may be: kvcalc-budget.yaml.")
]
TpOption = Annotated[
    int | None,
    typer.Option("--tp", metavar="N", min=1, max=1 << 20, help="Ranks of tensor parallelism that must divide heads."),
]
IgnoreOption = Annotated[
    str | None, typer.Option("--ignore", metavar="CODES", help="Codes that are not told, by commas: KV105,KV108.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Warnings fail the check too.")]
BaseOption = Annotated[
    str | None,
    typer.Option("--base", metavar="REF", help="max_increase is from the files of this git revision: origin/main."),
]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline", metavar="FILE", help="max_increase is from the rows of `kvcalc compare --format json`."),
]


@app.command()
@with_options
def check(
    files: FilesArgument,
    ci_out: Output,
    budget: BudgetOption = None,
    tp: TpOption = None,
    ignore: IgnoreOption = None,
    strict: StrictOption = False,
    base: BaseOption = None,
    baseline: BaselineOption = None,
    dtype: DtypeOption = "bf16",
    dtype_k: DtypeKOption = None,
    dtype_v: DtypeVOption = None,
    weight_dtype: WeightDtypeOption = None,
) -> None:
    """Check configs: valid, understood, within budgets, and nothing an expert would frown at.

    kvcalc check configs/*.yaml

    kvcalc check config.json --tp 8 --strict --ignore KV105

    kvcalc check configs/*.yaml --budget kvcalc-budget.yaml --base origin/main --format github

    Exit code 0: fine, 1: errors or exceeded budgets (--strict: warnings too), 2: it could not run.
    """
    if [*files, baseline].count("-") > 1:
        raise KvcalcError("- is stdin, and can be given once")
    if base is not None and baseline is not None:
        raise KvcalcError("--base and --baseline exclude each other", "old configs, or old numbers")
    dtypes = {"dtype": dtype, "dtype_k": dtype_k, "dtype_v": dtype_v, "weight_dtype": weight_dtype}
    found = kvcalc.check(
        files,
        budgets=None if budget is None else kvcalc.read_budgets(budget),
        tp=tp or 0,
        ignore=() if ignore is None else kvcalc.parse_codes(ignore),
        dtypes=kvcalc.parse_request(dtypes).workload,
        base=base,
        baseline=baseline,
    )
    _write(found, ci_out)
    if found.failed(strict=strict):
        raise typer.Exit(1)


def _write(found: kvcalc.Check, out: Output) -> None:
    def blocks() -> list[Block]:
        from kvcalc.report.findings import records
        from kvcalc.rows import blocks_of

        return blocks_of(records(found.findings)) or [Block(0, {key: [] for key in kvcalc.Finding._fields})]

    def tables() -> list[Table]:
        return []  # every format that has one is below

    def text() -> str:
        from kvcalc.report.findings import to_text

        return to_text(found)

    def markdown() -> str:
        from kvcalc.report.findings import to_comment

        return to_comment(found)

    def github() -> str:
        from kvcalc.cli.summary import append_summary
        from kvcalc.report.github import to_github

        append_summary(markdown())
        return to_github(found.findings)

    def sarif() -> str:
        from kvcalc.report.sarif import to_sarif

        return to_sarif(found.findings)

    def junit() -> str:
        from kvcalc.report.junit import to_junit

        return to_junit(found.findings, found.paths)

    out.stream(blocks, tables, text, {"markdown": markdown, "github": github, "sarif": sarif, "junit": junit})
