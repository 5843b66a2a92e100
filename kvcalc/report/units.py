"""Numbers for people. Rounding happens here and nowhere else; GiB is 2^30 bytes, GFLOPs 10^9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Mapping

_BINARY = ((1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_DECIMAL = ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def count(value: int | None) -> str:
    """Write '34,560', or '-' where it does not apply."""
    return "-" if value is None else f"{value:,}"


def tokens(value: int) -> str:
    """Write '32,768 tokens', '1 token'."""
    return f"{value:,} token{'' if value == 1 else 's'}"


def bytes_binary(value: int | None) -> str:
    """Write '2.109 GiB'."""
    return "-" if value is None else _scaled(value, _BINARY, "B")


def decimal(value: float | None) -> str:
    """Write '12.34 G'."""
    return "-" if value is None else _scaled(value, _DECIMAL, "")


def _scaled(value: float, units: tuple[tuple[int, str], ...], smallest: str) -> str:
    """The largest unit of which there is one after rounding."""
    for size, name in units:
        if float(f"{value / size:.4g}") >= 1:
            return f"{_four_digits(value / size)} {name}"
    exact = f"{value:,}" if isinstance(value, int) else _four_digits(value)
    return f"{exact} {smallest}".rstrip()


def duration(seconds: float | None) -> str:
    """Write '12.34 ms'."""
    if seconds is None:
        return "-"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= size:
            return f"{_four_digits(seconds / size)} {unit}"
    return f"{_four_digits(seconds / 1e-9)} ns" if seconds else "0 s"


def ratio(value: float | None) -> str:
    """Write '0.0176x'."""
    return "-" if value is None else f"{_four_digits(value)}x"


def _four_digits(value: float) -> str:
    """Four significant digits, and never fewer than the whole part has."""
    rounded = f"{value:#.4g}"
    return f"{value:,.0f}" if float(rounded) >= 1000 else rounded


def spread(sizes: Mapping[str, object]) -> str:
    """The ways a model is spread, of a row: '8 devices', 'tp 4, pp 2'; '' where it is not."""
    told = {option: sizes[key] for key, option in PARALLEL.items() if sizes.get(key, 1) != 1}
    if list(told) == ["tp"]:
        return f"{told['tp']} devices"
    return ", ".join(f"{option} {size}" for option, size in told.items())
