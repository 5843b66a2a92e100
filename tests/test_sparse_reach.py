"""Reaches of sparse attention against a simulation that scores, selects and compresses token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvcalc.attention.blocks import Overlap, Pooled, Pools, Selected, Strided
from kvcalc.attention.reach import Reach, kept, pairs, seen, shared, touched
from kvcalc.attention.selection import Compressed, Remainder, Top
from kvcalc.quantity import Quantity

SMALL = st.integers(1, 9)


class Step(NamedTuple):
    """What token n reads, and what is held while it is processed, as ranges of tokens (first, last)."""

    reads: list[tuple[int, int]]
    holds: list[tuple[int, int]]


def score(n: int, key: int) -> int:
    """Any score at all: selection must not depend on which keys win."""
    return (n * 7919 + key * 104729) % 1009


def best(n: int, rows: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    return sorted(rows, key=lambda row: score(n, row[0]), reverse=True)[:k]


def complete(n: int, length: int, stride: int) -> list[tuple[int, int]]:
    """The rows that token n may read: blocks that end at or before it."""
    return [(first, first + length - 1) for first in range(1, n + 1, stride) if first + length - 1 <= n]


def step(reach: Reach, n: int) -> Step:
    tokens = [(t, t) for t in range(1, n + 1)]
    match reach:
        case Top(k):
            return Step(best(n, tokens, k), tokens)
        case Compressed(m, k):
            rows = complete(n, m, m)
            return Step(best(n, rows, k) if k else rows, rows)
        case Strided(length, stride):
            rows = complete(n, length, stride)
            return Step(rows, rows)
        case Selected(length, count):
            blocks = [(first, min(first + length - 1, n)) for first in range(1, n + 1, length)]
            chosen = best(n, blocks[:-1], count - 1) + blocks[-1:]
            return Step([(t, t) for first, last in chosen for t in range(first, last + 1)], tokens)
        case Pooled(m):
            return Step(complete(n, m, m), tokens)
        case Pools(m, count, tail):
            closed = complete(n, m, m)
            open_pool = tokens[closed[-1][1] if closed else 0 :] if tail else []
            return Step([(t, t) for a, z in best(n, closed, count) for t in range(a, z + 1)] + open_pool, tokens)
        case Remainder(m):
            closed = complete(n, m, m)
            return Step([], tokens[closed[-1][1] if closed else 0 :])
        case Overlap(m):
            closed = complete(n, m, m)
            return Step([], [(t, t) for first, last in closed[-1:] for t in range(first, last + 1)])
    raise AssertionError(reach)


REACHES = st.one_of(
    st.builds(Top, SMALL),
    st.builds(Compressed, SMALL, st.integers(0, 6)),
    st.builds(Selected, SMALL, st.integers(1, 6)),
    st.builds(Strided, SMALL, SMALL),
    st.builds(Pooled, SMALL),
    st.builds(Pools, SMALL, st.integers(1, 6), st.booleans()),
    st.builds(Remainder, SMALL),
    st.builds(Overlap, SMALL),
)


def answer(made: Callable[..., Quantity], reach: Reach, *names: str, **numbers: int) -> int:
    return made(reach, *names).evaluate(numbers)


@given(REACHES, st.integers(1, 70))
def test_seen_and_kept(reach: Reach, n: int) -> None:
    told = step(reach, n)
    assert answer(seen, reach, n=n) == len(told.reads)
    assert answer(kept, reach, n=n) == len(told.holds)


@given(REACHES, st.integers(0, 50), st.integers(1, 50))
def test_pairs(reach: Reach, cached: int, new: int) -> None:
    counted = sum(len(step(reach, t).reads) for t in range(cached + 1, cached + new + 1))
    assert answer(pairs, reach, "K", "n", K=cached, n=cached + new) == counted


@given(REACHES, st.integers(0, 25), st.integers(1, 25))
def test_recomputed_pairs(reach: Reach, n: int, new: int) -> None:
    counted = sum(len(step(reach, t).reads) for end in range(n + 1, n + new + 1) for t in range(1, end + 1))
    assert pairs(reach, "n", "n + T", recomputed=True).evaluate({"n": n, "T": new}) == counted


@given(REACHES, st.integers(0, 40), st.integers(1, 40))
def test_touched_is_what_is_there_to_choose_from(reach: Reach, cached: int, new: int) -> None:
    """A choice may fall on any key that is held: `touched` is the most that a call can read."""
    most = answer(touched, reach, "p", "s", p=cached, s=new)
    union = {row for t in range(cached + 1, cached + new + 1) for row in step(reach, t).reads}
    assert len(union) <= most
    assert most == (len(step(reach, cached + new).holds) if step(reach, 200).reads else 0)


@given(REACHES, st.integers(0, 40), st.integers(1, 40))
def test_rows_of_a_shared_prefix(reach: Reach, prefix: int, own: int) -> None:
    """Rows that the prefix alone makes are the same for the whole batch; what waits to become a row is not."""
    n = prefix + own
    held = step(reach, n)
    common = sum(last <= prefix for _, last in held.holds) if held.reads or step(reach, 200).reads else 0
    told = shared(reach, "n", kept(reach)).evaluate({"n": n, "S": prefix})
    assert told == common


@pytest.mark.parametrize(
    ("n", "tokens"), [(8192, 2047), (16384, 2559), (32768, 3583), (65536, 5631)], ids=["8k", "16k", "32k", "64k"]
)
def test_what_nsa_reads_in_a_decode_step(n: int, tokens: int) -> None:
    """Blocks of 32, stride 16, 16 blocks of 64, window 512; the paper's table counts n/16 rows, one more."""
    compressed, selected = Strided(32, 16), Selected(64, 16)
    assert answer(seen, compressed, n=n) + answer(seen, selected, n=n) + min(n, 512) == tokens
