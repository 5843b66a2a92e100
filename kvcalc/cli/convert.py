"""`kvcalc convert`."""

from __future__ import annotations

import typer

import kvcalc
from kvcalc.cli.output import Output, OutputOption
from kvcalc.cli.workload import ModelArgument

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def convert(model: ModelArgument, output: OutputOption = None) -> None:
    """Write a model of any source as native YAML, which reads back as the same model.

    kvcalc convert path/config.json -o my.yaml

    kvcalc convert model.gguf

    A field that is absent means that the model does not have the thing. Comments of the source are not kept.
    """
    text = kvcalc.to_yaml(kvcalc.load_all(model))
    Output("table", output, color="never", quiet=False).put([text])
