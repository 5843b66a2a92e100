"""What a model's layers keep: elements and bytes a token and in all, fixed states, and what a decode step reads.

    cache = sum over layers that own memory:  elements per token x tokens kept(n) + fixed state

How many tokens, and which elements of each, is the engine's to say. Totals are the batch's, but what a new token leaves
is one sequence's. Bytes are bits rounded up once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.memory import Store
from kvcalc.attention.reach import kept, seen, shared, stored
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.rows import state_dtype
from kvcalc.tuples import NamedTuple
from kvcalc.workload import DTYPE_BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.attention.memory import Memory, State
    from kvcalc.engines import Engine
    from kvcalc.model import Branch, ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.workload import Workload

NO_CACHE = Quantity("nothing is cached", "0", {}, "--kv-cache off: every step recomputes all tokens before it")
NO_STATE = Quantity("nothing is kept", "0", {}, "no layer keeps a fixed state")


def storage(spec: ModelSpec, workload: Workload, engine: Engine) -> dict[str, Node]:
    """What is stored, by row key."""
    elements, bits = Elements(spec, engine), Bits(spec, workload, engine)
    if not workload.kv_cache:
        return dict.fromkeys(
            (
                "cache_elements_per_token",
                "cache_bytes_per_token",
                "state_elements",
                "state_bytes",
                "cache_elements",
                "cache_bytes",
            ),
            NO_CACHE,
        )
    return {
        "cache_elements_per_token": _of_a_token(spec, elements),
        "cache_bytes_per_token": _bytes(_of_a_token(spec, bits)),
        "state_elements": _fixed(spec, elements) or NO_STATE,
        "state_bytes": _bytes(_fixed(spec, bits) or NO_STATE),
        "cache_elements": _kept(spec, workload, elements, "n"),
        "cache_bytes": cache_bytes(spec, workload, "n", engine),
    }


def cache_bytes(spec: ModelSpec, workload: Workload, n: str, engine: Engine) -> Node:
    """Bytes the batch keeps at token n."""
    return _bytes(_kept(spec, workload, Bits(spec, workload, engine), n)) if workload.kv_cache else NO_CACHE


def read_bytes(spec: ModelSpec, workload: Workload, engine: Engine) -> Node:
    """What the decode step reads: cache rows once per layer that reads them, shared memory too, and every state."""
    if not workload.kv_cache:
        return NO_CACHE
    bits = Bits(spec, workload, engine)
    rows = [
        _part(layers, branch, "bits read", "B*b*t", {"b": bits.of_a_token(branch.memory), "t": seen(branch.reach)})
        for layers, branch in spec.branches()
        if branch.memory.stores()
    ]
    return _bytes(_with_fixed("bits read", rows, _fixed(spec, bits)))


def read_once_bytes(spec: ModelSpec, workload: Workload, engine: Engine) -> Node:
    """What the decode step must read at the least: as `read_bytes`, but a shared prefix once for the batch."""
    if not workload.kv_cache or not workload.shared_prefix_tokens:
        return read_bytes(spec, workload, engine)
    bits, rows = Bits(spec, workload, engine), []
    for layers, branch in spec.branches():
        if branch.memory.stores():
            ours = shared(branch.reach, "n", kept(branch.reach))
            symbols: dict[str, int | Node] = {"b": bits.of_a_token(branch.memory), "t": seen(branch.reach), "u": ours}
            rows.append(_part(layers, branch, "bits read", "b*(v + B*(t - v)) where v = min(t, u)", symbols))
    return _bytes(_with_fixed("bits read", rows, _fixed(spec, bits)))


class Elements(NamedTuple):
    """Counts elements."""

    spec: ModelSpec
    engine: Engine
    symbol: str = "e"

    def of_a_token(self, memory: Memory) -> Node:
        """What one token leaves in one layer."""
        if any(self.engine.store(store) != store.formula for store in memory.stores()):
            return _sum("elements per token", memory, self, [(store, "e") for store in memory.stores()])
        symbols = {**memory.symbols(), "d": self.spec.hidden_size}
        return Quantity("elements per token", memory.elements_formula, symbols, memory.source)

    def of_a_sequence(self, memory: Memory) -> Node:
        """What one sequence keeps in one layer, whatever its length."""
        return _sum("elements of the state", memory, self, [(state, "e") for state in memory.states()])


class Bits(NamedTuple):
    """Counts bits, each store and state at its own dtype."""

    spec: ModelSpec
    workload: Workload
    engine: Engine
    symbol: str = "b"

    def of_a_token(self, memory: Memory) -> Node:
        """What one token leaves in one layer, K and V at their own dtypes."""
        stores = [(store, self.workload.bits(store.role)) for store in memory.stores()]
        return _sum("bits per token", memory, self, stores)

    def of_a_sequence(self, memory: Memory) -> Node:
        """What one sequence keeps in one layer, whatever its length."""
        recurrent = DTYPE_BITS[state_dtype(self.spec, self.workload)]
        states = [
            (state, f"{recurrent}*e" if state.role == "state" else self.workload.bits(state.role))
            for state in memory.states()
        ]
        return _sum("bits of the state", memory, self, states)


def _sum(name: str, memory: Memory, count: Elements | Bits, parts: Sequence[tuple[Store | State, str]]) -> Total:
    """Each store or state by a formula of its elements e."""
    symbols = {**memory.symbols(), "d": count.spec.hidden_size}
    elements = [Quantity("elements", _held(part, count.engine), symbols, part.source) for part, _ in parts]
    return Total(
        name,
        tuple(
            Part(1, part.name, Quantity(part.name, formula, {"e": element}))
            for (part, formula), element in zip(parts, elements, strict=True)
        ),
    )


def _held(part: Store | State, engine: Engine) -> str:
    """The formula of its elements under this engine."""
    return engine.store(part) if isinstance(part, Store) else engine.state(part)


def _of_a_token(spec: ModelSpec, count: Elements | Bits) -> Total:
    """What one new token stores, all layers."""
    parts = [
        Part(layers, f"{branch.label} layer", stored(branch.reach, count.of_a_token(branch.memory)))
        for layers, branch in spec.branches(owners=True)
        if branch.memory.stores()
    ]
    return Total("stored", tuple(parts))


def _fixed(spec: ModelSpec, count: Elements | Bits) -> Total | None:
    """What the batch keeps whatever its length; None where no layer has a state."""
    parts = [
        _part(layers, branch, "state", f"B*{count.symbol}", {count.symbol: count.of_a_sequence(branch.memory)})
        for layers, branch in spec.branches(owners=True)
        if branch.memory.states()
    ]
    return Total("fixed states", tuple(parts)) if parts else None


def _kept(spec: ModelSpec, workload: Workload, count: Elements | Bits, n: str) -> Node:
    """What the batch keeps at token n; a shared prefix is kept once."""
    parts = []
    for layers, branch in spec.branches(owners=True):
        if not branch.memory.stores():
            continue
        tokens = count.engine.tokens(branch.reach, n)
        symbols: dict[str, int | Node] = {count.symbol: count.of_a_token(branch.memory), "t": tokens}
        formula = f"B*{count.symbol}*t"
        if workload.shared_prefix_tokens:
            formula = f"{count.symbol}*(u + B*(t - u))"
            symbols["u"] = shared(branch.reach, n, tokens)
        parts.append(_part(layers, branch, "kept", formula, symbols))
    return _with_fixed("kept", parts, _fixed(spec, count))


def _with_fixed(name: str, parts: list[Part], fixed: Total | None) -> Total:
    return Total(name, (*parts, *([Part(1, "fixed states", fixed)] if fixed else [])))


def _part(layers: int, branch: Branch, name: str, formula: str, symbols: dict[str, int | Node]) -> Part:
    """So many layers of one kind."""
    return Part(layers, f"{branch.label} layer", Quantity(name, formula, symbols))


def _bytes(bits: Node) -> Quantity:
    return Quantity("bytes", "ceil_div(bits, 8)", {"bits": bits})
