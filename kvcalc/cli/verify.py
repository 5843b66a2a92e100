"""`kvcalc verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.completion import complete_model
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output, complain

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A published config.json, its folder, or - for stdin.",
        autocompletion=complete_model,
        show_default=False,
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Instead: every type that the library knows, by its default config.")
]
PromptOption = Annotated[
    str | None,
    typer.Option("--prompt", metavar="TOKENS", help="Of the prefill. Default: enough to fill the model's windows."),
]


@app.command()
@with_options
def verify(out: Output, model: SourceArgument = None, every: AllOption = False, prompt: PromptOption = None) -> None:
    """Verify kvcalc's numbers against live code: the real model of a config, built without weights.

    Exit 0 where all agree, 1 where a number differs, 2 where it cannot be run.

    kvcalc verify path/config.json

    kvcalc verify --all -o docs/coverage.md
    """
    if every == (model is not None) or (every and prompt is not None):
        raise kvcalc.KvcalcError("verify takes a config, or --all alone", "kvcalc verify path/config.json")
    equal = _all(out) if model is None else _one(model, prompt, out)
    if not equal:
        raise typer.Exit(1)


def _one(model: str, prompt: str | None, out: Output) -> bool:
    tokens = None if prompt is None else kvcalc.parse_tokens(prompt, "--prompt")
    found = kvcalc.verify_source(model, tokens)

    def tables() -> list[Table]:
        from kvcalc.report.verified import verified_table

        return [verified_table(verified) for verified in found]

    out.write(lambda: [record for verified in found for record in verified.records()], tables)
    return all(verified.equal for verified in found)


def _all(out: Output) -> bool:
    told = (lambda _: None) if out.quiet else (lambda found: complain(f"{found.model_type}: {found.status}"))
    census = kvcalc.verify_all(tell=told)

    def tables() -> list[Table]:
        from kvcalc.report.verified import census_table

        return [census_table(census)]

    out.write(census.records, tables)
    return not census.number("different")
