"""Decoders whose encoder, or what else their cross attention reads, has a config of its own beside theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.encoder_decoder import CROSS, mha, two_attentions
from kvcalc.readers.families.t5 import HEADS as T5_HEADS
from kvcalc.readers.families.t5 import TABLE
from kvcalc.readers.families.words import DECODER, GATED, HEADS, LAYERNORM_DECODER, PLAIN, QKVO, Family, When, field

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields


def vision_tokens(fields: Fields) -> dict[str, Any]:
    """mllama: the tokens of one image, all of its tiles, a class token each; none where no vision tower is told."""
    if not fields.place:
        return {"read": 0}
    vision = fields.beside("vision_config", "mllama_vision_model")
    side = vision.number("image_size") // vision.number("patch_size")
    return {"read": (side * side + 1) * vision.number("max_num_tiles")}


def mllama_layers(fields: Fields) -> list[str]:
    """cross_attention_layers hold cross attention alone."""
    crossing = fields.integers("cross_attention_layers")
    chosen = [3, 8, 13, 18, 23, 28, 33, 38] if crossing is None else crossing
    layers = fields.number("num_hidden_layers")
    return ["cross" if i in chosen else "self" for i in range(layers)]


def formula_tokens(fields: Fields) -> dict[str, Any]:
    """pp_formulanet: the patches of the image, halved twice to either side."""
    if not fields.place:
        return {"read": 0}
    vision = fields.beside("vision_config", "pp_formulanet_vision")
    side = vision.number("image_size") // vision.number("patch_size")
    for _ in range(2):
        side = (side + 1) // 2
    return {"read": side * side}


def alternating(fields: Fields, pattern: int) -> list[str]:
    """Sliding but for every pattern-th layer."""
    if (given := fields.layer_types()) is not None:
        return given
    return ["sliding" if (i + 1) % pattern else "full" for i in range(fields.number("num_hidden_layers"))]


def _gemma_encoder(encoder: Fields, pattern: int, band: dict[str, int], **more: Any) -> dict[str, Any]:
    """The encoder of T5Gemma as a native stack."""
    memory = {
        "kind": "heads",
        "num_attention_heads": encoder.number("num_attention_heads"),
        "num_key_value_heads": encoder.number("num_key_value_heads"),
        "head_dim": encoder.number("head_dim"),
        "bias": QKVO if encoder.flag("attention_bias") else [],
        **more.pop("memory", {}),
    }
    kinds = alternating(encoder, pattern)
    reach = {"sliding": {"reach": {"kind": "band", **band}}, "full": {}}
    return {
        "hidden_size": encoder.number("hidden_size"),
        "num_hidden_layers": encoder.number("num_hidden_layers"),
        "norm": "rmsnorm",
        "norms_per_layer": 4,
        "mlp": {"kind": "dense", "intermediate_size": encoder.number("intermediate_size"), "gated": True},
        "layers": {kind: {"attention": {**memory, **reach[kind]}} for kind in dict.fromkeys(kinds)},
        "layer_types": kinds,
        **more,
    }


def t5gemma(fields: Fields) -> dict[str, Any]:
    """An encoder with an embedding of its own, whose windows are sliding_window to both sides."""
    encoder = fields.beside("encoder", "t5_gemma_module")
    window, width = encoder.number("sliding_window"), encoder.number("hidden_size")
    rows = {"name": "embedding", "parameters": "V*d", "symbols": {"V": encoder.number("vocab_size")}}
    stack = _gemma_encoder(encoder, 2, {"left": window, "right": window}, extras=[rows])
    return {"stack": stack, "width": width if width != fields.number("hidden_size") else None}


def t5gemma2(fields: Fields) -> dict[str, Any]:
    """An encoder with the decoder's embedding, whose windows are sliding_window in all."""
    encoder = fields.beside("encoder", "t5gemma2_text", "text_config")
    window = encoder.number("sliding_window")
    band = {"left": (window + 1) // 2 - 1, "right": window // 2}
    stack = _gemma_encoder(encoder, 6, band, memory={"qk_norm": "per_head"})
    if encoder.number("hidden_size") != fields.number("hidden_size"):
        raise encoder.not_understood("hidden_size", "an encoder of another width than its decoder is not understood")
    return {"stack": stack, "untied": fields.document.data.get("tie_word_embeddings") is False}


def dia(fields: Fields) -> dict[str, Any]:
    """An encoder of bytes, narrower than its decoder."""
    encoder = fields.beside("encoder_config", "dia_encoder")
    rows = {"name": "embedding", "parameters": "V*d", "symbols": {"V": encoder.number("vocab_size")}}
    stack = {
        "hidden_size": encoder.number("hidden_size"),
        "num_hidden_layers": encoder.number("num_hidden_layers"),
        "norm": "rmsnorm",
        "norms_per_layer": 2,
        "attention": {
            "kind": "heads",
            "num_attention_heads": encoder.number("num_attention_heads"),
            "num_key_value_heads": encoder.number("num_key_value_heads"),
            "head_dim": encoder.number("head_dim"),
        },
        "mlp": {"kind": "dense", "intermediate_size": encoder.number("intermediate_size"), "gated": True},
        "extras": [rows],
    }
    return {"stack": stack}


GEMMA_HEADS = {**HEADS, "head_dim": field("head_dim"), "bias": When("attention_bias", QKVO)}
T5GEMMA = {
    **{key: value for key, value in DECODER.items() if key not in ("attention", "sliding_window")},
    "norms_per_layer": 6,
    "encoder": field("stack"),
    "left_out": None,
}
WINDOW = {"kind": "window", "sliding_window": field("sliding_window")}
IN_CROSS = {"kv_hidden_size": field("width", or_absent=True), "reach": CROSS}
NORMED = {**GEMMA_HEADS, "qk_norm": "per_head"}
MERGED = {**NORMED, "merged": True, "reach": CROSS}
EOI = {"name": "end-of-image", "parameters": "d", "source": "transformers T5Gemma2TextScaledWordEmbedding"}
OWN_ROWS = When("untied", {"name": "decoder-embedding", "parameters": "V*d + d", "symbols": {"V": field("vocab_size")}})
GATES = {"name": "cross-gates", "parameters": "2", "source": "Llama 3 (arXiv:2407.21783) sec. 7.2; transformers mllama"}
SPECIAL_ROWS = {"name": "special-rows", "parameters": "8*d", "source": "transformers mllama: vocab_size + 8 rows"}
PATCHED = {key: value for key, value in LAYERNORM_DECODER.items() if key not in ("attention", "sliding_window")}

FAMILIES: dict[str, Family] = {
    "mllama_text_model": Family(
        {
            **{key: value for key, value in DECODER.items() if key != "attention"},
            "extras": [SPECIAL_ROWS],
            "encoder_tokens": field("read"),
        },
        derive=vision_tokens,
        layers=mllama_layers,
        kinds={
            "self": {"attention": HEADS},
            "cross": {"attention": {**HEADS, "qk_norm": "per_head", "reach": CROSS}, "extras": [GATES]},
        },
    ),
    "t5_gemma_module": Family(
        T5GEMMA,
        derive=t5gemma,
        layers=lambda fields: alternating(fields, 2),
        kinds={
            "sliding": {"branches": [{**GEMMA_HEADS, "reach": WINDOW}, {**GEMMA_HEADS, **IN_CROSS}]},
            "full": {"branches": [GEMMA_HEADS, {**GEMMA_HEADS, **IN_CROSS}]},
        },
    ),
    "t5gemma2_decoder": Family(
        {**T5GEMMA, "norms_per_layer": 4, "extras": [EOI, OWN_ROWS], "left_out": "vision tower and projector"},
        derive=t5gemma2,
        layers=lambda fields: alternating(fields, 6),
        kinds={
            "sliding": {"branches": [{**NORMED, "reach": WINDOW}, MERGED]},
            "full": {"branches": [NORMED, MERGED]},
        },
    ),
    "dia_decoder": Family(
        {
            **{key: value for key, value in DECODER.items() if key not in ("attention", "sliding_window")},
            "vocab_size": field("num_channels*vocab_size"),
            "tie_word_embeddings": False,
            "norms_per_layer": 3,
            "branches": [
                {**HEADS, "head_dim": field("head_dim")},
                {
                    "kind": "heads",
                    "num_attention_heads": field("cross_num_attention_heads"),
                    "num_key_value_heads": field("cross_num_key_value_heads"),
                    "head_dim": field("cross_head_dim"),
                    "kv_hidden_size": field("cross_hidden_size"),
                    "reach": CROSS,
                },
            ],
            "encoder": field("stack"),
            "left_out": None,
        },
        derive=dia,
    ),
    "pix2struct_text_model": Family(
        {
            "hidden_size": field("hidden_size"),
            "num_hidden_layers": field("num_hidden_layers"),
            "vocab_size": field("vocab_size"),
            "tie_word_embeddings": field("tie_word_embeddings"),
            "norm": "rmsnorm",
            "norms_per_layer": 3,
            "branches": two_attentions(T5_HEADS),
            "mlp": {**GATED, "intermediate_size": field("d_ff")},
            "extras": [TABLE],
        }
    ),
    "pp_formulanet_text": Family(
        {
            **PATCHED,
            "num_hidden_layers": field("decoder_layers"),
            "norms_per_layer": 3,
            "embedding_norm": True,
            "position_embeddings": field("max_position_embeddings + 2"),
            "branches": two_attentions(mha("decoder_attention_heads", bias=QKVO)),
            "mlp": {**PLAIN, "intermediate_size": field("decoder_ffn_dim")},
            "encoder_tokens": field("read"),
        },
        derive=formula_tokens,
        required=("decoder_layers", "hidden_size"),
    ),
}
