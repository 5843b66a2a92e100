"""Decoders of heads or latents: the first families read here, each with its oddities as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import (
    after_first_dense,
    after_max_window_layers,
    alternate,
    alternate_below_max_window_layers,
    by_layer_types_or_all,
    by_moe_layers,
    by_sliding_window_pattern,
    by_sparse_step,
    chunked_where_rope,
    every_layer,
    every_layer_slides,
    qwen_moe_slides,
)
from kvcalc.readers.families.words import (
    DECODER,
    DEEPSEEK,
    DEEPSEEK_MOE,
    GATED,
    GEMMA,
    GPT2,
    HEADS,
    LAYERNORM_DECODER,
    MHA,
    MOE,
    PLAIN,
    QKV,
    QKVO,
    Family,
    When,
    field,
)

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields


def falcon_heads(fields: Fields) -> dict[str, Any]:
    """multi_query wins over a stray num_kv_heads, the new decoder architecture over both."""
    heads = fields.number("num_attention_heads")
    new = fields.flag("new_decoder_architecture")
    if new:
        n_kv = fields.optional("num_kv_heads") or heads
    else:
        n_kv = 1 if fields.flag("multi_query") else heads
    if not fields.flag("parallel_attn"):
        norms = 2
    else:
        norms = fields.optional("num_ln_in_parallel_attn") or (2 if new else 1)
    return {"n_kv": n_kv, "norms": norms}


def bigcode_heads(fields: Fields) -> dict[str, Any]:
    """One KV head where multi_query."""
    return {"n_kv": 1 if fields.flag("multi_query") else fields.number("num_attention_heads")}


def opt_norms(fields: Fields) -> dict[str, Any]:
    """No final norm where norms come after; norms without weights; an embedding of another width."""
    width, hidden = fields.optional("word_embed_proj_dim"), fields.number("hidden_size")
    return {
        "norm": "layernorm" if fields.flag("layer_norm_elementwise_affine") else "unweighted",
        "final_norm": fields.flag("do_layer_norm_before") and not fields.flag("_remove_final_layer_norm"),
        "projected": width if width not in (None, hidden) else None,
    }


FAMILIES: dict[str, Family] = {
    "llama": Family(
        {
            **DECODER,
            "attention": {
                **HEADS,
                "head_dim": field("head_dim", "hidden_size/num_attention_heads"),
                "bias": When("attention_bias", QKVO),
            },
            "mlp": {**GATED, "bias": When("mlp_bias", True)},
        }
    ),
    "mistral": Family(DECODER, by_layer_types_or_all),
    "mixtral": Family(
        {
            **DECODER,
            "moe": {
                **MOE,
                "moe_intermediate_size": field("intermediate_size"),
            },
        },
        every_layer_slides,
        every_layer,
    ),
    "qwen2": Family({**DECODER, "attention": {**HEADS, "bias": QKV}}, after_max_window_layers),
    "qwen2_moe": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("qkv_bias", QKV)},
            "moe": {
                **MOE,
                "shared_intermediate_size": field("shared_expert_intermediate_size"),
                "shared_gate": True,
            },
        },
        alternate_below_max_window_layers,
        by_sparse_step,
    ),
    "qwen3": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("attention_bias", QKVO), "qk_norm": "per_head"},
        },
        after_max_window_layers,
    ),
    "qwen3_moe": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("attention_bias", QKVO), "qk_norm": "per_head"},
            "moe": MOE,
        },
        qwen_moe_slides,
        by_sparse_step,
    ),
    "gemma": Family(GEMMA, refused=("use_bidirectional_attention",)),
    "gemma2": Family({**GEMMA, "norms_per_layer": 4}, alternate, refused=("use_bidirectional_attention",)),
    "gemma3_text": Family(
        {
            **GEMMA,
            "norms_per_layer": 4,
            "attention": {**HEADS, "bias": When("attention_bias", QKVO), "qk_norm": "per_head"},
        },
        by_sliding_window_pattern,
        refused=("use_bidirectional_attention",),
    ),
    "phi3": Family(DECODER, every_layer_slides),
    "falcon": Family(
        {
            **LAYERNORM_DECODER,
            "norms_per_layer": field("norms"),
            "attention": {
                **MHA,
                "num_key_value_heads": field("n_kv"),
                "bias": When("bias", QKVO),
                "broadcast": When("new_decoder_architecture", True),
            },
            "mlp": {
                **PLAIN,
                "intermediate_size": field("ffn_hidden_size", "4*hidden_size"),
                "bias": When("bias", True),
            },
        },
        derive=falcon_heads,
    ),
    "gpt2": Family(GPT2, refused=("add_cross_attention",)),
    "gpt_bigcode": Family(
        {**GPT2, "attention": {**MHA, "num_key_value_heads": field("n_kv"), "bias": QKVO}},
        derive=bigcode_heads,
        refused=("add_cross_attention",),
    ),
    "gpt_neox": Family({**LAYERNORM_DECODER, "attention": {**MHA, "bias": When("attention_bias", QKVO)}}),
    "opt": Family(
        {
            **LAYERNORM_DECODER,
            "norm": field("norm"),
            "final_norm": field("final_norm"),
            "position_embeddings": field("max_position_embeddings + 2"),
            "word_embed_proj_dim": field("projected", or_absent=True),
            "attention": {**MHA, "bias": When("enable_bias", QKVO)},
            "mlp": {
                **PLAIN,
                "intermediate_size": field("ffn_dim"),
                "bias": When("enable_bias", True),
            },
        },
        derive=opt_norms,
    ),
    "bloom": Family(
        {
            **LAYERNORM_DECODER,
            "max_position_embeddings": None,
            "embedding_norm": True,
            "mlp": {**PLAIN, "intermediate_size": field("4*hidden_size")},
        }
    ),
    "starcoder2": Family(
        {
            **LAYERNORM_DECODER,
            "attention": {**HEADS, "bias": When("use_bias", QKVO)},
            "mlp": {**PLAIN, "bias": When("use_bias", True)},
        },
        every_layer_slides,
    ),
    "deepseek_v2": Family(
        {
            **DEEPSEEK,
            "mlp": {**GATED, "bias": When("mlp_bias", True)},
            "moe": {**DEEPSEEK_MOE, "shared_bias": When("mlp_bias", True)},
        },
        experts=after_first_dense,
    ),
    "deepseek_v3": Family({**DEEPSEEK, "mtp": {"num_layers": field("num_mtp_layers")}}, experts=after_first_dense),
    "gpt_oss": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("attention_bias", QKVO), "sinks": True},
            "moe": {
                **MOE,
                "moe_intermediate_size": field("intermediate_size"),
                "expert_bias": True,
                "router_bias": True,
            },
        },
        alternate,
        every_layer,
    ),
    "llama4_text": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("attention_bias", QKVO)},
            "mlp": {**GATED, "intermediate_size": field("intermediate_size_mlp")},
            "moe": {
                **MOE,
                "moe_intermediate_size": field("intermediate_size"),
                "shared_intermediate_size": field("intermediate_size"),
                "runs_all": True,
            },
        },
        chunked_where_rope,
        by_moe_layers,
    ),
}
