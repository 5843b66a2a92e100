"""Numbers for people. Rounding happens here and nowhere else; GiB is 2^30 bytes, GFLOPs 10^9."""

from __future__ import annotations

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
    if value is None:
        return "-"
    for unit, name in _BINARY:
        if value >= unit:
            return f"{_four_digits(value / unit)} {name}"
    return f"{value} B"


def decimal(value: float | None, unit: str = "") -> str:
    """Write '12.34 G', '12.34 GFLOP'."""
    if value is None:
        return "-"
    for size, prefix in _DECIMAL:
        if value >= size:
            return f"{_four_digits(value / size)} {prefix}{unit}"
    return f"{value:.4g} {unit}".rstrip()


def ratio(value: float | None) -> str:
    """Write '0.0176x'."""
    return "-" if value is None else f"{_four_digits(value)}x"


def _four_digits(value: float) -> str:
    """Four significant digits, and never fewer than the whole part has."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.4g}"
