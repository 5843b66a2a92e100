"""The least base of a geometric grid that supports a context: every point before it is proven to fail."""

from __future__ import annotations

from math import ceil, exp, log, log1p
from typing import TYPE_CHECKING

from kvcalc.breaches import breaches_at, first_breach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvcalc.breaches import Breaches

DEFAULT_STEP = 1e-4
KNOWN = 8  # distances that breached lately, which still may
BESIDE = 50  # as the base grows, what breaches moves on: so far it is looked for beside the latest
STRETCH = 512  # tokens that are looked through at first, where those fail


def least_base(
    context: int, head_dim: int, step: float = DEFAULT_STEP, told: Callable[[float], None] = lambda _: None
) -> float | None:
    """The least base of the grid L/2, L/2*(1 + step) ... 1000*L that supports a context of L; None: none does.

    `told` hears how far it is, from 0 to 1. A breach is followed over as many points as it lasts for certain; where no
    distance that is known breaches any more, all of them are looked through, those around it first.
    """
    grid, exponents = log1p(step), [2 * i / head_dim for i in range(head_dim // 2)]
    last = ceil(log(2000) / grid)
    start, k, wanted = log(context / 2), 0, 0.0
    known = [context]
    while k <= last:
        base = exp(start + k * grid)
        here = breaches_at(base, exponents, grid, last + 1 - k)
        points, m = _longest(here, known, wanted)
        if points < 2:
            beside = range(known[0], min(context, known[0] + BESIDE) + 1)
            points, m = max((points, m), _longest(here, beside, 2))
        if not points:
            found = _anywhere(here, known[0], context)
            if found is None:
                return base
            points, m = _longest(here, range(found, min(context, found + BESIDE) + 1), float("inf"))
        known = [m, *(old for old in known if old != m)][:KNOWN]
        wanted = 0.3 * points
        k += points
        told(min(1.0, k / last))
    return None


def _longest(here: Breaches, distances: Iterable[int], enough: float) -> tuple[int, int]:
    """Points that the breach lasts that lasts longest, or the first that lasts long enough, and its distance."""
    best = (0, 0)
    for m in distances:
        best = max(best, (here.lasts(m), m))
        if best[0] > enough:
            break
    return best


def _anywhere(here: Breaches, around: int, context: int) -> int | None:
    """Any distance up to the context with a breach; None: there is none."""
    for first, last in _outward(around, context):
        m = first_breach(here.thetas, first, last)
        if m is not None:
            return m
    return None


def _outward(around: int, last: int) -> Iterator[tuple[int, int]]:
    """Stretches that make up 0 to `last`, from `around` outward."""
    low, high, width = around, around - 1, STRETCH
    while low > 0 or high < last:
        yield high + 1, min(last, high + width)
        yield max(0, low - width), low - 1
        low, high, width = max(0, low - width), min(last, high + width), 2 * width
