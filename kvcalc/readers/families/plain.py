"""Plain decoders in the manner of Llama: rotary positions, heads, gated MLPs or experts, each with its oddities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import (
    after_first_dense,
    by_layer_types,
    every_layer,
    from_max_window_layers,
    where_moe,
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
    without,
)
from kvcalc.readers.schema import MAX_LAYERS

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

BIASED = {**HEADS, "bias": When("attention_bias", QKVO)}
MLP = {**GATED, "bias": When("mlp_bias", True)}
LLAMA = {**DECODER, "attention": BIASED, "mlp": MLP}
WIDE_MOE = {**MOE, "moe_intermediate_size": field("intermediate_size")}
GRANITE_MOE = {**DECODER, "attention": BIASED, "moe": WIDE_MOE}
PRODUCT_KEYS = {
    "name": "product-keys",
    "source": "transformers modeling_doge.py, DogeCDMoE.router_gate",
    "parameters": "L*d*2*isqrt(E)",
    "work_per_token": "L*2*d*2*isqrt(E)",
    "symbols": {**LAYERS, "E": field("num_experts")},
}
BESIDE_EXPERTS = {
    "name": "mlp-beside-experts",
    "source": "transformers modeling_doge.py, DogeCDMoE",
    "parameters": "L*3*d*d_ff",
    "work_per_token": "L*6*d*d_ff",
    "symbols": {**LAYERS, "d_ff": field("intermediate_size")},
}
BESIDE_BIAS = {
    **BESIDE_EXPERTS,
    "name": "mlp-beside-experts-bias",
    "parameters": "L*(2*d_ff + d)",
    "work_per_token": 0,
}
HRM_HEADS = {
    **HEADS,
    "num_key_value_heads": field("num_attention_heads"),
    "output_gate": True,
    "bias": When("attention_bias", [*QKVO, "g"]),
}
PERSIMMON = {
    **MHA,
    "bias": QKVO,
    "qk_norm": When("qk_layernorm", "per_head"),
    "qk_norm_bias": When("qk_layernorm", True),
}


def apertus_activation(fields: Fields) -> dict[str, Any]:
    """Its own activation, xIELU, has two learned numbers a layer; another has none."""
    return {"xielu": fields.raw("hidden_act") in (None, "xielu")}


def square_heads(fields: Fields) -> dict[str, Any]:
    """The class of helium makes its output projection hidden_size square, whatever its heads are."""
    width = fields.number("num_attention_heads") * fields.number("head_dim")
    if width != fields.number("hidden_size"):
        raise fields.error("head_dim", f"all heads are {width} wide, but the output projection takes hidden_size")
    return {}


def parallel_norms(fields: Fields) -> dict[str, Any]:
    """Attention and MLP side by side read one norm."""
    return {"norms": 1 if fields.flag("use_parallel_residual") else 2}


def post_norms(fields: Fields) -> dict[str, Any]:
    """Two norms more a layer."""
    return {"norms": 4 if fields.flag("use_post_norm") else 2}


def visited_alike(fields: Fields) -> dict[str, Any]:
    """How many experts a token visits: one number, or the same for every layer."""
    given = fields.raw("num_experts_per_tok")
    if isinstance(given, list):
        layers = fields.number("num_hidden_layers")
        if len(given) != layers or any(told != given[0] for told in given):
            message = f"not one number, or the same for each of {layers} layers"
            raise fields.not_understood("num_experts_per_tok", message)
        given = given[0]
    return {"num_experts_per_tok": given}


def doge_window(fields: Fields) -> dict[str, Any]:
    """A window beside the tokens that the mask chooses."""
    if fields.optional("sliding_window"):
        raise fields.not_understood("sliding_window", "a window and a dynamic mask together are not understood")
    return {}


def hrm_runs(fields: Fields) -> dict[str, Any]:
    """Two stacks: the low one runs L_cycles times before each of the high one's H_cycles runs; each run is cached."""
    stack = fields.optional("num_layers_per_stack") or fields.number("num_hidden_layers")
    runs = stack * fields.number("H_cycles") * (fields.number("L_cycles") + 1)
    if runs > MAX_LAYERS:
        raise fields.error("H_cycles", f"{runs} runs of layers are too many", f"at most {MAX_LAYERS}")
    return {"stack": stack, "runs": runs}


def hrm_layers(fields: Fields) -> list[str]:
    """The weights of a stack count where it first runs."""
    stack, low = fields.number("stack"), fields.number("L_cycles")
    start = ["first"] * stack + ["again"] * (stack * (low - 1)) + ["first"] * stack
    return start + ["again"] * (fields.number("runs") - len(start))


FAMILIES: dict[str, Family] = {
    "apertus": Family(
        {
            **DECODER,
            "attention": {**BIASED, "qk_norm": "per_head"},
            "mlp": {**GATED, "gated": False},
            "extras": [
                When(
                    "xielu",
                    {
                        "name": "xielu",
                        "source": "transformers modeling_apertus.py: alpha_p and alpha_n of xIELU",
                        "parameters": "2*L",
                        "symbols": LAYERS,
                    },
                )
            ],
        },
        derive=apertus_activation,
    ),
    "arcee": Family({**LLAMA, "mlp": {**MLP, "gated": False}}),
    "aria_text": Family(
        {
            **DECODER,
            "attention": BIASED,
            "moe": {
                **WIDE_MOE,
                "num_experts": field("moe_num_experts"),
                "num_experts_per_tok": field("moe_topk"),
                "shared_intermediate_size": field("intermediate_size*moe_num_shared_experts"),
                "shared_bias": When("mlp_bias", True),
            },
        },
        experts=every_layer,
    ),
    # Its LayerNorms have weights alone, as RMSNorms do; attention and MLP read the same one.
    "cohere": Family(
        {**DECODER, "norms_per_layer": 1, "attention": {**BIASED, "qk_norm": When("use_qk_norm", "full")}}
    ),
    "cohere_compass_text": Family({**DECODER, "norms_per_layer": 1, "attention": BIASED}, by_layer_types),
    "diffllama": Family({**DECODER, "attention": {**BIASED, "differential": True}}),
    "doge": Family(
        {
            **without(LLAMA, "attention"),
            "branches": [
                {**BIASED, "qk_norm": "per_head", "reach": {"kind": "top", "top_k": field("keep_window_size")}},
                {
                    "kind": "value_mask",
                    "num_key_value_heads": HEADS["num_key_value_heads"],
                    "head_dim": HEADS["head_dim"],
                    "bias": When("attention_bias", True),
                },
            ],
            # A router of two keys an expert, sqrt(E) of each; experts are one neuron wide beside the MLP.
            "moe": {**MOE, "moe_intermediate_size": 1, "gated": False, "matrix_router": False},
            "extras": [
                {
                    "name": "residual-weights",
                    "source": "transformers modeling_doge.py, DogeDecoderLayer",
                    "parameters": "L*2*d",
                    "symbols": LAYERS,
                },
                When("is_moe", PRODUCT_KEYS),
                When("is_moe", BESIDE_EXPERTS),
                When("is_moe", When("mlp_bias", BESIDE_BIAS)),
            ],
        },
        experts=where_moe,
        derive=doge_window,
    ),
    "dots1": Family(
        {**DECODER, "attention": {**BIASED, "qk_norm": "per_head"}, "moe": DEEPSEEK_MOE},
        from_max_window_layers,
        after_first_dense,
    ),
    "flex_olmo": Family(
        {
            **GRANITE_MOE,
            "attention": {**BIASED, "qk_norm": "full"},
        },
        experts=every_layer,
    ),
    "granite": Family(LLAMA),
    "granitemoe": Family(GRANITE_MOE, experts=every_layer),
    "granitemoeshared": Family(
        {**GRANITE_MOE, "moe": {**WIDE_MOE, "shared_intermediate_size": field("shared_intermediate_size")}},
        experts=every_layer,
    ),
    "helium": Family({**LLAMA, "attention": {**HEADS, "bias": When("attention_bias", QKV)}}, derive=square_heads),
    "hrm_text": Family(
        {
            **without(DECODER, "attention", "mlp"),
            "num_hidden_layers": field("runs"),
            "norm": "unweighted",
            "extras": [
                {"name": "first-state", "source": "transformers modeling_hrm_text.py, z_L_init", "parameters": "d"}
            ],
        },
        derive=hrm_runs,
        layers=hrm_layers,
        kinds={
            "first": {"attention": HRM_HEADS, "mlp": MLP},
            "again": {"attention": {**HRM_HEADS, "shares_weights": True}, "mlp": {**MLP, "shares_weights": True}},
        },
    ),
    "hunyuan_v1_dense": Family({**LLAMA, "attention": {**BIASED, "qk_norm": "per_head"}}),
    "hunyuan_v1_moe": Family(
        {
            **DECODER,
            "attention": {**BIASED, "qk_norm": "per_head"},
            "moe": {
                **WIDE_MOE,
                "shared_intermediate_size": field("intermediate_size"),
            },
        },
        experts=every_layer,
        derive=visited_alike,
        refused=("use_cla",),  # layers that share a cache, which the library's class has not
    ),
    "hyperclovax": Family({**LLAMA, "norms_per_layer": field("norms")}, derive=post_norms),
    "jais2": Family({**LAYERNORM_DECODER, "attention": BIASED, "mlp": {**PLAIN, "bias": When("mlp_bias", True)}}),
    "nanochat": Family(
        {**DECODER, "norm": "unweighted", "attention": BIASED, "mlp": {**GATED, "gated": False}},
    ),
    "olmo": Family({**DECODER, "norm": "unweighted", "attention": BIASED}),
    "olmo2": Family({**DECODER, "attention": {**BIASED, "qk_norm": "full"}}),
    "olmoe": Family({**GRANITE_MOE, "attention": {**BIASED, "qk_norm": "full"}}, experts=every_layer),
    "persimmon": Family({**LAYERNORM_DECODER, "attention": PERSIMMON}),
    "phi": Family(
        {
            **LAYERNORM_DECODER,
            "norms_per_layer": 1,
            "lm_head_bias": True,
            "attention": {**PERSIMMON, **HEADS},
        }
    ),
    "stablelm": Family(
        {
            **LAYERNORM_DECODER,
            "norms_per_layer": field("norms"),
            "attention": {
                **HEADS,
                "head_dim": field("hidden_size//num_attention_heads"),
                "bias": When("use_qkv_bias", QKV),
                "qk_norm": When("qk_layernorm", "full"),
            },
            "mlp": GATED,
        },
        derive=parallel_norms,
    ),
}
