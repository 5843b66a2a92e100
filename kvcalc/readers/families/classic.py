"""Decoders in the manner of GPT: learned or no positions, LayerNorms with biases, plain MLPs, MHA.

What stands in none of attention, MLP and norms is in `extras`, by formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import gpt_neo_attention
from kvcalc.readers.families.words import (
    GPT2,
    LAYERNORM_DECODER,
    MHA,
    PLAIN,
    Family,
    When,
    field,
    without,
)

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

GPTJ = {
    **LAYERNORM_DECODER,
    "norms_per_layer": 1,
    "lm_head_bias": True,
    "attention": MHA,
    "mlp": {**PLAIN, "intermediate_size": field("n_inner", "4*hidden_size")},
}
MUSICGEN = {
    **LAYERNORM_DECODER,
    "tie_word_embeddings": False,  # several tables and heads: the class ties none
    "vocab_size": field("vocab_size*num_codebooks"),
    "attention": MHA,
    "mlp": {**PLAIN, "intermediate_size": field("ffn_dim"), "bias": False},
    "extras": [
        {
            "name": "padding-rows",
            "source": "transformers modeling_musicgen.py: each codebook has a row of padding",
            "parameters": "codebooks*d",
            "symbols": {"codebooks": field("num_codebooks")},
        }
    ],
}


def xlm_languages(fields: Fields) -> dict[str, Any]:
    """A table of languages where there are several."""
    return {"speaks_of_languages": fields.flag("use_lang_emb") and fields.number("n_langs") > 1}


def mpt_attention(fields: Fields) -> dict[str, Any]:
    """The library reads neither: it has heads with ALiBi and an MLP of four times the width."""
    if fields.optional("expansion_ratio") not in (None, 4):
        raise fields.not_understood("expansion_ratio", "the library's MLP is 4*hidden_size wide")
    given = fields.raw("attn_config")
    attention = given if isinstance(given, dict) else {}
    told = {"attn_type": "multihead_attention", "alibi": True, "qk_ln": False}
    if any(attention.get(name, usual) != usual for name, usual in told.items()):
        raise fields.not_understood("attn_config", "the library's attention is multi-head, with ALiBi and no qk norm")
    return {}


GPT_NEO_WINDOW = {  # the library's cache keeps every token of these layers
    "kind": "window",
    "sliding_window": field("window_size"),
    "library_window": field("max_position_embeddings + 1"),
}
FAMILIES: dict[str, Family] = {
    "biogpt": Family({**LAYERNORM_DECODER, "position_embeddings": field("max_position_embeddings + 2")}),
    "codegen": Family(GPTJ),
    "ctrl": Family(
        {
            **LAYERNORM_DECODER,
            "lm_head_bias": True,
            "mlp": {**PLAIN, "intermediate_size": field("dff")},
        }
    ),
    "git": Family(
        {
            **LAYERNORM_DECODER,
            "position_embeddings": field("max_position_embeddings"),
            "embedding_norm": True,
            "final_norm": False,
            "lm_head_bias": True,
            "left_out": "vision tower and projector",
        }
    ),
    "gpt-sw3": Family(GPT2, refused=("add_cross_attention",)),
    "gpt_neo": Family(
        {
            **GPT2,
            "attention": {**MHA, "bias": ["o"]},
            "mlp": {**PLAIN, "intermediate_size": field("intermediate_size", "4*hidden_size")},
        },
        layers=gpt_neo_attention,
        kinds={"global": {}, "local": {"attention": {**MHA, "bias": ["o"], "reach": GPT_NEO_WINDOW}}},
    ),
    "gpt_neox_japanese": Family(
        {
            **LAYERNORM_DECODER,
            "attention": MHA,
            "mlp": {**PLAIN, "intermediate_size": field("hidden_size*intermediate_multiple_size"), "bias": False},
            "extras": [
                {
                    "name": "last-o-bias",
                    "source": "transformers modeling_gpt_neox_japanese.py, dense_bias",
                    "parameters": "d",
                }
            ],
        }
    ),
    "gptj": Family(GPTJ),
    "mpt": Family(
        {
            **LAYERNORM_DECODER,
            "norm": "rmsnorm",  # a LayerNorm of weights alone
            "max_position_embeddings": field("max_seq_len"),
            "attention": MHA,
            "mlp": {**PLAIN, "intermediate_size": field("4*hidden_size"), "bias": False},
        },
        derive=mpt_attention,
    ),
    # The library's class keeps no cache and recomputes; the model itself is causal, and its K and V can be kept.
    "openai-gpt": Family({**GPT2, "final_norm": False, "mlp": {**PLAIN, "intermediate_size": field("4*hidden_size")}}),
    "musicgen_decoder": Family(
        {
            **without(MUSICGEN, "attention"),
            "norms_per_layer": 3,
            "branches": [MHA, {**MHA, "reach": {"kind": "encoder"}}],
        }
    ),
    "musicgen_melody_decoder": Family(MUSICGEN),
    "xlm": Family(
        {
            **LAYERNORM_DECODER,
            "vocab_size": field("n_words"),
            "position_embeddings": field("max_position_embeddings"),
            "embedding_norm": True,
            "final_norm": False,
            "lm_head_bias": True,
            "mlp": {**PLAIN, "intermediate_size": field("4*hidden_size")},
            "extras": [
                When(
                    "speaks_of_languages",
                    {
                        "name": "language-embeddings",
                        "source": "transformers modeling_xlm.py, lang_embeddings",
                        "parameters": "languages*d",
                        "symbols": {"languages": field("n_langs")},
                    },
                )
            ],
        },
        derive=xlm_languages,
        decoder_if="causal",
        refused=("asm",),
    ),
}
