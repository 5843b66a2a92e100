"""What fits: a batch of requests into the bytes that devices have left for a cache, solved exactly.

A request of n tokens fits where the engine admits it and all that come before it on the way: `most` tokens are counted,
not those that happen to be left at n. The largest context and the largest batch are found by monotone search over exact
integers: that many fit, and one more does not.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kvcalc.analysis import formulas
from kvcalc.attention.reach import most
from kvcalc.engines import engine_of
from kvcalc.engines.ranks import WHOLE
from kvcalc.engines.settings import version_of
from kvcalc.memory_budget import Deal, MemoryBudget, deal, memory_budget
from kvcalc.model import predicting
from kvcalc.reserving import reserved_on_stages
from kvcalc.rows import cache_dtype, weight_dtype
from kvcalc.storage import cache_bytes
from kvcalc.tuples import NamedTuple
from kvcalc.workload import MAX_TOKENS, PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from fractions import Fraction

    from kvcalc.engines import Pool
    from kvcalc.engines.ranks import Stage
    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.rows import Row
    from kvcalc.workload import Workload

MAX_BATCH = 10**9
LEAST_CONTEXT = 1024  # of the frontier


class Place(NamedTuple):
    """Where it is to fit: on a machine, with the engine's own utilization where None, or into `budget` bytes a device.

    `reserve` bytes of a device are set aside.
    """

    machine: Machine | None = None
    utilization: Fraction | None = None
    reserve: int = 0
    budget: int | None = None


class Fit(NamedTuple):
    """One answer. Context and batch are those asked for, or the largest found, None where there is none.

    `searched` says which were left out: 'context', 'batch', 'both' or ''. `endless`: any context fits. Bytes are of the
    device that has the least left, which is of `stage`; `batch` is of all replicas together. `aside` of them are kept
    for the states of more requests, whether they run or not.
    """

    spec: ModelSpec
    workload: Workload
    machine: Machine | None
    deal: Deal
    budget: MemoryBudget
    searched: str
    fits: bool
    context: int | None
    batch: int | None
    reserved: int | None
    pool: Pool | None
    endless: bool = False
    stage: Stage = WHOLE
    aside: int = 0

    @property
    def free(self) -> int | None:
        """Bytes of the pool that are left."""
        return None if self.reserved is None else self.budget.pool - self.reserved - self.aside

    def row(self) -> Row:
        """A flat record."""
        machine, budget, pool = self.machine, self.budget, self.pool
        return {
            "model": self.spec.name,
            "on": machine.label if machine else None,
            "devices": machine.devices if machine else self.deal.devices,
            "tensor_parallel": self.workload.tensor_parallel,
            "replicas": self.deal.replicas,
            "engine": self.workload.engine,
            "engine_version": version_of(self.workload.engine, self.workload.engine_version) or None,
            "cache_dtype": cache_dtype(self.spec, self.workload),
            "weight_dtype": weight_dtype(self.spec, self.workload),
            "context_tokens": self.context,
            "batch": self.batch,
            "fits": self.fits,
            "largest_context_tokens": self.context if self.searched == "context" else None,
            "largest_batch": self.batch if self.searched in ("batch", "both") else None,
            "num_blocks": pool.blocks if pool else None,
            "pool_tokens": pool.tokens if pool else None,
            "max_concurrency": pool.concurrency if pool else None,
            "memory_bytes": budget.memory,
            "unused_bytes": budget.unused,
            "reserve_bytes": budget.reserve,
            "weight_bytes": budget.weights,
            "pool_bytes": budget.pool,
            "reserved_bytes": self.reserved,
            "free_bytes": self.free,
            **{key: getattr(self.workload, key) for key in PARALLEL if key != "tensor_parallel"},
            "stage": self.stage.number,
            "aside_bytes": None if self.reserved is None else self.aside,
        }


def reserved_bytes(spec: ModelSpec, workload: Workload) -> Callable[[int, int], int]:
    """Bytes that the workload's engine sets aside on the fullest device, as a function of context and batch."""
    of_stages = [of for _, of in reserved_by_stage(spec, workload)]
    return lambda context, batch: max(of(context, batch) for of in of_stages)


def reserved_by_stage(spec: ModelSpec, workload: Workload) -> list[tuple[Stage, Callable[[int, int], int]]]:
    """The same on the devices of each stage.

    An engine that says nothing of its own sets aside the most that the model keeps on the way, an even share a device.
    """
    engine = engine_of(workload.engine)
    spec = predicting(spec, workload.mtp)
    quantities = formulas(spec, workload)
    if engine.reserve is None:
        quantities["cache_bytes"] = cache_bytes(spec, workload, "n", engine._replace(tokens=most))
        told = [(WHOLE, quantities["reserved_bytes"])]
    else:
        told = [(stage, node) for stage, node in reserved_on_stages(spec, workload, engine)]

    def of(node: Node | None, context: int, batch: int) -> int:
        scope = workload._replace(context_tokens=context, batch=batch).scope()
        for key in ("encoder_tokens", "cache_bytes"):
            before = quantities[key]
            if before is not None:
                scope[key] = before.evaluate(scope)
        return node.evaluate(scope) if node else 0

    return [(stage, partial(of, node)) for stage, node in told]


def fit(spec: ModelSpec, workload: Workload, place: Place, context: int | None, batch: int | None) -> list[Fit]:
    """Whether it fits; with one of context and batch None the largest that does; with both the frontier.

    All devices share a model, unless the workload says how many, or names the machine itself.
    Raises KvcalcError where the engine has no such layers or does not run so.
    """
    shares = deal(workload, place.machine)
    least = workload.shared_prefix_tokens + 1
    asked = shares.workload._replace(machine=None, context_tokens=context or least, batch=batch or 1)
    asked = of_its_class(asked, place.machine)
    asked.check()
    rooms = []
    for stage, reserved in reserved_by_stage(spec, asked):
        if place.machine is None:
            budget = MemoryBudget(place.budget or 0)
        else:
            budget = memory_budget(spec, asked, stage, place.machine, place.utilization, place.reserve)
        rooms.append(_Room(stage, budget, reserved))
    solver = _Solver(spec, asked, place, shares, tuple(rooms))
    if context is None and batch is None:
        return list(solver.frontier())
    if context is None:
        return [solver.largest_context(batch or 1)]
    return [solver.largest_batch(context, "batch") if batch is None else solver.answer(context, batch, "")]


def of_its_class(workload: Workload, machine: Machine | None) -> Workload:
    """The workload with the options of its engine whose defaults hang on the device, where nobody said them."""
    rule = engine_of(workload.engine).of_device
    if machine is None or rule is None:
        return workload
    given = {name for name, _ in workload.engine_options}
    more = tuple(pair for pair in rule(machine.accelerator) if pair[0] not in given)
    return workload._replace(engine_options=(*workload.engine_options, *more))


def largest(fits: Callable[[int], bool], most_: int) -> int | None:
    """The largest number that fits, 0 where not even 1 does, None where `most_` does. What fits, less of it fits."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while high < most_ and fits(high):
        low, high = high, high * 2
    if high >= most_:
        if fits(most_):
            return None
        high = most_
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class _Room(NamedTuple):
    """What a device of a stage has for the cache, and what is set aside on it at a context and a batch."""

    stage: Stage
    budget: MemoryBudget
    reserved: Callable[[int, int], int]


class _Solver(NamedTuple):
    """One model, engine and place."""

    spec: ModelSpec
    workload: Workload
    place: Place
    deal: Deal
    rooms: tuple[_Room, ...]

    def fits(self, context: int, batch: int) -> bool:
        """Whether a replica starts and admits this batch, on every stage."""
        return all(self.fits_on(room, context, batch) for room in self.rooms)

    def fits_on(self, room: _Room, context: int, batch: int) -> bool:
        """Whether a device does, of the fullest of the groups that divide the batch."""
        if room.reserved(context, batch) > room.budget.pool:
            return False
        if engine_of(self.workload.engine).pool is None:
            return True
        found = self.pool_on(room, context, batch)
        return found is not None and found.fits

    def pool_on(self, room: _Room, context: int, batch: int) -> Pool | None:
        """What a device's bytes become for the fullest group; None where the engine has no pool or there is no byte."""
        engine = engine_of(self.workload.engine)
        if engine.pool is None or room.budget.pool <= 0:
            return None
        asked = self.workload._replace(context_tokens=context, batch=-(-batch // self.deal.groups))
        return engine.pool(self.spec, asked, room.budget.pool, room.stage)

    def answer(self, context: int | None, batch: int | None, searched: str, *, endless: bool = False) -> Fit:
        """What there is to say of a context and a batch; `batch` counts all replicas."""
        found = reserved = own = None
        fits = endless
        each = -(-(batch or 1) // self.deal.replicas)
        length = MAX_TOKENS if endless else context
        room = min(self.rooms, key=lambda room: room.budget.pool)
        if length is not None:
            room = min(self.rooms, key=lambda room: room.budget.pool - room.reserved(length, each))
            reserved = room.reserved(length, each)
            own = self.pool_on(room, length, each)
        if context is not None:
            fits = bool(batch) and self.fits(context, each)
            found = self.pool(context, each)
        shown = self.workload._replace(context_tokens=context or 1, batch=batch or 1)
        return Fit(
            self.spec,
            shown,
            self.place.machine,
            self.deal,
            room.budget,
            searched,
            fits,
            context,
            batch,
            reserved,
            found,
            endless,
            room.stage,
            own.aside if own else 0,
        )

    def pool(self, context: int, batch: int) -> Pool | None:
        """What a replica's devices have in common: all stages hold as many blocks as the one that holds the fewest."""
        pools = [self.pool_on(room, context, batch) for room in self.rooms]
        found = [pool for pool in pools if pool is not None]
        return min(found, key=lambda pool: (pool.blocks or 0, pool.tokens)) if len(found) == len(pools) else None

    def largest_batch(self, context: int, searched: str) -> Fit:
        """The most sequences of a context."""
        found = largest(lambda batch: self.fits(context, batch), MAX_BATCH)
        each = MAX_BATCH if found is None else found
        return self.answer(context, each * self.deal.replicas, searched)

    def largest_context(self, batch: int) -> Fit:
        """The longest sequences of a batch."""
        each = -(-batch // self.deal.replicas)
        prefix = self.workload.shared_prefix_tokens
        found = largest(lambda own: self.fits(prefix + own, each), MAX_TOKENS - prefix)
        if found == 0:
            return self.answer(prefix + 1, batch, "context")._replace(context=None)
        return self.answer(None if found is None else prefix + found, batch, "context", endless=found is None)

    def frontier(self) -> Iterator[Fit]:
        """The largest batch at each power of two of the context, up to the model's own limit, as long as one fits.

        The last of any context where the model has no limit and its cache stops growing.
        """
        limit = self.spec.max_position_embeddings or MAX_TOKENS
        powers = (LEAST_CONTEXT << power for power in range(15))
        contexts = [context for context in powers if self.workload.shared_prefix_tokens < context < limit]
        if limit < MAX_TOKENS:
            contexts.append(limit)
        shown = False
        for context in contexts:
            found = self.largest_batch(context, "both")
            if not found.batch and shown:
                return
            if found.batch and limit == MAX_TOKENS and self.fits(MAX_TOKENS, found.batch // self.deal.replicas):
                yield self.answer(None, found.batch, "both", endless=True)
                return
            yield found
            shown = True
            if not found.batch:
                return
