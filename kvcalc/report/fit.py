"""What fits, as tables: the budget of one device line by line, the frontier, and several places side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.settings import told_engine
from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, count, tokens
from kvcalc.rows import cache_dtype, weight_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines import Pool
    from kvcalc.fitting import Fit


def fit_tables(answers: Sequence[Fit]) -> list[Table]:
    """One answer as its budget; a frontier as contexts and batches; several as a line each."""
    by_place: dict[tuple[str, str], list[Fit]] = {}
    for one in answers:
        by_place.setdefault((_engine(one), _place(one)), []).append(one)
    made = []
    if len(by_place) > 1 and answers[0].searched != "both":
        made.append(_side_by_side(answers))
    for several in by_place.values():
        made.append(_budget(several[0], verdict=several[0].searched != "both"))
        if several[0].searched == "both":
            made.append(_frontier(several))
    return made


def _engine(one: Fit) -> str:
    return told_engine(one.workload)


def _place(one: Fit) -> str:
    return one.machine.label if one.machine else f"a pool of {bytes_binary(one.budget.pool)}"


def _title(one: Fit) -> str:
    dtypes = f"cache {cache_dtype(one.spec, one.workload)}"
    if one.machine:
        dtypes += f", weights {weight_dtype(one.spec, one.workload)}"
    shares = ""
    if one.deal.replicas > 1:
        shares = f", {one.deal.replicas} replicas of {one.deal.devices} devices"
    return f"{one.spec.name} on {_place(one)}{shares}, engine {_engine(one)}, {dtypes}"


def _budget(one: Fit, *, verdict: bool) -> Table:
    budget = one.budget
    lines: list[tuple[str, int | None]] = [
        ("memory", budget.memory),
        (f"less unused, {_percent(budget.unused, budget.memory)}", budget.unused or None),
        ("less set aside", budget.reserve or None),
        ("less weights", budget.weights),
        ("left for the cache" if budget.pool >= 0 else "missing for the weights", abs(budget.pool)),
    ]
    if verdict:
        lines.append((f"less cache of {_what(one)}", one.reserved))
        lines.append(("less kept for states of more requests", one.aside or None))
        lines.append(("free" if (one.free or 0) >= 0 else "missing", None if one.free is None else abs(one.free)))
    said = [_pool(one, one.pool)] if one.pool and verdict else []
    shown = [(name, value) for name, value in lines if value is not None]
    header = f"on each of {one.machine.devices} devices" if one.machine and one.machine.devices > 1 else "on the device"
    if not one.stage.whole:
        header = f"on a device of {one.stage.label}"
    columns = (
        Column(
            header if one.machine or not one.stage.whole else "on each device",
            tuple(name for name, _ in shown),
            numeric=False,
        ),
        Column("", tuple(bytes_binary(value) for _, value in shown)),
        Column("bytes", tuple(count(value) for _, value in shown), rank=1),
    )
    return Table(_title(one), columns, (*([_verdict(one)] if verdict else []), *said))


def _percent(part: int | None, whole: int | None) -> str:
    return f"{100 * (part or 0) / (whole or 1):.3g}%"


def _pool(one: Fit, pool: Pool) -> str:
    """What an engine makes of it, as it logs it."""
    told = [
        *([f"{pool.blocks:,} blocks"] if pool.blocks is not None else []),
        f"a cache of {tokens(pool.tokens)}",
        *(
            [f"maximum concurrency for {tokens(one.context or 1)} a request {pool.concurrency:.2f}x"]
            if pool.concurrency is not None
            else []
        ),
    ]
    return f"{_engine(one)}: {', '.join(told)}"


def _what(one: Fit) -> str:
    """What the cache line counts: a replica's share of the batch, or a group's of that."""
    each = -(-(one.batch or 1) // one.deal.replicas)
    each = -(-each // one.deal.groups)
    return f"{each:,} x {'any context' if one.endless else tokens(one.context or 1)}"


def _verdict(one: Fit) -> str:
    if not one.fits:
        return f"Does not fit: {_missing(one)}"
    if one.endless:
        return f"Fits: batch {one.batch:,} of any context."
    length = tokens(one.context or 1)
    if one.searched == "context":
        return f"The largest context of batch {one.batch:,} is {length}: one more does not fit."
    if one.searched == "batch":
        more = "one more does not fit" if one.deal.replicas == 1 else "one more a replica does not fit"
        return f"The largest batch of {length} is {one.batch:,}: {more}."
    return f"Fits: batch {one.batch:,} of {length}."


def _missing(one: Fit) -> str:
    """Why it does not fit, and how much more memory of each device it would take."""
    where = "" if one.machine and one.machine.devices == 1 else " on each device"
    if one.budget.weights is not None and one.budget.pool < 0:
        return f"the weights need {bytes_binary(-one.budget.pool)} more{where}."
    length = tokens(one.context or 1)
    what = {"": f"batch {one.batch or 1:,} of {length}", "context": f"not even one token of batch {one.batch or 1:,}"}
    told = what.get(one.searched, f"not one sequence of {length}")
    if one.free is None or one.free >= 0 or one.aside:  # of more memory more would be kept aside
        return f"{told}."
    return f"{told}, it needs {bytes_binary(-one.free)} more{where}."


def _frontier(several: Sequence[Fit]) -> Table:
    columns = (
        Column("context", tuple("any" if one.endless else count(one.context) for one in several)),
        Column("largest batch", tuple(count(one.batch) for one in several)),
        Column("reserved", tuple(bytes_binary(one.reserved) for one in several), rank=1),
        Column("tokens in all", tuple(_in_all(one) for one in several), rank=2),
    )
    told = "Each the largest: one more does not fit." if several[0].fits else _verdict(several[0])
    return Table("", columns, (told,))


def _in_all(one: Fit) -> str:
    return "-" if one.endless else count((one.context or 0) * (one.batch or 0))


def _side_by_side(answers: Sequence[Fit]) -> Table:
    columns = (
        Column("on", tuple(_place(one) for one in answers), numeric=False),
        Column("engine", tuple(_engine(one) for one in answers), numeric=False, rank=1),
        Column("fits", tuple("yes" if one.fits else "no" for one in answers), numeric=False),
        Column("context", tuple("any" if one.endless else count(one.context) for one in answers)),
        Column("batch", tuple(count(one.batch) for one in answers)),
        Column("left for the cache", tuple(_signed(one.budget.pool) for one in answers), rank=2),
        Column("free", tuple("-" if one.free is None else _signed(one.free) for one in answers), rank=1),
    )
    return Table(answers[0].spec.name, columns)


def _signed(value: int) -> str:
    return f"-{bytes_binary(-value)}" if value < 0 else bytes_binary(value)
