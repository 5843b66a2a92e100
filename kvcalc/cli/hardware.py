"""Options that name hardware."""

from __future__ import annotations

import inspect
from copy import copy
from typing import Annotated, get_args

import typer
from typer.models import OptionInfo

import kvcalc
from kvcalc.cli.completion import complete_machine
from kvcalc.cli.workload import make_request

OnListOption = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="HARDWARE",
        help="8xH100, H200, or 2x./mine.yaml; several by commas or repeated. `kvcalc list hardware` names those known.",
        autocompletion=complete_machine,
    ),
]
SOLVED = {
    "context": "Tokens in all, n: 32768, 32k, 1m. Left out: the largest that fits.",
    "batch": "Sequences. Left out: the most that fit.",
}
ASKED = (  # of the options of a request, those that decide what is reserved
    *("context", "batch", "shared_prefix", "dtype", "dtype_k", "dtype_v", "weight_dtype", "state_dtype"),
    *("encoder_tokens", "engine", "mtp", "tp", "pp", "dp", "ep", "cp", "engine_option"),
)


def make_question(**options: str | list[str] | int | None) -> kvcalc.Question:
    """Read the options of a request, of which context and batch may be left out. Raises KvcalcError."""
    return kvcalc.parse_question(options)


def _asked(parameter: inspect.Parameter) -> inspect.Parameter:
    """The same option; of context and batch, one that is not given is asked for."""
    if parameter.name not in SOLVED:
        return parameter
    kind, option = get_args(parameter.annotation)
    solved: OptionInfo = copy(option)
    solved.help = SOLVED[parameter.name]
    return parameter.replace(annotation=Annotated[kind | None, solved], default=None)


def question_options() -> list[inspect.Parameter]:
    """The options that `make_question` takes."""
    return [
        _asked(parameter)
        for name, parameter in inspect.signature(make_request, eval_str=True).parameters.items()
        if name in ASKED
    ]
