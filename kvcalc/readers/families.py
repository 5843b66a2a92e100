"""What each Hugging Face model type means in native fields: a table, read by huggingface.py.

A recipe is a native document whose values may be `Field` (the first of the named fields or formulas that is there)
or `When` (a value where a field is true). Class defaults and aliases are not here but in hf_defaults.json, generated
from the library. `reach` and `experts` say which layers slide and which hold experts; `derive` adds fields of its own
for the few types that need a decision. Sources: transformers 5.23, models/<type>/{configuration,modeling}_<type>.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.readers.fields import Fields


class Field(NamedTuple):
    """The first of these fields, or formulas over fields, that is not null; `or_absent`: else left out."""

    alternatives: tuple[str, ...]
    or_absent: bool = False


class When(NamedTuple):
    """A value where a field is true, else nothing."""

    field: str
    value: Any


class Family(NamedTuple):
    """How one model type is read."""

    recipe: dict[str, Any]
    reach: Callable[[Fields], list[str]] | None = None  # 'full', 'sliding' or 'chunked' a layer; None: all full
    experts: Callable[[Fields], list[bool]] | None = None  # where `moe` stands instead of `mlp`; None: `mlp` alone
    derive: Callable[[Fields], dict[str, Any]] | None = None
    text_config: str = ""  # the model type of its nested text_config
    left_out: str = ""
    outer_ties: bool = False  # its outer tie_word_embeddings decides, true where absent
    refused: tuple[str, ...] = ()  # fields which, when true, make it another model


def _field(*alternatives: str, or_absent: bool = False) -> Field:
    return Field(alternatives, or_absent)


# ---------------------------------------------------------------- which layers


def every_layer_slides(fields: Fields) -> list[str]:
    """All layers, where sliding_window is a number (mistral, mixtral, phi3, starcoder2)."""
    return [_kind(fields.optional("sliding_window"))] * fields.number("num_hidden_layers")


def by_layer_types_or_all(fields: Fields) -> list[str]:
    """Read mistral: with layer_types the library takes the class ministral, which goes by them."""
    return fields.layer_types() or every_layer_slides(fields)


def qwen_moe_slides(fields: Fields) -> list[str]:
    """qwen3_moe: all layers, where use_sliding_window; max_window_layers is not read."""
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    return [_kind(window)] * fields.number("num_hidden_layers")


def after_max_window_layers(fields: Fields) -> list[str]:
    """qwen2 and qwen3: from max_window_layers on, where use_sliding_window."""
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    if (given := fields.layer_types()) is not None:
        return fields.checked_window(given, window)
    first = fields.number_or_zero("max_window_layers") if window else 0
    return [_kind(window if i >= first else None) for i in range(fields.number("num_hidden_layers"))]


def alternate_below_max_window_layers(fields: Fields) -> list[str]:
    """qwen2_moe: even layers below max_window_layers, where use_sliding_window: the opposite of qwen2."""
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    if (given := fields.layer_types()) is not None:
        return fields.checked_window(given, window)
    last = fields.number_or_zero("max_window_layers") if window else 0
    layers = range(fields.number("num_hidden_layers"))
    return [_kind(window if i % 2 == 0 and i < last else None) for i in layers]


def alternate(fields: Fields) -> list[str]:
    """gemma2 and gpt_oss: even layers slide."""
    window = fields.number("sliding_window")
    given = fields.layer_types()
    return given or [_kind(None if i % 2 else window) for i in range(fields.number("num_hidden_layers"))]


def by_sliding_window_pattern(fields: Fields) -> list[str]:
    """gemma3: every sliding_window_pattern-th layer is full, the others slide."""
    window = fields.number("sliding_window")
    if (given := fields.layer_types()) is not None:
        return given
    pattern = fields.number("sliding_window_pattern")
    return [_kind(window if (i + 1) % pattern else None) for i in range(fields.number("num_hidden_layers"))]


def chunked_where_rope(fields: Fields) -> list[str]:
    """llama4: layers with RoPE are chunked; every no_rope_layer_interval-th has none and is full."""
    fields.number("attention_chunk_size")
    if (given := fields.layer_types()) is not None:
        return given
    layers = fields.number("num_hidden_layers")
    if rope := fields.integers("no_rope_layers"):
        if len(rope) != layers:
            raise fields.error("no_rope_layers", f"{len(rope)} entries for {layers} layers")
        return ["chunked" if uses_rope else "full" for uses_rope in rope]
    interval = fields.number("no_rope_layer_interval")
    return ["chunked" if (i + 1) % interval else "full" for i in range(layers)]


def _kind(window: int | None) -> str:
    return "full" if window is None else "sliding"


def every_layer(fields: Fields) -> list[bool]:
    """Experts in all layers."""
    return [True] * fields.number("num_hidden_layers")


def after_first_dense(fields: Fields) -> list[bool]:
    """DeepSeek: the first first_k_dense_replace layers are dense; the library reads no moe_layer_freq."""
    dense = fields.number_or_zero("first_k_dense_replace")
    if fields.optional("moe_layer_freq") not in (None, 1):
        raise fields.not_understood("moe_layer_freq", "experts in only some layers are not understood here")
    return [i >= dense for i in range(fields.number("num_hidden_layers"))]


def by_sparse_step(fields: Fields) -> list[bool]:
    """Qwen: every decoder_sparse_step-th layer but mlp_only_layers; no experts, no such layers."""
    dense, step = fields.integers("mlp_only_layers") or [], fields.number("decoder_sparse_step")
    some = fields.number_or_zero("num_experts") > 0
    return [some and i not in dense and (i + 1) % step == 0 for i in range(fields.number("num_hidden_layers"))]


def by_moe_layers(fields: Fields) -> list[bool]:
    """Read llama4: moe_layers, else every interleave_moe_layer_step-th."""
    layers = fields.number("num_hidden_layers")
    if (given := fields.integers("moe_layers")) is not None:
        return [i in given for i in range(layers)]
    step = fields.number("interleave_moe_layer_step")
    return [(i + 1) % step == 0 for i in range(layers)]


# ------------------------------------------------------------------- decisions


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


# --------------------------------------------------------------------- recipes

_DERIVED_HEAD_DIM = _field("hidden_size/num_attention_heads")  # these classes refuse a remainder
_OPTIONAL_HEAD_DIM = _field("head_dim", "hidden_size//num_attention_heads")
_QKV, _QKVO = ["q", "k", "v"], ["q", "k", "v", "o"]

_HEADS = {
    "kind": "heads",
    "num_attention_heads": _field("num_attention_heads"),
    "num_key_value_heads": _field("num_key_value_heads", "num_attention_heads"),
    "head_dim": _OPTIONAL_HEAD_DIM,
}
_MHA = {**_HEADS, "num_key_value_heads": _field("num_attention_heads"), "head_dim": _DERIVED_HEAD_DIM}
_GATED = {"kind": "dense", "intermediate_size": _field("intermediate_size"), "gated": True}
_PLAIN = {**_GATED, "gated": False, "bias": True}
_DECODER = {
    "hidden_size": _field("hidden_size"),
    "num_hidden_layers": _field("num_hidden_layers"),
    "vocab_size": _field("vocab_size"),
    "max_position_embeddings": _field("max_position_embeddings"),
    "tie_word_embeddings": _field("tie_word_embeddings"),
    "norm": "rmsnorm",
    "norms_per_layer": 2,
    "attention": _HEADS,
    "mlp": _GATED,
    "sliding_window": _field("sliding_window", or_absent=True),
    "attention_chunk_size": _field("attention_chunk_size", or_absent=True),
}
_LAYERNORM_DECODER = {**_DECODER, "norm": "layernorm", "attention": {**_MHA, "bias": _QKVO}, "mlp": _PLAIN}
_GPT2 = {
    **_LAYERNORM_DECODER,
    "position_embeddings": _field("max_position_embeddings"),
    "mlp": {**_PLAIN, "intermediate_size": _field("n_inner", "4*hidden_size")},
}
_GEMMA = {**_DECODER, "attention": {**_HEADS, "bias": When("attention_bias", _QKVO)}}
_MLA = {
    "kind": "mla",
    "num_attention_heads": _field("num_attention_heads"),
    "kv_lora_rank": _field("kv_lora_rank"),
    "q_lora_rank": _field("q_lora_rank", or_absent=True),
    "qk_nope_head_dim": _field("qk_nope_head_dim"),
    "qk_rope_head_dim": _field("qk_rope_head_dim"),
    "v_head_dim": _field("v_head_dim"),
    "attention_bias": When("attention_bias", True),
}
_MOE = {
    "kind": "moe",
    "num_experts": _field("num_experts"),
    "num_experts_per_tok": _field("num_experts_per_tok"),
    "moe_intermediate_size": _field("moe_intermediate_size"),
    "gated": True,
}
_DEEPSEEK_MOE = {**_MOE, "shared_intermediate_size": _field("moe_intermediate_size*n_shared_experts")}
_DEEPSEEK = {**_DECODER, "attention": _MLA, "moe": _DEEPSEEK_MOE}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        {
            **_DECODER,
            "attention": {
                **_HEADS,
                "head_dim": _field("head_dim", "hidden_size/num_attention_heads"),
                "bias": When("attention_bias", _QKVO),
            },
            "mlp": {**_GATED, "bias": When("mlp_bias", True)},
        }
    ),
    "mistral": Family(_DECODER, by_layer_types_or_all),
    "mixtral": Family(
        {
            **_DECODER,
            "moe": {
                **_MOE,
                "moe_intermediate_size": _field("intermediate_size"),
            },
        },
        every_layer_slides,
        every_layer,
    ),
    "qwen2": Family({**_DECODER, "attention": {**_HEADS, "bias": _QKV}}, after_max_window_layers),
    "qwen2_moe": Family(
        {
            **_DECODER,
            "attention": {**_HEADS, "bias": When("qkv_bias", _QKV)},
            "moe": {
                **_MOE,
                "shared_intermediate_size": _field("shared_expert_intermediate_size"),
                "shared_gate": True,
            },
        },
        alternate_below_max_window_layers,
        by_sparse_step,
    ),
    "qwen3": Family(
        {
            **_DECODER,
            "attention": {**_HEADS, "bias": When("attention_bias", _QKVO), "qk_norm": "per_head"},
        },
        after_max_window_layers,
    ),
    "qwen3_moe": Family(
        {
            **_DECODER,
            "attention": {**_HEADS, "bias": When("attention_bias", _QKVO), "qk_norm": "per_head"},
            "moe": _MOE,
        },
        qwen_moe_slides,
        by_sparse_step,
    ),
    "gemma": Family(_GEMMA, refused=("use_bidirectional_attention",)),
    "gemma2": Family({**_GEMMA, "norms_per_layer": 4}, alternate, refused=("use_bidirectional_attention",)),
    "gemma3_text": Family(
        {
            **_GEMMA,
            "norms_per_layer": 4,
            "attention": {**_HEADS, "bias": When("attention_bias", _QKVO), "qk_norm": "per_head"},
        },
        by_sliding_window_pattern,
        refused=("use_bidirectional_attention",),
    ),
    "gemma3": Family({}, text_config="gemma3_text", left_out="vision tower and projector", outer_ties=True),
    "phi3": Family(_DECODER, every_layer_slides),
    "falcon": Family(
        {
            **_LAYERNORM_DECODER,
            "norms_per_layer": _field("norms"),
            "attention": {**_MHA, "num_key_value_heads": _field("n_kv"), "bias": When("bias", _QKVO)},
            "mlp": {
                **_PLAIN,
                "intermediate_size": _field("ffn_hidden_size", "4*hidden_size"),
                "bias": When("bias", True),
            },
        },
        derive=falcon_heads,
    ),
    "gpt2": Family(_GPT2, refused=("add_cross_attention",)),
    "gpt_bigcode": Family(
        {**_GPT2, "attention": {**_MHA, "num_key_value_heads": _field("n_kv"), "bias": _QKVO}},
        derive=bigcode_heads,
        refused=("add_cross_attention",),
    ),
    "gpt_neox": Family({**_LAYERNORM_DECODER, "attention": {**_MHA, "bias": When("attention_bias", _QKVO)}}),
    "opt": Family(
        {
            **_LAYERNORM_DECODER,
            "norm": _field("norm"),
            "final_norm": _field("final_norm"),
            "position_embeddings": _field("max_position_embeddings + 2"),
            "word_embed_proj_dim": _field("projected", or_absent=True),
            "attention": {**_MHA, "bias": When("enable_bias", _QKVO)},
            "mlp": {
                **_PLAIN,
                "intermediate_size": _field("ffn_dim"),
                "bias": When("enable_bias", True),
            },
        },
        derive=opt_norms,
    ),
    "bloom": Family(
        {
            **_LAYERNORM_DECODER,
            "max_position_embeddings": None,
            "embedding_norm": True,
            "mlp": {**_PLAIN, "intermediate_size": _field("4*hidden_size")},
        }
    ),
    "starcoder2": Family(
        {
            **_LAYERNORM_DECODER,
            "attention": {**_HEADS, "bias": When("use_bias", _QKVO)},
            "mlp": {**_PLAIN, "bias": When("use_bias", True)},
        },
        every_layer_slides,
    ),
    "deepseek_v2": Family(
        {
            **_DEEPSEEK,
            "mlp": {**_GATED, "bias": When("mlp_bias", True)},
            "moe": {**_DEEPSEEK_MOE, "shared_bias": When("mlp_bias", True)},
        },
        experts=after_first_dense,
    ),
    "deepseek_v3": Family(_DEEPSEEK, experts=after_first_dense),
    "gpt_oss": Family(
        {
            **_DECODER,
            "attention": {**_HEADS, "bias": When("attention_bias", _QKVO), "sinks": True},
            "moe": {
                **_MOE,
                "moe_intermediate_size": _field("intermediate_size"),
                "expert_bias": True,
                "router_bias": True,
            },
        },
        alternate,
        every_layer,
    ),
    "llama4_text": Family(
        {
            **_DECODER,
            "attention": {**_HEADS, "bias": When("attention_bias", _QKVO)},
            "mlp": {**_GATED, "intermediate_size": _field("intermediate_size_mlp")},
            "moe": {
                **_MOE,
                "moe_intermediate_size": _field("intermediate_size"),
                "shared_intermediate_size": _field("intermediate_size"),
            },
        },
        chunked_where_rope,
        by_moe_layers,
    ),
    "llama4": Family({}, text_config="llama4_text", left_out="vision tower and projector"),
}
