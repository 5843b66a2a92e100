"""Encoder-decoders of BART's make: post- or pre-norm stacks, learned or sinusoidal positions, experts in NLLB-MoE.

Published sinusoids that the library keeps as weights count as such. A config of these types that says
is_encoder_decoder: false is the decoder alone, whose cross attention reads nothing unless --encoder-tokens says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.words import MOE, PLAIN, QKVO, Family, When, field

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

CROSS = {"kind": "encoder"}


def mha(heads: str, **more: Any) -> dict[str, Any]:
    """As many K and V heads as query heads, all of them hidden_size wide together."""
    return {
        "kind": "heads",
        "num_attention_heads": field(heads),
        "num_key_value_heads": field(heads),
        "head_dim": field(f"hidden_size/{heads}"),
        **more,
    }


def two_attentions(memory: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Self and cross attention of one layer, of the same heads; `more` is said of cross attention alone."""
    return [memory, {**memory, **more, "reach": CROSS}]


def pair(fields: Fields) -> dict[str, Any]:
    """Whether the encoder stands with its decoder."""
    alone = fields.raw("is_encoder_decoder") is False
    untied = not alone and not fields.flag("tie_word_embeddings")
    return {"pair": not alone, "alone_tokens": 0 if alone else None, "untied": untied}


# Untied, the library keeps what both stacks would share, and an embedding for each of them beside it.
UNTIED = {"name": "untied-embeddings", "parameters": "2*V*d", "symbols": {"V": field("vocab_size")}}
SELF = mha("num_attention_heads", bias=QKVO)
ENCODER = {
    "hidden_size": field("hidden_size"),
    "num_hidden_layers": field("num_hidden_layers"),
    "norm": "layernorm",
    "norms_per_layer": 2,
    "final_norm": False,
    "embedding_norm": True,
    "attention": SELF,
    "mlp": {**PLAIN, "intermediate_size": field("encoder_ffn_dim")},
}
BART = {
    "hidden_size": field("hidden_size"),
    "num_hidden_layers": field("decoder_layers"),
    "vocab_size": field("vocab_size"),
    "max_position_embeddings": field("max_position_embeddings"),
    "tie_word_embeddings": field("tie_word_embeddings"),
    "norm": "layernorm",
    "norms_per_layer": 3,
    "final_norm": False,
    "embedding_norm": True,
    "position_embeddings": field("max_position_embeddings + 2"),
    "branches": two_attentions(mha("decoder_attention_heads", bias=QKVO)),
    "mlp": {**PLAIN, "intermediate_size": field("decoder_ffn_dim")},
    "encoder": When("pair", {**ENCODER, "position_embeddings": field("max_position_embeddings + 2")}),
    "encoder_tokens": field("alone_tokens", or_absent=True),
    "extras": [When("untied", UNTIED)],
}
REQUIRED = ("decoder_layers", "num_hidden_layers", "hidden_size")


def stacks(encoder: dict[str, Any], **decoder: Any) -> dict[str, Any]:
    """BART but for what is said of its encoder and of its decoder; None: it has no such thing."""
    own = {key: value for key, value in {**ENCODER, **encoder}.items() if value is not None}
    made = {**BART, **decoder, "encoder": When("pair", own)}
    return {key: value for key, value in made.items() if value is not None}


PRE_NORM = {"final_norm": True, "embedding_norm": False}
ROWS = {"position_embeddings": field("max_position_embeddings")}
SINUSOIDS = stacks(PRE_NORM, **PRE_NORM, position_embeddings=None)  # made when they are asked for


def embedding(vocab: str) -> dict[str, Any]:
    """An embedding of a stack's own."""
    source = "transformers: an embedding for each language's stack"
    return {"name": "embedding", "parameters": "V*d", "symbols": {"V": field(vocab)}, "source": source}


def marian(fields: Fields) -> dict[str, Any]:
    """One embedding for both stacks, or two."""
    both = fields.raw("is_encoder_decoder") is not False
    shared = fields.flag("share_encoder_decoder_embeddings") and both
    rows = (
        fields.number("vocab_size") if shared else fields.optional("decoder_vocab_size") or fields.number("vocab_size")
    )
    told, apart = pair(fields), both and not shared
    return {**told, "apart": apart, "untied": told["untied"] and not apart, "rows": rows}


def fsmt(fields: Fields) -> dict[str, Any]:
    """Rows up to the padding and one more; tied, all three embeddings are the target's."""
    padding = fields.raw("pad_token_id")
    rows = 1 if padding is None else fields.optional("pad_token_id") or 0
    return {**pair(fields), "offset": rows + 1, "apart": not fields.flag("tie_word_embeddings")}


def sparse_steps(fields: Fields) -> dict[str, Any]:
    """nllb-moe: every encoder_sparse_step-th and every decoder_sparse_step-th layer has experts; 0: none."""
    found = {"encoder": fields.number("num_hidden_layers"), "decoder": fields.number("decoder_layers")}
    kinds: dict[str, list[str]] = {}
    for stack, layers in found.items():
        step = fields.number_or_zero(f"{stack}_sparse_step")
        kinds[stack] = ["moe" if step and (i + 1) % step == 0 else "dense" for i in range(layers)]
    return {**pair(fields), **kinds_of(kinds)}


def kinds_of(kinds: dict[str, list[str]]) -> dict[str, Any]:
    """The kinds of every stack's layers, and which of them it has at all."""
    told: dict[str, Any] = {f"{stack}_kinds": listed for stack, listed in kinds.items()}
    told |= {f"{stack}_{kind}": kind in listed for stack, listed in kinds.items() for kind in ("dense", "moe")}
    return told


def sparse(stack: str, dense: dict[str, Any], experts: dict[str, Any]) -> dict[str, Any]:
    """Layers of both kinds, as far as a stack has them."""
    layers = {"dense": When(f"{stack}_dense", {"mlp": dense}), "moe": When(f"{stack}_moe", {"mlp": experts})}
    return {"layers": layers, "layer_types": field(f"{stack}_kinds"), "mlp": None}


def _nllb(stack: str) -> dict[str, Any]:
    width = field(f"{stack}_ffn_dim")
    experts: dict[str, Any] = {
        **MOE,
        "moe_intermediate_size": width,
        "num_experts_per_tok": 2,
        "gated": False,
        "expert_bias": True,
    }
    return sparse(
        stack,
        {**PLAIN, "intermediate_size": width},
        {**experts, "expert_bias": True, "router_bias": When("router_bias", True)},
    )


def led(fields: Fields) -> dict[str, Any]:
    """One attention_window a layer, or one for all: half of it to each side."""
    layers = fields.number("num_hidden_layers")
    given = fields.raw("attention_window")
    if isinstance(given, list):
        windows = fields.integers("attention_window") or []
        if len(windows) != layers:
            raise fields.error("attention_window", f"{len(windows)} entries for {layers} layers")
    else:
        windows = [fields.number("attention_window")] * layers
    if any(window <= 0 or window % 2 for window in windows):
        raise fields.error("attention_window", "a window is an even number of tokens, from 2")
    sides = {f"window-{window}": window // 2 for window in windows}
    heads, hidden = fields.number("num_attention_heads"), fields.number("hidden_size")
    if hidden % heads:
        raise fields.error("num_attention_heads", f"{heads} does not divide hidden_size {hidden}")
    numbers = {"num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": hidden // heads}
    memory: dict[str, Any] = {"kind": "heads", **numbers, "bias": QKVO}
    source = "Longformer (arXiv:2004.05150) sec. 3.1: projections of global tokens, of which no workload here has any"
    extra = {"name": "global-projections", "parameters": "3*(d*d + d)", "source": source}
    kinds: dict[str, dict[str, Any]] = {
        kind: {"attention": {**memory, "reach": {"kind": "band", "left": side, "right": side}}, "extras": [extra]}
        for kind, side in sides.items()
    }
    return {**pair(fields), "windows": kinds, "windowed": [f"window-{window}" for window in windows]}


def bigbird(fields: Fields) -> dict[str, Any]:
    """original_full attends to all; block_sparse, the default, to some blocks."""
    kind = fields.raw("attention_type")
    if kind not in ("original_full", "block_sparse"):
        raise fields.not_understood("attention_type", f"{kind!r} is not understood: block_sparse or original_full")
    return {**pair(fields), "sparse": kind == "block_sparse"}


BIGBIRD_BIAS = When("use_bias", QKVO)
BLOCKS = {"kind": "block_sparse", "block_size": field("block_size"), "num_random_blocks": field("num_random_blocks")}


FAMILIES: dict[str, Family] = {
    "bart": Family(BART, derive=pair, required=REQUIRED),
    "plbart": Family(BART, derive=pair, required=REQUIRED),
    "mvp": Family(BART, derive=pair, required=REQUIRED, refused=("use_prompt",)),
    "mbart": Family(
        stacks({"final_norm": True, "position_embeddings": field("max_position_embeddings + 2")}, final_norm=True),
        derive=pair,
        required=REQUIRED,
    ),
    "blenderbot": Family(stacks({**PRE_NORM, **ROWS}, **PRE_NORM, **ROWS), derive=pair, required=REQUIRED),
    "blenderbot-small": Family(stacks(ROWS, **ROWS), derive=pair, required=REQUIRED),
    "pegasus": Family(stacks({**PRE_NORM, **ROWS}, **PRE_NORM, **ROWS), derive=pair, required=REQUIRED),
    "m2m_100": Family(SINUSOIDS, derive=pair, required=REQUIRED),
    "seamless_m4t": Family(
        stacks(
            {
                **PRE_NORM,
                "num_hidden_layers": field("encoder_layers"),
                "attention": mha("encoder_attention_heads", bias=QKVO),
            },
            **PRE_NORM,
            num_hidden_layers=field("num_hidden_layers"),
            branches=two_attentions(SELF),
            position_embeddings=None,
            left_out="speech encoder, unit decoder and vocoder",
        ),
        derive=pair,
        required=("num_hidden_layers", "encoder_layers", "hidden_size"),
    ),
    "nllb-moe": Family(
        stacks({**PRE_NORM, **_nllb("encoder")}, **PRE_NORM, **_nllb("decoder"), position_embeddings=None),
        derive=sparse_steps,
        required=REQUIRED,
    ),
    "marian": Family(
        stacks(
            {"embedding_norm": False, **ROWS, "extras": [When("apart", embedding("vocab_size"))]},
            embedding_norm=False,
            **ROWS,
            vocab_size=field("rows"),
        ),
        derive=marian,
        required=REQUIRED,
    ),
    "fsmt": Family(
        stacks(
            {
                "embedding_norm": False,
                "position_embeddings": field("max_position_embeddings + offset"),
                "extras": [When("apart", embedding("src_vocab_size"))],
            },
            embedding_norm=False,
            position_embeddings=field("max_position_embeddings + offset"),
            extras=None,
        ),
        derive=fsmt,
        required=REQUIRED,
    ),
    "led": Family(
        stacks(
            {
                "position_embeddings": field("max_encoder_position_embeddings"),
                "attention": None,
                "layers": field("windows"),
                "layer_types": field("windowed"),
            },
            position_embeddings=field("max_decoder_position_embeddings"),
            max_position_embeddings=field("max_decoder_position_embeddings"),
        ),
        derive=led,
        required=REQUIRED,
    ),
    "bigbird_pegasus": Family(
        stacks(
            {
                **ROWS,
                "attention": mha("num_attention_heads", bias=BIGBIRD_BIAS, reach=When("sparse", BLOCKS)),
            },
            **ROWS,
            branches=two_attentions(mha("decoder_attention_heads", bias=BIGBIRD_BIAS)),
        ),
        derive=bigbird,
        required=REQUIRED,
    ),
    "trocr": Family(
        {
            **BART,
            "num_hidden_layers": field("num_hidden_layers"),
            "embedding_norm": When("layernorm_embedding", True),
            "position_embeddings": field("positions", or_absent=True),
            "branches": two_attentions(SELF, kv_hidden_size=field("cross_attention_hidden_size", or_absent=True)),
            "encoder": None,
            "encoder_tokens": 0,
        },
        derive=lambda fields: {
            "positions": fields.number("max_position_embeddings") + 2
            if fields.flag("use_learned_position_embeddings")
            else None
        },
    ),
}
FAMILIES["seamless_m4t_v2"] = FAMILIES["seamless_m4t"]
