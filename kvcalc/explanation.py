"""Explanations: a quantity's tree of formulas, step by step, from the expressions that computed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.analysis import analyze
from kvcalc.attention.custom import Custom
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.quantity import steps, symbols_in
from kvcalc.rows import KEYS, RATIOS
from kvcalc.workload import MODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.analysis import Report


class Line(NamedTuple):
    """One step of the explanation of `quantity`; `depth` 0 is the quantity itself."""

    quantity: str
    depth: int
    name: str
    formula: str
    with_numbers: str
    result: int | float
    source: str


def explain(report: Report, quantity: str | None) -> list[Line]:
    """Explain one quantity by its row key, or every one that applies."""
    known = {key: None for key, node in report.quantities.items() if node is not None}
    if report.decode_intensity is not None:
        known.update(dict.fromkeys(RATIOS))
    if quantity is None:
        return [line for key in known for line in _lines(report, key)]
    if quantity not in known:
        if quantity.startswith(("answer_", "last_step_")) and quantity in KEYS:
            raise KvcalcError(f"{quantity} is null without --generate")
        if quantity in report.quantities or quantity in RATIOS:
            raise KvcalcError(f"{quantity} is null: it does not apply to {report.spec.name}")
        if quantity in KEYS:
            raise KvcalcError(f"{quantity} is what was asked or a label, not the result of a formula")
        hint = did_you_mean(quantity, known) or f"one of {', '.join(known)}"
        raise KvcalcError(f"no quantity {quantity!r} to explain", hint)
    lines = list(_lines(report, quantity))
    if quantity.startswith("decode_") and report.quantities.get("crossover_query_tokens"):
        lines += _other_mode(report, quantity)
    return lines


def _other_mode(report: Report, key: str) -> Iterator[Line]:
    """The same quantity with latents attended to the other way, and where the two cross."""
    other = next(mode for mode in MODES if mode != report.workload.mla_decode)
    alternative = analyze(report.spec, report.workload._replace(mla_decode=other))
    for line in _lines(alternative, key):
        yield line if line.depth else line._replace(name=f"{key}, --mla-decode {other}")
    yield from _lines(report, "crossover_query_tokens")


def _lines(report: Report, key: str) -> Iterator[Line]:
    scope = report.scope
    if key in RATIOS:
        top, bottom = RATIOS[key]
        if report.decode_intensity is not None:
            numbers = f"{report.value(top)} / {report.value(bottom)}"
            yield Line(key, 0, key, f"{top} / {bottom}", numbers, report.decode_intensity, "FLOPs a byte of cache read")
        return
    node = report.quantities[key]
    if node is not None:
        for step in steps(node, scope):
            yield Line(key, *step)


MEANINGS = {
    "n": "tokens of context, the one being processed included",
    "K": "tokens cached before the prefill",
    "B": "sequences in the batch",
    "S": "tokens of the shared prefix",
    "T": "tokens of the answer",
    "d": "hidden_size",
    "V": "vocab_size",
    "n_h": "num_attention_heads",
    "n_kv": "num_key_value_heads",
    "d_h": "head_dim",
    "d_k": "head_dim of K",
    "d_v": "head_dim of V",
    "d_c": "kv_lora_rank, the latent",
    "d_c'": "q_lora_rank",
    "d_h^R": "qk_rope_head_dim",
    "d_n": "qk_nope_head_dim",
    "W": "sliding_window",
    "C": "attention_chunk_size",
    "delta": "dilation",
    "d_ff": "intermediate_size",
    "E": "num_experts",
    "k": "num_experts_per_tok",
    "r": "rows of the position table",
    "d_e": "moe_intermediate_size",
    "d_w": "word_embed_proj_dim, the embedding's width",
    "d_s": "width of the shared experts",
}


def symbols(report: Report, lines: Iterable[Line]) -> dict[str, str]:
    """What the symbols in these explanations mean."""
    nodes = [report.quantities.get(key) for key in dict.fromkeys(line.quantity for line in lines)]
    used = {symbol for node in nodes if node is not None for symbol in symbols_in(node)}
    own = {
        symbol: "the config's own symbol"
        for _, branch in report.spec.branches()
        if isinstance(branch.memory, Custom)
        for symbol, _ in branch.memory.constants
    }
    return {symbol: meaning for symbol, meaning in {**MEANINGS, **own}.items() if symbol in used}
