"""Numbers for people: four digits, the right unit, and no rounding up into the next one."""

from __future__ import annotations

import pytest

from kvcalc.errors import KvcalcError
from kvcalc.report.units import bytes_binary, count, decimal, ratio, tokens
from kvcalc.workload import parse_dtype, parse_tokens


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.000 KiB"),
        (2264924160, "2.109 GiB"),
        (2**30 - 1, "1.000 GiB"),
        (1000 * 2**20, "1,000 MiB"),
        (1048555520, "1,000 MiB"),
        (471482869760, "439.1 GiB"),
        (2**60, "1,024 PiB"),
        (None, "-"),
    ],
)
def test_bytes(value: int | None, written: str) -> None:
    assert bytes_binary(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(999, "999"), (999_999, "1.000 M"), (999_960_000_000, "1.000 T"), (565515386880, "565.5 G"), (241.7777, "241.8")],
)
def test_decimal(value: float, written: str) -> None:
    assert decimal(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(56.8888, "56.89x"), (999.97, "1,000x"), (0.125, "0.1250x"), (None, "-")]
)
def test_ratio(value: float | None, written: str) -> None:
    assert ratio(value) == written


def test_counts() -> None:
    assert (count(34560), tokens(1), tokens(32768)) == ("34,560", "1 token", "32,768 tokens")


@pytest.mark.parametrize(("text", "expected"), [("32768", 32768), ("32k", 32768), ("1M", 1048576), ("32,768", 32768)])
def test_tokens_are_exact_powers_of_1024(text: str, expected: int) -> None:
    assert parse_tokens(text, "--context") == expected


@pytest.mark.parametrize("text", ["", "k", "0", "-1", "1.5k", "1g", "9" * 14, "1e6", "٣"])
def test_what_is_no_number_of_tokens(text: str) -> None:
    with pytest.raises(KvcalcError, match="--context"):
        parse_tokens(text, "--context")


def test_dtypes() -> None:
    assert parse_dtype("BFloat16", "--dtype") == "bf16"
    with pytest.raises(KvcalcError, match="did you mean"):
        parse_dtype("in8", "--dtype")
