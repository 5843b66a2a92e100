"""What an engine sets aside on one device, what it holds, and what is more than the model needs.

reserved_bytes   the batch, each request at what the engine sets aside to admit it
held_bytes       in steady decode
paper_bytes      the model's own need: the cache as papers count it, an even share of it a device
waste_bytes      reserved_bytes less paper_bytes, by name
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import engine_of
from kvcalc.engines.settings import settings, told_engine
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Quantity
from kvcalc.storage import NO_CACHE, cache_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.engines import Engine
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.workload import Workload

COUNTS_CACHE = "the engine sets nothing aside but what it caches"
SHARE = "an even share of a device"


def reserving(spec: ModelSpec, workload: Workload, engine: Engine) -> dict[str, Node | None]:
    """The quantities above by name; they follow cache_bytes. Raises KvcalcError where the engine has no such layers."""
    if not workload.kv_cache:
        if engine.pool is not None:
            raise KvcalcError(f"--kv-cache off: {engine.name} always caches", "--engine paper counts without a cache")
        return {**dict.fromkeys(("paper_bytes", "reserved_bytes", "held_bytes"), NO_CACHE), "waste_bytes": None}
    paper = engine_of("paper")
    own = _share(Quantity("", "cache_bytes"), workload)
    needed = own if engine.tokens is paper.tokens else _share(cache_bytes(spec, workload, "n", paper), workload)
    if engine.reserve is None:
        settings(workload)  # refuses options that the engine has not
        same = own._replace(source=COUNTS_CACHE)
        return {"paper_bytes": needed, "reserved_bytes": same, "held_bytes": same, "waste_bytes": None}
    found = engine.reserve(spec, workload)
    return {
        "paper_bytes": needed,
        "reserved_bytes": found.reserved,
        "held_bytes": found.held,
        "waste_bytes": found.waste,
    }


def _share(cached: Node, workload: Workload) -> Quantity:
    """Bytes of one device, were they spread evenly."""
    if workload.tensor_parallel == 1 and isinstance(cached, Quantity):
        return cached
    return Quantity("", "ceil_div(c, tp)", {"c": cached, "tp": workload.tensor_parallel}, SHARE)


def engine_notes(spec: ModelSpec, workloads: Iterable[Workload]) -> Iterator[str]:
    """Which options an engine's numbers depend on, once an engine; nothing for an engine that has none."""
    for workload in workloads:
        engine = engine_of(workload.engine)
        if engine.reserve is None or not workload.kv_cache:
            continue
        used = engine.reserve(spec, workload).used
        if used:
            read = ", by reading only," if engine.by_reading else ""
            yield f"{told_engine(workload)}{read} with {', '.join(used)}; --engine-option sets others"
