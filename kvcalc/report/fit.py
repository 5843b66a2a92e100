"""What fits, as tables: the budget of one device line by line, the frontier, and several places side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.settings import told_engine
from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, count, tokens
from kvcalc.rows import cache_dtype, weight_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        ("not used", budget.unused and -budget.unused),
        ("set aside", budget.reserve and -budget.reserve),
        ("weights", None if budget.weights is None else -budget.weights),
        ("left for the cache", budget.pool),
    ]
    if verdict:
        lines.append((f"cache of {_what(one)}", None if one.reserved is None else -one.reserved))
        lines.append(("free", one.free))
    if one.pool and verdict:
        lines_of_pool = [
            *([f"{one.pool.blocks:,} blocks"] if one.pool.blocks is not None else []),
            f"cache size {tokens(one.pool.tokens)}",
            *([f"maximum concurrency {one.pool.concurrency:.2f}x"] if one.pool.concurrency is not None else []),
        ]
        said = [f"{_engine(one)}: {', '.join(lines_of_pool)}"]
    else:
        said = []
    shown = [(name, value) for name, value in lines if value is not None and (value or name == "free")]
    header = f"on each of {one.machine.devices} devices" if one.machine and one.machine.devices > 1 else "on the device"
    if not one.stage.whole:
        header = f"on a device of {one.stage.label}"
    columns = (
        Column(
            header if one.machine or not one.stage.whole else "on each device",
            tuple(name for name, _ in shown),
            numeric=False,
        ),
        Column("", tuple(_signed(value) for _, value in shown)),
        Column("bytes", tuple(count(value) for _, value in shown), rank=1),
    )
    return Table(_title(one), columns, (*([_verdict(one)] if verdict else []), *said))


def _what(one: Fit) -> str:
    """What the cache line counts: a replica's share of the batch, or a group's of that."""
    each = -(-(one.batch or 1) // one.deal.replicas)
    each = -(-each // one.deal.groups)
    length = one.context if one.context is not None else 1
    return f"{each:,} x {tokens(length)}"


def _verdict(one: Fit) -> str:
    batch = f"batch {one.batch:,}" if one.batch is not None else ""
    if one.endless:
        return f"Fits: {batch} of any context."
    if one.searched == "context":
        if one.context is None:
            return f"Does not fit: not even one token of {batch}."
        return f"The largest context of {batch} is {tokens(one.context)}: one more does not fit."
    length = tokens(one.context or 1)
    if one.searched == "batch":
        if not one.batch:
            return f"Does not fit: not one sequence of {length}."
        more = "one more does not fit" if one.deal.replicas == 1 else "one more a replica does not fit"
        return f"The largest batch of {length} is {one.batch:,}: {more}."
    return f"{'Fits' if one.fits else 'Does not fit'}: {batch} of {length}."


def _frontier(several: Sequence[Fit]) -> Table:
    columns = (
        Column("context", tuple(count(one.context) for one in several)),
        Column("largest batch", tuple(count(one.batch) for one in several)),
        Column("reserved", tuple(bytes_binary(one.reserved) for one in several), rank=1),
        Column("tokens in all", tuple(count((one.context or 0) * (one.batch or 0)) for one in several), rank=2),
    )
    return Table("", columns, ("Each the largest: one more does not fit.",))


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
