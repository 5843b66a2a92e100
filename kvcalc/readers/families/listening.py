"""Encoder-decoders that listen: Whisper, Speech2Text and Moonshine whole, of others the decoder alone.

Conformers and wav2vec stacks are left out, and said to be; cross attention reads as many tokens as they give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.encoder_decoder import REQUIRED, mha, pair, stacks, two_attentions
from kvcalc.readers.families.words import GATED, HEADS, PLAIN, QKV, QKVO, Family, When, field

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

NO_K = ["q", "v", "o"]
FRAMES = {
    "name": "convolutions",
    "parameters": "3*m*d + d + 3*d*d + d",
    "work_per_token": "2*2*3*m*d + 2*3*d*d",
    "symbols": {"m": field("num_mel_bins")},
    "source": "Whisper (arXiv:2212.04356) sec. 2.2: two convolutions of width 3, the second of stride 2",
}
SUBSAMPLER = {
    "name": "convolutions",
    "parameters": "k_1*m*c + c + k_2*(c//2)*2*d + 2*d",
    "work_per_token": "2*2*k_1*m*c + 2*k_2*(c//2)*2*d",
    "symbols": {"m": field("features"), "c": field("conv_channels"), "k_1": field("k_1"), "k_2": field("k_2")},
    "source": "fairseq S2T (arXiv:2010.05171) sec. 2: two gated convolutions of stride 2",
}
SAMPLES = {
    "name": "convolutions",
    "parameters": "127*d + 2*d + 7*d*2*d + 2*d + 3*2*d*d + d",
    "work_per_token": "6*2*127*d + 2*2*7*d*2*d + 2*3*2*d*d",
    "source": "Moonshine (arXiv:2410.15608) sec. 3.1: strides of 64, 3 and 2 over samples, and a group norm",
}


def whisper(fields: Fields) -> dict[str, Any]:
    """Its encoder's length is fixed; the decoder alone reads nothing."""
    found = pair(fields)
    return {**found, "read": fields.number("max_source_positions") if found["pair"] else 0}


def subsampler(fields: Fields) -> dict[str, Any]:
    """Two convolutions; more of them, or fewer, are not understood."""
    widths = fields.integers("conv_kernel_sizes") or []
    if fields.number("num_conv_layers") != 2 or len(widths) != 2:
        raise fields.not_understood("num_conv_layers", "other than two convolutions are not understood")
    features = fields.number("input_feat_per_channel") * fields.number("input_channels")
    return {**pair(fields), "features": features, "k_1": widths[0], "k_2": widths[1]}


def moonshine(fields: Fields) -> dict[str, Any]:
    """Refuse fewer K and V heads than query heads: the library takes one stack's number for the other, and fails."""
    for stack in ("", "encoder_"):
        heads = fields.number(f"{stack}num_attention_heads")
        if fields.optional(name := f"{stack}num_key_value_heads") not in (None, heads):
            raise fields.not_understood(name, f"other than {heads}, the query heads, is not understood here")
    return {}


def streaming(fields: Fields) -> dict[str, Any]:
    """An encoder of windows to both sides, a pair of numbers a layer, each counting the token itself."""
    encoder = fields.beside("encoder_config", "moonshine_streaming_encoder")
    if fields.optional("num_key_value_heads") is None:
        raise fields.not_understood("num_key_value_heads", "absent, and the library's class has no default for it")
    layers, width = encoder.number("num_hidden_layers"), encoder.number("hidden_size")
    windows = encoder.raw("sliding_windows")
    if not isinstance(windows, list) or len(windows) != layers:
        raise encoder.error("sliding_windows", f"not a list of {layers} pairs, one a layer")
    heads = encoder.number("num_attention_heads")
    memory = {
        "kind": "heads",
        "num_attention_heads": heads,
        "num_key_value_heads": encoder.number("num_key_value_heads"),
        "head_dim": encoder.optional("head_dim") or width // heads,
        "bias": QKVO if encoder.flag("attention_bias") else [],
    }
    kinds: dict[str, dict[str, Any]] = {}
    order = []
    for pair_ in windows:
        if (
            not isinstance(pair_, list)
            or [type(side) for side in pair_] != [int, int]
            or min(pair_[0], pair_[1] + 1) < 1
        ):
            raise encoder.error("sliding_windows", f"{pair_!r} is not a pair of whole numbers, the first from 1")
        order.append(f"window-{pair_[0]}-{pair_[1]}")
        band = {"kind": "band", "left": pair_[0] - 1, "right": max(pair_[1] - 1, 0)}
        kinds[order[-1]] = {"attention": {**memory, "reach": band}}
    samples = encoder.raw("frame_ms")
    if not isinstance(samples, int | float) or not 0 < samples <= MAX_FRAME_MS:
        raise encoder.error("frame_ms", f"{samples!r} is not a number up to {MAX_FRAME_MS}")
    frame = round(encoder.number("sample_rate") * samples / 1000)
    hidden = fields.number("hidden_size")
    extras = [{**FRAMES_OF_SAMPLES, "symbols": {"f": frame}}]
    if width != hidden:
        extras.append({**TO_THE_DECODER, "symbols": {"d_q": hidden}})
    stack = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "norm": "rmsnorm",
        "norms_per_layer": 2,
        "position_embeddings": fields.number("max_position_embeddings"),
        "layers": kinds,
        "layer_types": order,
        "mlp": {
            "kind": "dense",
            "intermediate_size": encoder.number("intermediate_size"),
            "gated": False,
            "bias": True,
        },
        "extras": extras,
    }
    return {"stack": stack}


MAX_FRAME_MS = 10_000
FRAMES_OF_SAMPLES = {
    "name": "frames",
    "parameters": "f*d + 5*d*2*d + 2*d + 5*2*d*d + d + 1",
    "work_per_token": "4*2*f*d + 2*2*5*d*2*d + 2*5*2*d*d",
    "source": "transformers moonshine_streaming: frames of f samples, two convolutions of width 5 and stride 2",
}
TO_THE_DECODER = {"name": "to-the-decoder", "parameters": "d*d_q", "work_per_token": "2*d*d_q"}
MOONSHINE_HEADS = {
    "kind": "heads",
    "num_attention_heads": field("num_attention_heads"),
    "num_key_value_heads": field("num_attention_heads"),
    "head_dim": field("head_dim", "hidden_size//num_attention_heads"),
    "bias": When("attention_bias", QKV),
}
NEMO = {
    "hidden_size": field("hidden_size"),
    "num_hidden_layers": field("num_hidden_layers"),
    "vocab_size": field("vocab_size"),
    "max_position_embeddings": field("max_position_embeddings"),
    "tie_word_embeddings": field("tie_word_embeddings"),
    "norm": "layernorm",
    "norms_per_layer": 3,
    "embedding_norm": True,
    "lm_head_bias": True,
    "branches": two_attentions({**HEADS, "bias": When("attention_bias", QKVO)}),
    "mlp": PLAIN,
    "left_out": "audio encoder and projector",
}
FAMILIES: dict[str, Family] = {
    "whisper": Family(
        stacks(
            {
                "embedding_norm": False,
                "final_norm": True,
                "attention": mha("num_key_value_heads", bias=NO_K),
                "position_embeddings": field("max_source_positions"),
                "extras": [FRAMES],
            },
            embedding_norm=False,
            final_norm=True,
            branches=two_attentions(mha("decoder_attention_heads", bias=NO_K)),
            max_position_embeddings=field("max_target_positions"),
            position_embeddings=field("max_target_positions"),
            encoder_tokens=field("read"),
            extras=None,
        ),
        derive=whisper,
        required=REQUIRED,
    ),
    "speech_to_text": Family(
        stacks(
            {"embedding_norm": False, "final_norm": True, "extras": [SUBSAMPLER]},
            embedding_norm=False,
            final_norm=True,
            position_embeddings=None,
            extras=None,
            max_position_embeddings=field("max_target_positions"),
        ),
        derive=subsampler,
        required=REQUIRED,
    ),
    "moonshine": Family(
        {
            "hidden_size": field("hidden_size"),
            "num_hidden_layers": field("num_hidden_layers"),
            "vocab_size": field("vocab_size"),
            "max_position_embeddings": field("max_position_embeddings"),
            "tie_word_embeddings": field("tie_word_embeddings"),
            "norm": "rmsnorm",  # LayerNorm without biases
            "norms_per_layer": 3,
            "branches": two_attentions(MOONSHINE_HEADS),
            "mlp": {**GATED, "bias": True},
            "encoder": {
                "hidden_size": field("hidden_size"),
                "num_hidden_layers": field("encoder_num_hidden_layers"),
                "norm": "rmsnorm",
                "norms_per_layer": 2,
                "attention": {
                    **MOONSHINE_HEADS,
                    "num_attention_heads": field("encoder_num_attention_heads"),
                    "num_key_value_heads": field("encoder_num_attention_heads"),
                    "head_dim": field("head_dim", "hidden_size//encoder_num_attention_heads"),
                },
                "mlp": PLAIN,
                "extras": [SAMPLES],
            },
        },
        derive=moonshine,
        required=("num_hidden_layers", "encoder_num_hidden_layers", "hidden_size"),
    ),
    "moonshine_streaming": Family(
        {
            "hidden_size": field("hidden_size"),
            "num_hidden_layers": field("num_hidden_layers"),
            "vocab_size": field("vocab_size"),
            "max_position_embeddings": field("max_position_embeddings"),
            "tie_word_embeddings": field("tie_word_embeddings"),
            "norm": "rmsnorm",  # LayerNorm without biases
            "norms_per_layer": 3,
            "branches": two_attentions({**MOONSHINE_HEADS, "num_key_value_heads": field("num_key_value_heads")}),
            "mlp": {**GATED, "bias": True},
            "encoder": field("stack"),
        },
        derive=streaming,
    ),
    "speecht5": Family(
        {
            **stacks(
                {},
                embedding_norm=False,
                position_embeddings=None,
                extras=None,
                max_position_embeddings=field("max_text_positions"),
            ),
            "encoder": None,
            "left_out": "speech encoder and its prenet",
        },
        derive=pair,
        required=("decoder_layers", "hidden_size"),
    ),
    "canary_decoder": Family({**NEMO, "tie_word_embeddings": field("tie_word_embeddings", or_absent=True)}),
    "cohere_asr": Family({**NEMO, "position_embeddings": field("max_position_embeddings")}),
}
