"""Types with a part that no other has: gated cross attention, experts of attention, an image decoder of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.encoder_decoder import CROSS
from kvcalc.readers.families.placement import every_layer
from kvcalc.readers.families.towers import BIASED, LLAMA
from kvcalc.readers.families.words import (
    DECODER,
    GATED,
    LAYERNORM_DECODER,
    MHA,
    MOE,
    QKVO,
    Family,
    When,
    field,
    without,
)

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

BLIP_SOURCE = "transformers modeling_blip_text.py"
EVOLLA_SOURCE = "transformers modeling_evolla.py, EvollaSequenceAlignerCrossAttention"
IDEFICS_SOURCE = "Flamingo (arXiv:2204.14198) sec. 2.2; transformers modeling_idefics.py"


def blip(fields: Fields) -> dict[str, Any]:
    """What cross attention reads: the patches of one image and a class token; alone, what a workload says."""
    told = {"untied": not fields.flag("tie_word_embeddings"), "norms": 3 if fields.flag("is_decoder") else 2}
    if not fields.place:
        return {**told, "read": 0, "width": fields.number("encoder_hidden_size")}
    vision = fields.beside("vision_config", "blip_vision_model")
    return {**told, "read": patches(vision) + 1, "width": vision.number("hidden_size")}


def patches(vision: Fields) -> int:
    """Patches of a square image."""
    return (vision.number("image_size") // vision.number("patch_size")) ** 2


def evolla_layers(fields: Fields) -> list[str]:
    """Every so-many-th layer has an adapter, some aligner_num_add_layers in all."""
    layers = fields.number("num_hidden_layers")
    every = max(layers // fields.number("aligner_num_add_layers"), 1)
    return ["self" if (i + 1) % every else "adapted" for i in range(layers)]


def idefics_layers(fields: Fields) -> list[str]:
    """A gated cross attention stands before every cross_layer_interval-th layer."""
    layers, every = fields.number("num_hidden_layers"), fields.number("cross_layer_interval")
    if layers % every:
        raise fields.error("cross_layer_interval", f"{every} does not divide {layers} layers, as the class needs")
    return ["self" if i % every else "crossed" for i in range(layers)]


def idefics(fields: Fields) -> dict[str, Any]:
    """What cross attention reads: one image, or the latents that a resampler makes of it."""
    vision = fields.beside("vision_config", "idefics_vision")
    read = patches(vision) + 1
    if fields.flag("use_resampler"):
        read = fields.beside("perceiver_config", "idefics_perceiver").optional("resampler_n_latents") or 64
    kind = fields.raw("alpha_type")
    if kind not in ("float", "vector"):
        raise fields.error("alpha_type", f"{kind!r} is neither float nor vector")
    return {
        "read": read,
        "width": vision.number("embed_dim"),
        "alphas": 1 if kind == "float" else fields.number("hidden_size"),
        "more_rows": bool(fields.optional("additional_vocab_size")),
        "tables": 1 if fields.flag("tie_word_embeddings") else 2,
    }


BIASED_MHA = {**MHA, "bias": QKVO}
FAMILIES: dict[str, Family] = {
    "blip_text_model": Family(
        {
            **without(LAYERNORM_DECODER, "attention", "sliding_window", "attention_chunk_size"),
            "position_embeddings": field("max_position_embeddings"),
            "embedding_norm": True,
            "final_norm": False,
            "lm_head_bias": True,
            "norms_per_layer": field("norms"),
            "branches": [
                BIASED_MHA,
                When("is_decoder", {**BIASED_MHA, "kv_hidden_size": field("width"), "reach": CROSS}),
            ],
            "extras": [
                {
                    "name": "lm-head-transform",
                    "parameters": "d*d + 3*d",
                    "work_per_token": "2*d*d",
                    "at_head": True,
                    "source": BLIP_SOURCE,
                },
                When(
                    "untied",
                    {
                        "name": "second-head-bias",
                        "parameters": "V",
                        "symbols": {"V": field("vocab_size")},
                        "source": BLIP_SOURCE,
                    },
                ),
            ],
            "encoder_tokens": field("read"),
        },
        derive=blip,
    ),
    "chameleon": Family(
        {
            **LLAMA,
            "attention": {
                **BIASED,
                "num_key_value_heads": field("num_key_value_heads"),
                "head_dim": MHA["head_dim"],
                "qk_norm": "full",
                "qk_norm_bias": True,
            },
            "left_out": "image tokenizer",
        }
    ),
    "evolla": Family(
        {
            **without(LLAMA, "attention"),
            "tie_word_embeddings": False,
            "encoder_tokens": field("resampler_num_latents"),
            "left_out": "protein encoder",
        },
        layers=evolla_layers,
        kinds={
            "self": {"attention": BIASED},
            "adapted": {
                "branches": [
                    BIASED,
                    {
                        **MHA,
                        "bias": ["q", "k", "v", When("aligner_enable_bias", "o")],
                        "remade": True,
                        "reach": CROSS,
                    },
                ],
                "extras": [
                    {
                        "name": "adapter",
                        "parameters": "2*m*d*d + 3*d + 2",
                        "work_per_token": "4*m*d*d",
                        "symbols": {"m": field("aligner_ffn_mult")},
                        "crosses": True,
                        "source": EVOLLA_SOURCE,
                    }
                ],
            },
        },
    ),
    "idefics": Family(
        {
            **without(DECODER, "attention"),
            "extras": [
                When(
                    "more_rows",
                    {
                        "name": "additional-vocabulary",
                        "parameters": "tables*V_a*d",
                        "work_per_token": "2*V_a*d",
                        "symbols": {"tables": field("tables"), "V_a": field("additional_vocab_size")},
                        "at_head": True,
                        "source": IDEFICS_SOURCE,
                    },
                )
            ],
            "encoder_tokens": field("read"),
            "left_out": "vision tower and resampler",
        },
        derive=idefics,
        layers=idefics_layers,
        kinds={
            "self": {"attention": MHA},
            "crossed": {
                "branches": [
                    MHA,
                    {
                        **MHA,
                        "kv_hidden_size": field("width"),
                        "qk_norm": When("qk_layer_norms", "per_head"),
                        "remade": True,
                        "reach": CROSS,
                    },
                ],
                "extras": [
                    {
                        "name": "gated-mlp",
                        "parameters": "3*d*d_ff + 2*d + 2*alphas",
                        "work_per_token": "6*d*d_ff",
                        "symbols": {"d_ff": field("intermediate_size"), "alphas": field("alphas")},
                        "crosses": True,
                        "source": IDEFICS_SOURCE,
                    }
                ],
            },
        },
    ),
    "jetmoe": Family(
        {
            **DECODER,
            "attention": {
                "kind": "moa",
                "num_key_value_heads": field("num_key_value_heads"),
                "head_dim": field("head_dim"),
                "num_experts": field("num_experts"),
                "num_experts_per_tok": field("num_experts_per_tok"),
                "bias": True,
            },
            "mlp": GATED,
            "moe": {**MOE, "moe_intermediate_size": field("intermediate_size")},
            "extras": [
                {
                    "name": "expert-bias",
                    "parameters": "L*d",
                    "symbols": {"L": field("num_hidden_layers")},
                    "source": "transformers modeling_jetmoe.py: one bias on the sum of the experts",
                }
            ],
        },
        experts=every_layer,
    ),
}
