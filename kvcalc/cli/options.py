"""A command asks for a `request`, a `grid` or an `out`, and its users get the options of these, everywhere the same."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

from kvcalc.cli.hardware import make_question, question_options
from kvcalc.cli.output import make_ci_output, make_output, make_picture
from kvcalc.cli.workload import grid_options, make_grid, make_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAKERS: dict[str, Callable[..., Any]] = {
    "request": make_request,
    "grid": make_grid,
    "question": make_question,
    "out": make_output,
    "ci_out": make_ci_output,
    "picture": make_picture,
}
OPTIONS = {"grid": grid_options, "question": question_options}  # of those whose signature does not say them


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameters of a command that MAKERS can make by the parameters of what makes them.

    An option that the command has itself is the command's alone.
    """
    own = inspect.signature(command, eval_str=True).parameters
    taken = {
        name: {option.name: option for option in _options_of(name) if option.name not in own}
        for name in own
        if name in MAKERS
    }

    @wraps(command)
    def run(**values: Any) -> None:  # whatever typer parsed
        made = {name: MAKERS[name](**{key: values.pop(key) for key in keys}) for name, keys in taken.items()}
        command(**values, **made)

    kept = [parameter for name, parameter in own.items() if name not in MAKERS]
    options = [parameter for parameters in taken.values() for parameter in parameters.values()]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what inspect.signature reads first
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*kept, *options)]
    )
    return run


def _options_of(name: str) -> Iterable[inspect.Parameter]:
    if name in OPTIONS:
        return OPTIONS[name]()
    return inspect.signature(MAKERS[name], eval_str=True).parameters.values()
