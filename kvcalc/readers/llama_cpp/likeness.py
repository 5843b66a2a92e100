"""Architectures that are read as a Hugging Face config: every field from a key, or from the shape of a tensor.

So layers that take the cache of others, and inputs for each layer, are what they are there. Sources: llama.cpp
conversion/gemma.py, which writes these keys of these fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.huggingface import to_native
from kvcalc.readers.text import Document

if TYPE_CHECKING:
    from kvcalc.readers.gguf_walk import Tensor
    from kvcalc.readers.huggingface import Origins
    from kvcalc.readers.llama_cpp.keys import Keys

GEMMA = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "max_position_embeddings": "context_length",
    "num_attention_heads": "attention.head_count",
    "sliding_window": "attention.sliding_window",
    "num_kv_shared_layers": "attention.shared_kv_layers",
    "hidden_size_per_layer_input": "embedding_length_per_layer_input",
}
MODEL_TYPES = {"gemma3n": "gemma3n_text", "gemma4": "gemma4_text"}


def likeness_of(keys: Keys, name: str) -> tuple[dict[str, Any], Origins]:
    """The native fields of a model that is read as a config of its Hugging Face type."""
    total, tensors = keys.number("block_count"), keys.header.tensors
    slides = keys.raw("attention.sliding_window_pattern")
    if not isinstance(slides, list) or len(slides) < total:
        raise keys.not_understood(f"{keys.full('attention.sliding_window_pattern')}: which layers slide?")
    slides = [bool(one) for one in slides[:total]]
    config: dict[str, Any] = {field: keys.number(key, absent=0) for field, key in GEMMA.items()}
    config["model_type"] = MODEL_TYPES[keys.architecture]
    config["vocab_size"] = tensors["token_embd.weight"].shape[-1]
    config["layer_types"] = ["sliding_attention" if one else "full_attention" for one in slides]
    config["tie_word_embeddings"] = "output.weight" not in tensors
    if "per_layer_token_embd.weight" in tensors:
        config["vocab_size_per_layer_input"] = tensors["per_layer_token_embd.weight"].shape[-1]
    config.update(_gemma3n(keys, total) if keys.architecture == "gemma3n" else _gemma4(keys, slides))
    told = Document(keys.header.path, config, dict)
    native, origins = to_native(told, name)
    return dict(native.data), dict.fromkeys(origins, "its keys and tensors, as of its Hugging Face type")


def _gemma3n(keys: Keys, total: int) -> dict[str, Any]:
    local = keys.decimal("rope.freq_base_swa", 10_000.0)
    return {
        "head_dim": keys.number("attention.key_length"),
        "num_key_value_heads": keys.number("attention.head_count_kv"),
        "intermediate_size": keys.each("feed_forward_length", total),
        "altup_num_inputs": keys.number("altup.num_inputs"),
        "laurel_rank": _size(keys, "blk.0.laurel_l.weight"),
        "rope_theta": keys.decimal("rope.freq_base", 1_000_000.0),
        "rope_local_base_freq": local,
    }


def _gemma4(keys: Keys, slides: list[bool]) -> dict[str, Any]:
    total, tensors = len(slides), keys.header.tensors
    widths, groups = keys.each("feed_forward_length", total), keys.each("attention.head_count_kv", total)
    full = [at for at in range(total) if not slides[at]]
    near = [at for at in range(total) if slides[at]]
    told: dict[str, Any] = {
        "global_head_dim": keys.number("attention.key_length"),
        "head_dim": keys.number("attention.key_length_swa"),
        "num_key_value_heads": groups[near[0]] if near else groups[0],
        "num_global_key_value_heads": groups[full[0]] if full else groups[0],
        "intermediate_size": min(widths),
        "use_double_wide_mlp": max(widths) == 2 * min(widths),
        "attention_k_eq_v": any(f"blk.{at}.attn_v.weight" not in tensors for at in full),
        "enable_moe_block": "blk.0.ffn_gate_inp.weight" in tensors,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": keys.decimal("rope.freq_base_swa", 10_000.0)},
            "full_attention": {"rope_type": "proportional", "rope_theta": keys.decimal("rope.freq_base", 1_000_000.0)},
        },
    }
    if told["enable_moe_block"]:
        told["num_experts"] = keys.number("expert_count")
        told["top_k_experts"] = keys.number("expert_used_count")
        told["moe_intermediate_size"] = keys.number("expert_feed_forward_length")
    return told


def unused(keys: Keys) -> set[str]:
    """Tensors that a file holds and no layer uses: keys and values of one that takes another's, RWKV-7's first mix."""
    if keys.architecture == "rwkv7":
        return {f"blk.0.time_mix_{part}.weight" for part in ("v0", "v1", "v2")}
    total, shared = keys.number("block_count"), keys.number("attention.shared_kv_layers", absent=0)
    if keys.architecture not in MODEL_TYPES or shared > total:
        return set()
    parts = ("attn_k.weight", "attn_v.weight", "attn_k_norm.weight")
    return {f"blk.{at}.{part}" for at in range(total - shared, total) for part in parts}


def _size(keys: Keys, name: str) -> int:
    tensor: Tensor | None = keys.header.tensors.get(name)
    if tensor is None:
        raise keys.error(f"missing tensor {name}")
    return tensor.shape[-1]
