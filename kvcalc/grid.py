"""Sizes as lists and ranges, ends included: '1k,8k,128k', '1k:1m:x2' (times 2), '1024:1024000:1024' (plus 1024)."""

from __future__ import annotations

from kvcalc.errors import KvcalcError
from kvcalc.workload import parse_tokens

MAX_SIZES = 10_000_000


def parse_sizes(text: str, option: str, least: int = 1) -> list[int]:
    """Exact sizes, each once, in the order given. Raises KvcalcError where one is no number of `least` or more."""
    sizes: dict[int, None] = {}
    for item in text.split(","):
        if ":" in item:
            sizes.update(dict.fromkeys(_range(item.strip(), option, least)))
        else:
            sizes[parse_tokens(item, option, least)] = None
        if len(sizes) > MAX_SIZES:
            raise _too_many(text, option)
    return list(sizes)


def _range(text: str, option: str, least: int) -> list[int]:
    """From the first to the last, which is the end itself where the steps pass it."""
    first, _, rest = text.partition(":")
    last, _, step = rest.partition(":")
    start, stop = parse_tokens(first, option, least), parse_tokens(last, option, least)
    if stop < start:
        raise KvcalcError(f"{option}: {text!r} ends before it starts", f"write {last}:{first}:{step or 'x2'}")
    if not step or ":" in step:
        raise KvcalcError(f"{option}: {text!r} is no range", "write start:end:x2 or start:end:1024")
    if step[0] in "xX":
        return _times(start, stop, step[1:], text, option)
    by = parse_tokens(step, option)
    if (stop - start) // by >= MAX_SIZES:
        raise _too_many(text, option)
    sizes = list(range(start, stop + 1, by))
    return sizes if sizes[-1] == stop else [*sizes, stop]


def _times(start: int, stop: int, factor: str, text: str, option: str) -> list[int]:
    if not factor.isascii() or not factor.isdigit() or len(factor) > 9 or int(factor) < 2:
        raise KvcalcError(f"{option}: {text!r}: x{factor} is no factor from 2", "write start:end:x2")
    if start == 0:
        raise KvcalcError(f"{option}: {text!r}: 0 times {factor} stays 0", f"write 0,1:{stop}:x{factor}")
    sizes = [start]
    while sizes[-1] * int(factor) <= stop:
        sizes.append(sizes[-1] * int(factor))
    return sizes if sizes[-1] == stop else [*sizes, stop]


def _too_many(text: str, option: str) -> KvcalcError:
    return KvcalcError(f"{option}: {text!r} is more than {MAX_SIZES:,} sizes", "take a larger step")
