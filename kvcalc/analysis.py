"""A model and a workload become quantities: trees of named formulas, one for each number of the output.

    cache = sum over layers that own memory:  elements per token x tokens kept(n)
    FLOPs = sum over layers:                  work per pair x pairs + work per token x tokens

A matmul of one multiply-add is 2 FLOPs; only matmuls count. Everything is a total for the batch, but for the
per-token cache, which is one sequence's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.attention.latent import SOURCE_CROSSOVER
from kvcalc.attention.reach import kept, seen
from kvcalc.phases import answer_phase, decode_phase, last_step_phase, prefill_phase
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.rows import RATIOS, cache_dtype, row
from kvcalc.weights import active_parameters, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.attention.memory import Memory
    from kvcalc.model import ModelSpec
    from kvcalc.phases import Phase
    from kvcalc.quantity import Node, Symbols
    from kvcalc.rows import Row
    from kvcalc.workload import Workload

NO_CACHE = Quantity("nothing is cached", "0", {}, "--kv-cache off: every step recomputes all tokens before it")


class Report(NamedTuple):
    """A model, a workload and every quantity of them by its row key. None: it does not apply.

    `scope` holds the workload's symbols and the value of every quantity, so that later ones name earlier ones.
    """

    spec: ModelSpec
    workload: Workload
    variant: str
    quantities: dict[str, Node | None]
    scope: dict[str, int]

    def value(self, key: str) -> int | None:
        """The exact number of a row key; None where it does not apply."""
        return self.scope.get(key)

    def rows(self) -> list[Row]:
        """The one flat record of this report, with the keys that every output has."""
        return [row(self, self)]

    def _repr_html_(self) -> str:
        """The table of `kvcalc compare`, for a notebook."""
        from kvcalc.comparison import Comparison

        return Comparison((self,), (), ())._repr_html_()

    @property
    def name(self) -> str:
        """The model's name, with the variant where it is rebuilt."""
        return self.spec.name if self.variant == "configured" else f"{self.spec.name} as {self.variant}"

    @property
    def cache_dtype(self) -> str:
        """The dtypes of what is stored: 'bf16', 'int8/int4' for K and V; a latent is neither and takes --dtype."""
        return cache_dtype(self.spec, self.workload)

    @property
    def decode_intensity(self) -> float | None:
        """FLOPs of the decode core per byte of cache it reads."""
        core, read = (self.value(key) for key in RATIOS["decode_intensity"])
        return core / read if core is not None and read else None


def analyze(spec: ModelSpec, workload: Workload, variant: str = "configured") -> Report:
    """Every quantity of one model under one workload. Raises KvcalcError where the workload contradicts itself."""
    workload.check()
    quantities = formulas(spec, workload)
    scope = workload.scope()
    for key, node in quantities.items():
        if node is not None:
            scope[key] = node.evaluate(scope)
    return Report(spec, workload, variant, quantities, scope)


def formulas(spec: ModelSpec, workload: Workload) -> dict[str, Node | None]:
    """Every quantity as a formula over the workload's symbols and the quantities before it; None: it does not apply.

    Tokens and batch stay symbols. Of them the formulas depend only on whether tokens are cached, shared or generated,
    and on whether the shared prefix outgrows what is cached: one tree serves every context and batch.
    """
    model = _Model(spec, workload)
    quantities: dict[str, Node | None] = {
        "cache_elements_per_token": model.elements_per_token(),
        "cache_bytes_per_token": model.bytes_per_token(),
        "state_elements": Quantity("state_elements", "0", {}, "no layer keeps a fixed state"),
        "cache_elements": model.cache_elements("n"),
        "cache_bytes": model.cache_bytes("n"),
        **model.flops(decode_phase(workload)),
        **model.flops(prefill_phase(workload)),
        "decode_cache_read_bytes": model.cache_read_bytes(),
        "parameters": parameters(spec),
        "active_parameters": active_parameters(spec),
        "weight_bytes": Quantity(
            "",
            f"ceil_div({workload.weight_bits}*parameters, 8)",
            {},
            f"{workload.weight_dtype} weights, without scales",
        ),
        "receptive_field_tokens": model.receptive_field(),
        "crossover_query_tokens": model.crossover(),
    }
    if workload.generate_tokens:
        quantities["answer_cache_bytes"] = model.cache_bytes("n + T")
        quantities.update(model.flops(last_step_phase(workload)))
        quantities.update(model.flops(answer_phase(workload)))
    return {key: None if node is None else node._replace(name=key) for key, node in quantities.items()}


class _Model:
    """The sums over one model's layers."""

    def __init__(self, spec: ModelSpec, workload: Workload) -> None:
        self.spec = spec
        self.workload = workload

    def _symbols(self, symbols: Symbols) -> Symbols:
        return {**symbols, "d": self.spec.hidden_size}

    def _elements(self, memory: Memory) -> Quantity:
        symbols = self._symbols(memory.symbols())
        return Quantity("elements per token", memory.elements_formula, symbols, memory.source)

    def _bits(self, memory: Memory) -> Total:
        """Bits one token leaves in one layer, K and V at their own dtypes."""
        symbols = self._symbols(memory.symbols())
        parts = [
            Part(1, store.name, Quantity(store.name, f"{bits}*e", {"e": element}))
            for store in memory.stores()
            for bits in (self.workload.bits(store.role),)
            for element in (Quantity("elements", store.formula, symbols, store.source),)
        ]
        return Total("bits per token", tuple(parts))

    def elements_per_token(self) -> Node:
        """What one new token stores, all layers."""
        if not self.workload.kv_cache:
            return NO_CACHE
        owners = self.spec.branches(owners=True)
        parts = [Part(layers, f"{branch.label} layer", self._elements(branch.memory)) for layers, branch in owners]
        return Total("", tuple(parts))

    def bytes_per_token(self) -> Node:
        """The same in bytes, rounded up once."""
        if not self.workload.kv_cache:
            return NO_CACHE
        parts = [
            Part(layers, f"{b.label} layer", self._bits(b.memory)) for layers, b in self.spec.branches(owners=True)
        ]
        return _bytes(Total("bits", tuple(parts)))

    def cache_elements(self, n: str) -> Node:
        """What the batch keeps while token n is processed; a shared prefix is kept once."""
        return self._kept(n, self._elements, "e")

    def cache_bytes(self, n: str) -> Node:
        """The same in bytes, rounded up once."""
        kept_bits = self._kept(n, self._bits, "b")
        return kept_bits if kept_bits is NO_CACHE else _bytes(kept_bits)

    def _kept(self, n: str, per_token: Callable[[Memory], Node], symbol: str) -> Node:
        if not self.workload.kv_cache:
            return NO_CACHE
        parts = []
        for layers, branch in self.spec.branches(owners=True):
            tokens = kept(branch.reach, n)
            symbols: dict[str, int | Node] = {symbol: per_token(branch.memory), "t": tokens}
            formula = f"B*{symbol}*t"
            if self.workload.shared_prefix_tokens:
                formula = f"{symbol}*(u + B*(t - u))"
                symbols["u"] = Quantity("kept tokens of the shared prefix", f"max(0, t - ({n} - S))", {"t": tokens})
            parts.append(Part(layers, f"{branch.label} layer", Quantity("kept", formula, symbols)))
        return Total("kept", tuple(parts))

    def cache_read_bytes(self) -> Node:
        """Cache rows that the decode step reads, once per layer that reads them, shared memory too."""
        if not self.workload.kv_cache:
            return NO_CACHE
        parts = [
            Part(
                layers,
                f"{branch.label} layer",
                Quantity("bits read", "B*b*t", {"b": self._bits(branch.memory), "t": seen(branch.reach)}),
            )
            for layers, branch in self.spec.branches()
        ]
        return _bytes(Total("bits", tuple(parts)))

    def flops(self, phase: Phase) -> dict[str, Node]:
        """core: all that grows with pairs. projection: the other matmuls of attention. model: everything."""
        core = Total(f"{phase.name}_core_flops", self._attention(phase, core=True))
        projection = Total(f"{phase.name}_projection_flops", self._attention(phase, core=False))
        rest = (*self._feedforward(phase), *self._embedding(phase), Part(1, "lm_head", self._lm_head(phase)))
        attention = Total(
            f"{phase.name}_attention_flops",
            (Part(1, "core", Quantity("", core.name)), Part(1, "projections", Quantity("", projection.name))),
        )
        parts = (
            Part(1, "attention core", Quantity("", core.name)),
            Part(1, "attention projections", Quantity("", projection.name)),
            *rest,
        )
        model = Total(f"{phase.name}_model_flops", parts)
        return {total.name: total for total in (core, projection, attention, model)}

    def _attention(self, phase: Phase, *, core: bool) -> tuple[Part, ...]:
        parts = []
        for layers, branch in self.spec.branches():
            symbols = self._symbols(branch.memory.symbols())
            inner = []
            for call in phase.calls:
                amounts = {"pair": call.pairs(branch.reach), "token": call.tokens, "key": call.touched(branch.reach)}
                for work in branch.memory.work(call.mode):
                    if (work.per == "pair") is not core or (work.writes and branch.shares_kv):
                        continue
                    per = Quantity(f"FLOPs per {work.per}", work.formula, symbols, work.source)
                    flops = Quantity(work.name, f"{call.times}*w*x", {"w": per, "x": amounts[work.per]})
                    inner.append(Part(1, work.name, flops))
            parts.append(Part(layers, f"{branch.label} layer", Total("", tuple(inner))))
        return tuple(parts)

    def _feedforward(self, phase: Phase) -> Iterator[Part]:
        for layers, feedforward in self.spec.feedforwards():
            symbols = self._symbols(feedforward.symbols())
            for part in feedforward.flops():
                per = Quantity("FLOPs per token", part.formula, symbols, part.source)
                for call in phase.calls:
                    flops = Quantity(part.name, f"{call.times}*w*x", {"w": per, "x": call.tokens})
                    yield Part(layers, part.name, flops)

    def _embedding(self, phase: Phase) -> Iterator[Part]:
        """Projections from and to an embedding of another size; the lookup itself is no matmul."""
        if not self.spec.embedding_size:
            return
        for name in ("embedding projection in", "embedding projection out"):
            for call in phase.calls:
                symbols: Symbols = {"d": self.spec.hidden_size, "d_w": self.spec.embedding_size, "x": call.tokens}
                yield Part(1, name, Quantity(name, f"{call.times}*2*d*d_w*x", symbols, "OPT word_embed_proj_dim"))

    def _lm_head(self, phase: Phase) -> Quantity:
        width = {"d_w": self.spec.embedding_size} if self.spec.embedding_size else {"d": self.spec.hidden_size}
        symbols = {**width, "V": self.spec.vocab_size}
        return Quantity(
            "lm_head", f"2*{next(iter(width))}*V*{phase.logits}", symbols, "logits of the last token of each sequence"
        )

    def receptive_field(self) -> Node | None:
        """W x layers where every layer has a window."""
        parts = []
        for layers, branch in self.spec.branches():
            if not branch.reach.rules.receptive:
                return None
            window = Quantity("window", branch.reach.rules.receptive, branch.reach.symbols(), branch.reach.rules.source)
            parts.append(Part(layers, f"{branch.label} layer", window))
        return Total("", tuple(parts)) if parts else None

    def crossover(self) -> Node | None:
        """The most query tokens, n cached before them, for which absorbed MLA needs no more FLOPs than naive."""
        branches = [branch for _, branch in self.spec.branches()]
        memories = {branch.memory for branch in branches}
        full = all(branch.reach.kind == "full" for branch in branches)
        if len(memories) != 1 or not full or not self.workload.kv_cache:
            return None
        memory = memories.pop()
        if memory.crossover_formula is None:
            return None
        return Quantity("", memory.crossover_formula, memory.symbols(), SOURCE_CROSSOVER)


def _bytes(bits: Node) -> Quantity:
    return Quantity("bytes", "ceil_div(bits, 8)", {"bits": bits})
