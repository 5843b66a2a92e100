"""Hybrids of linear attention, delta rules or short convolutions with attention: Qwen3-Next, Kimi Linear, LFM2 ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import by_sparse_step, every_layer, sparse_where
from kvcalc.readers.families.states import DELTA_NET, attends_every, by_words, crossed, kinds_of, recurrent_dtype
from kvcalc.readers.families.words import (
    DECODER,
    DEEPSEEK_MOE,
    GATED,
    HEADS,
    LAYERS,
    MLA,
    MOE,
    OPTIONAL_HEAD_DIM,
    QKVO,
    Family,
    When,
    field,
)

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

STATEFUL = {**DECODER, "state_dtype": field("state_dtype", or_absent=True)}
UNTIED = {**DECODER, "tie_word_embeddings": False}  # whatever the field of that name says
BIASED = {**HEADS, "bias": When("attention_bias", QKVO)}
QWEN_HEADS = {
    **HEADS,
    "bias": When("attention_bias", [*QKVO, "g"]),
    "head_dim": field("head_dim"),
    "qk_norm": "per_head",
    "output_gate": True,
}
QWEN_MOE = {**MOE, "shared_intermediate_size": field("shared_expert_intermediate_size"), "shared_gate": True}


def olmo_widths(fields: Fields) -> dict[str, Any]:
    """Heads as attention's; keys of three quarters of hidden_size; values of twice the keys."""
    n_kh = fields.optional("linear_num_key_heads") or fields.number("num_attention_heads")
    d_k = fields.optional("linear_key_head_dim") or int(0.75 * fields.number("hidden_size") / n_kh)
    return {
        "n_kh": n_kh,
        "n_vh": fields.optional("linear_num_value_heads") or fields.number("num_attention_heads"),
        "d_k": d_k,
        "d_v": fields.optional("linear_value_head_dim") or 2 * d_k,
    }


def olmo_layers(fields: Fields) -> list[str]:
    """By layer_types, else every fourth layer attends, or the last of fewer."""
    return by_words("layer_types", lambda i, n: "attention" if i % 4 == 3 or i == n - 1 < 3 else "state")(fields)


# Before each mixer and each MLP, and once behind the last layer, a learned query attends over the sums of the blocks
# of layers so far, of C_r layers each: layer i, from 0, reads ceil(i/C_r) + 1 sums, and then floor(i/C_r) + 2, the last
# layer's reader ceil(L/C_r) + 1. Summed over all: 4*L + 1 and twice the floors, with floor(L/C_r) whole blocks.
RESIDUALS = {
    "name": "attention-residuals",
    "parameters": "4*d*L + 2*d",
    "work_per_token": "4*d*(4*L + 1 + (L//C_r)*(2*L - C_r*(L//C_r + 1)))",
    "symbols": {**LAYERS, "C_r": field("attn_res_block_size")},
    "source": "Attention Residuals (arXiv:2603.15031), by blocks; vLLM 0.33, vllm/models/kimi_k3/nvidia/model.py",
}


def kimi_fields(fields: Fields) -> dict[str, Any]:
    """What linear_attn_config says wins over the fields beside it. The rest is Kimi-K3's."""
    told = fields.mapping("linear_attn_config")
    names = {
        "linear_head_dim": "head_dim",
        "linear_num_heads": "num_heads",
        "linear_conv_kernel_dim": "short_conv_kernel_size",
    }
    gate = told.get("use_full_rank_gate", False)
    if not isinstance(gate, bool):
        raise fields.error("linear_attn_config", f"use_full_rank_gate: {gate!r} is not true or false")
    latent = fields.optional("routed_expert_hidden_size")
    return {
        **{f"kda_{name}": told.get(inner, fields.number(name)) for name, inner in names.items()},
        "full_gate": gate,
        "latent": latent or None,
        "latent_norm": bool(latent) and fields.flag("latent_moe_use_norm"),
        "residuals": bool(fields.optional("attn_res_block_size")),  # null: plain ones
    }


def kimi_layers(fields: Fields) -> list[str]:
    """By layer_types, else by linear_attn_config, whose layers count from 1, else every fourth but the first."""
    told = fields.mapping("linear_attn_config")
    if fields.raw("layer_types") is None and {"full_attn_layers", "kda_layers"} <= set(told):
        kinds = {}
        for name, kind in (("full_attn_layers", "attention"), ("kda_layers", "state")):
            where = told[name]
            if not (isinstance(where, list) and all(type(layer) is int for layer in where)):
                raise fields.error("linear_attn_config", f"{name} is not a list of layers")
            kinds.update({layer - 1: kind for layer in where})
        layers = range(fields.number("num_hidden_layers"))
        if set(kinds) != set(layers):
            raise fields.error("linear_attn_config", f"does not say of each of {len(layers)} layers what it is")
        return [kinds[layer] for layer in layers]
    return by_words("layer_types", lambda i, _: "attention" if i and i % 4 == 0 else "state")(fields)


def kimi_experts(fields: Fields) -> list[bool]:
    """By mlp_layer_types, else all but the first first_k_dense_replace layers, 1 where that is absent."""
    dense = fields.number_or_zero("first_k_dense_replace") if fields.given("first_k_dense_replace") else 1
    return sparse_where(lambda i, _: i >= dense)(fields)


def bailing_experts(fields: Fields) -> list[bool]:
    """By mlp_layer_types, else all but the first first_k_dense_replace layers."""
    dense = fields.number_or_zero("first_k_dense_replace")
    return sparse_where(lambda i, _: i >= dense)(fields)


CONVS = {"conv": "state", "full_attention": "attention"}
LFM3_CONVS = {**CONVS, "sliding_attention": "sliding"}
SHORT_CONV = {"kind": "short_conv", "conv_kernel": field("conv_L_cache"), "bias": When("conv_bias", True)}
LFM_HEADS = {**HEADS, "qk_norm": "per_head"}


def lfm2_layers(fields: Fields) -> list[str]:
    """By layer_types, else those of full_attn_idxs attend, all of them where that is absent."""
    where = fields.integers("full_attn_idxs")
    return by_words("layer_types", lambda i, _: "attention" if where is None or i in where else "state", CONVS)(fields)


def lfm2_mlp(fields: Fields) -> dict[str, Any]:
    """Two thirds of intermediate_size times a factor, rounded up, where block_auto_adjust_ff_dim."""
    width = fields.number("intermediate_size")
    if fields.flag("block_auto_adjust_ff_dim"):
        width = int(2 * width / 3)
        if fields.raw("block_ffn_dim_multiplier") is not None:
            multiple = fields.number("block_multiple_of")
            width = int(fields.real("block_ffn_dim_multiplier") * width)
            width = multiple * -(-width // multiple)
    return {"width": width}


def lfm2_experts(fields: Fields) -> list[bool]:
    """All layers but the first num_dense_layers."""
    dense = fields.number_or_zero("num_dense_layers")
    return [i >= dense for i in range(fields.number("num_hidden_layers"))]


def lfm3_layers(fields: Fields) -> list[str]:
    """By layer_types, else of four layers the third attends to all, the first, but for layer 0, to a window."""
    default = {0: "sliding", 2: "attention"}
    return by_words("layer_types", lambda i, _: default.get(i % 4, "state") if i else "state", LFM3_CONVS)(fields)


def lfm3_norms(fields: Fields) -> dict[str, Any]:
    """Norms before and, where sandwiched, after each part."""
    return {"norms": 4 if fields.flag("use_sandwich_norm") else 2}


KDA = {"kind": "kda"}
LFM3_HEADS = {
    **LFM_HEADS,
    "head_dim": field("head_dim"),
    "bias": When("attention_bias", QKVO),
    "head_gate": When("use_attention_gate", True),
}
MINIMAX_HEAD_DIM = field("head_dim", "hidden_size//num_attention_heads")

FAMILIES: dict[str, Family] = {
    "qwen3_next": Family(
        STATEFUL,
        derive=recurrent_dtype,
        layers=crossed(attends_every("full_attention_interval", 4), by_sparse_step),
        kinds=kinds_of(DELTA_NET, QWEN_HEADS, dense=GATED, moe=QWEN_MOE),
    ),
    "qwen3_5_text": Family(
        STATEFUL,
        derive=recurrent_dtype,
        layers=attends_every("full_attention_interval", 4),
        kinds=kinds_of(DELTA_NET, QWEN_HEADS),
    ),
    "qwen3_5_moe_text": Family(
        STATEFUL,
        derive=recurrent_dtype,
        layers=crossed(attends_every("full_attention_interval", 4), every_layer),
        kinds=kinds_of(DELTA_NET, QWEN_HEADS, moe=QWEN_MOE),
    ),
    "olmo_hybrid": Family(
        DECODER,
        derive=olmo_widths,
        layers=olmo_layers,
        kinds=kinds_of(
            {
                **DELTA_NET,
                "num_key_heads": field("n_kh"),
                "num_value_heads": field("n_vh"),
                "key_head_dim": field("d_k"),
                "value_head_dim": field("d_v"),
            },
            {**BIASED, "qk_norm": "full"},
        ),
    ),
    "kimi_linear": Family(
        {**UNTIED, "extras": [When("residuals", RESIDUALS)]},
        derive=kimi_fields,
        layers=crossed(kimi_layers, kimi_experts),
        kinds=kinds_of(
            {
                **KDA,
                "num_heads": field("kda_linear_num_heads"),
                "head_dim": field("kda_linear_head_dim"),
                "conv_kernel": field("kda_linear_conv_kernel_dim"),
                "gate_rank": field("kda_linear_head_dim"),
                "full_output_gate": When("full_gate", True),
            },
            {**MLA, "output_gate": When("mla_use_output_gate", "hidden")},
            dense=GATED,
            moe={
                **DEEPSEEK_MOE,
                "latent_size": field("latent", or_absent=True),
                "latent_norm": When("latent_norm", True),
            },
        ),
    ),
    "bailing_hybrid": Family(
        UNTIED,
        layers=crossed(attends_every("layer_group_size", 6), bailing_experts),
        kinds=kinds_of(
            {
                **KDA,
                "num_heads": field("linear_num_heads", "num_attention_heads"),
                "head_dim": field("linear_head_dim", "head_dim"),
                "conv_kernel": field("linear_conv_kernel_dim", "short_conv_kernel_size"),
            },
            {**MLA, "q_lora_rank": None, "output_gate": "per_head"},
            dense=GATED,
            moe=DEEPSEEK_MOE,
        ),
    ),
    "minimax": Family(
        DECODER,
        layers=by_words("layer_types", lambda i, _: "state" if i % 2 else "attention"),
        kinds={
            name: {
                "attention": told,
                "mlp": {**MOE, "moe_intermediate_size": field("intermediate_size")},
            }
            for name, told in {
                "state": {
                    "kind": "linear",
                    "num_heads": field("num_attention_heads"),
                    "key_head_dim": MINIMAX_HEAD_DIM,
                    "value_head_dim": MINIMAX_HEAD_DIM,
                    "output_gate": True,
                    "norm": "full",
                },
                "attention": {**HEADS, "head_dim": MINIMAX_HEAD_DIM},
            }.items()
        },
    ),
    "lfm2": Family(
        {**DECODER, "mlp": {**GATED, "intermediate_size": field("width")}},
        derive=lfm2_mlp,
        layers=lfm2_layers,
        kinds=kinds_of(SHORT_CONV, {**LFM_HEADS, "head_dim": OPTIONAL_HEAD_DIM}),
    ),
    "lfm2_moe": Family(
        DECODER,
        layers=crossed(by_words("layer_types", words=CONVS), lfm2_experts),
        kinds=kinds_of(SHORT_CONV, LFM_HEADS, dense=GATED, moe=MOE),
    ),
    "lfm3": Family(
        {**DECODER, "norms_per_layer": field("norms")},
        derive=lfm3_norms,
        layers=lfm3_layers,
        kinds={
            **kinds_of(SHORT_CONV, LFM3_HEADS),
            "sliding": {"attention": LFM3_HEADS, "sliding_window": field("sliding_window")},
        },
    ),
}
