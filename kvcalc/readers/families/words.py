"""The words in which a model type is described: fields, conditions, families, and the recipes that many types share.

A recipe is a native document whose values may be `Field` (the first of the named fields or formulas that is there)
or `When` (a value where a field is true); lists and mappings nest. Class defaults and aliases are not here but in
hf_defaults.json, generated from the library. Sources: transformers 5.23, configuration_ and modeling_<type>.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.readers.fields import Fields


class Field(NamedTuple):
    """The first of these fields, or formulas over fields, that is not null; `or_absent`: else left out."""

    alternatives: tuple[str, ...]
    or_absent: bool = False


class When(NamedTuple):
    """A value, or a recipe, where a field is true, else nothing."""

    field: str
    value: Any


class Family(NamedTuple):
    """How one model type is read.

    Layers differ either by reach and experts, or by kinds of their own: `layers` names the kind of each layer and
    `kinds` says what each kind has beyond the top of the recipe, made from the fields where it differs by number.
    `derive` adds fields of the reader's own.
    """

    recipe: dict[str, Any]
    reach: Callable[[Fields], list[str]] | None = None  # 'full', 'sliding' or 'chunked' a layer; None: all full
    experts: Callable[[Fields], list[bool]] | None = None  # where `moe` stands instead of `mlp`; None: `mlp` alone
    derive: Callable[[Fields], dict[str, Any]] | None = None
    refused: tuple[str, ...] = ()  # fields which, when true, make it another model
    required: tuple[str, ...] = ("num_hidden_layers", "hidden_size")  # never taken from a default; first, the layers
    decoder_if: str = ""  # a field without which, true, the class is an encoder and keeps no cache
    layers: Callable[[Fields], list[str]] | None = None
    kinds: dict[str, dict[str, Any]] | Callable[[Fields], dict[str, dict[str, Any]]] = {}  # noqa: RUF012  # never mutated

    @property
    def counted(self) -> str:
        """The field that counts the layers."""
        return self.required[0].partition(" or ")[0]


def field(*alternatives: str, or_absent: bool = False) -> Field:
    """The first of these fields or formulas."""
    return Field(alternatives, or_absent)


def without(recipe: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A recipe less what another says in other words."""
    return {key: told for key, told in recipe.items() if key not in keys}


DERIVED_HEAD_DIM = field("hidden_size/num_attention_heads")  # these classes refuse a remainder
OPTIONAL_HEAD_DIM = field("head_dim", "hidden_size//num_attention_heads")
QKV, QKVO = ["q", "k", "v"], ["q", "k", "v", "o"]
LAYERS = {"L": field("num_hidden_layers")}  # the symbol of an extra that all layers have

HEADS = {
    "kind": "heads",
    "num_attention_heads": field("num_attention_heads"),
    "num_key_value_heads": field("num_key_value_heads", "num_attention_heads"),
    "head_dim": OPTIONAL_HEAD_DIM,
}
MHA = {**HEADS, "num_key_value_heads": field("num_attention_heads"), "head_dim": DERIVED_HEAD_DIM}
GATED = {"kind": "dense", "intermediate_size": field("intermediate_size"), "gated": True}
PLAIN = {**GATED, "gated": False, "bias": True}
DECODER = {
    "hidden_size": field("hidden_size"),
    "num_hidden_layers": field("num_hidden_layers"),
    "vocab_size": field("vocab_size"),
    "max_position_embeddings": field("max_position_embeddings"),
    "tie_word_embeddings": field("tie_word_embeddings"),
    "norm": "rmsnorm",
    "norms_per_layer": 2,
    "attention": HEADS,
    "mlp": GATED,
    "sliding_window": field("sliding_window", or_absent=True),
    "attention_chunk_size": field("attention_chunk_size", or_absent=True),
}
LAYERNORM_DECODER = {**DECODER, "norm": "layernorm", "attention": {**MHA, "bias": QKVO}, "mlp": PLAIN}
GPT2 = {
    **LAYERNORM_DECODER,
    "position_embeddings": field("max_position_embeddings"),
    "mlp": {**PLAIN, "intermediate_size": field("n_inner", "4*hidden_size")},
}
GEMMA = {**DECODER, "attention": {**HEADS, "bias": When("attention_bias", QKVO)}}
MLA = {
    "kind": "mla",
    "num_attention_heads": field("num_attention_heads"),
    "kv_lora_rank": field("kv_lora_rank"),
    "q_lora_rank": field("q_lora_rank", or_absent=True),
    "qk_nope_head_dim": field("qk_nope_head_dim"),
    "qk_rope_head_dim": field("qk_rope_head_dim"),
    "v_head_dim": field("v_head_dim"),
    "attention_bias": When("attention_bias", True),
}
MOE = {
    "kind": "moe",
    "num_experts": field("num_experts"),
    "num_experts_per_tok": field("num_experts_per_tok"),
    "moe_intermediate_size": field("moe_intermediate_size"),
    "gated": True,
}
SHARED_MOE = {**MOE, "shared_intermediate_size": field("moe_intermediate_size*num_shared_experts")}
DEEPSEEK_MOE = {**MOE, "shared_intermediate_size": field("moe_intermediate_size*n_shared_experts")}
MTP = {"num_layers": field("num_nextn_predict_layers", "0")}  # behind the last layer; classes mostly know none
DEEPSEEK = {**DECODER, "attention": MLA, "moe": DEEPSEEK_MOE}
