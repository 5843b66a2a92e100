"""Where an axis has its ticks, and what they say: bytes and tokens at powers of two, the rest at powers of ten."""

from __future__ import annotations

from math import ceil, floor, log
from typing import TYPE_CHECKING

from kvcalc.figures.words import size

if TYPE_CHECKING:
    from kvcalc.figures.figure import Axis

BINARY = ((1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
DECIMAL = ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
TWOS = ("bytes", "tokens", "sequences", "devices")  # units counted in powers of two


def ticks(axis: Axis, low: float, high: float, most: int) -> list[float]:
    """Round values from `low` to `high`, `most` of them or fewer."""
    if axis.log:
        return _powers(axis.log, low, high, most)
    return _steps(high, most, twos=axis.unit in TWOS)


def decades(low: float, high: float) -> list[float]:
    """Powers of ten around the values, with 2 and 5 of them where they are few."""
    first, last = floor(log(low, 10) + 1e-9), ceil(log(high, 10) - 1e-9)
    parts = (1, 2, 5) if last - first <= 2 else (1,)
    return [part * 10.0**power for power in range(first - 1, last + 2) for part in parts]


def _powers(base: int, low: float, high: float, most: int) -> list[float]:
    first, last = ceil(log(low, base) - 1e-9), floor(log(high, base) + 1e-9)
    if base == 10 and last - first < 2:
        return [value for value in decades(low, high) if low <= value <= high]
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if (last - first) // step < most)
    return [float(base) ** power for power in range(first + -first % step, last + 1, step)]


def _steps(high: float, most: int, *, twos: bool) -> list[float]:
    """From 0, in steps of a power of two, or of 1, 2 and 5."""
    step = 1.0 if twos else 10.0 ** floor(log(high or 1, 10) - 1)
    factors = (2.0,) if twos else (2.0, 2.5, 2.0)
    at = 0
    while high / step >= most:
        step *= factors[at % len(factors)]
        at += 1
    return [step * number for number in range(int(high / step) + 1)]


def tick_label(axis: Axis, value: float) -> str:
    """'64 GiB', '32k', '10 TFLOP/s'."""
    if axis.unit == "bytes":
        scale, unit = next(((scale, unit) for scale, unit in BINARY if value >= scale), (1, "B"))
        return f"{value / scale:g} {unit}"
    if axis.unit == "tokens":
        return size(round(value))
    if axis.unit in TWOS:
        return f"{value:,.0f}"
    if axis.unit == "seconds":
        second, unit = next((told for told in TIMES if value >= told[0] * (1 - 1e-9)), TIMES[0])
        return f"{value / second:g} {unit}"
    scale, unit = next(((scale, unit) for scale, unit in DECIMAL if value >= scale), (1, ""))
    after = axis.unit if axis.unit in ("FLOPs", "FLOP/s") else ""
    return f"{value / scale:g} {unit}{after}".rstrip()
