"""Language models that stand only inside models of several modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import (
    after_first_dense,
    after_max_window_layers,
    by_sparse_step,
    every_layer_slides,
    full_where,
    sparse_where,
)
from kvcalc.readers.families.words import (
    DECODER,
    DEEPSEEK_MOE,
    GATED,
    HEADS,
    LAYERNORM_DECODER,
    LAYERS,
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

BIASED = {**HEADS, "bias": When("attention_bias", QKVO)}
NORMED = {**BIASED, "qk_norm": "per_head"}
MLP_BIASED = {**GATED, "bias": When("mlp_bias", True)}
LLAMA = {**DECODER, "attention": BIASED, "mlp": MLP_BIASED}
QWEN2 = Family({**DECODER, "attention": {**HEADS, "bias": QKV}}, after_max_window_layers)
QWEN3_MOE = Family({**DECODER, "attention": NORMED, "moe": MOE}, experts=by_sparse_step)
GLM4V = {**DECODER, "norms_per_layer": 4, "attention": {**HEADS, "bias": QKV}}
DEEPSEEK_OCR = {
    **LLAMA,
    "attention": {**BIASED, "head_dim": MHA["head_dim"]},
    "moe": {**DEEPSEEK_MOE, "shared_bias": When("mlp_bias", True)},
}
MUSE = {**DECODER, "attention": {**BIASED, "output_gate": True}}
KOSMOS = {
    **LAYERNORM_DECODER,
    "max_position_embeddings": field("max_position_embeddings"),
    "mlp": {**PLAIN, "intermediate_size": field("ffn_dim")},
}
KOSMOS_NORMS = {
    "name": "mlp-norms",
    "parameters": "L*2*d_ff",
    "symbols": {**LAYERS, "d_ff": field("ffn_dim")},
}


def molmo_norm(fields: Fields) -> dict[str, Any]:
    """Norms of queries and keys by qk_norm_type."""
    kind = fields.raw("qk_norm_type")
    if kind not in ("qwen3", "olmo"):
        raise fields.error("qk_norm_type", f"{kind!r} is neither qwen3 nor olmo")
    return {"qk": "per_head" if kind == "qwen3" else "full"}


def ernie_experts(fields: Fields) -> dict[str, Any]:
    """moe_intermediate_size is a pair: experts for text, and for images."""
    text, image = fields.integers("moe_intermediate_size") or (1536, 512)
    return {"d_text": text, "d_image": image, "sparse": sum(sparse_where(lambda i, _: i >= 1)(fields))}


def ocr_experts(fields: Fields) -> list[bool]:
    """Read mlp_layer_types: the class has no default."""
    if fields.raw("mlp_layer_types") is None:
        raise fields.document.error(fields.place, "missing field 'mlp_layer_types'", "dense or sparse, one a layer")
    return sparse_where(lambda _i, _n: True)(fields)


def muse_sparse(fields: Fields) -> dict[str, Any]:
    """How many layers have experts: these have norms of the experts' width."""
    return {"sparse": sum(MUSE_EXPERTS(fields))}


def every_fourth_from_the_end(i: int, layers: int) -> bool:
    """Full attention without positions."""
    return (layers - 1 - i) % 4 == 0


MUSE_EXPERTS = sparse_where(lambda _i, _n: True)
MUSE_REACH = full_where(every_fourth_from_the_end)

FAMILIES: dict[str, Family] = {
    "qwen2_vl_text": QWEN2,
    "qwen2_5_vl_text": QWEN2,
    "qwen2_5_omni_text": QWEN2,
    "qwen3_vl_text": Family({**DECODER, "attention": NORMED}),
    "qwen3_vl_moe_text": QWEN3_MOE,
    "qwen3_omni_moe_text": QWEN3_MOE._replace(reach=every_layer_slides),
    "ernie4_5_vl_moe_text": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("use_bias", QKVO)},
            "mlp": {**GATED, "bias": When("use_bias", True)},
            "lm_head_bias": When("use_bias", True),
            "moe": {
                **MOE,
                "moe_intermediate_size": field("d_text"),
                "router_bias": True,
                "shared_intermediate_size": field("d_text*moe_num_shared_experts"),
                "shared_bias": When("use_bias", True),
            },
            "extras": [
                {
                    "name": "vision-experts",
                    "parameters": "L_s*E*(3*d*d_i + d + 1)",
                    "symbols": {"L_s": field("sparse"), "E": field("num_experts"), "d_i": field("d_image")},
                    "source": "ERNIE 4.5: text tokens never visit the experts of images",
                }
            ],
        },
        experts=sparse_where(lambda i, _: i >= 1),
        derive=ernie_experts,
    ),
    "glm4v_text": Family(GLM4V),
    "glm_ocr_text": Family({**GLM4V, "attention": HEADS}),
    "glm4v_moe_text": Family(
        {**DECODER, "attention": {**HEADS, "bias": When("attention_bias", QKV)}, "moe": DEEPSEEK_MOE},
        experts=after_first_dense,
    ),
    "paddleocr_vl_text": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("use_bias", QKVO)},
            "mlp": {**GATED, "bias": When("use_bias", True)},
        }
    ),
    "molmo2_text": Family(
        {
            **DECODER,
            "attention": {**HEADS, "bias": When("qkv_bias", QKV), "qk_norm": field("qk")},
            "extras": [
                {
                    "name": "additional-vocabulary",
                    "parameters": "V_a*d",
                    "symbols": {"V_a": field("additional_vocab_size")},
                }
            ],
        },
        derive=molmo_norm,
    ),
    "hunyuan_vl_text": Family({**DECODER, "vocab_size": field("org_vocab_size"), "attention": NORMED}),
    "emu3_text_model": Family(LLAMA),
    "granite4_vision_text": Family(LLAMA),
    "granite_docling_text": Family(LLAMA),
    "voxtral_realtime_text": Family(
        {
            **DECODER,
            "extras": [
                # Made from the delay, so once a call and not for every token.
                {
                    "name": "delay-norm",
                    "parameters": "L*2*32*d",
                    "work_per_token": "L*4*32*d",
                    "symbols": LAYERS,
                    "at_head": True,
                }
            ],
        },
        every_layer_slides,
    ),
    "deepseek_ocr2_text": Family(DEEPSEEK_OCR, experts=ocr_experts),
    "kosmos_2_text_model": Family(
        {**KOSMOS, "norms_per_layer": 3, "extras": [KOSMOS_NORMS]}, refused=("add_cross_attention",)
    ),
    "kosmos_2_5_text_model": Family(
        {**KOSMOS, "extras": [KOSMOS_NORMS, {"name": "segment-embedding", "parameters": "2*d"}]}
    ),
    "muse_glimmer_text": Family({**MUSE, "norms_per_layer": 4}, MUSE_REACH),
    "muse_spark_text": Family(
        {
            **MUSE,
            "norms_per_layer": 3,
            "moe": {**MOE, "latent_size": field("moe_hidden_size")},
            "extras": [
                {
                    "name": "expert-norms",
                    "parameters": "L_s*2*d_l",
                    "symbols": {"L_s": field("sparse"), "d_l": field("moe_hidden_size")},
                },
                {"name": "residual-gates", "parameters": "L*2*d", "symbols": LAYERS},
            ],
        },
        MUSE_REACH,
        MUSE_EXPERTS,
        derive=muse_sparse,
    ),
}
