"""What each Hugging Face model type means in native fields: tables, one room a kind of architecture."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.readers.families.words import Family

ROOMS = ("decoders",)


@lru_cache(maxsize=1)
def families() -> dict[str, Family]:
    """Every model type that is understood."""
    found: dict[str, Family] = {}
    for room in ROOMS:
        found.update(import_module(f"kvcalc.readers.families.{room}").FAMILIES)
    return found
