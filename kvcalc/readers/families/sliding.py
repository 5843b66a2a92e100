"""Decoders whose layers differ: sliding and full ones, with heads, windows or MLPs of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import (
    by_layer_types,
    every_layer,
    every_layer_slides,
    full_every,
    full_where,
    own_numbers,
    sparse_where,
)
from kvcalc.readers.families.words import (
    DECODER,
    GATED,
    GEMMA,
    HEADS,
    LAYERS,
    MHA,
    MOE,
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
NORMED = {**BIASED, "qk_norm": "per_head"}
MLP_BIASED = {**GATED, "bias": When("mlp_bias", True)}
SLIDES = {"sliding_window": field("sliding_window")}
GRANITE_SWA = {**DECODER, "attention": {**BIASED, "sinks": True}, "mlp": MLP_BIASED}
MIMO_FULL = {**HEADS, "v_head_dim": field("v_head_dim"), "bias": When("attention_bias", QKV)}
MIMO_SLIDING = {
    **MIMO_FULL,
    "num_key_value_heads": field("2*num_key_value_heads"),
    "sinks": True,
    "reach": {"kind": "window", **SLIDES, "library_window": field("library_window", or_absent=True)},
}
STEP = {**NORMED, "head_gate": True, "num_key_value_heads": field("num_attention_groups", "num_attention_heads")}
STEP_MOE = {
    **MOE,
    "num_experts": field("E"),
    "num_experts_per_tok": field("moe_top_k"),
    "shared_intermediate_size": field("share_expert_dims"),
    "shared_bias": When("mlp_bias", True),
}
MOSHI = {**DECODER, "mlp": {**GATED, "intermediate_size": field("ffn_dim//2")}}


def layers_by(reach: Any, experts: Any) -> Any:
    """Make a rule that names each layer by its reach and its MLP."""

    def layers(fields: Fields) -> list[str]:
        told = zip(reach(fields), experts(fields), strict=True)
        return [f"{kind}_{'moe' if sparse else 'dense'}" for kind, sparse in told]

    return layers


def kinds_by(full: dict[str, Any], sliding: dict[str, Any], moe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The kinds of such layers: two attentions, two MLPs."""
    return {
        "full_dense": {"attention": full, "mlp": MLP_BIASED},
        "full_moe": {"attention": full, "mlp": moe},
        "sliding_dense": {"attention": sliding, "mlp": MLP_BIASED, **SLIDES},
        "sliding_moe": {"attention": sliding, "mlp": moe, **SLIDES},
    }


def half_window(fields: Fields) -> dict[str, Any]:
    """local_attention counts both sides of an encoder's window: a decoder has one, the token itself included."""
    norm = "layernorm" if fields.flag("norm_bias") else "rmsnorm"  # LayerNorms without biases
    return {"sliding_window": fields.number("local_attention") // 2, "norm": norm}


def modernbert_reach(fields: Fields) -> list[str]:
    """By layer_types, else the first of every global_attn_every_n_layers is full."""
    every = fields.optional("global_attn_every_n_layers") or 3
    return full_where(lambda i, _: i % every == 0)(fields)


def mimo_window(fields: Fields) -> dict[str, Any]:
    """The library sees the current token beside the sliding_window_size that the authors count."""
    window = fields.optional("sliding_window_size")
    if window is None:
        return {}
    return {"sliding_window": window, "library_window": window + 1}


def cohere_reach(fields: Fields) -> list[str]:
    """The dense layers that come first have a pattern of their own."""
    if (given := fields.layer_types()) is not None:
        return given
    dense = fields.optional("first_k_dense_replace") or 0
    first, rest = fields.number("prefix_dense_sliding_window_pattern"), fields.number("sliding_window_pattern")
    layers = fields.number("num_hidden_layers")
    turns = [(i + 1) % first if i < dense else (i - dense + 1) % rest for i in range(layers)]
    return ["sliding" if turn else "full" for turn in turns]


def step_heads(fields: Fields) -> dict[str, Any]:
    """Sliding layers may have query heads of their own. Older files say so in attention_other_setting.

    They also name the layers of experts in moe_layers_enum, and list those of multi-token prediction with the others.
    num_local_experts is not read.
    """
    layers = fields.number("num_hidden_layers")
    padded = layers + (fields.optional("num_nextn_predict_layers") or 0)
    other = fields.mapping("attention_other_setting").get("num_attention_heads")
    heads = fields.optional("num_sliding_attention_heads") or other or fields.number("num_attention_heads")
    experts = fields.optional("moe_num_experts") or fields.optional("n_routed_experts") or 288
    derived: dict[str, Any] = {"sliding_heads": heads, "E": experts}
    for name in ("layer_types", "mlp_layer_types"):
        given = fields.raw(name)
        derived[name] = given[:layers] if isinstance(given, list) and len(given) == padded else given
    named = fields.raw("moe_layers_enum")
    if named is not None and derived["mlp_layer_types"] is None:
        try:
            sparse = {int(at) for at in (named.split(",") if isinstance(named, str) else named) if str(at).strip()}
        except (TypeError, ValueError):
            raise fields.error("moe_layers_enum", "not the numbers of layers") from None
        derived["mlp_layer_types"] = ["sparse" if i in sparse else "dense" for i in range(layers)]
    types = derived["layer_types"] or []
    own = own_numbers(fields, types, "sliding_attention", {"num_attention_heads"}) or {}
    return {**derived, "sliding_heads": own.get("num_attention_heads", heads)}


FAMILIES: dict[str, Family] = {
    "afmoe": Family(
        {
            **DECODER,
            "norms_per_layer": 4,
            "attention": {**NORMED, "output_gate": True},
            "moe": {**SHARED_MOE, "router_bias": True},
        },
        full_every("global_attn_every_n_layers"),
        lambda fields: [
            i >= fields.number_or_zero("num_dense_layers") for i in range(fields.number("num_hidden_layers"))
        ],
    ),
    "beam": Family(
        {
            **DECODER,
            "norms_per_layer": 4,
            "attention": {**NORMED, "output_gate": True},
            "moe": MOE,
            "extras": [
                {"name": "gate-bias", "parameters": "L*n_h", "symbols": {**LAYERS, "n_h": HEADS["num_attention_heads"]}}
            ],
        },
        full_where(lambda i, n: (i + 1) % 6 == 0 or i == n - 1),
        sparse_where(lambda i, _: i >= 3),
    ),
    # Cohere's LayerNorms have weights alone, as RMSNorms do; attention and MLP read the same one.
    "cohere2": Family({**DECODER, "norms_per_layer": 1, "attention": BIASED}, full_every("sliding_window_pattern", 4)),
    "cwm": Family({**DECODER, "mlp": MLP_BIASED}, full_where(lambda i, _: i % 4 == 0)),
    "exaone4": Family({**DECODER, "attention": {**HEADS, "qk_norm": "per_head"}}, full_every("sliding_window_pattern")),
    "exaone_moe": Family(
        {**DECODER, "attention": {**HEADS, "qk_norm": "per_head"}, "moe": SHARED_MOE},
        full_every("sliding_window_pattern"),
        lambda fields: sparse_where(lambda i, _: i >= fields.number_or_zero("first_k_dense_replace"))(fields),
    ),
    "flint": Family(
        {
            **DECODER,
            "attention": {**NORMED, "sinks": True},
            "moe": {**MOE, "shared_intermediate_size": field("shared_expert_intermediate_size")},
        },
        full_where(lambda i, n: i < 2 or i % 4 == 1 or i == n - 1),
        lambda fields: [
            fields.number_or_zero("num_experts") > 0
            and i not in (fields.integers("mlp_only_layers") or [0, 1])
            and (i + 1) % fields.number("decoder_sparse_step") == 0
            for i in range(fields.number("num_hidden_layers"))
        ],
    ),
    "granite_swa": Family(GRANITE_SWA, full_where(lambda i, _: i % 4 == 0)),
    "granitemoe_swa": Family(
        {
            **GRANITE_SWA,
            "moe": {
                **MOE,
                "moe_intermediate_size": field("intermediate_size"),
                "shared_intermediate_size": field("shared_intermediate_size"),
            },
        },
        full_where(lambda i, _: i % 4 == 0),
        every_layer,
    ),
    "kolibri1": Family(
        {
            **DECODER,
            "norms_per_layer": 4,
            "attention": NORMED,
            "moe": {**MOE, "shared_intermediate_size": field("shared_expert_intermediate_size")},
        },
        full_where(lambda i, _: (i + 1) % 5 == 0),
        every_layer,
    ),
    "mimo_v2_flash": Family(
        DECODER,
        layers=layers_by(full_where(lambda i, _: i == 0 or (i + 1) % 6 == 0), sparse_where(lambda i, _: i >= 1)),
        kinds=kinds_by(MIMO_FULL, MIMO_SLIDING, MOE),
        derive=mimo_window,
    ),
    # The first layer has no norm before attention; the head has one, after a matrix of its own.
    "modernbert-decoder": Family(
        {
            **DECODER,
            "norm": field("norm"),
            "embedding_norm": True,
            "attention": {**MHA, "bias": When("attention_bias", QKVO)},
            "mlp": MLP_BIASED,
            "lm_head_bias": When("decoder_bias", True),
            "extras": [
                {"name": "head", "parameters": "d*d", "work_per_token": "2*d*d", "at_head": True},
                When("classifier_bias", {"name": "head-bias", "parameters": "d"}),
            ],
        },
        modernbert_reach,
        derive=half_window,
    ),
    "olmo3": Family({**DECODER, "attention": {**BIASED, "qk_norm": "full"}}, full_every("", 4)),
    "vaultgemma": Family(GEMMA, full_every("", 2)),
    "cohere2_moe": Family(
        {
            **DECODER,
            "norms_per_layer": 1,
            "attention": BIASED,
            "mlp": {**GATED, "intermediate_size": field("prefix_dense_intermediate_size", "intermediate_size")},
            "moe": {
                **MOE,
                "moe_intermediate_size": field("intermediate_size"),
                "shared_intermediate_size": field("intermediate_size*num_shared_experts"),
            },
        },
        cohere_reach,
        lambda fields: sparse_where(lambda i, _: i >= (fields.optional("first_k_dense_replace") or 0))(fields),
    ),
    "step3p5": Family(
        DECODER,
        layers=layers_by(by_layer_types, sparse_where(lambda i, _: i >= 3)),
        kinds=kinds_by(STEP, {**STEP, "num_attention_heads": field("sliding_heads")}, STEP_MOE),
        derive=step_heads,
    ),
    "moshi": Family(
        {**MOSHI, "tie_word_embeddings": False, "extras": [{"name": "padding-row", "parameters": "d"}]},
        every_layer_slides,
    ),
    "kyutai_speech_to_text": Family(
        {
            **MOSHI,
            "extras": [
                {
                    "name": "audio-embedding",
                    "parameters": "(n_q*V_a + 1)*d",
                    "symbols": {"n_q": field("num_codebooks"), "V_a": field("codebook_vocab_size")},
                }
            ],
        },
        every_layer_slides,
        refused=("tie_word_embeddings",),
    ),
}
