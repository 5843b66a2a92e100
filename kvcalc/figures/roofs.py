"""The roofline of a machine, with the decode step and the prefill of each model on it.

A phase stands at its FLOPs a byte and at the FLOPs a second of its least time, as `show --on` has them. The roof is the
bandwidth times the intensity, up to the dense peak of a dtype in play.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.analysis import analyze
from kvcalc.comparison import cautions, machine_notes, with_variants
from kvcalc.errors import KvcalcError
from kvcalc.figures.figure import MAX_POINTS, MAX_SERIES, Axis, Figure, Point, Roof, Series
from kvcalc.figures.words import labels, size, titles
from kvcalc.report.units import bytes_binary, decimal, duration
from kvcalc.roofline import least_times
from kvcalc.rows import row
from kvcalc.variants import default_variants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.analysis import Report
    from kvcalc.grid import Grid, Setting
    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec
    from kvcalc.roofline import Bound
    from kvcalc.rows import Row
    from kvcalc.variants import Variant

X = Axis("intensity", "intensity", "FLOPs/byte", 10)
Y = Axis("flops_per_second", "attainable FLOP/s", "FLOP/s", 10)


def plot_roofline(specs: Sequence[ModelSpec], grid: Grid, variants: Sequence[Variant] | None = None) -> Figure:
    """The figure of each model's phases under its machine's roofs; batches, else contexts, are points of one series.

    `variants` None: all that make sense of one model that is asked one thing. Raises KvcalcError where no machine is
    asked for, and where there are more series or points than a picture shows.
    """
    if any(setting.workload.machine is None for setting in grid.settings):
        raise KvcalcError("--roofline needs --on: whose roof", "--on 8xH100")
    if variants is None:
        alone = len(specs) == 1 and len(grid.settings) == 1 and grid.size == len(grid.settings[0].batches)
        variants = default_variants(specs[0]) if alone else ()
    notes: dict[str, None] = {}
    warnings: list[str] = []
    runs: list[list[Report]] = []
    if grid.size * len(specs) * (len(variants) + 1) > MAX_POINTS:
        raise KvcalcError(f"more than {MAX_POINTS:,} points are too many for a plot", "take a larger step")
    for spec in specs:
        models, told = with_variants(spec, variants)
        notes.update(dict.fromkeys(told))
        asked = [request.of(spec) for setting in grid.settings for request in setting.requests()]
        warnings += cautions(spec, asked)
        notes.update(dict.fromkeys(machine_notes(spec, asked)))
        runs += [run for model, name in models for setting in grid.settings for run in _runs(model, name, setting)]
    if len(runs) > MAX_SERIES:
        hint = "fewer --variants or models, or one value of each option"
        raise KvcalcError(f"{len(runs)} series are more than one can tell apart, {MAX_SERIES} at most", hint)
    rows = [_row(run[0]) for run in runs]
    fixed = [
        key for key in ("batch", "context_tokens") if any(len({_row(one)[key] for one in run}) > 1 for run in runs)
    ]
    fixed += ["prompt_tokens", "encoder_tokens"] if "context_tokens" in fixed else []
    bounds = [[least_times(report) for report in run] for run in runs]
    series = tuple(
        Series(label, tuple(_points(run, told)))
        for label, run, told in zip(labels(rows, fixed), runs, bounds, strict=True)
    )
    title, subtitle = titles("roofline", rows, fixed)
    every = [bound for run in bounds for pair in run for bound in pair]
    return Figure(
        title, subtitle, X, Y, series, roofs=_roofs(every, series), notes=tuple(notes), warnings=tuple(warnings)
    )  # fmt: skip


def _runs(spec: ModelSpec, name: str, setting: Setting) -> list[list[Report]]:
    """Reports that make one series each: of all batches, or of all contexts where there is one batch."""
    reports = [analyze(spec, request.of(spec), name) for request in setting.requests()]
    across = len(setting.batches)
    return [reports[at : at + across] for at in range(0, len(reports), across)] if across > 1 else [reports]


def _row(report: Report) -> Row:
    return row(report, report)


def _points(run: Sequence[Report], bounds: Sequence[tuple[Bound, Bound]]) -> list[Point]:
    points = []
    for phase in (0, 1):
        for report, pair in zip(run, bounds, strict=True):
            bound, workload = pair[phase], report.workload
            if not bound.intensity or not bound.seconds:
                continue
            told = (
                ("phase", bound.phase),
                ("context", f"{size(workload.context_tokens)} tokens"),
                ("batch", f"{workload.batch:,}"),
                ("FLOPs", decimal(bound.flops)),
                ("bytes", bytes_binary(round(bound.bytes))),
                ("least time", duration(bound.seconds)),
                ("bound by", bound.bound_by),
            )
            points.append(Point(bound.intensity, bound.flops / bound.seconds, bound.phase, told))
    return points


def _roofs(bounds: Sequence[Bound], series: Sequence[Series]) -> tuple[Roof, ...]:
    """The roofs over these, from the lowest intensity drawn to the highest."""
    over = roofs_over(bounds)
    reached = [point.x for one in series for point in one.points] + [rate / moved for _, rate, moved in over]
    low, high = min(reached) / 2, max(reached) * 2
    return tuple(
        Roof(label, ((low, low * moved), (rate / moved, rate), (high, rate))) for label, rate, moved in over
    )  # fmt: skip


def roofs_over(bounds: Sequence[Bound]) -> list[tuple[str, int, int]]:
    """One for each dense peak that something runs at: what it is called, FLOPs and bytes a second of all devices."""
    used: dict[tuple[Machine, str], tuple[int, int]] = {}
    for bound in bounds:
        machine, peaks = bound.machine, dict(bound.machine.accelerator.peaks)
        bandwidth = machine.devices * machine.accelerator.bandwidth_bytes_per_second
        for piece in bound.pieces:
            if piece.flops:
                used[machine, piece.peak] = (machine.devices * peaks[piece.peak], bandwidth)
    several = len({machine for machine, _ in used}) > 1
    return [
        (
            f"{f'{machine.label} ' if several else ''}{peak} peak {decimal(rate)}FLOP/s, ridge {decimal(rate / moved)}",
            rate,
            moved,
        )
        for (machine, peak), (rate, moved) in sorted(used.items(), key=lambda told: told[1])
    ]
