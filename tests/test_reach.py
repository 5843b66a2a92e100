"""Every formula of every reach against a brute-force mask, token by token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvcalc.attention.reach import Chunk, Full, Reach, Window, kept, pairs, seen, touched

SMALL = st.integers(1, 14)
REACHES = st.one_of(st.just(Full()), st.builds(Window, SMALL, st.integers(1, 5)), st.builds(Chunk, SMALL))


def sees(reach: Reach, query: int, key: int) -> bool:
    """Whether token `query` attends to token `key`, both from 1: the mask itself."""
    if key > query:
        return False
    match reach:
        case Window(window, dilation):
            offset = query - key
            return offset % dilation == 0 and offset // dilation < window
        case Chunk(chunk):
            return (query - 1) // chunk == (key - 1) // chunk
        case _:
            return True


def keys(reach: Reach, query: int) -> set[int]:
    return {key for key in range(1, query + 1) if sees(reach, query, key)}


@given(REACHES, st.integers(1, 60))
def test_seen(reach: Reach, n: int) -> None:
    assert seen(reach).evaluate({"n": n}) == len(keys(reach, n))


@given(REACHES, st.integers(1, 60))
def test_pairs(reach: Reach, n: int) -> None:
    assert pairs(reach, "0", "n").evaluate({"n": n}) == sum(len(keys(reach, t)) for t in range(1, n + 1))


@given(REACHES, st.integers(0, 40), st.integers(1, 40))
def test_pairs_of_a_chunked_prefill(reach: Reach, cached: int, new: int) -> None:
    counted = sum(len(keys(reach, t)) for t in range(cached + 1, cached + new + 1))
    assert pairs(reach, "K", "n").evaluate({"K": cached, "n": cached + new}) == counted


@given(REACHES, st.integers(0, 40), st.integers(1, 40))
def test_touched(reach: Reach, cached: int, new: int) -> None:
    union = set().union(*(keys(reach, t) for t in range(cached + 1, cached + new + 1)))
    assert touched(reach, "p", "s").evaluate({"p": cached, "s": new}) == len(union)


@given(REACHES, st.integers(0, 30), st.integers(1, 30))
def test_recomputed_pairs(reach: Reach, n: int, answer: int) -> None:
    """Each step of an answer without a cache attends over the whole prefix anew."""
    counted = sum(len(keys(reach, t)) for end in range(n + 1, n + answer + 1) for t in range(1, end + 1))
    assert pairs(reach, "n", "n + T", recomputed=True).evaluate({"n": n, "T": answer}) == counted


@given(REACHES, st.integers(1, 50))
@settings(max_examples=60)
def test_kept_is_what_later_queries_still_need(reach: Reach, n: int) -> None:
    """The oldest key that token n or any later one sees marks what must be held; a chunk's edge empties it."""
    future = range(n, n + 80)
    needed = {key for query in future for key in keys(reach, query) if key <= n}
    span = n - min(needed) + 1
    assert kept(reach).evaluate({"n": n}) == span


def test_a_rolling_buffer_holds_a_window() -> None:
    """Slot i mod W: after n tokens min(n, W) slots are taken, and they hold the last W tokens."""
    window, slots = 7, {}
    for token in range(1, 30):
        slots[token % window] = token
        assert len(slots) == kept(Window(window)).evaluate({"n": token})
        assert set(slots.values()) == keys(Window(window), token)


@pytest.mark.parametrize(("n", "window"), [(32768, 4096), (4096, 4096), (100, 128), (1, 1), (10**9, 1)])
def test_the_textbook_form_of_window_pairs(n: int, window: int) -> None:
    """n*W - W(W-1)/2 for n >= W, n(n+1)/2 before."""
    expected = n * (n + 1) // 2 if n <= window else n * window - window * (window - 1) // 2
    assert pairs(Window(window), "0", "n").evaluate({"n": n}) == expected
