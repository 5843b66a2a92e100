"""BERTs that generate: learned positions, norms after attention and MLP, a transform before lm_head.

One is a decoder only where is_decoder is true; the class that generates with it has no pooler (big_bird's has one).
What stands in none of attention, MLP and norms is in `extras`, by formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.words import LAYERNORM_DECODER, LAYERS, MHA, Family, When, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.readers.fields import Fields

TOKEN_TYPES = {
    "name": "token-types",
    "source": "BERT (arXiv:1810.04805) sec. 3, figure 2: segment embeddings",
    "parameters": "types*d",
    "symbols": {"types": field("type_vocab_size")},
}
TRANSFORM = {
    "name": "lm-head-transform",
    "source": "transformers modeling_bert.py, BertPredictionHeadTransform",
    "parameters": "d*d + 3*d",
    "work_per_token": "2*d*d",
    "at_head": True,
}
# big_bird's class runs it over the first token of every call, though no logit comes of it.
POOLER = {
    "name": "pooler",
    "source": "transformers modeling_big_bird.py, BigBirdModel.pooler",
    "parameters": "d*d + d",
    "work_per_token": "2*d*d",
    "at_head": True,
    "library_once": "2*d*d",
}
# Untied, the class has the bias of the head a second time.
SECOND_BIAS = When(
    "untied",
    {
        "name": "second-head-bias",
        "source": "transformers modeling_bert.py, BertLMPredictionHead",
        "parameters": "V",
        "symbols": {"V": field("vocab_size")},
    },
)
BERT_GENERATION = {
    **LAYERNORM_DECODER,
    "position_embeddings": field("max_position_embeddings"),
    "embedding_norm": True,
    "final_norm": False,
    "lm_head_bias": True,
    "extras": [SECOND_BIAS],
}
BERT_EXTRAS = [TOKEN_TYPES, TRANSFORM, SECOND_BIAS]
BERT = {**BERT_GENERATION, "extras": BERT_EXTRAS}
NARROW_EXTRAS = [
    {
        "name": "types-and-norms",
        "source": "transformers modeling_electra.py, ElectraEmbeddings",
        "parameters": "(types + 5)*d_w",
        "symbols": {"types": field("type_vocab_size"), "d_w": field("width")},
    },
    When(
        "other_width",
        {
            "name": "embedding-projection-bias",
            "source": "transformers modeling_electra.py, embeddings_project",
            "parameters": "d",
        },
    ),
    When(
        "same_width",
        {
            "name": "lm-head-transform",
            "source": "transformers modeling_bert.py, BertPredictionHeadTransform",
            "parameters": "d*d",
            "work_per_token": "2*d*d",
            "at_head": True,
        },
    ),
]
PRENORM_BERT = {**BERT, "embedding_norm": False, "final_norm": True}


def bert(recipe: dict[str, Any], derive: Callable[[Fields], dict[str, Any]] | None = None) -> Family:
    """A BERT that generates: cross attention to an encoder of another model is not read."""

    def derived(fields: Fields) -> dict[str, Any]:
        return {"untied": not fields.flag("tie_word_embeddings"), **(derive(fields) if derive else {})}

    return Family(recipe, derive=derived, decoder_if="is_decoder", refused=("add_cross_attention",))


def embedding_width(fields: Fields) -> dict[str, Any]:
    """An embedding of another width is projected in; the transform before lm_head is there in any case."""
    hidden = fields.number("hidden_size")
    width = hidden if fields.raw("embedding_size") is None else fields.number("embedding_size")
    other = width != hidden
    return {"width": width, "projected": width if other else None, "other_width": other, "same_width": not other}


def roc_bert_inputs(fields: Fields) -> dict[str, Any]:
    """What is put beside a word's embedding before they are mapped to hidden_size."""
    sound = fields.number("pronunciation_embed_dim") if fields.flag("enable_pronunciation") else 0
    shape = fields.number("shape_embed_dim") if fields.flag("enable_shape") else 0
    return {"beside": sound + shape}


def xmod_layers(fields: Fields) -> dict[str, Any]:
    """One adapter a language in each layer; a token runs through that of its own."""
    languages = fields.raw("languages")
    if not isinstance(languages, list) or not languages:
        raise fields.error("languages", "not a list of languages")
    width = fields.number("hidden_size") // fields.number("adapter_reduction_factor")
    before = fields.flag("pre_norm")
    return {
        "n_languages": len(languages),
        "adapter_width": width,
        "norms": 3 if fields.flag("adapter_layer_norm") else 2,
        "final": before,
    }


FAMILIES: dict[str, Family] = {
    "bert-generation": bert(BERT_GENERATION),
    "bert": bert(BERT),
    "big_bird": bert(
        {
            **BERT,
            "attention": {**MHA, "bias": [When("use_bias", "q"), When("use_bias", "k"), When("use_bias", "v"), "o"]},
            "extras": [*BERT_EXTRAS, POOLER],
        }
    ),
    "camembert": bert(BERT),
    "data2vec-text": bert(BERT),
    "electra": bert(
        {
            **BERT,
            "embedding_norm": False,
            "position_embeddings": None,
            "word_embed_proj_dim": field("projected", or_absent=True),
            "extras": [
                *NARROW_EXTRAS,
                {
                    "name": "positions",
                    "source": "transformers modeling_electra.py, ElectraEmbeddings",
                    "parameters": "r*d_w",
                    "symbols": {"r": field("max_position_embeddings"), "d_w": field("width")},
                },
            ],
        },
        derive=embedding_width,
    ),
    "ernie": bert(
        {
            **BERT,
            "extras": [
                *BERT_EXTRAS,
                When(
                    "use_task_id",
                    {
                        "name": "task-types",
                        "source": "transformers modeling_ernie.py, ErnieEmbeddings",
                        "parameters": "tasks*d",
                        "symbols": {"tasks": field("task_type_vocab_size")},
                    },
                ),
            ],
        }
    ),
    "megatron-bert": bert(PRENORM_BERT),
    "rembert": bert(
        {
            **BERT,
            "embedding_norm": False,
            "position_embeddings": None,
            "tie_word_embeddings": False,  # an embedding and a head of two widths: the class ties neither
            "word_embed_proj_dim": field("input_embedding_size"),
            "lm_head_proj_dim": field("output_embedding_size"),
            "extras": [
                {
                    "name": "positions-types-norms",
                    "source": "transformers modeling_rembert.py, RemBertEmbeddings",
                    "parameters": "(r + types + 2)*d_w + d + 3*d_o",
                    "symbols": {
                        "r": field("max_position_embeddings"),
                        "types": field("type_vocab_size"),
                        "d_w": field("input_embedding_size"),
                        "d_o": field("output_embedding_size"),
                    },
                },
            ],
        },
    ),
    "roberta-prelayernorm": bert({**BERT, "final_norm": True}),
    "roberta": bert(BERT),
    "roc_bert": bert(
        {
            **BERT,
            "extras": [
                *BERT_EXTRAS,
                {
                    "name": "shapes-and-sounds",
                    "source": "transformers modeling_roc_bert.py, RoCBertEmbeddings",
                    "parameters": "sounds*sound_width + shapes*shape_width",
                    "symbols": {
                        "sounds": field("pronunciation_vocab_size"),
                        "sound_width": field("pronunciation_embed_dim"),
                        "shapes": field("shape_vocab_size"),
                        "shape_width": field("shape_embed_dim"),
                    },
                },
                When(
                    "concat_input",
                    {
                        "name": "input-map",
                        "source": "transformers modeling_roc_bert.py, map_inputs_layer",
                        "parameters": "(d + beside)*d + d",
                        "work_per_token": "2*(d + beside)*d",
                        "symbols": {"beside": field("beside")},
                    },
                ),
            ],
        },
        derive=roc_bert_inputs,
    ),
    "roformer": bert(
        {
            **BERT,
            "embedding_norm": False,
            "position_embeddings": None,
            "word_embed_proj_dim": field("projected", or_absent=True),
            "extras": [
                *NARROW_EXTRAS,
                SECOND_BIAS,
                {
                    "name": "rotation-table",
                    "source": "transformers modeling_roformer.py: the table of rotations is a parameter",
                    "parameters": "r*d_h",
                    "symbols": {"r": field("max_position_embeddings"), "d_h": MHA["head_dim"]},
                },
            ],
        },
        derive=embedding_width,
    ),
    "xlm-roberta-xl": bert(PRENORM_BERT),
    "xlm-roberta": bert(BERT),
    "xmod": bert(
        {
            **BERT,
            "norms_per_layer": field("norms"),
            "final_norm": field("final"),
            "extras": [
                *BERT_EXTRAS,
                {
                    "name": "language-adapters",
                    "source": "X-MOD (arXiv:2205.06266) sec. 3",
                    "parameters": "L*languages*(2*d*adapter + adapter + d)",
                    "work_per_token": "L*4*d*adapter",
                    "symbols": {**LAYERS, "languages": field("n_languages"), "adapter": field("adapter_width")},
                },
            ],
        },
        derive=xmod_layers,
    ),
}
