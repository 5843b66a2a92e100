"""The matmuls of a phase over all layers: core and projections of attention, MLPs, the rest, the logits.

    FLOPs = sum over layers:  work per pair x pairs + work per token x tokens

A matmul of one multiply-add is 2 FLOPs; only matmuls count. Totals are the batch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.model import NOTHING, branches_of, feedforwards_of
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model import Branch, Extra, LayerGroup, ModelSpec
    from kvcalc.phases import Call, Phase
    from kvcalc.quantity import Node, Symbols

ENCODER_TOKENS = Quantity("encoder tokens", "encoder_tokens")
SOURCE_BOTH_WAYS = "an encoder has no causal mask: every token sees every token"


def flops(spec: ModelSpec, phase: Phase) -> dict[str, Node]:
    """core: all that grows with pairs, and the mixing of states. projection: the other matmuls of attention.

    attention is both, model everything; an encoder's layers count where a phase runs them.
    """
    stacks = _stacks(spec)
    core = Total(f"{phase.name}_core_flops", tuple(p for s in stacks for p in _attention(s, phase, core=True)))
    projection = Total(
        f"{phase.name}_projection_flops", tuple(p for s in stacks for p in _attention(s, phase, core=False))
    )
    both = (
        Part(1, "attention core", Quantity("", core.name)),
        Part(1, "attention projections", Quantity("", projection.name)),
    )
    attention = Total(
        f"{phase.name}_attention_flops",
        (Part(1, "core", Quantity("", core.name)), Part(1, "projections", Quantity("", projection.name))),
    )
    rest = [part for stack in stacks for part in (*_feedforwards(stack, phase), *_extras(stack, phase))]
    outside = (*_embedding(spec, phase), Part(1, "lm_head", _lm_head(spec, phase)))
    model = Total(f"{phase.name}_model_flops", (*both, *rest, *outside))
    return {total.name: total for total in (core, projection, attention, model)}


class Stack(NamedTuple):
    """Layers that run over the same tokens: the decoder's or the encoder's."""

    name: str
    hidden_size: int
    groups: tuple[LayerGroup, ...]
    extras: tuple[Extra, ...]

    def runs(self, phase: Phase) -> Iterator[tuple[Call, str, Quantity]]:
        """The calls that run it, how often each does so, and over how many tokens."""
        for call in phase.calls:
            if not self.name:
                yield call, call.times, call.tokens
            elif call.encodes:
                yield call, call.encoded, ENCODER_TOKENS


def _stacks(spec: ModelSpec) -> list[Stack]:
    decoder = Stack("", spec.hidden_size, spec.groups, spec.extras)
    encoder = spec.encoder
    if encoder is None:
        return [decoder]
    return [decoder, Stack("encoder ", encoder.hidden_size, encoder.groups, encoder.extras)]


def _attention(stack: Stack, phase: Phase, *, core: bool) -> Iterator[Part]:
    for layers, branch in branches_of(stack.groups):
        inner = [
            part
            for call, times, tokens in stack.runs(phase)
            for part in _work(stack, branch, call, times, tokens)
            if part.core is core
        ]
        if inner:
            yield Part(layers, f"{stack.name}{branch.label} layer", Total("", tuple(p.part for p in inner)))


class Matmul(NamedTuple):
    """One matmul of a layer in a call, and whether it belongs to the core."""

    core: bool
    part: Part


def _work(stack: Stack, branch: Branch, call: Call, times: str, tokens: Quantity) -> Iterator[Matmul]:
    symbols = {**branch.memory.symbols(), "d": stack.hidden_size}
    amounts = _amounts(branch, call, tokens, encoder=bool(stack.name))
    for work in branch.memory.work("naive" if stack.name else call.mode):
        amount, often = amounts[work.per], times
        if work.writes and stack.name and (made := branch.reach.rules.made):
            amount = Quantity("tokens", made, {**branch.reach.symbols(), "n": tokens}, branch.reach.rules.source)
        if work.writes and branch.reach.kind == "encoder":  # once for each token of the encoder, where it runs
            amount, often = ENCODER_TOKENS, call.encoded
        if often and not (work.writes and branch.shares_kv):
            part = _times(often, work.name, work.per, work.formula, symbols, work.source, amount)
            yield Matmul(work.core, part)


def _amounts(branch: Branch, call: Call, tokens: Quantity, *, encoder: bool) -> dict[str, Quantity]:
    """How many pairs, tokens and keys re-expanded a layer works on in one call."""
    if encoder:
        rules = branch.reach.rules
        source = SOURCE_BOTH_WAYS if branch.reach.kind == "full" else rules.source
        pairs = Quantity("pairs", rules.both_ways, {**branch.reach.symbols(), "n": tokens}, source)
        return {"pair": pairs, "token": tokens, "key": tokens}
    return {"pair": call.pairs(branch.reach), "token": tokens, "key": call.touched(branch.reach)}


def _times(times: str, name: str, per: str, formula: str, symbols: Symbols, source: str, amount: Quantity) -> Part:
    work = Quantity(f"FLOPs per {per}", formula, symbols, source)
    return Part(1, name, Quantity(name, f"{times}*w*x", {"w": work, "x": amount}))


def _feedforwards(stack: Stack, phase: Phase) -> Iterator[Part]:
    for layers, feedforward in feedforwards_of(stack.groups):
        symbols = {**feedforward.symbols(), "d": stack.hidden_size}
        for work in feedforward.flops():
            for _, times, tokens in stack.runs(phase):
                part = _times(times, stack.name + work.name, "token", work.formula, symbols, work.source, tokens)
                yield part._replace(times=layers)


def _extras(stack: Stack, phase: Phase) -> Iterator[Part]:
    inside = [(group.layers, extra) for group in stack.groups for extra in group.layer.extras]
    for layers, extra in (*inside, *((1, extra) for extra in stack.extras)):
        if extra.work_per_token == NOTHING:
            continue
        symbols = {**dict(extra.constants), "d": stack.hidden_size}
        if extra.at_head:
            logits = Quantity("logits", phase.logits)
            yield _times("1", extra.name, "token", extra.work_per_token, symbols, extra.source, logits)
            continue
        for _, times, tokens in stack.runs(phase):
            name = stack.name + extra.name
            part = _times(times, name, "token", extra.work_per_token, symbols, extra.source, tokens)
            yield part._replace(times=layers)


def _embedding(spec: ModelSpec, phase: Phase) -> Iterator[Part]:
    """Projections from and to an embedding of another size; the lookup itself is no matmul."""
    found = [("embedding projection in", "d_w")] if spec.embedding_size else []
    found += [("embedding projection out", width)] if (width := _head_width(spec)) != "d" else []
    for name, width in found:
        for call in phase.calls:
            symbols: Symbols = {"d": spec.hidden_size, **_widths(spec), "x": call.tokens}
            yield Part(1, name, Quantity(name, f"{call.times}*2*d*{width}*x", symbols, "OPT word_embed_proj_dim"))


def _head_width(spec: ModelSpec) -> str:
    """What lm_head reads."""
    return "d_o" if spec.lm_head_size else "d_w" if spec.embedding_size else "d"


def _widths(spec: ModelSpec) -> dict[str, int]:
    widths = {"d_w": spec.embedding_size, "d_o": spec.lm_head_size}
    return {symbol: width for symbol, width in widths.items() if width}


def _lm_head(spec: ModelSpec, phase: Phase) -> Quantity:
    symbols = {"d": spec.hidden_size, **_widths(spec), "V": spec.vocab_size}
    formula = f"2*{_head_width(spec)}*V*{phase.logits}"
    if spec.predicted > 1:
        return Quantity("lm_head", f"{spec.predicted}*{formula}", symbols, "logits of each token predicted")
    return Quantity("lm_head", formula, symbols, "logits of the last token of each sequence")
