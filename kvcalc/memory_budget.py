"""What one device has for a cache: its memory less what is left unused, what is set aside, and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.device_weights import on_a_device
from kvcalc.engines import Taking, engine_of
from kvcalc.engines.ranks import OPTIONS, sizes, stages_of
from kvcalc.errors import KvcalcError
from kvcalc.model import predicting
from kvcalc.tuples import NamedTuple
from kvcalc.weight_bytes import weight_bytes
from kvcalc.weights import parameters

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.engines.ranks import Stage
    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec
    from kvcalc.workload import Workload

ASSUMED_EVEN = "matrices and cache split evenly over the devices; norms, biases, tables and routers on each"
ASSUMED_RANKS = (
    "matrices split over the devices; norms, biases, routers, down projections of latents and index projections on "
    "each, K and V of a head on every device that has no head of its own"
)
ASSUMED_WAYS = "stages, groups and experts as `explain MODEL weight_bytes_per_device` has them"


class MemoryBudget(NamedTuple):
    """Bytes on one device. `pool` is left for the cache, and negative where the weights do not fit.

    All but `pool` are None where the pool was given.
    """

    pool: int
    memory: int | None = None
    unused: int | None = None
    reserve: int | None = None
    weights: int | None = None


class Deal(NamedTuple):
    """How devices share a model, as the workload then has it, in groups that divide the batch, times replicas."""

    workload: Workload
    devices: int
    replicas: int
    groups: int = 1


def deal(workload: Workload, machine: Machine | None) -> Deal:
    """How a machine's devices are used: all for one model, unless the workload says how many. Raises KvcalcError."""
    engine = engine_of(workload.engine)
    if machine is None:
        ranks = engine.ranks(workload)
        return Deal(workload, ranks.devices, 1, ranks.groups)
    if max(sizes(workload)) == 1 and machine.devices > 1 and workload.machine is None:
        spread: dict[str, Any] = {engine.spread: machine.devices}
        workload = workload._replace(**spread)
    ranks = engine.ranks(workload)
    asked = ranks.devices
    if machine.devices % asked:
        told = " ".join(f"--{option} {size}" for option, size in zip(OPTIONS, sizes(workload), strict=True) if size > 1)
        message = f"{told} {'is' if asked == 1 else 'makes'} {asked} devices"
        raise KvcalcError(f"{message}, which does not divide the {machine.devices} devices of --on {machine.label}")
    return Deal(workload, asked, machine.devices // asked, ranks.groups)


def memory_budget(
    spec: ModelSpec, workload: Workload, stage: Stage, machine: Machine, utilization: Fraction | None, reserve: int
) -> MemoryBudget:
    """The budget of the fullest device of a stage.

    `utilization` None: what the engine takes by default, of the memory or of what the weights leave.
    """
    memory = machine.accelerator.memory_bytes
    weights = stage_weights(spec, workload, stage)
    told = taken(spec, workload, memory)
    share = told.share if utilization is None else utilization
    if told.after_weights:
        left = memory - reserve - weights
        pool = left * share.numerator // share.denominator if left > 0 else left
        return MemoryBudget(pool, memory, left - pool, reserve, weights)
    unused = memory - -(-memory * share.numerator // share.denominator)
    return MemoryBudget(memory - unused - reserve - weights, memory, unused, reserve, weights)


def fullest_budget(
    spec: ModelSpec, workload: Workload, machine: Machine, utilization: Fraction | None, reserve: int
) -> MemoryBudget:
    """The budget of the device that holds most weights."""
    budgets = [memory_budget(spec, workload, stage, machine, utilization, reserve) for stage in _stages(spec, workload)]
    return min(budgets, key=lambda budget: budget.pool)


def _stages(spec: ModelSpec, workload: Workload) -> tuple[Stage, ...]:
    engine = engine_of(workload.engine)
    return stages_of(predicting(spec, workload.mtp), engine.ranks(workload), engine.stages)


def taken(spec: ModelSpec, workload: Workload, memory_bytes: int) -> Taking:
    """What the workload's engine takes of a device by default: all of it where it has no rule."""
    from fractions import Fraction

    rule = engine_of(workload.engine).taking
    return rule(spec, workload, memory_bytes) if rule else Taking(Fraction(1), "")


def assumed(workload: Workload) -> str:
    """How weights are spread over devices, in words."""
    told = ASSUMED_RANKS if engine_of(workload.engine).by_heads else ASSUMED_EVEN
    return told if max(sizes(workload)[1:]) == 1 else f"{told}; {ASSUMED_WAYS}"


def stage_weights(spec: ModelSpec, workload: Workload, stage: Stage) -> int:
    """Bytes of the weights on the fullest device of a stage, each part rounded up."""
    model = predicting(spec, workload.mtp)
    if engine_of(workload.engine).ranks(workload).devices == 1:
        return weight_bytes(model, workload).evaluate({"parameters": parameters(model).evaluate({})})
    return on_a_device(model, workload, stage).evaluate({})


def weights_on_a_device(spec: ModelSpec, workload: Workload) -> int:
    """Bytes of the weights on the device that has most of them."""
    return max(stage_weights(spec, workload, stage) for stage in _stages(spec, workload))
