"""Engines: what a program holds of a model's layers. 'paper' is what the model itself needs.

An engine is one file here that reads layers and never changes them; models know nothing of engines, and no engine
changes what is computed. A new one is a file with an ENGINE and a line in ENGINES.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.attention.memory import State, Store
    from kvcalc.attention.reach import Reach
    from kvcalc.quantity import Quantity

ENGINES = {  # name: its module
    "paper": "kvcalc.engines.paper",
    "transformers": "kvcalc.engines.transformers",
}


class Engine(NamedTuple):
    """Its name, and what it holds.

    `tokens`: of a reach at position n. `store` and `state`: the formulas of the elements that a token leaves and that
    a sequence keeps.
    """

    name: str
    tokens: Callable[[Reach, str], Quantity]
    store: Callable[[Store], str]
    state: Callable[[State], str]


def engine_of(name: str) -> Engine:
    """The engine of a name."""
    engine: Engine = import_module(ENGINES[name]).ENGINE
    return engine
