"""Attention with short convolutions inside: Inkling's behind keys, values and parts, Zaya's before queries and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import sparse_where
from kvcalc.readers.families.states import by_words, crossed
from kvcalc.readers.families.words import DECODER, GATED, LAYERS, MOE, Family, When, field, without

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

HYBRIDS = {"hybrid": "full", "hybrid_sliding": "sliding"}
TOP = {
    **without(DECODER, "attention"),
    "max_position_embeddings": field("model_max_length"),
    "tie_word_embeddings": False,
}
PREFIX = {"sliding": "swa_", "full": ""}


def inkling_layers(fields: Fields) -> list[str]:
    """By layer_types, else those of local_layer_ids slide, or all but every sixth."""
    local = fields.integers("local_layer_ids")
    slides = (lambda i: i in local) if local is not None else (lambda i: (i + 1) % 6 != 0)
    return by_words("layer_types", lambda i, _: "sliding" if slides(i) else "full", HYBRIDS)(fields)


def inkling_experts(fields: Fields) -> list[bool]:
    """By mlp_layer_types, else all but the first dense_mlp_idx layers."""
    dense = fields.number_or_zero("dense_mlp_idx") if fields.given("dense_mlp_idx") else 0
    return sparse_where(lambda i, _: i >= dense)(fields)


def inkling_widths(fields: Fields) -> dict[str, Any]:
    """Where dense_intermediate_size is given, intermediate_size is an expert's."""
    given = fields.optional("dense_intermediate_size")
    if given is not None:
        return {"d_ff": given, "d_e": fields.number("intermediate_size")}
    return {"d_ff": fields.number("intermediate_size"), "d_e": fields.number("moe_intermediate_size")}


def inkling_heads(prefix: str, **more: Any) -> dict[str, Any]:
    """Heads of sliding layers have names of their own."""
    return {
        "kind": "heads",
        "num_attention_heads": field(f"{prefix}num_attention_heads"),
        "num_key_value_heads": field(f"{prefix}num_key_value_heads"),
        "head_dim": field(f"{prefix}head_dim"),
        **more,
    }


def conv(*channels: str) -> dict[str, Any]:
    """Convolutions of so many channels in all."""
    return {"kind": "conv", "channels": field(" + ".join(channels)), "conv_kernel": field("sconv_kernel_size")}


def relative(reach: str, more: str = "") -> dict[str, Any]:
    """The bias by distance: a projection of the token, and a table of profiles; `more` weights beside."""
    prefix = PREFIX[reach]
    return {
        "name": "relative-positions",
        "parameters": "d*n_h*d_rel + d_rel*E_rel" + more,
        "work_per_token": "2*n_h*d_rel*(d + E_rel)",
        "symbols": {
            "n_h": field(f"{prefix}num_attention_heads"),
            "d_rel": field("d_rel"),
            "E_rel": field("sliding_window" if reach == "sliding" else "rel_extent"),
            **({"d_h": field(f"{prefix}head_dim")} if more else {}),
        },
    }


def windowed(reach: str) -> dict[str, Any]:
    """The window of sliding layers."""
    return {"sliding_window": field("sliding_window")} if reach == "sliding" else {}


def inkling_kind(reach: str, *, moe: bool) -> dict[str, Any]:
    """One kind of Inkling's layers."""
    prefix = PREFIX[reach]
    scale = {"name": "global-scale", "parameters": "1"}
    sinks = {
        "name": "shared-experts-in-router",
        "parameters": "S*d",
        "work_per_token": "2*S*d",
        "symbols": {"S": field("n_shared_experts")},
    }
    experts = {
        **MOE,
        "moe_intermediate_size": field("d_e"),
        "shared_intermediate_size": field("d_e*n_shared_experts"),
    }
    return {
        **windowed(reach),
        "branches": [
            inkling_heads(prefix, qk_norm="per_head"),
            conv(f"2*{prefix}num_key_value_heads*{prefix}head_dim", "2*hidden_size"),
        ],
        "mlp": experts if moe else {**GATED, "intermediate_size": field("d_ff")},
        "extras": [relative(reach), scale, *([sinks] if moe else [])],
    }


def inkling2_kind(reach: str) -> dict[str, Any]:
    """One kind of Inkling 2's layers: in full ones the columns behind keys and values are made of the token."""
    prefix = PREFIX[reach]
    kv = f"2*{prefix}num_key_value_heads*{prefix}head_dim"
    full = reach == "full"
    dynamic = {**conv(kv), "dynamic_heads": field("2*num_key_value_heads")}
    sinks = {
        "name": "sinks",
        "parameters": "d*n_h",
        "work_per_token": "2*d*n_h",
        "symbols": {"n_h": field(f"{prefix}num_attention_heads")},
    }
    return {
        **windowed(reach),
        **({"norms_per_layer": 4} if full else {}),
        "branches": [
            inkling_heads(prefix, output_gate=True),
            *([dynamic, conv("2*hidden_size")] if full else [conv(kv, "2*hidden_size")]),
        ],
        "extras": [relative(reach, " + n_h*(d_h + d_rel)"), sinks],
    }


def inkling2_residuals(fields: Fields) -> dict[str, Any]:
    """Queries over the blocks' sums: one before each part, three before full attention, none before the first layer.

    `queries` counts them, `keys` the sums they are over, the part in progress included.
    """
    block, layers = fields.number("n_layers_per_attn_res_block"), inkling_layers(fields)
    before = [(0 if i == 0 else 1 if reach == "sliding" else 3, -(-i // block) + 1) for i, reach in enumerate(layers)]
    behind = [(1, i // block + 2) for i in range(len(layers))]
    every = [*before, *behind, (1, -(-len(layers) // block) + 1)]
    return {
        "queries": sum(queries for queries, _ in every),
        "keys": sum(queries * keys for queries, keys in every),
    }


ZAYA_ROUTER = {
    "name": "router",
    "parameters": "d*r + r + r + 2*(r*r + r) + r*(E + 1)",
    "work_per_token": "2*(d*r + 2*r*r + r*(E + 1))",
    "symbols": {"r": field("router_hidden_size"), "E": field("num_experts")},
}
ZAYA_SCALES = {"name": "residual-scales", "parameters": "8*d"}
ZAYA = {
    "attention": {
        "kind": "cca",
        "num_attention_heads": field("num_attention_heads"),
        "num_key_value_heads": field("num_key_value_heads"),
        "head_dim": field("head_dim"),
        "depthwise_kernel": field("cca_time0"),
        "grouped_kernel": field("cca_time1"),
        "bias": When("attention_bias", True),
    },
    "extras": [ZAYA_ROUTER, ZAYA_SCALES],
}

FAMILIES: dict[str, Family] = {
    "inkling_text": Family(
        {**TOP, "embedding_norm": True},
        derive=inkling_widths,
        layers=crossed(inkling_layers, inkling_experts),
        kinds={
            f"{reach}_{'moe' if moe else 'dense'}": inkling_kind(reach, moe=moe)
            for reach in PREFIX
            for moe in (False, True)
        },
    ),
    "inkling2_text": Family(
        {
            **TOP,
            "embedding_norm": True,
            "mlp": {**MOE, "moe_intermediate_size": field("intermediate_size")},
            "extras": [
                {
                    "name": "attention-residuals",
                    "parameters": "Q*d",
                    "work_per_token": "4*d*A",
                    "symbols": {"Q": field("queries"), "A": field("keys")},
                }
            ],
        },
        derive=inkling2_residuals,
        layers=inkling_layers,
        kinds={reach: inkling2_kind(reach) for reach in PREFIX},
    ),
    "zaya": Family(
        {
            **without(DECODER, "attention"),
            "mlp": {**MOE, "matrix_router": False},
            "lm_head_bias": When("lm_head_bias", True),
            "extras": [
                {
                    "name": "router-states-and-input-scale",
                    "parameters": "(L - 1)*r + 2*d",
                    "symbols": {**LAYERS, "r": field("router_hidden_size")},
                }
            ],
        },
        layers=by_words("layer_types", lambda *_: "full", HYBRIDS),
        kinds={"full": ZAYA, "sliding": {**ZAYA, "sliding_window": field("sliding_window")}},
    ),
}
