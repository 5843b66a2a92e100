"""kvcalc's numbers as the library holds them and as torch's counter counts them.

The counter sees matmuls as they are run: a masked kernel's whole rectangle of queries and keys, the logits of every
token of the prompt, MLA's latents re-expanded at every step, no elementwise recurrence, a convolution over padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.analysis import analyze
from kvcalc.attention.reach import FULL, dense
from kvcalc.engines import engine_of
from kvcalc.model import NOTHING, alone, branches_of, feedforwards_of
from kvcalc.quantity import Quantity
from kvcalc.tuples import NamedTuple
from kvcalc.verify.chunks import chunk_flops, runs_chunks
from kvcalc.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.attention.memory import Work
    from kvcalc.model import Branch, Extra, LayerGroup, ModelSpec

LIBRARY = engine_of("transformers")


class Expectation(NamedTuple):
    """What the library should hold and do, by kvcalc. FLOPs None: run in another form, as `unmodelled` says."""

    tokens: int
    encoder_tokens: int
    parameters: int
    cache_elements: int
    by_layer: dict[int, int]
    prefill_flops: int | None
    decode_flops: int | None
    unmodelled: str = ""


class Run(NamedTuple):
    """One call of the counter's: s new tokens after p, beside an encoder of n_enc that runs or has run."""

    new: int
    past: int
    encoder_tokens: int
    encodes: bool
    chunks: Mapping[str, int] = {}  # never mutated: a NamedTuple default; sizes, by the config's names

    @property
    def first(self) -> bool:
        """Whether nothing is cached yet."""
        return self.encodes or not self.past

    @property
    def scope(self) -> dict[str, int]:
        """Symbols of the reaches."""
        return {"p": self.past, "s": self.new, "n": self.past + self.new, "encoder_tokens": self.encoder_tokens}


def expect(spec: ModelSpec, tokens: int, encoder_tokens: int = 0, chunks: Mapping[str, int] = {}) -> Expectation:
    """Everything that `observe` sees of a model after a prefill of `tokens` and one step.

    `chunks`: what the library's config says of the sizes of its chunks.
    """
    workload = Workload(tokens, engine=LIBRARY.name, encoder_tokens=encoder_tokens)
    report = analyze(spec, workload)
    unmodelled = _unmodelled(spec, tokens, chunks)
    prefill = Run(tokens, 0, encoder_tokens, True, chunks)
    step = Run(1, tokens, encoder_tokens, False)
    return Expectation(
        tokens,
        encoder_tokens,
        (report.value("parameters") or 0) + allotted(spec),
        report.value("cache_elements") or 0,
        _by_layer(spec, report.scope),
        None if unmodelled else counted(spec, prefill),
        counted(spec, step),
        unmodelled,
    )


def _unmodelled(spec: ModelSpec, tokens: int, chunks: Mapping[str, int]) -> str:
    """What the library runs in a prefill in a form of its own that no formula here is of; '': nothing."""
    memories = [branch.memory for _, branch in spec.branches() if runs_chunks(branch.memory)]
    labels = dict.fromkeys(memory.label for memory in memories if chunk_flops(memory, tokens, chunks) is None)
    if labels:
        return f"the library runs {' and '.join(labels)} by chunks of its own, which are not modelled"
    if spec.encoder is not None:
        encoder = [branch for _, branch in branches_of(spec.encoder.groups)]
        if any(branch.reach.rules.both_ways != FULL.both_ways for branch in encoder):
            return "the library runs the encoder's windows in padded blocks, which are not modelled"
    return ""


def allotted(spec: ModelSpec) -> int:
    """Parameters that the library allots beyond the model's own."""
    inside = [(group.layers, extra) for group in spec.groups for extra in group.layer.extras]
    return sum(
        layers * Quantity("", extra.library_parameters, {**dict(extra.constants), "d": spec.hidden_size}).evaluate({})
        for layers, extra in (*inside, *((1, extra) for extra in spec.extras))
        if extra.library_parameters
    )


def _by_layer(spec: ModelSpec, scope: dict[str, int]) -> dict[int, int]:
    """Elements that each layer holds."""
    found: dict[int, int] = {}
    for group in spec.groups:
        for branch in group.layer.branches:
            for index in group.indices if not branch.shares_kv else ():
                found[index] = found.get(index, 0) + _held(spec, branch, scope)
    return {index: elements for index, elements in sorted(found.items()) if elements}


def _held(spec: ModelSpec, branch: Branch, scope: dict[str, int]) -> int:
    symbols = {**branch.memory.symbols(), "d": spec.hidden_size}
    a_token = sum(Quantity("", LIBRARY.store(store), symbols).evaluate({}) for store in branch.memory.stores())
    fixed = sum(Quantity("", LIBRARY.state(state), symbols).evaluate({}) for state in branch.memory.states())
    return a_token * LIBRARY.tokens(branch.reach, "n").evaluate(scope) + fixed if a_token else fixed


def counted(spec: ModelSpec, run: Run) -> int:
    """FLOPs of one call as torch's counter counts them."""
    if not run.encoder_tokens:
        spec = alone(spec)
    total = sum(_stack(spec.groups, spec.extras, spec.hidden_size, run))
    if spec.embedding_size:
        total += 2 * run.new * spec.hidden_size * (spec.embedding_size + (spec.lm_head_size or spec.embedding_size))
    total += 2 * (spec.lm_head_size or spec.embedding_size or spec.hidden_size) * spec.vocab_size * run.new
    if spec.encoder is not None and run.encodes:
        inner = Run(run.encoder_tokens, 0, run.encoder_tokens, False)
        total += sum(_stack(spec.encoder.groups, spec.encoder.extras, spec.encoder.hidden_size, inner))
    return total


def _stack(groups: tuple[LayerGroup, ...], extras: tuple[Extra, ...], d: int, run: Run) -> Iterator[int]:
    for layers, branch in branches_of(groups):
        symbols = {**branch.memory.symbols(), "d": d}
        chunked = chunk_flops(branch.memory, run.new, run.chunks) if run.first and runs_chunks(branch.memory) else None
        yield layers * (chunked or 0)
        for work in branch.memory.work("naive"):
            if not (work.writes and branch.shares_kv) and not (chunked and "chunks" in work.runs):
                yield layers * Quantity("", work.formula, symbols).evaluate({}) * _times(work, branch, symbols, run)
    for layers, feedforward in feedforwards_of(groups):
        symbols = {**feedforward.symbols(), "d": d}
        for work in feedforward.flops():
            flops = Quantity("", work.formula, symbols).evaluate({})
            if work.runs == "all":  # the formula is of the k experts that a token visits
                flops = flops // symbols["k"] * symbols["E"]
            yield layers * flops * run.new
    inside = [(group.layers, extra) for group in groups for extra in group.layer.extras]
    for layers, extra in (*inside, *((1, extra) for extra in extras)):
        symbols = {**dict(extra.constants), "d": d}
        if extra.library_once:
            yield layers * Quantity("", extra.library_once, symbols).evaluate({})
        elif extra.work_per_token != NOTHING:
            yield layers * Quantity("", extra.work_per_token, symbols).evaluate({}) * run.new


def _times(work: Work, branch: Branch, symbols: dict[str, int], run: Run) -> int:
    """How often the counter sees a work's formula in one call."""
    first = run.first
    if work.runs.startswith("padded") and first:
        return run.new + symbols["K_c"] - 1
    if work.runs.endswith("elementwise"):
        return 0
    if work.runs == "twice":
        return 2 * _times(work._replace(runs=""), branch, symbols, run)
    if work.runs == "padded":  # a step runs over K + 1 columns: two outputs
        return 2
    if work.runs == "one more":
        return run.new + first
    if work.runs == "ahead":
        return run.new + symbols["K_2"] - 1
    if work.writes and branch.reach.kind == "encoder":
        return run.encoder_tokens if run.encodes or work.runs == "remade" else 0
    if work.per == "token":
        return run.new
    keys = dense(branch.reach, "p", "s").evaluate(run.scope)
    return keys if work.per == "key" else run.new * keys
