"""`kvcalc verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelArgument

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PromptOption = Annotated[
    str | None,
    typer.Option("--prompt", metavar="TOKENS", help="Of the prefill. Default: enough to fill the model's windows."),
]


@app.command()
@with_options
def verify(model: ModelArgument, out: Output, prompt: PromptOption = None) -> None:
    """Verify kvcalc's numbers against live code: the real model of a config, built without weights.

    kvcalc verify path/config.json
    """
    tokens = None if prompt is None else kvcalc.parse_tokens(prompt, "--prompt")
    found = kvcalc.verify_source(model, tokens)

    def tables() -> list[Table]:
        from kvcalc.report.verified import verified_table

        return [verified_table(verified) for verified in found]

    out.write(lambda: [record for verified in found for record in verified.records()], tables)
    if not all(verified.equal for verified in found):
        raise typer.Exit(1)
