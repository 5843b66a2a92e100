"""Results against a size, as `sweep` computes them, and the room for a cache on a machine, as `fit` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.comparison import CONTEXTS_DIFFER, EXPERTS
from kvcalc.engines.ranks import sizes
from kvcalc.errors import KvcalcError
from kvcalc.figures.figure import MAX_POINTS, MAX_SERIES, Figure, Point, Series
from kvcalc.figures.room import Curve, bands_of
from kvcalc.figures.words import X_AXES, labels, titles, x_axis, y_axis, y_key
from kvcalc.grid import Grid, parse_sizes
from kvcalc.rows import REALS
from kvcalc.sweeping import Asked, Plan, Sweep, sweep
from kvcalc.variants import default_variants
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from kvcalc.grid import Setting
    from kvcalc.model import ModelSpec
    from kvcalc.rows import Row
    from kvcalc.variants import Variant
    from kvcalc.workload import Workload

UNLIMITED_TOKENS = 131_072  # how far a model is drawn that says no limit
MOST_SEQUENCES = 256
MOST_DEVICES = 8


def plot(
    specs: Sequence[ModelSpec],
    grid: Grid,
    variants: Sequence[Variant] | None = None,
    x: str = "context",
    y: str | None = None,
    utilization: Fraction | None = None,
    reserve: int = 0,
) -> Figure:
    """The figure of a result `y`, a key of the rows, against `x`: context, batch or tp.

    Where the grid leaves x out, it is powers of two: contexts up to each model's own limit, up to 256 sequences or 8
    devices. `variants` None: all that make sense of one model that is asked one thing. `y` None: cache_bytes, or what
    is reserved on one device where that differs. On a machine the bytes that are left for it are drawn too, as `fit`
    has them of the same `utilization` and `reserve`. Raises KvcalcError where y is unknown, or there are more series or
    points than a picture shows.
    """
    settings = grid.settings
    least = min(_least(spec) for spec in specs)
    key = y_key(y) if y else _usual(settings, x)
    if variants is None:
        variants = default_variants(specs[0]) if len(specs) == 1 and _asks_one(settings, x) else ()
    swept = [_swept(spec, specs, list(_ranged(spec, settings, x, least)), variants) for spec in specs]
    beside = {CONTEXTS_DIFFER, *(() if key in REALS else (EXPERTS,))}  # of what is not drawn
    notes = list(dict.fromkeys(note for one in swept for note in one.notes if note not in beside))
    warnings = [warning for one in swept for warning in one.warnings]
    length = sum(one.length for one in swept)
    if length > MAX_POINTS:
        raise KvcalcError(f"{length:,} points are too many for a plot, {MAX_POINTS:,} at most", "take a larger step")
    x_key = X_AXES[x][0]
    curves = [curve for one in swept for curve in _curves(one, x_key, notes)]
    if len(curves) > MAX_SERIES:
        hint = "fewer --variants or models, or one value of each option"
        raise KvcalcError(f"{len(curves)} series are more than one can tell apart, {MAX_SERIES} at most", hint)
    rows = [curve.rows[0] for curve in curves]
    derived = [x_key, *(["prompt_tokens", "encoder_tokens"] if x == "context" else [])]
    bands, told = bands_of(curves, key, x_key, utilization, reserve)
    series = _series(labels(rows, derived), curves, x_key, key)
    values = [point.y for one in series for point in one.points]
    values += [edge for band in bands for _, *edges in band.points for edge in edges]
    axis = y_axis(key, values, shared=any(row[way] != 1 for curve in curves for row in curve.rows for way in PARALLEL))
    title, subtitle = titles(f"{axis.title} against {X_AXES[x][1]}", rows, derived)
    if axis.log or any(values):
        series, zeros = _above_zero(series, axis.log)
        told += zeros
    if not any(one.points for one in series):
        raise KvcalcError(f"--y {key}: these models and options have none", _needed(key))
    drawn = tuple(one for one in series if one.points)
    places = [point.x for one in drawn for point in one.points]
    if len(set(places)) == 1:
        told.append(f"one {X_AXES[x][1]} alone makes no line: --{x} takes a range")
    return Figure(
        title, subtitle, x_axis(x, places), axis, drawn, tuple(bands), notes=(*notes, *told, *_under(drawn)),
        warnings=tuple(warnings),
    )  # fmt: skip


def _needed(key: str) -> str:
    """What would make it have numbers."""
    if key in REALS:
        return "it needs --on: a machine"
    return "it needs --generate: an answer" if key.startswith(("answer_", "last_step_")) else "--y cache_bytes"


def _usual(settings: Sequence[Setting], x: str) -> str:
    """What is drawn where nobody says: the cache, or what is reserved where an engine or a share of devices says so."""
    asked = [setting.workload for setting in settings]
    own = all(workload.engine in ("paper", "transformers") and max(sizes(workload)[1:]) == 1 for workload in asked)
    return "cache_bytes" if own and x != "tp" else "reserved_bytes"


def _asks_one(settings: Sequence[Setting], x: str) -> bool:
    """Whether everything but x has one value."""
    kept = {setting.workload._replace(tensor_parallel=1) if x == "tp" else setting.workload for setting in settings}
    contexts, batches = settings[0].contexts or (0,), settings[0].batches
    return len(kept) == 1 and (x == "context" or len(contexts) == 1) and (x == "batch" or len(batches) == 1)


def _swept(
    spec: ModelSpec, specs: Sequence[ModelSpec], settings: Sequence[Setting], variants: Sequence[Variant]
) -> Sweep:
    """The sweep of one model over its own range. Ratios among several models are to the first one."""
    made = sweep([spec], Grid(tuple(settings)), variants)
    if len(specs) == 1:
        return made
    return made._replace(plans=tuple(_beside(plan, specs[0]) for plan in made.plans))


def _beside(plan: Plan, first: ModelSpec) -> Plan:
    return plan._replace(reference=Asked(first, plan.asked.contexts))


def _ranged(spec: ModelSpec, settings: Sequence[Setting], x: str, least: int) -> Iterator[Setting]:
    """The settings with a range of x where they have none, contexts from `least`."""
    for setting in settings:
        workload = setting.workload
        if x == "context" and setting.contexts is None:
            yield setting._replace(contexts=_powers(least, _limit(spec), workload.shared_prefix_tokens))
        elif x == "batch" and setting.batches == (1,):
            yield setting._replace(batches=tuple(1 << power for power in range(MOST_SEQUENCES.bit_length())))
        elif x == "tp" and sum(_alike(workload, other.workload) for other in settings) == 1:
            _, pp, dp, _, cp = sizes(workload)
            most = workload.machine.devices // (pp * dp * cp) if workload.machine else MOST_DEVICES
            for devices in (1 << power for power in range(most.bit_length())):
                if most % devices == 0:
                    yield setting._replace(workload=workload._replace(tensor_parallel=devices))
        else:
            yield setting


def _alike(one: Workload, other: Workload) -> bool:
    """Whether only tp tells them apart, if anything does."""
    return one._replace(tensor_parallel=1) == other._replace(tensor_parallel=1)


def _limit(spec: ModelSpec) -> int:
    """How far a model is drawn: to its own limit."""
    return spec.max_position_embeddings or UNLIMITED_TOKENS


def _least(spec: ModelSpec) -> int:
    """Where its contexts start, several powers of two before its limit."""
    return 1024 if _limit(spec) >= 8192 else max(1, _limit(spec) // 64)


def _powers(least: int, limit: int, prefix: int) -> tuple[int, ...]:
    """Contexts that are longer than a shared prefix, the limit being the last."""
    last = max(limit, prefix + 1)
    return tuple(n for n in parse_sizes(f"{least}:{last}:x2", "--context") if n > prefix)


def _curves(swept: Sweep, x_key: str, notes: list[str]) -> Iterator[Curve]:
    """The rows of a sweep, together where only x differs; what an engine cannot run of a variant is noted."""
    found: dict[object, tuple[Plan, list[Row]]] = {}
    for at, plan in enumerate(swept.plans):
        apart = at if x_key != "tensor_parallel" else plan.workload._replace(tensor_parallel=1)
        try:
            rows = list(swept._replace(plans=(plan,)).rows())
        except KvcalcError as error:
            if plan.variant == "configured":
                raise
            told = f"{plan.asked.spec.name}: {plan.variant} is left out: {error.message}"
            notes += [told] if told not in notes else []
            continue
        for row in rows:
            others = tuple(row[key] for key in ("context_tokens", "batch") if key != x_key)
            found.setdefault((plan.variant, apart, others), (plan, []))[1].append(row)
    for plan, rows in found.values():
        yield Curve(plan.asked.spec, plan.workload, tuple(sorted(rows, key=lambda row: float(row[x_key] or 0))))


def _series(names: Sequence[str], curves: Sequence[Curve], x_key: str, key: str) -> list[Series]:
    """The numbers as they are in the rows."""
    made = []
    for name, curve in zip(names, curves, strict=True):
        pairs = ((row[x_key], row[key]) for row in curve.rows)
        points = [Point(x, y) for x, y in pairs if isinstance(x, int) and isinstance(y, int | float)]
        made.append(Series(name, tuple(points)))
    return made


def _above_zero(series: Sequence[Series], log: int) -> tuple[list[Series], list[str]]:
    """On a logarithmic axis there is no 0; what is not there is told."""
    if not log:
        return list(series), []
    kept = [one._replace(points=tuple(point for point in one.points if point.y > 0)) for one in series]
    told = [
        f"{had.label}: 0 is not drawn on a logarithmic axis"
        for had, has in zip(series, kept, strict=True)
        if had != has
    ]
    return kept, told  # fmt: skip


def _under(series: Sequence[Series]) -> Iterator[str]:
    """Series that lie under another, having the same numbers."""
    alike: dict[tuple[Point, ...], list[str]] = {}
    for one in series:
        alike.setdefault(one.points, []).append(one.label)
    for first, *others in alike.values():
        if others:
            has, lies = ("have", "lie") if len(others) > 1 else ("has", "lies")
            yield f"{'; '.join(others)} {has} the numbers of {first}, and {lies} on it"
