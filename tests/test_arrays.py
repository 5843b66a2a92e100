"""Operations over arrays: for every pair of numbers what the operation on integers gives, or its refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvcalc.errors import FormulaError
from kvcalc.formula import APPLY, parse

pytest.importorskip("numpy", reason="numpy is not installed")

from kvcalc.arrays import MOST, OPERATIONS, Exact, _array, _listed

EDGES = [0, 1, -1, 2**31, 2**53 + 1, MOST, MOST - 1, -MOST, MOST + 1, -MOST - 1, 2**64, 10**30]
NUMBER = st.one_of(st.integers(-50, 50), st.integers(-(2**70), 2**70), st.sampled_from(EDGES))
SIDE = st.lists(NUMBER, min_size=1, max_size=5)
NAMES = sorted(set(OPERATIONS) - {"**", "isqrt"})


def column(numbers: list[int]) -> Exact:
    return _array(numbers, (-1, 1))


def rows(numbers: list[int]) -> Exact:
    return _array(numbers, (1, -1))


def refusal(name: str, a: int, b: int) -> str:
    """What the operation says of two integers; '' where it has a result."""
    try:
        APPLY[name](a, b)
    except FormulaError as error:
        return error.message
    return ""


@pytest.mark.parametrize("name", NAMES)
@given(SIDE, SIDE)
def test_every_pair_as_integers_or_refused(name: str, left: list[int], right: list[int]) -> None:
    refusals = {message for a in left for b in right if (message := refusal(name, a, b))}
    if refusals:
        with pytest.raises(FormulaError) as error:
            OPERATIONS[name](column(left), rows(right))
        assert error.value.message in refusals
        return
    found = OPERATIONS[name](column(left), rows(right))
    assert isinstance(found, Exact)
    want = [APPLY[name](a, b) for a in left for b in right]
    assert _listed(found, (len(left), len(right))) == want
    assert found.least <= min(want) <= max(want) <= found.most
    assert (found.values.dtype == object) == (not -MOST <= found.least <= found.most <= MOST)


@pytest.mark.parametrize("name", NAMES)
@given(SIDE, NUMBER)
def test_a_number_on_either_side(name: str, numbers: list[int], one: int) -> None:
    cases = (
        ([(a, one) for a in numbers], (column(numbers), one)),
        ([(one, b) for b in numbers], (one, column(numbers))),
    )
    for pairs, sides in cases:
        if not any(refusal(name, a, b) for a, b in pairs):
            found = OPERATIONS[name](*sides)
            assert _listed(found, (len(numbers), 1)) == [APPLY[name](a, b) for a, b in pairs]


@given(st.lists(st.integers(0, 2**80), min_size=1, max_size=5))
def test_square_roots_round_down(numbers: list[int]) -> None:
    found = parse("isqrt(n)").evaluate_with({"n": column(numbers)}, OPERATIONS)
    for number, root in zip(numbers, _listed(found, (len(numbers), 1)), strict=True):  # type: ignore[arg-type]  # a list
        assert root**2 <= number < (root + 1) ** 2


@given(st.lists(st.integers(-99, 99), min_size=1, max_size=5), st.integers(0, 12))
def test_powers(numbers: list[int], power: int) -> None:
    found = OPERATIONS["**"](column(numbers), power)
    assert _listed(found, (len(numbers), 1)) == [number**power for number in numbers]


def test_a_power_too_large_is_refused_before_it_is_computed() -> None:
    with pytest.raises(FormulaError, match="too large"):
        OPERATIONS["**"](column([2, 10**12]), 10**9)


def test_a_result_too_large_is_refused_as_for_one_number() -> None:
    huge = OPERATIONS["*"](column([2**600, 2**400]), 2**500)
    with pytest.raises(FormulaError, match="too large"):
        _listed(huge, (2, 1))


def test_where_definitions_hold_over_arrays() -> None:
    pairs = parse("m*(m + 1)/2 + (n - m)*W where m = min(n, W)")
    found = pairs.evaluate_with({"n": column([1, 4, 5, 10**12]), "W": 4}, OPERATIONS)
    assert _listed(found, (4, 1)) == [pairs.evaluate({"n": n, "W": 4}) for n in (1, 4, 5, 10**12)]
