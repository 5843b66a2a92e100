"""`kvcalc diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.completion import complete_model
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import grid_options
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.report.table import Table

MOST_WORKLOADS = 10_000

app = typer.Typer(rich_markup_mode=None, add_completion=False)

SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OLD NEW | FILE...]",
        help="Two sources: bundled names, config files, model folders, or - for stdin. With --base: files and folders, "
        "all changed configs where none is given. With --baseline: today's models.",
        autocompletion=complete_model,
    ),
]
BaseOption = Annotated[
    str | None, typer.Option("--base", metavar="REF", help="Old files are those of this git revision: origin/main.")
]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline", metavar="FILE", help="Old numbers are the rows of `kvcalc compare --format json`."),
]
ExitCodeOption = Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where anything differs, as git does.")]


@app.command()
@with_options
def diff(
    ctx: typer.Context,
    grid: kvcalc.Grid,
    ci_out: Output,
    sources: SourcesArgument = None,
    base: BaseOption = None,
    baseline: BaselineOption = None,
    exit_code: ExitCodeOption = False,
) -> None:
    """Show what a change of configs does: every field and every number that differs, old -> new.

    kvcalc diff old.yaml new.yaml --context 8k,128k

    kvcalc diff --base origin/main --format markdown

    kvcalc diff --baseline rows.json configs/*.yaml --exit-code
    """
    findings: tuple[kvcalc.Finding, ...] = ()
    named = sources or []
    if base is not None and baseline is not None:
        raise KvcalcError("--base and --baseline exclude each other", "old configs, or old numbers")
    if grid.size > MOST_WORKLOADS:
        raise KvcalcError(f"{grid.size:,} workloads are more than {MOST_WORKLOADS:,}", "kvcalc sweep takes any number")
    files = [name for name in named if name not in kvcalc.names()]
    if baseline is not None:
        _refuse_workload(ctx)
        found = kvcalc.diff_baseline(baseline, named)
    elif base is not None:
        history = kvcalc.pairs_since(base, named)
        findings, files = history.findings, list(history.files)
        found = kvcalc.diff(history.pairs, grid.requests())
    else:
        found = kvcalc.diff(kvcalc.pair_sources(*_old_and_new(named)), grid.requests())
    _write(found, findings, files, ci_out)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(2)
    if exit_code and found.models:
        raise typer.Exit(1)


def _old_and_new(named: list[str]) -> tuple[str, str]:
    if len(named) == 2:
        return named[0], named[1]
    message = f"diff takes two sources, OLD and NEW, not {len(named)}"
    raise KvcalcError(message, "or --base REF for what git knows, or --baseline FILE for numbers of an earlier run")


def _refuse_workload(ctx: typer.Context) -> None:
    """Every row of a baseline has its own workload."""
    for name in (option.name for option in grid_options()):
        if ctx.params.get(name) not in (None, [], ()):
            flag = f"--{name.replace('_', '-')}"
            raise KvcalcError(f"{flag} contradicts --baseline", "each of its rows is asked for its own workload again")


def _write(found: kvcalc.Diff, findings: tuple[kvcalc.Finding, ...], files: list[str], out: Output) -> None:
    """Write the result. Tables, Markdown and CI formats hold what is wrong as well; rows do not, and stderr does."""

    def tables() -> list[Table]:
        from kvcalc.report.difference import difference_tables

        return difference_tables(found, findings)

    def markdown() -> str:
        from kvcalc.report.comment import to_comment

        return to_comment(found, findings)

    def everything() -> list[kvcalc.Finding]:
        from kvcalc.report.difference import change_findings

        return [*findings, *change_findings(found)]

    def github() -> str:
        from kvcalc.cli.summary import append_summary
        from kvcalc.report.github import to_github

        append_summary(markdown())
        return to_github(everything())

    def sarif() -> str:
        from kvcalc.report.sarif import to_sarif

        return to_sarif(everything())

    def junit() -> str:
        from kvcalc.report.junit import to_junit

        return to_junit(everything(), files)

    if out.chosen() in ("json", "jsonl", "csv", "tsv"):
        from kvcalc.cli.output import complain
        from kvcalc.report.places import place

        for finding in findings:
            if finding.severity == "error" or not out.quiet:
                complain(f"{finding.severity}: {place(finding)}: {finding.message} ({finding.code})")
    out.stream(found.blocks, tables, more={"markdown": markdown, "github": github, "sarif": sarif, "junit": junit})
