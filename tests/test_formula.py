"""The expression engine: exact, explained by its own text, and bounded."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvcalc.errors import FormulaError
from kvcalc.formula import MAX_DEPTH, parse

SYMBOLS = {"n_h": 128, "d_c": 512, "d_h^R": 64, "d_c'": 1536, "n": 7, "W": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2*n_h*d_c", 131072),
        ("d_c + d_h^R", 576),
        ("d_c'*n_h", 196608),
        ("n*(n + 1)/2", 28),
        ("min(n, W) + max(n, W)", 11),
        ("ceil_div(n, W)", 2),
        ("isqrt(n*n + 1)", 7),
        ("n//W*10 + n%W", 13),
        ("-n + 10", 3),
        ("2 - -n", 9),
        ("-2**2", -4),
        ("2**3**2", 512),
        ("2*n - 3*W - 1", 1),
        ("m*(m + 1)/2 + (n - m)*W where m = min(n, W)", 22),
        ("a*b where a = min(n, W), b = max(a, 3)", 16),
    ],
)
def test_value(text: str, expected: int) -> None:
    assert parse(text).evaluate(SYMBOLS) == expected


def test_symbols_in_their_order_without_defined_ones() -> None:
    assert parse("m*W where m = min(n, W)").symbols() == ("W", "n")


def test_numbers_put_in() -> None:
    assert parse("2*d_c'*n_h*(d_c + d_h^R)").with_numbers(SYMBOLS) == "2*1536*128*(512 + 64)"
    shown = parse("m*(m + 1)/2 where m = min(n, W)").with_numbers(SYMBOLS)
    assert shown == "4*(4 + 1)/2 where m = min(7, 4) = 4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends too early"),
        ("2*", "ends too early"),
        ("2 n", "expected an operator"),
        ("n^2", r"write \*\*"),
        ("(n", r"expected '\)'"),
        ("n_x", "n_h"),
        ("mim(n, W)", "did you mean min"),
        ("min(n)", "expected ','"),
        ("n/0", "division by zero"),
        ("n//0", "division by zero"),
        ("n%0", "division by zero"),
        ("7/2", "not divisible"),
        ("2**2**2**99", "too large"),
        ("10**400", "too large"),
        ("2**-1", "negative power"),
        ("isqrt(-4)", "square root"),
        ("9" * 31, "too large"),
        ("n*" * 600 + "n", "too long"),
        ("(" * (MAX_DEPTH + 2) + "n" + ")" * (MAX_DEPTH + 2), "too deeply"),
        ("-" * 200 + "n", "too deeply"),
        ("__import__('os')", "unexpected"),
        ("__import__(n, W)", "unknown function"),
        ("n.real", "unexpected"),
        ("lambda: n", "unexpected"),
        ("2*)", r"unexpected '\)' at column 3, expected a number"),
        ("2*(n + /W)", "unexpected '/' at column 8, expected a number"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(FormulaError) as refusal:
        parse(text).evaluate(SYMBOLS)
    assert re.search(message, str(refusal.value))


@given(st.text(alphabet="nW0123456789+-*/%(), minaxce_l.^'[]", max_size=60))
def test_any_text_is_a_number_or_one_error(text: str) -> None:
    with suppress(FormulaError):
        assert isinstance(parse(text).evaluate(SYMBOLS), int)


@given(
    st.recursive(
        st.integers(0, 50).map(str) | st.sampled_from(["n", "W"]),
        lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        max_leaves=8,
    )
)
def test_arithmetic_is_pythons(text: str) -> None:
    n, w = SYMBOLS["n"], SYMBOLS["W"]
    assert parse(text).evaluate(SYMBOLS) == eval(text, {"n": n, "W": w})  # noqa: S307  # a second derivation
