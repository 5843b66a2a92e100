"""The room that a machine leaves for a cache, as `fit` has it, as bands across a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import engine_of
from kvcalc.figures.figure import Band
from kvcalc.figures.words import ON_ONE_DEVICE
from kvcalc.memory_budget import assumed, fullest_budget
from kvcalc.places import NOT_COUNTED
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec
    from kvcalc.rows import Row
    from kvcalc.workload import Workload


class Curve(NamedTuple):
    """What one series is of: its rows, one a point, and the model they are of."""

    spec: ModelSpec
    workload: Workload
    rows: tuple[Row, ...]


def bands_of(curves: Sequence[Curve], key: str, x_key: str, machine: Machine) -> tuple[list[Band], list[str]]:
    """The bytes left for the cache of each model: on one device, or for a whole cache on all that share it."""
    rooms: dict[str, dict[float, list[int]]] = {}
    told: dict[str, None] = {}
    ends = [float(str(row[x_key])) for curve in curves for row in curve.rows]
    apart: list[str] = []
    for name in ("model", "weights", "engine", *(() if x_key == "tensor_parallel" else ("devices",))):
        before = {tuple(_kept(curve, other) for other in apart) for curve in curves}
        if len({tuple(_kept(curve, other) for other in (*apart, name)) for curve in curves}) > len(before):
            apart.append(name)
    for curve in curves:
        label = ", ".join(_kept(curve, name) for name in apart)
        for row in curve.rows if x_key == "tensor_parallel" else curve.rows[:1]:
            devices = int(row["tensor_parallel"] or 1)
            asked = curve.workload._replace(
                tensor_parallel=devices, context_tokens=int(row["context_tokens"] or 1), batch=int(row["batch"] or 1)
            )
            shared = engine_of(asked.engine).ranks(asked).devices
            if shared < machine.devices and x_key != "tensor_parallel":
                told[f"{shared} of the {machine.devices} devices share a model: the picture is of one replica"] = None
            if shared > 1:
                told[f"assumed: {assumed(asked)}"] = None
            each = fullest_budget(curve.spec, asked, machine, None, 0).pool
            pool = each if key in ON_ONE_DEVICE else each * shared
            if pool <= 0:
                told[f"{label or curve.spec.name}: its weights leave no room for a cache on {machine.label}"] = None
                continue
            for x in [float(devices)] if x_key == "tensor_parallel" else [min(ends), max(ends)]:
                rooms.setdefault(label, {}).setdefault(x, []).append(pool)
    named: dict[tuple[tuple[float, int, int], ...], list[str]] = {}
    for label, at in rooms.items():
        named.setdefault(tuple((x, min(pools), max(pools)) for x, pools in sorted(at.items())), []).append(label)
    bands = [
        Band(f"left for {', '.join(names) if any(names) else 'the cache'}", points) for points, names in named.items()
    ]
    return bands, [*told, NOT_COUNTED]


def _kept(curve: Curve, name: str) -> str:
    """What decides about the room: the model, its weights, the engine, the devices."""
    row = curve.rows[0]
    words = {
        "model": row["model"],
        "weights": row["weight_dtype"],
        "engine": f"{row['engine']} {row['engine_version'] or ''}".strip(),
        "devices": f"{row['tensor_parallel']} devices",
    }
    return str(words[name])
