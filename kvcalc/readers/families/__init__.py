"""What each Hugging Face model type means in native fields: tables, one room a kind of architecture."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.readers.families.words import Family

ROOMS = (
    "decoders",
    "grouped",
    "plain",
    "classic",
    "bert",
    "recurrent",
    "hybrids",
    "linears",
    "convolved",
    "latent",
    "sparse",
    "compressed",
    "encoder_decoder",
    "t5",
    "listening",
    "two_stacks",
    "sliding",
    "gemmas",
    "towers",
)

# Types that publishers write and the library has under another name, with the same fields.
ALIASES = {"kimi_k2": "deepseek_v3", "minimax_m3": "minimax_m3_vl_text"}


@lru_cache(maxsize=1)
def families() -> dict[str, Family]:
    """Every model type that is understood."""
    found: dict[str, Family] = {}
    for room in ROOMS:
        found.update(import_module(f"kvcalc.readers.families.{room}").FAMILIES)
    return found
