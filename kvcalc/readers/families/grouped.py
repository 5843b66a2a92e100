"""Decoders of grouped heads that attend everywhere, or slide everywhere: each type's oddities as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import (
    after_first_dense,
    by_layer_types,
    every_layer,
    every_layer_slides,
    full_where,
    slides_without_rope,
    sparse_where,
)
from kvcalc.readers.families.words import (
    DECODER,
    GATED,
    HEADS,
    LAYERNORM_DECODER,
    MHA,
    MOE,
    MTP,
    PLAIN,
    QKV,
    QKVO,
    SHARED_MOE,
    Family,
    When,
    field,
)

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

BIASED = {**HEADS, "bias": When("attention_bias", QKVO)}
QKV_BIASED = {**HEADS, "bias": When("attention_bias", QKV)}
NORMED = {**BIASED, "qk_norm": "per_head"}
MLP_BIASED = {**GATED, "bias": When("mlp_bias", True)}
LLAMA = {**DECODER, "attention": BIASED, "mlp": MLP_BIASED}


def dbrx_blocks(fields: Fields) -> dict[str, Any]:
    """Its numbers stand in attn_config and ffn_config."""
    attention, experts = fields.mapping("attn_config"), fields.mapping("ffn_config")
    return {
        "n_kv": attention.get("kv_n_heads", 1),
        "d_e": experts.get("ffn_hidden_size", 3584),
        "E": experts.get("moe_num_experts", 4),
        "k": experts.get("moe_top_k", 1),
    }


def ernie_experts(fields: Fields) -> list[bool]:
    """Every moe_layer_interval-th layer from moe_layer_start_index to moe_layer_end_index, -1: the last."""
    layers, interval = fields.number("num_hidden_layers"), fields.number("moe_layer_interval")
    first, last = fields.number_or_zero("moe_layer_start_index"), fields.integer("moe_layer_end_index")
    last = layers - 1 if last == -1 else last
    return [(i + 1) % interval == 0 and first <= i <= last for i in range(layers)]


def laguna_heads(fields: Fields) -> list[int]:
    """Query heads of each layer."""
    layers = fields.number("num_hidden_layers")
    given = fields.integers("num_attention_heads_per_layer")
    if given is not None and len(given) != layers:
        raise fields.error("num_attention_heads_per_layer", f"{len(given)} numbers for {layers} layers")
    return given or [fields.number("num_attention_heads")] * layers


def laguna_layers(fields: Fields) -> list[str]:
    """Reach, query heads and MLP, each by a list of its own."""
    mlps = sparse_where(lambda i, _: i >= 1)(fields)
    told = zip(by_layer_types(fields), laguna_heads(fields), mlps, strict=True)
    return [f"{reach}_{heads}_{'moe' if sparse else 'dense'}" for reach, heads, sparse in told]


def laguna_kinds(fields: Fields) -> dict[str, dict[str, Any]]:
    """Each combination of the three."""
    per_head = fields.raw("gating") in (True, "per-head")
    experts = {**MOE, "router_bias": True, "shared_intermediate_size": field("shared_expert_intermediate_size")}
    return {
        f"{reach}_{heads}_{mlp}": {
            **({"sliding_window": field("sliding_window")} if reach == "sliding" else {}),
            "attention": {**NORMED, "num_attention_heads": heads, "head_gate" if per_head else "output_gate": True},
            "mlp": experts if mlp == "moe" else GATED,
        }
        for reach in ("full", "sliding")
        for heads in set(laguna_heads(fields))
        for mlp in ("dense", "moe")
    }


FAMILIES: dict[str, Family] = {
    "bitnet": Family(
        {
            **DECODER,
            "attention": BIASED,
            "extras": [
                {
                    "name": "sub-layer-norms",
                    "parameters": "l*(d + d_ff)",
                    "symbols": {"l": field("num_hidden_layers"), "d_ff": field("intermediate_size")},
                }
            ],
        }
    ),
    "dbrx": Family(
        {
            **DECODER,
            "attention": {**MHA, "num_key_value_heads": field("n_kv")},
            "moe": {
                **MOE,
                "num_experts": field("E"),
                "num_experts_per_tok": field("k"),
                "moe_intermediate_size": field("d_e"),
            },
        },
        experts=every_layer,
        derive=dbrx_blocks,
    ),
    "ernie4_5": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("use_bias", QKVO)},
            "mlp": {**GATED, "bias": When("use_bias", True)},
        }
    ),
    "ernie4_5_moe": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("use_bias", QKVO)},
            "mlp": {**GATED, "bias": When("use_bias", True)},
            "lm_head_bias": When("use_bias", True),
            "moe": {
                **MOE,
                "router_bias": True,
                "shared_intermediate_size": field("moe_intermediate_size*moe_num_shared_experts"),
                "shared_bias": When("use_bias", True),
            },
        },
        experts=ernie_experts,
    ),
    "glm": Family({**DECODER, "attention": QKV_BIASED}),
    "glm4": Family({**DECODER, "norms_per_layer": 4, "attention": QKV_BIASED}),
    "glm4_moe": Family(
        {
            **DECODER,
            "attention": {**QKV_BIASED, "qk_norm": When("use_qk_norm", "per_head")},
            "moe": {**SHARED_MOE, "shared_intermediate_size": field("moe_intermediate_size*n_shared_experts")},
            "mtp": MTP,
        },
        experts=after_first_dense,
    ),
    "hy_v3": Family(
        {
            **DECODER,
            "attention": NORMED,
            "mlp": MLP_BIASED,
            "moe": {**SHARED_MOE, "shared_bias": When("mlp_bias", True)},
        },
        experts=sparse_where(lambda i, _: i >= 1),
    ),
    "internlm3": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": [When("qkv_bias", "q"), When("qkv_bias", "k"), When("qkv_bias", "v")]},
            "mlp": {**GATED, "bias": When("bias", True)},
        }
    ),
    "iquestcoder": Family(LLAMA),
    "laguna": Family(DECODER, layers=laguna_layers, kinds=laguna_kinds),
    "mellum": Family(
        {**DECODER, "attention": NORMED, "moe": MOE},
        by_layer_types,
        sparse_where(lambda _i, _n: True),
    ),
    "ministral3": Family(DECODER, every_layer_slides),
    "ministral": Family(DECODER, full_where(None)),
    "nemotron": Family(
        {
            **LAYERNORM_DECODER,
            "attention": BIASED,
            "mlp": {**PLAIN, "bias": When("mlp_bias", True)},
        }
    ),
    "phi4_multimodal": Family(DECODER, every_layer_slides),
    "phimoe": Family(
        {
            **LAYERNORM_DECODER,
            "attention": BIASED,
            "lm_head_bias": When("lm_head_bias", True),
            # Its sparse mixer takes two, whatever num_experts_per_tok says.
            "moe": {**MOE, "num_experts_per_tok": 2, "moe_intermediate_size": field("intermediate_size")},
        },
        every_layer_slides,
        every_layer,
    ),
    "seed_oss": Family(
        {
            **DECODER,
            "attention": {
                **HEADS,
                "bias": [*(When("attention_bias", name) for name in QKV), When("attention_out_bias", "o")],
            },
            "mlp": MLP_BIASED,
        }
    ),
    "smollm3": Family(LLAMA, slides_without_rope),
    "solar_open": Family(
        {
            **DECODER,
            "attention": QKV_BIASED,
            "moe": {**SHARED_MOE, "shared_intermediate_size": field("moe_intermediate_size*n_shared_experts")},
        },
        experts=every_layer,
    ),
    "xglm": Family(
        {
            **LAYERNORM_DECODER,
            "mlp": {**PLAIN, "intermediate_size": field("ffn_dim")},
        },
        refused=("add_cross_attention",),
    ),
    "cosmos3_edge_text": Family({**LLAMA, "mlp": {**PLAIN, "bias": When("mlp_bias", True)}}),
}
