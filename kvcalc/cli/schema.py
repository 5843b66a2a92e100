"""`kvcalc schema`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

import kvcalc
from kvcalc.cli.output import Output, OutputOption

app = typer.Typer(rich_markup_mode=None, add_completion=False)

OfArgument = Annotated[
    Literal["config", "budget", "hardware", "rows"],
    typer.Argument(
        help="A native config, a budget or hardware file, or the rows that compare and sweep write as JSON."
    ),
]


@app.command()
def schema(of: OfArgument = "config", output: OutputOption = None) -> None:
    """Print the JSON Schema of a config, a budget file or the output rows, for editors and validators.

    kvcalc schema > kvcalc.schema.json

    A config whose first line is "# yaml-language-server: $schema=kvcalc.schema.json" is then completed and checked
    by any editor with the YAML language server.
    """
    text = json.dumps(kvcalc.json_schema(of), indent=2) + "\n"
    Output("json", output, color="never", quiet=False).put([text])
