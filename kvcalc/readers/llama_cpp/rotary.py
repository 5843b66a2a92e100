"""Rotary positions as the keys and tensors of a header have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.llama_cpp.architectures import LOCAL_BASES, LOCAL_ROPE, WITHOUT_ROPE

if TYPE_CHECKING:
    from kvcalc.readers.llama_cpp.keys import Keys


def rope_of(keys: Keys, total: int) -> dict[str, Any] | None:
    """The native `rope`; None where the model has none."""
    if keys.architecture in WITHOUT_ROPE or "position_embd.weight" in keys.header.tensors:
        return None
    if keys.raw("rope.scaling.finetuned") is False and keys.architecture == "granitehybrid":
        return None  # so llama.cpp tells Granite 4 without positions
    told: dict[str, Any] = {"base": keys.decimal("rope.freq_base", 10_000.0)}
    local = keys.decimal("rope.freq_base_swa", LOCAL_BASES.get(keys.architecture, 0.0))
    if local and local != told["base"]:
        told["local_base"] = local
    if keys.given("rope.dimension_count") and not keys.given("attention.kv_lora_rank"):
        heads = keys.each("attention.head_count", total)
        width = keys.number("attention.key_length", absent=keys.number("embedding_length") // max(1, *heads))
        part = keys.number("rope.dimension_count") / max(1, width)
        if 0 < part < 1:
            told["partial_rotary_factor"] = part
    if keys.architecture in LOCAL_ROPE and (keys.number("attention.sliding_window", absent=1)):
        told["full_layers"] = False
    if scaling := _scaling(keys):
        told["scaling"] = scaling
    return told


def _scaling(keys: Keys) -> dict[str, Any] | None:
    kind = str(keys.raw("rope.scaling.type") or "none")
    if "rope_freqs.weight" in keys.header.tensors:
        kind = "rope_freqs"  # factors that stand in a tensor's data
    elif "rope_factors_long.weight" in keys.header.tensors:
        kind = "longrope"
    if kind == "none":
        return None
    told: dict[str, Any] = {
        "kind": kind,
        "factor": keys.decimal("rope.scaling.factor", 1.0),
        "original_max_position_embeddings": keys.number("rope.scaling.original_context_length", absent=0),
    }
    for name in ("beta_fast", "beta_slow"):
        if keys.given(f"rope.scaling.yarn_{name}"):
            told[name] = keys.decimal(f"rope.scaling.yarn_{name}", 0.0)
    return told
