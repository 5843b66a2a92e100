"""What one device has for a cache: its memory less what is left unused, what is set aside, and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import Taking, engine_of
from kvcalc.errors import KvcalcError
from kvcalc.model import predicting
from kvcalc.quantity import Quantity
from kvcalc.tuples import NamedTuple
from kvcalc.weight_bytes import bytes_of, held, weight_bytes, weight_format
from kvcalc.weights import parameters

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec
    from kvcalc.weight_bytes import Held
    from kvcalc.workload import Workload

ON_EACH = ("vectors", "router", "positions")
# vLLM 0.33 and SGLang: linear layers of the down projections and of the index are ReplicatedLinear; K and V of a head
# are on every rank that has no head of its own.
DOWN = ("q down", "kv down", "index q", "index k", "RoPE key")
KEYS_AND_VALUES = ("k", "v", "k bias", "v bias", "tied k and v")
RANKS = ("vllm", "sglang", "tensorrt-llm")  # engines whose ranks hold weights so
ASSUMED_EVEN = "matrices and cache split evenly over the devices; norms, biases, tables and routers on each"
ASSUMED_RANKS = (
    "matrices split over the devices; norms, biases, routers, down projections of latents and index projections on "
    "each, K and V of a head on every device that has no head of its own"
)


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
    """Devices that share a model, times replicas of it."""

    tensor_parallel: int
    replicas: int


def deal(workload: Workload, machine: Machine | None) -> Deal:
    """How a machine's devices are used: all for one model, unless --tp says how many. Raises KvcalcError."""
    asked = workload.tensor_parallel
    if machine is None:
        return Deal(asked, 1)
    if asked == 1 and workload.machine is None:
        return Deal(machine.devices, 1)
    if machine.devices % asked:
        raise KvcalcError(f"--tp {asked} does not divide the {machine.devices} devices of --on {machine.label}")
    return Deal(asked, machine.devices // asked)


def memory_budget(
    spec: ModelSpec, workload: Workload, machine: Machine, utilization: Fraction | None, reserve: int
) -> MemoryBudget:
    """The budget of a device that shares the model with workload.tensor_parallel - 1 others.

    `utilization` None: what the engine takes by default, of the memory or of what the weights leave.
    """
    memory = machine.accelerator.memory_bytes
    weights = weights_on_a_device(spec, workload)
    told = taken(spec, workload, memory)
    share = told.share if utilization is None else utilization
    if told.after_weights:
        left = memory - reserve - weights
        pool = left * share.numerator // share.denominator if left > 0 else left
        return MemoryBudget(pool, memory, left - pool, reserve, weights)
    unused = memory - -(-memory * share.numerator // share.denominator)
    return MemoryBudget(memory - unused - reserve - weights, memory, unused, reserve, weights)


def taken(spec: ModelSpec, workload: Workload, memory_bytes: int) -> Taking:
    """What the workload's engine takes of a device by default: all of it where it has no rule."""
    from fractions import Fraction

    rule = engine_of(workload.engine).taking
    return rule(spec, workload, memory_bytes) if rule else Taking(Fraction(1), "")


def assumed(workload: Workload) -> str:
    """How weights are spread over devices, in words."""
    return ASSUMED_RANKS if workload.engine in RANKS else ASSUMED_EVEN


def weights_on_a_device(spec: ModelSpec, workload: Workload) -> int:
    """Bytes of the weights on one of workload.tensor_parallel devices, each part rounded up."""
    model = predicting(spec, workload.mtp)
    stored = weight_format(model, workload)
    if workload.tensor_parallel == 1:
        return weight_bytes(model, workload).evaluate({"parameters": parameters(model).evaluate({})})
    weights: dict[str, int] = {}
    for one in held(model):
        weights[one.kind] = weights.get(one.kind, 0) + _on_one(one, workload)
    return sum(bytes_of(stored, kind, number) for kind, number in weights.items())


def _on_one(one: Held, workload: Workload) -> int:
    """How many of these weights a device holds."""
    number, devices = one.evaluate(), workload.tensor_parallel
    if one.kind in ON_EACH:
        return number
    if workload.engine in RANKS:
        if one.part.what in DOWN:
            return number
        heads = one.part.node.symbols.get("n_kv") if isinstance(one.part.node, Quantity) else None
        if one.part.what in KEYS_AND_VALUES and isinstance(heads, int) and heads < devices:
            return -(-number // heads)
    return -(-number // devices)
