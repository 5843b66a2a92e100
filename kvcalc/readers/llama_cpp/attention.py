"""Attention of one block, by its tensors: heads, latents, the index of a sparse attention, or a state."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from kvcalc.readers.llama_cpp.states import state_of
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.readers.llama_cpp.keys import Keys

Block = dict[str, tuple[int, ...]]  # the shapes of its tensors, the innermost size first


class _Fused(NamedTuple):
    """Tensors that one file may hold apart and another in one."""

    names: tuple[str, ...]

    def within(self, block: Block, part: str) -> bool:
        """Whether one of them has this part, '.weight' or '.bias'."""
        return any(f"{name}.{part}" in block for name in self.names)


PROJECTIONS = {
    "q": _Fused(("attn_q", "attn_qkv")),
    "k": _Fused(("attn_k", "attn_qkv")),
    "v": _Fused(("attn_v", "attn_qkv")),
    "o": _Fused(("attn_output",)),
    "g": _Fused(("attn_gate",)),
}


def attention_of(keys: Keys, at: int, total: int, block: Block, window: int) -> list[dict[str, Any]]:
    """Every attention of a layer in native words; none where it has none. `window` 0: it sees all."""
    states = [] if (state := state_of(keys, at, block)) is None else [state]
    if any(state["kind"] != "mamba2" for state in states):
        return states
    if "attn_kv_a_mqa.weight" in block:
        return [*states, *_latent(keys, block)]
    if not PROJECTIONS["k"].within(block, "weight"):
        if any(name.startswith(("attn_output", "attn_q", "attn_linear")) for name in block):
            raise keys.not_understood(f"blk.{at}: attention without keys")
        return states
    return [*states, _heads(keys, at, total, block, window)]


def _heads(keys: Keys, at: int, total: int, block: Block, window: int) -> dict[str, Any]:
    heads = keys.each("attention.head_count", total)[at]
    groups = keys.each("attention.head_count_kv", total, [heads] * total)[at]
    if not heads or not groups:
        raise keys.error(f"blk.{at}: attention of {heads} heads and {groups} key-value heads")
    usual = (
        block["attn_k.weight"][-1] // groups if "attn_k.weight" in block else keys.number("embedding_length") // heads
    )
    width = keys.number("attention.key_length", absent=usual)
    value = keys.number("attention.value_length", absent=width)
    if window:
        width = keys.number("attention.key_length_swa", absent=width)
        value = keys.number("attention.value_length_swa", absent=value)
    told: dict[str, Any] = {
        "kind": "heads",
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": width,
        "bias": [name for name, fused in PROJECTIONS.items() if fused.within(block, "bias")],
        "sinks": "attn_sinks.weight" in block,
    }
    if value != width:
        told["v_head_dim"] = value
    if (norm := block.get("attn_q_norm.weight")) is not None:
        told["qk_norm"] = "per_head" if prod(norm) == width else "full"
    queries, gate = block.get("attn_q.weight", (0,))[-1], block.get("attn_gate.weight", (0,))[-1]
    if queries == 2 * heads * width or gate == heads * value:
        told["output_gate"] = True
    elif gate == heads:
        told["head_gate"] = True
    return told


def _latent(keys: Keys, block: Block) -> list[dict[str, Any]]:
    """A latent by its tensors: llama.cpp has written its sizes under several keys."""
    heads, rank = keys.number("attention.head_count"), keys.number("attention.kv_lora_rank")
    rope = block["attn_kv_a_mqa.weight"][-1] - rank
    queries = block.get("attn_q_b.weight", block.get("attn_q.weight", (0,)))[-1]
    wide = queries // max(1, heads)
    if "attn_kv_b.weight" in block:
        value = block["attn_kv_b.weight"][-1] // max(1, heads) - (wide - rope)
    else:
        value = block.get("attn_v_b.weight", (0, 0))[1]
    if min(rope + 1, wide - rope, value) < 1:
        raise keys.error("the tensors of its latent attention do not fit each other")
    told: dict[str, Any] = {
        "kind": "mla",
        "num_attention_heads": heads,
        "kv_lora_rank": rank,
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": wide - rope,
        "v_head_dim": value,
        "attention_bias": "attn_kv_a_mqa.bias" in block,
    }
    if "attn_q_a.weight" in block:
        told["q_lora_rank"] = block["attn_q_a.weight"][-1]
    if "indexer.attn_k.weight" not in block:
        return [told]
    index = {
        "kind": "index",
        "index_n_heads": keys.number("attention.indexer.head_count"),
        "index_head_dim": keys.number("attention.indexer.key_length"),
        "q_lora_rank": told.get("q_lora_rank", 0),
        "head_weights": "indexer.proj.weight" in block,
    }
    return [{**told, "reach": {"kind": "top", "top_k": keys.number("attention.indexer.top_k")}}, index]
