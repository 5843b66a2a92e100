"""T5 and its kin: RMS norms, no biases, heads of d_kv, a table of relative positions a stack.

The library ties all of T5's embeddings whatever tie_word_embeddings says (that field decides a scale there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.encoder_decoder import UNTIED, kinds_of, sparse, two_attentions
from kvcalc.readers.families.words import GATED, MOE, Family, When, field

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

SOURCE = "T5 (arXiv:1910.10683) sec. 2.1: a scalar a bucket and head"
BUCKETS = {"r": field("relative_attention_num_buckets"), "n_h": field("num_attention_heads")}
TABLE = {
    "name": "relative-positions",
    "parameters": "r*n_h",
    "symbols": BUCKETS,
    "source": SOURCE,
}
HEADS = {
    "kind": "heads",
    "num_attention_heads": field("num_attention_heads"),
    "num_key_value_heads": field("num_attention_heads"),
    "head_dim": field("head_dim", "d_kv"),
}
MLP = {**GATED, "intermediate_size": field("d_ff"), "gated": field("gated")}
ENCODER = {
    "hidden_size": field("hidden_size"),
    "num_hidden_layers": field("num_hidden_layers"),
    "norm": "rmsnorm",
    "norms_per_layer": 2,
    "attention": HEADS,
    "mlp": MLP,
    "extras": [TABLE],
}
T5 = {
    "hidden_size": field("hidden_size"),
    "num_hidden_layers": field("num_decoder_layers", "num_hidden_layers"),
    "vocab_size": field("vocab_size"),
    "max_position_embeddings": field("n_positions", or_absent=True),
    "tie_word_embeddings": True,
    "norm": "rmsnorm",
    "norms_per_layer": 3,
    "branches": two_attentions(HEADS),
    "mlp": MLP,
    "extras": [TABLE],
    "encoder": ENCODER,
}


def gated(fields: Fields) -> dict[str, Any]:
    """feed_forward_proj: 'gated-gelu' has a gate, 'relu' none; is_gated_act, where a file has it, comes first."""
    if fields.raw("is_encoder_decoder") is False:
        raise fields.not_understood("is_encoder_decoder", "false makes one stack of it, which is not understood")
    word = fields.raw("feed_forward_proj")
    if word is not None and not isinstance(word, str):
        raise fields.error("feed_forward_proj", f"{word!r} is not a word")
    given = fields.given("is_gated_act")
    return {"gated": fields.flag("is_gated_act") if given else str(word).startswith("gated-")}


def long_t5(fields: Fields) -> dict[str, Any]:
    """Local: local_radius to both sides; transient-global: summaries of blocks beside it."""
    kind = fields.raw("encoder_attention_type")
    if kind not in ("local", "transient-global"):
        raise fields.not_understood("encoder_attention_type", f"{kind!r} is not understood: local or transient-global")
    return {**gated(fields), "summaries": kind == "transient-global"}


def switch(fields: Fields) -> dict[str, Any]:
    """Every so-manieth layer has experts, counted from the second; a step of 1 is all of them."""
    layers = {
        "encoder": fields.number("num_hidden_layers"),
        "decoder": fields.optional("num_decoder_layers") or fields.number("num_hidden_layers"),
    }
    kinds = {}
    for stack, total in layers.items():
        wanted = fields.number_or_zero(f"num_sparse_{stack}_layers")
        step = total // wanted if wanted else total
        if fields.given(f"{stack}_sparse_step"):  # what the library makes of both, and reads where a file has it
            step = fields.number_or_zero(f"{stack}_sparse_step")
        kinds[stack] = ["moe" if step and (step == 1 or i % step == 1) else "dense" for i in range(total)]
    return {**gated(fields), "gated": False, "untied": not fields.flag("tie_word_embeddings"), **kinds_of(kinds)}


def udop(fields: Fields) -> dict[str, Any]:
    """Tables for one axis of text and two of the page."""
    given = fields.raw("relative_bias_args")
    return {**gated(fields), "axes": len(given) if isinstance(given, list) else 3}


LOCAL = {"kind": "band", "left": field("local_radius"), "right": field("local_radius")}
GLOBAL = {**HEADS, "merged": True, "reach": {"kind": "summaries", "block_size": field("global_block_size")}}
GLOBAL_TABLE = {**TABLE, "name": "relative-positions-of-summaries"}
GLOBAL_NORM = {"name": "norm-of-summaries", "parameters": "d", "source": "LongT5 (arXiv:2112.07916) sec. 3.1"}
COMPOSER = {
    "name": "composers",
    "parameters": "E*d",
    "symbols": {"E": field("composer_vocab_size")},
    "source": "Pop2Piano: an embedding a composer",
}
EXPERTS = {**MOE, "moe_intermediate_size": field("d_ff"), "num_experts_per_tok": 1, "gated": False}
AXES = {**TABLE, "parameters": "a*r*n_h", "symbols": {**BUCKETS, "a": field("axes")}}
PATCHES = {
    "name": "patches",
    "parameters": "c*p*p*d + d",
    "symbols": {"c": field("num_channels"), "p": field("patch_size")},
    "source": "UDOP (arXiv:2212.02623): patches of the page, embedded beside its text",
}
CELLS = {
    "name": "places-on-the-page",
    "parameters": "2*r*d",
    "symbols": {"r": field("max_2d_position_embeddings")},
    "source": PATCHES["source"],
}


def _sparse(stack: str) -> dict[str, Any]:
    return sparse(stack, MLP, {**EXPERTS, "router_bias": When("router_bias", True)})


def _without_nothing(recipe: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if value is not None}


REQUIRED = ("num_hidden_layers", "hidden_size")
SWITCH = {"tie_word_embeddings": field("tie_word_embeddings"), "extras": [TABLE, When("untied", UNTIED)]}
EACH_LAYER = {**T5, "layers": {"every": {"extras": [TABLE]}}, "layer_pattern": ["every"], "extras": []}
FAMILIES: dict[str, Family] = {
    "t5": Family(T5, derive=gated, required=REQUIRED),
    "mt5": Family(T5, derive=gated, required=REQUIRED),
    "umt5": Family(
        {
            **EACH_LAYER,
            "encoder": {**ENCODER, "layers": EACH_LAYER["layers"], "layer_pattern": ["every"], "extras": []},
        },
        derive=gated,
        required=REQUIRED,
    ),
    "longt5": Family(
        {
            **T5,
            "encoder": {
                **{key: value for key, value in ENCODER.items() if key != "attention"},
                "layers": {
                    "local": {
                        "branches": [{**HEADS, "reach": LOCAL}, When("summaries", GLOBAL)],
                        "extras": [When("summaries", GLOBAL_NORM)],
                    }
                },
                "layer_pattern": ["local"],
                "extras": [TABLE, When("summaries", GLOBAL_TABLE)],
            },
        },
        derive=long_t5,
        required=REQUIRED,
    ),
    "switch_transformers": Family(
        _without_nothing(
            {**T5, **SWITCH, **_sparse("decoder"), "encoder": _without_nothing({**ENCODER, **_sparse("encoder")})}
        ),
        derive=switch,
        required=REQUIRED,
    ),
    "pop2piano": Family(
        {**T5, "tie_word_embeddings": False, "encoder": {**ENCODER, "extras": [TABLE, COMPOSER]}},
        derive=gated,
        required=REQUIRED,
    ),
    "udop": Family(
        {
            **T5,
            "extras": [AXES, PATCHES],
            "encoder": {**ENCODER, "extras": [AXES, PATCHES, CELLS]},
        },
        derive=udop,
        required=REQUIRED,
    ),
}
