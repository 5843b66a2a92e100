"""Every kind of memory and reach by its word in files. A new one is a file of its own and a line here.

A file is imported when a model first names its kind.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

MEMORIES = {  # kind: its module and class
    "heads": ("kvcalc.attention.heads", "Heads"),
    "mla": ("kvcalc.attention.latent", "Latent"),
    "custom": ("kvcalc.attention.custom", "Custom"),
    "mamba1": ("kvcalc.attention.mamba", "Mamba1"),
    "mamba2": ("kvcalc.attention.mamba", "Mamba2"),
}
REACHES = {
    "full": ("kvcalc.attention.reach", "Full"),
    "window": ("kvcalc.attention.reach", "Window"),
    "chunk": ("kvcalc.attention.reach", "Chunk"),
    "top": ("kvcalc.attention.selection", "Top"),
    "compressed": ("kvcalc.attention.selection", "Compressed"),
    "remainder": ("kvcalc.attention.selection", "Remainder"),
    "encoder": ("kvcalc.attention.encoder", "Encoder"),
}
FEEDFORWARDS = {"dense": ("kvcalc.feedforward", "Dense"), "moe": ("kvcalc.feedforward", "Experts")}


def class_of(kinds: dict[str, tuple[str, str]], kind: str) -> Any:
    """The named tuple of a kind."""
    module, name = kinds[kind]
    return getattr(import_module(module), name)
