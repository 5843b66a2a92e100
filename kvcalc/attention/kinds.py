"""Every kind of memory and reach by its word in files. A new one is a file of its own and a line here.

A file is imported when a model first names its kind.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

MEMORIES = {  # kind: its module and class
    "heads": ("kvcalc.attention.heads", "Heads"),
    "mla": ("kvcalc.attention.latent", "Latent"),
    "moa": ("kvcalc.attention.moa", "Moa"),
    "custom": ("kvcalc.attention.custom", "Custom"),
    "mamba1": ("kvcalc.attention.mamba", "Mamba1"),
    "mamba2": ("kvcalc.attention.mamba", "Mamba2"),
    "linear": ("kvcalc.attention.linear", "Linear"),
    "gated_deltanet": ("kvcalc.attention.delta", "GatedDelta"),
    "kda": ("kvcalc.attention.kda", "Kda"),
    "rwkv4": ("kvcalc.attention.rwkv", "Rwkv4"),
    "rwkv6": ("kvcalc.attention.rwkv", "Rwkv6"),
    "rwkv7": ("kvcalc.attention.rwkv7", "Rwkv7"),
    "rg_lru": ("kvcalc.attention.rg_lru", "RgLru"),
    "short_conv": ("kvcalc.attention.short_conv", "ShortConv"),
    "conv": ("kvcalc.attention.short_conv", "Conv"),
    "s4": ("kvcalc.attention.s4", "S4"),
    "gau": ("kvcalc.attention.gau", "Gau"),
    "cca": ("kvcalc.attention.cca", "Cca"),
    "mlstm": ("kvcalc.attention.xlstm", "Mlstm"),
    "value_mask": ("kvcalc.attention.value_mask", "ValueMask"),
    "index": ("kvcalc.attention.index", "Index"),
    "shared_kv": ("kvcalc.attention.compressed", "SharedKv"),
    "compressed_kv": ("kvcalc.attention.compressed", "CompressedKv"),
    "compressed_index": ("kvcalc.attention.compressed", "CompressedIndex"),
    "buffer": ("kvcalc.attention.compressed", "Buffer"),
    "nsa": ("kvcalc.attention.nsa", "NsaBranch"),
    "tpa": ("kvcalc.attention.factored", "Tpa"),
    "gta": ("kvcalc.attention.factored", "Gta"),
    "mfa": ("kvcalc.attention.factored", "Mfa"),
    "gla_latent": ("kvcalc.attention.grouped", "GroupedLatent"),
}
REACHES = {
    "full": ("kvcalc.attention.reach", "Full"),
    "window": ("kvcalc.attention.reach", "Window"),
    "chunk": ("kvcalc.attention.reach", "Chunk"),
    "top": ("kvcalc.attention.selection", "Top"),
    "compressed": ("kvcalc.attention.selection", "Compressed"),
    "remainder": ("kvcalc.attention.selection", "Remainder"),
    "selected": ("kvcalc.attention.blocks", "Selected"),
    "strided": ("kvcalc.attention.blocks", "Strided"),
    "pooled": ("kvcalc.attention.blocks", "Pooled"),
    "pools": ("kvcalc.attention.blocks", "Pools"),
    "overlap": ("kvcalc.attention.blocks", "Overlap"),
    "encoder": ("kvcalc.attention.encoder", "Encoder"),
    "band": ("kvcalc.attention.both_ways", "Band"),
    "block_sparse": ("kvcalc.attention.both_ways", "BlockSparse"),
    "summaries": ("kvcalc.attention.both_ways", "Summaries"),
}
FEEDFORWARDS = {"dense": ("kvcalc.feedforward", "Dense"), "moe": ("kvcalc.feedforward", "Experts")}


def class_of(kinds: dict[str, tuple[str, str]], kind: str) -> Any:
    """The named tuple of a kind."""
    module, name = kinds[kind]
    return getattr(import_module(module), name)
