"""Lists and ranges of sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvcalc import KvcalcError, parse_sizes


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("1k,8k,128k", [1024, 8192, 131072]),
        ("1k:8k:x2", [1024, 2048, 4096, 8192]),
        ("1024:4096:1024", [1024, 2048, 3072, 4096]),
        ("1:256:x4", [1, 4, 16, 64, 256]),
        ("1k:10k:x2", [1024, 2048, 4096, 8192, 10240]),
        ("1000:4000:1500", [1000, 2500, 4000]),
        ("1000:5000:1500", [1000, 2500, 4000, 5000]),
        ("5:5:x2", [5]),
        ("5:5:1", [5]),
        ("8k,1k,8k", [8192, 1024]),
        ("4,1:4:x2", [4, 1, 2]),
        (" 1k , 2k ", [1024, 2048]),
    ],
)
def test_sizes_are_listed_in_order_each_once(text: str, sizes: list[int]) -> None:
    assert parse_sizes(text, "--context") == sizes


def test_zero_only_where_it_means_something() -> None:
    assert parse_sizes("0,4k", "--cached", 0) == [0, 4096]
    with pytest.raises(KvcalcError, match="from 1"):
        parse_sizes("0,4k", "--context")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a number"),
        ("1k,", "not a number"),
        ("8k:1k:x2", "ends before it starts"),
        ("1k:8k", "no range"),
        ("1k:8k:1k:1k", "no range"),
        ("1k:8k:x1", "no factor"),
        ("1k:8k:x", "no factor"),
        ("1k:8k:x0", "no factor"),
        ("1k:8k:0", "not a number"),
        ("1:1000000000000:1", "more than 1,000,000"),
        ("1:900000:1,1000001:1900001:1", "more than 1,000,000"),
    ],
)
def test_what_is_no_grid_is_refused(text: str, told: str) -> None:
    with pytest.raises(KvcalcError, match=told):
        parse_sizes(text, "--context")


def test_zero_cannot_be_multiplied() -> None:
    with pytest.raises(KvcalcError, match="stays 0"):
        parse_sizes("0:8:x2", "--cached", 0)


@given(st.integers(1, 10**6), st.integers(0, 10**5), st.integers(10, 10**4))
def test_both_ends_are_in_a_range(start: int, length: int, step: int) -> None:
    sizes = parse_sizes(f"{start}:{start + length}:{step}", "--context")
    assert sizes[0] == start
    assert sizes[-1] == start + length
    assert sizes == sorted(set(sizes))
    assert all(b - a == step for a, b in pairwise(sizes[:-1]))
