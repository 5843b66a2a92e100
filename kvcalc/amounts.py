"""Amounts as people write them, '40 GiB', '3.2 PFLOPs', '5%', read exactly; and exact amounts, written for people.

The metric, a key of the rows, decides the unit. GiB is 2^30 bytes and GB 10^9; k and m of tokens are powers of 1024;
all other letters are powers of 1000. Nothing here is a float: a limit is held to the last byte.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.report.units import bytes_binary, decimal, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

_LETTERS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_BINARY = {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTPE", 1)}
BYTES = {"": 1, "B": 1, "bytes": 1, **{f"{letter}B": size for letter, size in _LETTERS.items()}, "KB": 10**3, **_BINARY}
FLOPS = {
    f"{letter}{word}": size
    for letter, size in {"": 1, **_LETTERS, "K": 10**3}.items()
    for word in ("FLOPs", "FLOP", "")
}
COUNTS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
SECONDS: Mapping[str, int | str] = {"": 1, "s": 1, "ms": "1/1000", "us": "1/1000000", "ns": "1/1000000000"}
TOKENS = {"": 1, "tokens": 1, "k": 1024, "K": 1024, "m": 1024**2, "M": 1024**2}
UNITS: dict[str, tuple[Mapping[str, int | str], str]] = {  # of each kind of metric, and an example
    "bytes": (BYTES, "40 GiB, 40 GB, or the number of bytes"),
    "FLOPs": (FLOPS, "3.2 PFLOPs, or 10T"),
    "elements": (COUNTS, "1.5M (10^6), or 8B (10^9)"),
    "parameters": (COUNTS, "8B (10^9), or 350M (10^6)"),
    "tokens": (TOKENS, "32k (32 x 1024), or 32768"),
    "seconds": (SECONDS, "12.5 ms, 40 us, or 0.0125"),
    "tokens a second": (COUNTS, "1500, or 1.5k (10^3)"),
    "ratio": ({"": 1}, "0.25"),
}
MEASURED = ("ratio", "seconds", "tokens a second")  # what is no whole number
_NUMBER = r"(?P<number>[0-9][0-9_,]{0,40}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})"
_AMOUNT = re.compile(rf"{_NUMBER}\s*(?P<unit>[A-Za-z]*)")
_PERCENT = re.compile(rf"{_NUMBER}\s*%")


def kind_of(metric: str) -> str:
    """What a key of the rows counts: one of UNITS."""
    words = metric.split("_")
    if "second" in words:
        return "tokens a second"
    for kind in ("bytes", "FLOPs", "elements", "parameters", "tokens", "seconds"):
        if kind.lower() in words:
            return kind
    return "ratio"


def parse_amount(written: str | float, metric: str, where: str) -> Fraction:
    """The exact amount of this metric. Raises KvcalcError, naming `where`, with what would be right."""
    from fractions import Fraction

    kind = kind_of(metric)
    units = UNITS[kind][0]
    match = _AMOUNT.fullmatch(_text(written))
    if match is None:
        what = "a percentage, which only a rise can be" if _PERCENT.fullmatch(_text(written)) else "no amount"
        raise KvcalcError(f"{where}: {_shown(written)} is {what}", _right(metric))
    unit = match["unit"]
    if unit not in units:
        of = _foreign(unit, kind)
        known = "" if of else did_you_mean(unit, units)
        told = f"{unit!r} is a unit of {of}" if of else f"unknown unit {unit!r}"
        raise KvcalcError(f"{where}: {_shown(written)}: {told}", f"{known} {_right(metric)}".strip())
    amount = Fraction(_digits(match)) * Fraction(units[unit])
    if unit == "" and kind not in MEASURED and amount.denominator != 1:
        raise KvcalcError(f"{where}: {_shown(written)} is no whole number", _right(metric))
    return amount


def parse_percent(written: str | float) -> Fraction | None:
    """The share that '5%' is, exactly; None where it is no percentage."""
    from fractions import Fraction

    match = _PERCENT.fullmatch(_text(written))
    return Fraction(_digits(match)) / 100 if match else None


def in_full(metric: str, value: int | Fraction) -> str:
    """For people and exact: '2.000 GiB (2,147,483,648 bytes)', '34,560 elements', '1.5'."""
    kind = kind_of(metric)
    if kind in MEASURED[1:]:
        written = duration(abs(float(value))) if kind == "seconds" else f"{decimal(abs(float(value)))} tokens/s"
        return f"{'-' if value < 0 else ''}{written}"
    exact = _exactly(value)
    if kind == "ratio":
        return exact
    size = -value if value < 0 else value
    if kind == "bytes" and size >= 1024:
        return f"{_signed(value, bytes_binary)} ({exact} bytes)"
    if kind == "FLOPs" and size >= 1000:
        return f"{_signed(value, decimal)}FLOPs ({exact})"
    return f"{exact} {kind.removesuffix('s') if value == 1 else kind}"


def percent(share: Fraction) -> str:
    """'5%', '12.35%': four digits at most."""
    return f"{float(share * 100):.4g}%"


def _signed(value: int | Fraction, write: Callable[[int], str]) -> str:
    return f"{'-' if value < 0 else ''}{write(round(-value if value < 0 else value))}"


def _exactly(value: int | Fraction) -> str:
    """All its digits; a fraction that has no end as the fraction it is, after four digits of it."""
    numerator, denominator = value.as_integer_ratio()
    if denominator == 1:
        return f"{numerator:,}"
    rest = denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{numerator / denominator:.4g} ({numerator:,}/{denominator:,})"
    places = next(at for at in range(1, 200) if 10**at % denominator == 0)
    digits = abs(numerator) * 10**places // denominator
    sign = "-" if numerator < 0 else ""
    return f"{sign}{digits // 10**places:,}.{digits % 10**places:0{places}}"


def _text(written: str | float) -> str:
    """A number in YAML as its digits: repr of a float has those that were written, up to 15 of them."""
    return written.strip() if isinstance(written, str) else repr(written)


def _shown(written: str | float) -> str:
    return repr(written[:60] if isinstance(written, str) else written)


def _digits(match: re.Match[str]) -> str:
    return match["number"].replace("_", "").replace(",", "")


def _right(metric: str) -> str:
    kind = kind_of(metric)
    return f"{metric} {'is a plain number' if kind == 'ratio' else f'counts {kind}'}: write {UNITS[kind][1]}"


def _foreign(unit: str, kind: str) -> str | None:
    """The other kind of metric that has this unit, where only one has."""
    owners = [other for other, (units, _) in UNITS.items() if unit in units and other != kind]
    return owners[0] if len(owners) == 1 else None
