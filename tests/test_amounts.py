"""Amounts are read exactly, and written so that they can be read again."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvcalc import amounts
from kvcalc.amounts import BYTES, COUNTS, FLOPS, TOKENS, in_full, kind_of, parse_amount, parse_percent, percent
from kvcalc.budgets import METRICS
from kvcalc.errors import KvcalcError
from kvcalc.rows import REALS

WHOLE = st.integers(min_value=0, max_value=10**30)
# A metric of each kind, its units, and what one of each is.
UNITS = [
    *[("cache_bytes", unit, size) for unit, size in BYTES.items()],
    *[("decode_core_flops", unit, size) for unit, size in FLOPS.items()],
    *[("cache_elements", unit, size) for unit, size in COUNTS.items()],
    *[("parameters", unit, size) for unit, size in COUNTS.items()],
    *[("receptive_field_tokens", unit, size) for unit, size in TOKENS.items()],
]


@pytest.mark.parametrize(
    ("written", "metric", "amount"),
    [
        ("40 GiB", "cache_bytes", 42_949_672_960),
        ("40GB", "cache_bytes", 40_000_000_000),
        ("512MiB", "cache_bytes_per_token", 536_870_912),
        ("0.1 kB", "cache_bytes", 100),
        (42_949_672_960, "weight_bytes", 42_949_672_960),
        ("1,024", "cache_bytes", 1024),
        ("3.2 PFLOPs", "prefill_model_flops", 3_200_000_000_000_000),
        ("10T", "decode_core_flops", 10**13),
        ("1 GFLOP", "decode_core_flops", 10**9),
        ("1.5M", "cache_elements", 1_500_000),
        ("8B", "parameters", 8 * 10**9),
        ("32k", "receptive_field_tokens", 32_768),
        ("1m", "receptive_field_tokens", 1_048_576),
        ("131072", "receptive_field_tokens", 131_072),
        (0.1, "decode_intensity", Fraction(1, 10)),
        (".25", "decode_intensity", Fraction(1, 4)),
        ("9007199254740993", "cache_bytes", 9_007_199_254_740_993),  # 2^53 + 1: no double is that number
    ],
)
def test_what_people_write_is_what_it_says(written: str | float, metric: str, amount: int | Fraction) -> None:
    assert parse_amount(written, metric, "max") == amount


@pytest.mark.parametrize(
    ("written", "metric", "parts"),
    [
        (
            "40 GiB",
            "decode_core_flops",
            ["'GiB' is a unit of bytes", "counts FLOPs: write 3.2 PFLOPs"],
        ),
        ("40 TFLOPs", "cache_bytes", ["'TFLOPs' is a unit of FLOPs", "cache_bytes counts bytes: write 40 GiB"]),
        ("40 Gib", "cache_bytes", ["unknown unit 'Gib'", "did you mean GiB"]),
        ("40 Gb", "cache_bytes", ["unknown unit 'Gb'", "did you mean GB"]),  # gigabits
        ("1 TFLOPS", "decode_core_flops", ["unknown unit 'TFLOPS'", "did you mean TFLOPs"]),  # per second
        ("5%", "cache_bytes", ["'5%' is a percentage, which only a rise can be"]),
        ("1.5", "cache_bytes", ["'1.5' is no whole number"]),
        ("1.5", "parameters", ["'1.5' is no whole number"]),
        ("8 GB", "decode_intensity", ["'GB' is a unit of bytes", "decode_intensity is a plain number"]),
        ("-5", "cache_bytes", ["'-5' is no amount"]),
        ("", "cache_bytes", ["'' is no amount"]),
        ("1e9", "cache_bytes", ["'1e9' is no amount"]),
        (1e300, "cache_bytes", ["is no amount"]),
        (float("inf"), "cache_bytes", ["is no amount"]),
        ("1" * 100, "cache_bytes", ["is no amount"]),
        ("\u0661 GiB", "cache_bytes", ["is no amount"]),
    ],
)
def test_what_is_no_amount_is_refused_with_what_would_be_right(
    written: str | float, metric: str, parts: list[str]
) -> None:
    with pytest.raises(KvcalcError) as refused:
        parse_amount(written, metric, "max")
    assert str(refused.value).startswith("max: ")
    for part in parts:
        assert part in str(refused.value)


@given(WHOLE, st.integers(0, 6), st.sampled_from(UNITS), st.sampled_from(["", " ", "  "]))
def test_a_decimal_times_a_unit_is_exact(number: int, places: int, unit: tuple[str, str, int], blank: str) -> None:
    metric, name, size = unit
    amount = Fraction(number, 10**places) * size
    digits = f"{number:0{places + 1}}"
    written = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}" if places else digits
    if name or amount.denominator == 1:
        assert parse_amount(f"{written}{blank}{name}", metric, "max") == amount
    else:
        with pytest.raises(KvcalcError, match="no whole number"):
            parse_amount(f"{written}{blank}{name}", metric, "max")


@given(st.floats(min_value=0.0001, max_value=10**15, allow_nan=False))
def test_a_number_in_yaml_is_its_shortest_decimal(number: float) -> None:
    assert float(parse_amount(number, "decode_intensity", "max")) == number


@given(WHOLE, st.sampled_from([metric for metric in METRICS if metric not in REALS]))
def test_a_whole_number_is_written_with_every_digit(number: int, metric: str) -> None:
    digits = f"{number:,}"
    assert re.search(rf"(^|\(){re.escape(digits)}( |\)|$)", in_full(metric, number))
    assert parse_amount(digits, metric, "max") == number


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_a_fraction_is_written_exactly(over: int, under: int) -> None:
    number = Fraction(over, under)
    written = in_full("decode_intensity", number).replace(",", "")
    if inner := re.fullmatch(r".*\((-?\d+)/(\d+)\)", written):
        assert Fraction(int(inner[1]), int(inner[2])) == number
    else:
        assert Fraction(written) == number


@given(st.integers(0, 10**6), st.integers(0, 4))
def test_a_percentage_is_exact(number: int, places: int) -> None:
    written = f"{number // 10**places}.{number % 10**places:0{places}}%" if places else f"{number}%"
    assert parse_percent(written) == Fraction(number, 10**places * 100)
    assert parse_percent(written[:-1]) is None


@pytest.mark.parametrize(
    ("metric", "number", "written"),
    [
        ("cache_bytes", 42_949_672_960, "40.00 GiB (42,949,672,960 bytes)"),
        ("cache_bytes", 1023, "1,023 bytes"),
        ("cache_bytes", 1, "1 byte"),
        ("cache_bytes", Fraction(13107, 2), "6.400 KiB (6,553.5 bytes)"),
        ("cache_bytes", -2048, "-2.000 KiB (-2,048 bytes)"),
        ("decode_core_flops", 12_340_000_000, "12.34 GFLOPs (12,340,000,000)"),
        ("decode_core_flops", 999, "999 FLOPs"),
        ("parameters", 8_030_261_248, "8,030,261,248 parameters"),
        ("receptive_field_tokens", 131_072, "131,072 tokens"),
        ("decode_intensity", Fraction(1, 3), "0.3333 (1/3)"),
        ("decode_intensity", Fraction(7, 2), "3.5"),
        ("decode_least_seconds", Fraction(1, 80), "12.50 ms"),
        ("decode_least_seconds", Fraction(-1, 80), "-12.50 ms"),
        ("decode_tokens_per_second_at_most", Fraction(12345), "12.35 k tokens/s"),
    ],
)
def test_amounts_for_people(metric: str, number: int | Fraction, written: str) -> None:
    assert in_full(metric, number) == written


def test_percentages_for_people() -> None:
    assert [percent(Fraction(5, 100)), percent(Fraction(1, 3))] == ["5%", "33.33%"]


def test_every_metric_has_a_unit() -> None:
    assert {kind_of(metric) for metric in METRICS} == set(amounts.UNITS)
    assert [metric for metric in METRICS if kind_of(metric) == "ratio"] == ["decode_intensity", "waste_ratio"]
