"""Explanations: a quantity's tree of formulas, step by step, from the expressions that computed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.analysis import analyze
from kvcalc.attention.custom import Custom
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.quantity import Total, steps, symbols_in
from kvcalc.real import REAL
from kvcalc.rows import KEYS, RATIOS, REALS, TEXTS
from kvcalc.tuples import NamedTuple
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
    known.update({key: None for key in RATIOS if report.ratio(key) is not None})
    known.update(dict.fromkeys(report.bounds))
    if quantity is None:
        return [line for key in known for line in _lines(report, key)]
    if quantity not in known:
        if quantity.startswith(("answer_", "last_step_")) and quantity in KEYS:
            raise KvcalcError(f"{quantity} is null without --generate")
        if quantity in REALS:
            raise KvcalcError(f"{quantity} is null without --on, the machine it is asked for")
        if quantity in TEXTS:
            raise KvcalcError(
                f"{quantity} is no number", f"{quantity.replace('bound_by', 'least_seconds')} explains it"
            )
        if quantity in report.quantities or quantity in RATIOS:
            raise KvcalcError(f"{quantity} is null: it does not apply to {report.spec.name}")
        if quantity in KEYS:
            raise KvcalcError(f"{quantity} is what was asked or a label, not the result of a formula")
        hint = did_you_mean(quantity, known) or f"one of {', '.join(known)}"
        raise KvcalcError(f"no quantity {quantity!r} to explain", hint)
    lines = list(_lines(report, quantity))
    if quantity == "reserved_bytes":
        lines += _wasted(report)
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


def _wasted(report: Report) -> Iterator[Line]:
    """What is reserved beyond the need, by name; what is 0 is not told."""
    node = report.quantities.get("waste_bytes")
    if isinstance(node, Total):
        told = tuple(part for part in node.parts if part.node.evaluate(report.scope))
        for step in steps(node._replace(parts=told), report.scope):
            yield Line("waste_bytes", *step)


def _lines(report: Report, key: str) -> Iterator[Line]:
    scope = report.scope
    if key in RATIOS:
        top, bottom = RATIOS[key]
        if (value := report.ratio(key)) is not None:
            numbers = f"{report.value(top)} / {report.value(bottom)}"
            yield Line(key, 0, key, f"{top} / {bottom}", numbers, value, MEANT[key])
        return
    if key in report.bounds:
        for step in steps(report.bounds[key], {**scope, **report.reals}, operations=REAL):
            yield Line(key, *step)
        return
    node = report.quantities.get(key)
    if node is not None:
        for step in steps(node, scope):
            yield Line(key, *step)


MEANT = {"decode_intensity": "FLOPs a byte of cache read", "waste_ratio": "what is reserved to what is needed"}
MEANINGS = {
    "n": "tokens of context, the one being processed included",
    "K": "tokens cached before the prefill",
    "B": "sequences in the batch",
    "S": "tokens of the shared prefix",
    "T": "tokens of the answer",
    "d": "hidden_size",
    "V": "vocab_size",
    "n_h": "num_attention_heads, or heads of a state",
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
    "C_r": "attn_res_block_size, layers whose outputs are summed up into one",
    "W_l": "library_window, which the Transformers library runs",
    "d_ff": "intermediate_size",
    "E": "num_experts",
    "k": "num_experts_per_tok",
    "r": "rows of the position table",
    "d_e": "moe_intermediate_size",
    "d_w": "word_embed_proj_dim, the embedding's width",
    "d_o": "lm_head_proj_dim, the width of lm_head",
    "d_s": "width of the shared experts",
    "d_l": "latent_size, what routed experts read",
    "d_q": "q_hidden_size, what queries are made from",
    "d_in": "channels of a state-space layer",
    "N": "elements of state a channel",
    "R": "rank of a low-rank projection",
    "K_c": "columns of a short convolution",
    "P": "channels of one head",
    "G": "groups that share B and C",
    "n_kh": "heads of queries and keys",
    "n_vh": "heads of values, each with a state",
    "d_a": "channels of time mixing",
    "R_s": "rank of the token shifts",
    "R_w": "rank of the decay",
    "R_a": "rank of the in-context learning rate",
    "R_g": "rank of the output gate",
    "R_v": "rank of the mix with the first layer's value",
    "d_r": "lru_width, channels of the recurrence",
    "n_b": "blocks of a gate",
    "c": "channels of a convolution",
    "h": "heads whose convolution is made of the token",
    "K_1": "columns of the depthwise convolution",
    "K_2": "columns of the grouped convolution",
    "d_u": "expanded_size, elements of the value",
    "d_z": "key_size, elements of the shared key",
    "n_I": "query heads of the index",
    "d_I": "elements of one index key",
    "k_s": "tokens or rows that a query reads at most",
    "m": "tokens that become one row",
    "N_s": "blocks that a query reads",
    "l_s": "tokens of a selected block",
    "l": "tokens of a compressed block",
    "sigma": "tokens from one row to the next",
    "c_s": "series of vectors and gates that rows are made of",
    "d_b": "elements a token leaves in a buffer",
    "g_o": "groups of heads in the output projection",
    "d_g": "output width of each such group",
    "n_c": "latents of a token",
    "R_Q": "rank of the query's factors",
    "R_K": "rank of K's factors",
    "R_V": "rank of V's factors",
    "d_R": "elements of the shared RoPE key",
    "d_enc": "kv_hidden_size, what cross attention makes its K and V from",
    "n_l": "tokens seen to the left",
    "n_r": "tokens seen to the right",
    "l_b": "tokens of a block",
    "N_r": "random blocks that a block sees",
    "n_enc": "tokens that cross attention reads",
    "tp": "devices that share each layer",
    "dp": "groups that divide the batch",
    "ep": "groups that share whole experts",
    "cp": "devices that share a sequence's tokens",
    "devices": "devices that share the model, or a stage of it",
    "ranks": "devices over which a part is divided",
    "row": "bytes of a token or a state in one layer on one device",
    "block_size": "tokens of a block",
    "page_size": "tokens of a page",
    "in_flight": "max_in_flight_tokens, of steps that run or are scheduled",
    "w_e": "weights of routed experts",
    "batched": "max_num_batched_tokens, of one step",
    "n_ubatch": "tokens of one step",
    "filled": "bytes of a block that layers use",
    "replicas_at_work": "replicas that have a sequence",
    "devices_at_work": "devices that compute and read",
    "replicas": "copies of the model, each of tp devices",
    "peak": "dense FLOPs a second of one device",
    "bandwidth": "bytes a second that one device reads from its memory",
}


def symbols(report: Report, lines: Iterable[Line]) -> dict[str, str]:
    """What the symbols in these explanations mean."""
    return symbols_of(report, (line.quantity for line in lines))


def symbols_of(report: Report, keys: Iterable[str]) -> dict[str, str]:
    """What the symbols in the formulas of these quantities mean."""
    known = {**report.quantities, **report.bounds}
    nodes = [known.get(key) for key in dict.fromkeys(keys)]
    used = {symbol for node in nodes if node is not None for symbol in symbols_in(node)}
    own = {
        symbol: "the config's own symbol"
        for _, branch in report.spec.branches()
        if isinstance(branch.memory, Custom)
        for symbol, _ in branch.memory.constants
    }
    inside = [extra for group in report.spec.groups for extra in group.layer.extras]
    for extra in (*report.spec.extras, *inside):
        own.update({symbol: f"a number of {extra.name}" for symbol, _ in extra.constants if symbol not in MEANINGS})
    return {symbol: meaning for symbol, meaning in {**MEANINGS, **own}.items() if symbol in used}
