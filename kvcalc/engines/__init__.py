"""Engines: what a program holds of a model's layers. 'paper' is what the model itself needs.

An engine is one file here that reads layers and never changes them; models know nothing of engines, and no engine
changes what is computed. A new one is a file with an ENGINE and a line in ENGINES. `tokens`, `store` and `state` say
what counts as cached; `reserve` says what a server sets aside for it, in bytes on one device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from kvcalc.engines.ranks import even_stages, evenly
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

    from kvcalc.attention.memory import State, Store
    from kvcalc.attention.reach import Reach
    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.hardware.accelerator import Accelerator
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node, Quantity
    from kvcalc.workload import Workload

    Setting: TypeAlias = int | bool | str
    Settings: TypeAlias = Mapping[str, Setting]

ENGINES = {  # name: its module
    "paper": "kvcalc.engines.paper",
    "transformers": "kvcalc.engines.transformers",
    "vllm": "kvcalc.engines.vllm",
    "sglang": "kvcalc.engines.sglang",
    "llamacpp": "kvcalc.engines.llamacpp",
    "tensorrt-llm": "kvcalc.engines.tensorrt_llm",
}


class Option(NamedTuple):
    """An option of an engine: what it is where it is not given, the words it takes where it takes words, and why.

    A default that is a number takes numbers from `least`, one that is True or False takes on and off.
    """

    default: Setting
    what: str
    words: tuple[str, ...] = ()
    least: int = 0


class Reserve(NamedTuple):
    """Bytes on one device of a stage, as formulas of n and B, the batch of its group: set aside for it, held in decode.

    `waste`: what is reserved beyond `paper_bytes`, by name; parts may be negative. `used`: the options that mattered.
    """

    reserved: Node
    held: Node
    waste: Node | None = None
    used: tuple[str, ...] = ()


class Pool(NamedTuple):
    """What a budget of bytes on one device becomes: blocks (None: it has none), tokens, and requests at one time.

    `concurrency` None: the engine says none. `fits`: whether it starts, and takes the workload's batch of this length.
    `aside`: bytes of it that are kept for the states of requests beyond the workload's batch.
    """

    fits: bool
    blocks: int | None
    tokens: int
    concurrency: float | None
    aside: int = 0


class Taking(NamedTuple):
    """What an engine takes of a device where nobody says: a share of its memory, and why, with its source.

    `after_weights`: the share is of what the weights leave, and is for the cache alone.
    """

    share: Fraction
    why: str
    after_weights: bool = False


class Engine(NamedTuple):
    """Its name, and what it holds.

    `tokens`: of a reach at position n. `store` and `state`: the formulas of the elements that a token leaves and that
    a sequence keeps. `versions`, the newest first. `reserve` of one stage of its pipeline, None: it sets nothing aside
    but what it caches. `by_reading`: none of its code was run. `ranks`: how it spreads a model over devices. `stages`:
    layers of each stage, of so many layers on so many. `spread`: what devices are for, of a workload's ways, where
    nobody says.
    `by_heads`: each device has down projections and those of an index whole, and K and V of a head of its own.
    `even_experts`: groups of experts are of one size.
    `taking`: of a device of so many bytes; None: all of it. `of_device`: options whose defaults hang on the device.
    """

    name: str
    tokens: Callable[[Reach, str], Quantity]
    store: Callable[[Store], str]
    state: Callable[[State], str]
    versions: tuple[str, ...] = ()
    options: Mapping[str, Option] = {}  # never mutated: a NamedTuple default
    reserve: Callable[[ModelSpec, Workload, Stage], Reserve] | None = None
    by_reading: bool = False
    pool: Callable[[ModelSpec, Workload, int, Stage], Pool] | None = None
    taking: Callable[[ModelSpec, Workload, int], Taking] | None = None
    of_device: Callable[[Accelerator], tuple[tuple[str, str], ...]] | None = None
    ranks: Callable[[Workload], Ranks] = evenly
    stages: Callable[[int, int], list[int]] = even_stages
    spread: str = "tensor_parallel"
    by_heads: bool = False
    even_experts: bool = False


def engine_of(name: str) -> Engine:
    """The engine of a name."""
    engine: Engine = import_module(ENGINES[name]).ENGINE
    return engine
