"""All blocks of a header as native layers: each by itself, then like ones under one name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.readers.huggingface import order_of
from kvcalc.readers.llama_cpp.architectures import ARCHITECTURES, CHUNKS
from kvcalc.readers.llama_cpp.attention import attention_of
from kvcalc.readers.llama_cpp.feedforward import extras_of, feedforward_of

if TYPE_CHECKING:
    from kvcalc.readers.gguf_walk import Tensor
    from kvcalc.readers.llama_cpp.attention import Block
    from kvcalc.readers.llama_cpp.keys import Keys

NORMS = (
    *("attn_norm", "attn_norm_2", "post_attention_norm", "attn_output_norm"),
    *("ffn_norm", "post_ffw_norm", "layer_output_norm"),
)
_OF_A_BLOCK = re.compile(r"blk\.([0-9]+)\.(.+)")


def blocks_of(tensors: dict[str, Tensor], total: int) -> list[Block]:
    """The shapes of the tensors of each of the first `total` blocks, named without it."""
    blocks: list[Block] = [{} for _ in range(total)]
    for name, tensor in tensors.items():
        match = _OF_A_BLOCK.fullmatch(name)
        if match and int(match[1]) < total:
            part = f"{match[2]}.weight" if match[2] in NORMS else match[2]  # Falcon-H1's ffn_norm has no suffix
            blocks[int(match[1])][part] = tensor.shape
    return blocks


def norm_of(blocks: list[Block]) -> str:
    """Which norm stands around layers."""
    if any("attn_norm.bias" in block or "ffn_norm.bias" in block for block in blocks):
        return "layernorm"
    return "rmsnorm" if any(f"{norm}.weight" in block for block in blocks for norm in NORMS) else "unweighted"


def layers_of(keys: Keys, blocks: list[Block]) -> dict[str, Any]:
    """What the layers say: one for all, or kinds by name with their order."""
    reaches, bare = _reaches(keys, len(blocks)), 2 * (norm_of(blocks) == "unweighted")
    told = [_layer(keys, at, blocks, reaches[at], bare) for at in range(len(blocks))]
    kinds = {repr(one): one for one in told}
    distinct = list(kinds.values())
    if len(distinct) == 1 and "extras" not in distinct[0]:  # above all kinds, extras would be the model's own
        return distinct[0]
    names = _names(distinct)
    name_of = dict(zip(kinds, names, strict=True))
    order = order_of([name_of[repr(one)] for one in told])
    norms = distinct[0]["norms_per_layer"]
    return {"norms_per_layer": norms, "layers": dict(zip(names, distinct, strict=True)), **order}


def _reaches(keys: Keys, total: int) -> list[dict[str, int]]:
    """How far each layer sees, in native words; nothing: it sees all."""
    every = ARCHITECTURES[keys.architecture]
    if chunk := CHUNKS.get(keys.architecture, 0):
        near = {"attention_chunk_size": chunk} if keys.number("attention.sliding_window", absent=1) else {}
        return [{} if (at + 1) % every == 0 else near for at in range(total)]
    window = keys.number("attention.sliding_window", absent=0)
    if not window:
        return [{}] * total
    pattern = keys.raw("attention.sliding_window_pattern")
    pattern = every if pattern is None else pattern
    if isinstance(pattern, list) and len(pattern) >= total:
        return [{"sliding_window": window} if one else {} for one in pattern[:total]]
    if isinstance(pattern, bool) or not isinstance(pattern, int) or pattern < 1:
        raise keys.not_understood(f"{keys.full('attention.sliding_window')}: {window}: which layers slide?")
    return [{"sliding_window": window} if pattern == 1 or (at + 1) % pattern else {} for at in range(total)]


def _layer(keys: Keys, at: int, blocks: list[Block], reach: dict[str, int], bare: int) -> dict[str, Any]:
    block = blocks[at]
    if not block:
        raise keys.error(f"blk.{at} has no tensors")
    hidden = keys.number("embedding_length")
    found = attention_of(keys, at, len(blocks), block, reach.get("sliding_window", 0))
    told: dict[str, Any] = {"branches": found} if len(found) > 1 else {"attention": found[0] if found else None}
    return {
        **told,
        "mlp": feedforward_of(keys, at, len(blocks), block),
        **({"extras": more} if (more := extras_of(block)) else {}),
        "norms_per_layer": sum(block.get(f"{norm}.weight") == (hidden,) for norm in NORMS) or bare,
        **(reach if found else {}),
    }


def _names(distinct: list[dict[str, Any]]) -> list[str]:
    """A name for each kind of layer: by its window or its experts where these tell all apart, else by a number."""
    kinds = [(one["mlp"] or {"kind": "bare"})["kind"] for one in distinct]
    far = ["full" if not {"sliding_window", "attention_chunk_size"} & one.keys() else "near" for one in distinct]
    for names in (kinds, far):
        if len(set(names)) == len(distinct):
            return names
    return [f"{kind}-{at + 1}" for at, kind in enumerate(kinds)]
