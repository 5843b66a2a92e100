"""Encoder-decoders put together from two models: encoder-decoder, vision-encoder-decoder, speech-encoder-decoder.

A decoder whose own class attends to itself alone gets a second attention of the same shape, and a norm, where its
config says add_cross_attention. An encoder that reads text is counted; one that sees or listens is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvcalc.readers.families.words import Family
    from kvcalc.readers.fields import Fields

CROSS = "add_cross_attention"
LEFT_OUT = {
    "vision-encoder-decoder": "vision encoder and projector",
    "speech-encoder-decoder": "speech encoder and projector",
}
OUTER = ("encoder-decoder", *LEFT_OUT)
POOLER = {
    "name": "pooler",
    "parameters": "d*d + d",
    "source": "transformers: of the first token, run for nothing",
    "library_once": "2*d*d",
}
ENCODERS = {
    "bert": [POOLER],
    "roberta": [POOLER],
    "xlm-roberta": [POOLER],
    "camembert": [POOLER],
    "bert-generation": [],
}
OF_THE_HEAD = ("lm-head-transform", "second-head-bias")
IN_AN_ENCODER = (
    *("hidden_size", "num_hidden_layers", "norm", "norms_per_layer", "final_norm", "embedding_norm"),
    *("position_embeddings", "attention", "mlp"),
)
MORE_TOKENS = {"vit": 1, "deit": 2, "beit": 1}  # beside the patches of the image
MAX_STAGES = 16
SWIN = ("swin", "donut-swin")


def taken(family: Family) -> Family:
    """The family as half of such a pair."""
    refused = tuple(name for name in family.refused if name != CROSS)
    return family._replace(refused=refused, decoder_if="")


def cross(native: dict[str, Any], fields: Fields) -> None:
    """Give a decoder its cross attention, unless its class always has it. Raises where its config does not say so."""
    native.pop("encoder", None)
    native.pop("encoder_tokens", None)
    if "branches" in native:
        return
    if not fields.flag(CROSS):
        raise fields.not_understood(CROSS, "not true, so that the decoder would not read the encoder")
    if "attention" not in native or "layers" in native:
        raise fields.not_understood("model_type", "this decoder is not understood with cross attention")
    memory = native.pop("attention")
    native["branches"] = [memory, {**memory, "reach": {"kind": "encoder"}}]
    native["norms_per_layer"] += 1


def text_encoder(native: dict[str, Any], encoder: Fields, width: int, read: int | None) -> dict[str, Any]:
    """The stack of an encoder, from what its class reads as a decoder; `width` is the decoder's, `read` what it takes.

    Raises NotUnderstoodError for a model type whose encoder is not known to be that.
    """
    kind = encoder.config.get("model_type")
    if kind not in ENCODERS:
        raise encoder.not_understood("model_type", f"the encoder {kind!r} is not understood")
    stack = {key: native[key] for key in IN_AN_ENCODER if key in native}
    own = [extra for extra in native.get("extras", []) if extra["name"] not in OF_THE_HEAD]
    rows = {"name": "embedding", "parameters": "V*d", "symbols": {"V": native["vocab_size"]}}
    stack["extras"] = [rows, *own, *ENCODERS[kind]]
    if read is None and stack["hidden_size"] != width:
        projection = {"name": "to-the-decoder", "parameters": "d*d_q + d_q", "work_per_token": "2*d*d_q"}
        stack["extras"].append({**projection, "symbols": {"d_q": width}})
    return stack


def tokens_seen(encoder: Fields) -> int:
    """Tokens of one image. Raises where the vision encoder is not understood."""
    kind = encoder.config.get("model_type")
    if kind not in (*MORE_TOKENS, *SWIN):
        raise encoder.not_understood("model_type", f"how many tokens the encoder {kind!r} gives is not understood")
    size = encoder.raw("image_size")
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise encoder.error("image_size", "not a whole number, or two of them")
    patch = encoder.number("patch_size")
    if kind in SWIN:
        stages = len(encoder.integers("depths") or [])
        if not 1 <= stages <= MAX_STAGES:
            raise encoder.error("depths", f"{stages} stages, each of which halves the sides of the image")
        patch <<= stages - 1
    patches: int = (sides[0] // patch) * (sides[1] // patch)
    if not patches:
        raise encoder.error("image_size", f"smaller than a patch of {patch}")
    return patches + MORE_TOKENS.get(str(kind), 0)
