"""The room that a machine leaves for a cache, as `fit` has it, as bands across a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.ranks import sizes
from kvcalc.figures.figure import Band
from kvcalc.figures.words import ON_ONE_DEVICE
from kvcalc.memory_budget import assumed, deal, fullest_budget
from kvcalc.places import NOT_COUNTED, told_taken
from kvcalc.tuples import NamedTuple
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from kvcalc.model import ModelSpec
    from kvcalc.rows import Row
    from kvcalc.workload import Workload


ON_A_MACHINE = ("cache_bytes", *ON_ONE_DEVICE)


class Curve(NamedTuple):
    """What one series is of: its rows, one a point, and the model they are of."""

    spec: ModelSpec
    workload: Workload
    rows: tuple[Row, ...]


def bands_of(
    curves: Sequence[Curve], key: str, x_key: str, utilization: Fraction | None, reserve: int
) -> tuple[list[Band], list[str]]:
    """The bytes left for the cache of each model on its machine: on one device, or for a whole cache on all.

    With them what the reader should know. Nothing where no machine is asked for, or where y is no room.
    """
    if key not in ON_A_MACHINE or not any(curve.workload.machine for curve in curves):
        return [], []
    rooms: dict[str, dict[float, list[int]]] = {}
    told: dict[str, None] = {}
    ends = [float(str(row[x_key])) for curve in curves for row in curve.rows]
    apart = _apart(curves, ("model", "weights", "engine", "on", *(() if x_key == "tensor_parallel" else ("ways",))))
    for curve in curves:
        machine, label = curve.workload.machine, ", ".join(_kept(curve, name) for name in apart)
        if machine is None:
            continue
        for row in curve.rows if x_key == "tensor_parallel" else curve.rows[:1]:
            asked = curve.workload._replace(
                tensor_parallel=int(row["tensor_parallel"] or 1),
                context_tokens=int(row["context_tokens"] or 1),
                batch=int(row["batch"] or 1),
            )
            if key not in ON_ONE_DEVICE and max(sizes(asked)[1:]) > 1:
                told["where stages or groups share a cache no one number is its room: --y reserved_bytes"] = None
                continue
            devices = deal(asked, machine).devices
            if devices < machine.devices and x_key != "tensor_parallel":
                told[f"{devices} of the {machine.devices} devices share a model: the room is that of one replica"] = (
                    None
                )
            if devices > 1:
                told[f"assumed: {assumed(asked)}"] = None
            if utilization is None and (taking := told_taken(curve.spec, asked, machine)):
                told[taking] = None
            each = fullest_budget(curve.spec, asked, machine, utilization, reserve).pool
            if each <= 0:
                where = f"{devices} of {machine.label}" if devices < machine.devices else machine.label
                told[f"{label or curve.spec.name}: its weights leave no room for a cache on {where}"] = None
                continue
            for x in [float(asked.tensor_parallel)] if x_key == "tensor_parallel" else [min(ends), max(ends)]:
                room = each if key in ON_ONE_DEVICE else each * devices
                rooms.setdefault(label, {}).setdefault(x, []).append(room)
    named: dict[tuple[tuple[float, int, int], ...], list[str]] = {}
    for label, at in rooms.items():
        named.setdefault(tuple((x, min(pools), max(pools)) for x, pools in sorted(at.items())), []).append(label)
    bands = [
        Band(f"left for {', '.join(names) if any(names) else 'the cache'}", points) for points, names in named.items()
    ]
    return bands, [*told, *([NOT_COUNTED] if bands else [])]


def _apart(curves: Sequence[Curve], names: Sequence[str]) -> list[str]:
    """Which of them tell rooms apart; what follows from those before it does not."""
    apart: list[str] = []
    for name in names:
        before = {tuple(_kept(curve, other) for other in apart) for curve in curves}
        if len({tuple(_kept(curve, other) for other in (*apart, name)) for curve in curves}) > len(before):
            apart.append(name)
    return apart


def _kept(curve: Curve, name: str) -> str:
    """What decides about the room: the model, its weights, the engine, the machine and how it is shared."""
    row = curve.rows[0]
    words = {
        "model": row["model"],
        "weights": row["weight_dtype"],
        "engine": f"{row['engine']} {row['engine_version'] or ''}".strip(),
        "on": row["on"],
        "ways": ", ".join(f"{option} {row[key]}" for key, option in PARALLEL.items() if row[key] != 1) or "one device",
    }
    return str(words[name])
