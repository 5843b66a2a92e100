"""What an engine sets aside on the fullest device, what it holds, and what is more than the model needs.

reserved_bytes         the batch, each request at what the engine sets aside to admit it
held_bytes             in steady decode
paper_bytes            the model's own need: the cache as papers count it, an even share of it a device
waste_bytes            reserved_bytes less paper_bytes, by name
reserved_bytes_total   reserved_bytes of all devices
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import engine_of
from kvcalc.engines.ranks import WHOLE, stage_model, stages_of
from kvcalc.engines.settings import settings, told_engine
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Part, Quantity, Total, rebound
from kvcalc.storage import NO_CACHE, cache_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.engines import Engine, Reserve
    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.workload import Workload

COUNTS_CACHE = "the engine sets nothing aside but what it caches"
SHARE = "an even share of a device"
KEYS = ("paper_bytes", "reserved_bytes", "held_bytes", "reserved_bytes_total")


def reserving(spec: ModelSpec, workload: Workload, engine: Engine) -> dict[str, Node | None]:
    """The quantities above by name; they follow cache_bytes. Raises KvcalcError where the engine has no such layers."""
    ranks = engine.ranks(workload)
    if not workload.kv_cache:
        if engine.pool is not None:
            raise KvcalcError(f"--kv-cache off: {engine.name} always caches", "--engine paper counts without a cache")
        return {**dict.fromkeys(KEYS, NO_CACHE), "waste_bytes": None}
    paper = engine_of("paper")
    own = Quantity("", "cache_bytes")
    needed = own if engine.tokens is paper.tokens else cache_bytes(spec, workload, "n", paper)
    share = _share(needed, ranks.devices)
    if engine.reserve is None:
        settings(workload)  # refuses options that the engine has not
        same = share._replace(source=COUNTS_CACHE)
        told = {"paper_bytes": share, "reserved_bytes": same, "held_bytes": same, "waste_bytes": None}
        return {**told, "reserved_bytes_total": own._replace(source=COUNTS_CACHE)}
    stages = stages_of(spec, ranks, engine.stages)
    found = [engine.reserve(spec, workload, stage) for stage in stages]
    return {
        "paper_bytes": share,
        "reserved_bytes": fullest(stages, [_of_a_group(one.reserved, ranks) for one in found]),
        "held_bytes": fullest(stages, [_of_a_group(one.held, ranks) for one in found]),
        "waste_bytes": _waste(spec, workload, ranks, stages, found),
        "reserved_bytes_total": _total(ranks, stages, found),
    }


def reserved_on_stages(spec: ModelSpec, workload: Workload, engine: Engine) -> list[tuple[Stage, Node]]:
    """What is set aside on each device of each stage, by the fullest of the groups that divide the batch."""
    if engine.reserve is None:
        return []
    ranks = engine.ranks(workload)
    stages = stages_of(spec, ranks, engine.stages)
    return [(stage, _of_a_group(engine.reserve(spec, workload, stage).reserved, ranks)) for stage in stages]


def _share(cached: Node, devices: int) -> Quantity:
    """Bytes of one device, were they spread evenly."""
    if devices == 1 and isinstance(cached, Quantity):
        return cached
    return Quantity("", "ceil_div(c, devices)", {"c": cached, "devices": devices}, SHARE)


def _of_a_group(node: Node, ranks: Ranks) -> Node:
    """What the fullest of the groups has that divide the batch."""
    if ranks.groups == 1:
        return node
    return rebound(node, "B", Quantity("sequences of a group", "ceil_div(B, dp)", {"dp": ranks.groups}))


def fullest(stages: Sequence[Stage], nodes: Sequence[Node]) -> Node:
    """The most of any stage; stages that are alike stand for one another."""
    if len(nodes) == 1:
        return nodes[0]
    symbols: dict[str, int | Node] = {}
    for stage, node in zip(stages, nodes, strict=True):
        if not any(node == other for other in symbols.values() if not isinstance(other, int)):
            symbols[f"s_{stage.number}"] = node
    named = {symbol: _named(symbol, node, stages) for symbol, node in symbols.items()}
    names = list(named)
    while len(names) > 1:
        names = [
            f"max({', '.join(names[at : at + 2])})" if at + 1 < len(names) else names[at]
            for at in range(0, len(names), 2)
        ]
    return Quantity("", names[0], named)


def _named(symbol: str, node: int | Node, stages: Sequence[Stage]) -> int | Node:
    return node if isinstance(node, int) else node._replace(name=stages[int(symbol[2:]) - 1].label)


def _total(ranks: Ranks, stages: Sequence[Stage], found: Sequence[Reserve]) -> Node:
    """Of all devices: of groups that divide the batch some may have a sequence more than the others."""
    if ranks.groups == 1 and ranks.stages == 1:
        return Quantity("", "devices*reserved_bytes", {"devices": ranks.devices})
    each = ranks.of_a_stage // ranks.groups
    parts = []
    for stage, one in zip(stages, found, strict=True):
        node = one.reserved
        if ranks.groups > 1:
            numbers: dict[str, int | Node] = {"dp": ranks.groups}
            more = rebound(one.reserved, "B", Quantity("sequences of a fuller group", "B//dp + 1", numbers))
            less = rebound(one.reserved, "B", Quantity("sequences of a group", "B//dp", numbers))
            inner = {**numbers, "fuller": Quantity("fuller groups", "B%dp", numbers), "more": more, "less": less}
            node = Quantity("", "fuller*more + (dp - fuller)*less", inner)
        parts.append(Part(each, stage.label, node))
    return Total("", tuple(parts))


def _waste(
    spec: ModelSpec, workload: Workload, ranks: Ranks, stages: Sequence[Stage], found: Sequence[Reserve]
) -> Node | None:
    """By name: that of the stage which is the fullest at this workload, and what its share is beyond an even one."""
    if ranks.groups == 1 and ranks.stages == 1:
        return found[0].waste
    scope = {**workload.scope(), "n": max(1, workload.context_tokens)}
    at = 0
    if ranks.stages > 1:
        reserved = [_of_a_group(one.reserved, ranks).evaluate(scope) for one in found]
        at = reserved.index(max(reserved))
    wasted = found[at].waste
    if not isinstance(wasted, Total):
        return wasted
    cached = cache_bytes(stage_model(spec, stages[at]), workload, "n", engine_of("paper"))
    own = _share(_of_a_group(cached, ranks), ranks.attention)
    uneven = Quantity("", "own - paper_bytes", {"own": own._replace(name=stages[at].label)})
    parts = rebound(_of_a_group(wasted, ranks), "paper_bytes", own)
    return Total("waste", (*(parts.parts if isinstance(parts, Total) else ()), Part(1, "uneven shares", uneven)))


def engine_notes(spec: ModelSpec, workloads: Iterable[Workload]) -> Iterator[str]:
    """Which options an engine's numbers depend on, once an engine; nothing for an engine that has none."""
    for workload in workloads:
        engine = engine_of(workload.engine)
        if engine.reserve is None or not workload.kv_cache:
            continue
        used = engine.reserve(spec, workload, WHOLE).used
        if used:
            read = ", by reading only," if engine.by_reading else ""
            yield f"{told_engine(workload)}{read} with {', '.join(used)}; --engine-option sets others"
