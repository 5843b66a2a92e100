"""How figures name things: axes, series by what tells them apart, and what holds for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.amounts import kind_of
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.figures.figure import Axis
from kvcalc.report.sweep import common
from kvcalc.rows import ASKED, RESULTS, TEXTS
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.rows import Row

X_AXES = {  # option: its key, words and unit
    "context": ("context_tokens", "context", "tokens"),
    "batch": ("batch", "batch", "sequences"),
    "tp": ("tensor_parallel", "devices", "devices"),
}
SHORT = {"intensity": "decode_intensity"}
UNITS = {"ratio": "", "tokens a second": "tokens/s"}
ON_ONE_DEVICE = ("reserved_bytes", "held_bytes")
_ENDS = ("_bytes", "_flops", "_tokens", "_elements", "_seconds")
_ASKED = ("on", *ASKED)  # a machine says more than how many devices it has
_WIDE = 10  # from the least to the most: less of it is better seen on a linear axis from 0


def y_key(word: str) -> str:
    """The key of the rows that --y names. Raises KvcalcError, with what was meant."""
    key = SHORT.get(word, word)
    numbers = [known for known in RESULTS if known not in TEXTS]
    if key not in numbers:
        hint = did_you_mean(word, (*numbers, *SHORT)) or f"one of {', '.join(numbers)}"
        raise KvcalcError(f"--y: unknown key {word!r:.60}", hint)
    return key


def x_axis(word: str, values: Sequence[float]) -> Axis:
    """The axis of a size: its range is of powers."""
    key, title, unit = X_AXES[word]
    return Axis(key, title, unit, 2 if max(values, default=1) >= 4 * min(values, default=1) else 0)


def y_axis(key: str, values: Sequence[float], *, shared: bool) -> Axis:
    """The axis of a result: logarithmic where it spans decades; bytes and tokens by powers of two.

    `shared`: devices share layers.
    """
    unit = "FLOPs/byte" if key == "decode_intensity" else UNITS.get(kind_of(key), kind_of(key))
    wide = bool(values) and 0 < _WIDE * min(values) <= max(values)
    log = 0 if not wide else 2 if unit in ("bytes", "tokens") else 10
    return Axis(key, _y_title(key, unit, shared=shared), unit, log)


def _y_title(key: str, unit: str, *, shared: bool) -> str:
    """'cache', 'decode core FLOPs', 'cache a token': the ticks say bytes."""
    each = " on one device" if shared and key in ON_ONE_DEVICE else ""
    per = " a token" if key.endswith("_per_token") else ""
    name = key.removesuffix("_per_token")
    for end in _ENDS:
        name = name.removesuffix(end)
    words = name.replace("_", " ")
    shown = {"FLOPs": f"{words} FLOPs", "elements": f"{words} elements", "seconds": f"{words} time"}
    return f"{shown.get(unit, words)}{per}{each}"


def labels(rows: Sequence[Row], fixed: Sequence[str]) -> list[str]:
    """What tells the series of these first rows apart, in words, no two the same; `fixed` keys are not looked at."""
    varying = [key for key in ("model", "variant", "cache_dtype") if len({row[key] for row in rows}) > 1]
    for key in _ASKED:
        groups: dict[tuple[object, ...], set[object]] = {}
        for row in rows:
            groups.setdefault(tuple(row[kept] for kept in varying), set()).add(row[key])
        if key not in fixed and any(len(values) > 1 for values in groups.values()):
            varying.append(key)
    found: list[str] = []
    for row in rows:
        label = name = _label(row, varying or ["model"])
        number = 2
        while label in found:
            label, number = f"{name} ({number})", number + 1
        found.append(label)
    return found


def _label(row: Row, varying: Sequence[str]) -> str:
    words = []
    for key in varying:
        value = row[key]
        if key == "variant" and value == "configured":
            if "model" in varying:
                continue
            value = f"{value}: {row['attention']}"
        if key == "engine":
            value = _engine(row)
        if value is not None and (key != "engine_version" or "engine" not in varying):
            words.append(_word(key, value))
    return ", ".join(words)


def _engine(row: Row) -> str:
    return f"{row['engine']} {row['engine_version'] or ''}".rstrip()


def _word(key: str, value: str | float) -> str:
    """'fp8', 'batch 8', '32k tokens', 'weight int4'."""
    if key in ("model", "variant", "engine", "cache_dtype", "engine_options", "on"):
        return str(value)
    if key == "context_tokens":
        return f"{size(int(value))} tokens"
    if key in PARALLEL:
        return f"{PARALLEL[key]} {value}"
    return f"{key.removesuffix('_tokens').removesuffix('_dtype').replace('_', ' ')} {value}"


def size(tokens: int) -> str:
    """'32k', '1m', '1,000': as one types it."""
    for factor, letter in ((1024**2, "m"), (1024, "k")):
        if tokens >= factor and tokens % factor == 0:
            return f"{tokens // factor}{letter}"
    return f"{tokens:,}"


def titles(what: str, rows: Sequence[Row], fixed: Sequence[str]) -> tuple[str, str]:
    """The title, and the subtitle: what holds for all of these rows."""
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    varying = [key for key in ASKED if key in fixed or len({row[key] for row in rows}) > 1]
    variants = {row["variant"] for row in rows}
    one = f", {next(iter(variants))}" if len(variants) == 1 and variants != {"configured"} else ""
    title = f"{models[0]}{one}: {what}" if len(models) == 1 else f"{what[:1].upper()}{what[1:]}"
    ways = [int(rows[0][key] or 1) for key in PARALLEL]
    if str(rows[0]["on"]).startswith(f"{max(ways)}x") and sum(ways) == max(ways) + len(ways) - 1:
        varying += PARALLEL  # all devices of the machine, in the one way that its engine has
    held = [common(rows[0], ["model", *varying])]
    if rows[0]["on"] and "weight_dtype" not in varying:
        held.append(f"weights {rows[0]['weight_dtype']}")
    return title, ", ".join(part for part in held if part)
