"""`kvcalc report`."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

import kvcalc
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output, QuietOption
from kvcalc.cli.workload import ModelsArgument, VariantsOption, load_models

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PageOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page to FILE, whole or not at all.")
]
SLIDERS = ("context", "prompt", "batch")  # what the page itself sets
ELSEWHERE = ("output", "quiet")


@app.command()
@with_options
def report(
    typed: typer.Context,
    models: ModelsArgument,
    request: kvcalc.Request,
    output: PageOption = None,
    quiet: QuietOption = False,
    variants: VariantsOption = None,
) -> None:
    """Write one self-contained page to look at: numbers, plots, layers and formulas, which compute as you move sliders.

    kvcalc report deepseek-v2 -o report.html

    kvcalc report gemma-3-27b llama-3.1-8b --engine paper,vllm --context 128k -o report.html
    """
    if output == "":
        raise kvcalc.KvcalcError("-o: cannot be written: it names no file")
    ending = os.path.splitext(output or "")[1]
    if ending not in ("", ".html", ".htm"):
        raise kvcalc.KvcalcError(f"-o: a page is no {ending!r:.20}", "-o report.html")
    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise kvcalc.KvcalcError("a page is nothing to read in a terminal", "-o report.html, or a pipe")
    out = Output("page", output, "never", quiet)
    specs = load_models(models)
    contexts = {spec.name: request.of(spec).context_tokens for spec in specs}
    shortest = min(contexts, key=contexts.__getitem__)
    request = request._replace(context_tokens=contexts[shortest])  # one for all: what the page's slider sets
    comparison = kvcalc.compare(specs, request, None if variants is None else kvcalc.parse_variants(variants))
    if len(set(contexts.values())) > 1:
        told = f"the page begins at {contexts[shortest]:,} tokens, the limit of {shortest}; --context sets another"
        comparison = comparison._replace(notes=(*comparison.notes, told))
    out.tell(comparison.notes, comparison.warnings)

    from kvcalc.report.page.document import page

    names = ", ".join(spec.name for spec in specs)
    words = _words(typed, "report", left_out=("quiet",))
    out.put([page(comparison, names, words, _words(typed, "compare", left_out=(*SLIDERS, *ELSEWHERE)))])


def _words(typed: typer.Context, command: str, left_out: tuple[str, ...]) -> list[str]:
    """The command as it was typed, by words; of the file to write the name alone, as its folder is nobody's matter."""
    options, models = ["kvcalc", command], []
    for parameter in typed.command.params:
        name = str(parameter.name)
        source = typed.get_parameter_source(name)
        if name in left_out or source is None or source.name != "COMMANDLINE":
            continue
        value = typed.params[name]
        values = value if isinstance(value, list | tuple) else [value]
        if name == "output":
            values = [os.path.basename(value)]
        if name == "models":
            models = [shlex.quote(one) for one in values]
            continue
        for one in values:
            options += [max(parameter.opts, key=len), shlex.quote(str(one))]
    return [*options[:2], *models, *options[2:]]
