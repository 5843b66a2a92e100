"""Grids of workloads: every option a list, every combination of them asked.

Sizes are lists and ranges, ends included: '1k,8k,128k', '1k:1m:x2' (times 2), '1024:1024000:1024' (plus 1024).
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.request import SIZES, Request, flag_of, options_of_engines, parse_option, request_of, unit_of
from kvcalc.tuples import NamedTuple
from kvcalc.workload import Workload, parse_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_SIZES = 1_000_000  # of one option
MAX_SETTINGS = 10_000  # of all options but the two that a setting lists: each is formulas of its own


class Setting(NamedTuple):
    """One workload but for its context and batch, which take each of these; `contexts` None: the model's default."""

    workload: Workload
    contexts: tuple[int, ...] | None
    batches: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many workloads these are."""
        return len(self.contexts or (None,)) * len(self.batches)

    def requests(self) -> Iterator[Request]:
        """Each of them, the batch changing first."""
        for context in self.contexts or (None,):
            for batch in self.batches:
                yield Request(self.workload._replace(context_tokens=context or 0, batch=batch), context)


class Grid(NamedTuple):
    """Every workload asked for."""

    settings: tuple[Setting, ...]

    @property
    def size(self) -> int:
        """How many workloads these are."""
        return sum(setting.size for setting in self.settings)

    def requests(self) -> Iterator[Request]:
        """Each of them in order."""
        for setting in self.settings:
            yield from setting.requests()


def parse_grid(options: Mapping[str, str | Sequence[str] | None]) -> Grid:
    """Read options by name, each a list or, where it is a size, a range; None and absence are the default.

    Raises KvcalcError where a value is none, or where two of them contradict each other.
    """
    given = {name: text for name, text in options.items() if text is not None and name != "engine_option"}
    axes = {name: parse_axis(name, text if isinstance(text, str) else ",".join(text)) for name, text in given.items()}
    engines = [str(engine) for engine in axes.get("engine", ("paper",))]
    pairs = dict(zip(engines, options_of_engines(options.get("engine_option"), engines), strict=True))
    batches = tuple(int(size) for size in axes.pop("batch", (1,)))
    varied = "prompt" if "prompt" in axes and "context" not in axes else "context"
    sizes = tuple(int(size) for size in axes.pop(varied, ()))
    if prod(map(len, axes.values())) > MAX_SETTINGS:
        longest = max(axes, key=lambda name: len(axes[name]))
        message = f"{flag_of(longest)}: the combinations of all options are more than {MAX_SETTINGS:,}"
        raise KvcalcError(message, f"long ranges are for {flag_of(varied)} and --batch, which do not count")
    settings = []
    for values in product(*axes.values()):
        read: dict[str, Any] = dict(zip(axes, values, strict=True))
        read["engine_option"] = pairs[read.get("engine", "paper")]
        contexts = None
        for size in sizes and (min(sizes), max(sizes)):  # what holds for the ends holds between them
            request_of({**read, varied: size})
        if sizes:
            cached = int(read.get("cached", 0)) if varied == "prompt" else 0
            contexts = tuple(cached + size for size in sizes)
        workload = request_of({**read, varied: max(sizes)} if sizes else read).workload
        settings.append(Setting(workload._replace(context_tokens=0), contexts, batches))
    return Grid(tuple(settings))


def parse_axis(name: str, text: str) -> tuple[Any, ...]:
    """One option's values, each once."""
    if name in SIZES:
        return tuple(parse_sizes(text, flag_of(name), SIZES[name], unit_of(name)))
    return tuple(dict.fromkeys(parse_option(name, word.strip()) for word in text.split(",")))


def parse_sizes(text: str, option: str, least: int = 1, unit: str = "tokens") -> list[int]:
    """Exact sizes, each once, in the order given. Raises KvcalcError where one is no number of `least` or more."""
    sizes: dict[int, None] = {}
    for item in text.split(","):
        found = _range(item.strip(), option, least, unit) if ":" in item else [parse_tokens(item, option, least, unit)]
        if len(sizes) + len(found) > MAX_SIZES:
            raise KvcalcError(f"{option}: {text!r} is more than {MAX_SIZES:,} sizes", "take a larger step")
        sizes.update(dict.fromkeys(found))
    return list(sizes)


def _range(text: str, option: str, least: int, unit: str) -> Sequence[int]:
    """From the first to the last, which is the end itself where the steps pass it."""
    first, _, rest = text.partition(":")
    last, _, step = rest.partition(":")
    if not step or ":" in step:
        raise KvcalcError(f"{option}: {text!r} is no range", "write start:end:x2 or start:end:1024")
    start, stop = (parse_tokens(end, option, least, unit) for end in (first, last))
    if stop < start:
        raise KvcalcError(f"{option}: {text!r} ends before it starts", f"write {last}:{first}:{step}")
    if step[0] in "xX":
        return _times(start, stop, step[1:], text, option)
    by = parse_tokens(step, option, unit=unit)
    sizes = range(start, stop + 1, by)
    return sizes if sizes[-1] == stop or len(sizes) > MAX_SIZES else [*sizes, stop]


def _times(start: int, stop: int, factor: str, text: str, option: str) -> list[int]:
    if not factor.isascii() or not factor.isdigit() or len(factor) > 9 or int(factor) < 2:
        raise KvcalcError(f"{option}: {text!r}: x{factor} is no factor from 2", "write start:end:x2")
    if start == 0:
        raise KvcalcError(f"{option}: {text!r}: 0 times {factor} stays 0", f"write 0,1:{stop}:x{factor}")
    sizes = [start]
    while sizes[-1] * int(factor) <= stop:
        sizes.append(sizes[-1] * int(factor))
    return sizes if sizes[-1] == stop else [*sizes, stop]
