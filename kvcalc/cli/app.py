"""The typer app. A command's module is imported when the command is called, not before."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from kvcalc import __version__
from kvcalc.cli.output import complain
from kvcalc.errors import KvcalcError, did_you_mean

COMMANDS = {  # name: its module, and the line that `kvcalc --help` shows
    "compare": ("kvcalc.cli.compare", "Compare models, or one model rebuilt with every attention variant."),
    "show": ("kvcalc.cli.show", "Show one model in depth: layers, parameters, cache and FLOPs by part."),
    "explain": ("kvcalc.cli.explain", "Explain a number: its formula, with numbers, its source."),
    "fit": ("kvcalc.cli.fit", "Say what fits on hardware: the budget, the largest context or batch, exactly."),
    "diff": ("kvcalc.cli.diff", "Show what a change of configs does: fields and numbers, old -> new."),
    "check": ("kvcalc.cli.check", "Check configs: valid, understood, within budgets, and what an expert would say."),
    "sweep": ("kvcalc.cli.sweep", "Sweep contexts, batches and dtypes: every combination as a row."),
    "plot": (
        "kvcalc.cli.plot",
        "Plot results against context, batch or devices, or a roofline: here or as a file.",
    ),
    "verify": ("kvcalc.cli.verify", "Verify the numbers against live code: the real model, built without weights."),
    "list": ("kvcalc.cli.listing", "List the bundled models with their attention, or the hardware known."),
    "report": ("kvcalc.cli.report", "Write one self-contained page: numbers, plots, layers and formulas that compute."),
    "rope": ("kvcalc.cli.rope", "The context that a RoPE base supports, or the least base for a context."),
    "convert": ("kvcalc.cli.convert", "Write a model of any source as native YAML."),
    "schema": ("kvcalc.cli.schema", "Print the JSON Schema of configs, budgets or output rows."),
}
EPILOG = (
    "Conventions: 1 multiply-add = 2 FLOPs, matmuls only. The context n counts the token being processed: prefill is "
    "n tokens from nothing, n(n+1)/2 causal pairs; the decode step is the one that processes token n. A window keeps "
    "min(n, W) tokens. k and m are powers of 1024, GiB is 2^30 bytes.\n\n"
    "Examples:\n\n"
    "kvcalc compare deepseek-v2\n\n"
    "kvcalc compare my.yaml --context 128k --format csv\n\n"
    "kvcalc explain llama-3.1-8b cache_bytes"
)


USAGE: Any = typer.BadParameter.__bases__[0]  # what typer raises for words that it does not understand


class LazyGroup(TyperGroup):
    """Knows its commands by name; imports one when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # click's signature
        """Name the commands in their order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command, or say which one was meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"No such command {args[0]!r}. {hint[:1].upper()}{hint[1:]}".rstrip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands' lines without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"kvcalc {__version__}")
        raise typer.Exit


@app.callback()
def kvcalc(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """KV-cache memory and attention FLOPs of any LLM, exact, with the formula shown."""


def run() -> None:
    """Run the command line: exit 0, or 2 with one message on stderr."""
    try:
        code = typer.main.get_command(app).main(prog_name="kvcalc", standalone_mode=False)
    except USAGE as error:
        told = io.StringIO()
        error.show(told)
        complain(told.getvalue().rstrip("\n"))
        sys.exit(2)
    except KvcalcError as error:
        complain(f"kvcalc: {error}")
        sys.exit(2)
    except OSError as error:  # typer's own output, such as --help, to a full disk
        complain(f"kvcalc: cannot be written: {error.strerror}")
        sys.stdout = None  # nothing is left to flush at the exit
        sys.exit(2)
    sys.exit(code or 0)
