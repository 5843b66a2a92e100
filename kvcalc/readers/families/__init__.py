"""What each Hugging Face model type means in native fields: tables, one room a kind of architecture."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "rest",
)

# Types that publishers write and the library has under another name, with the same fields.
ALIASES = {"kimi_k2": "deepseek_v3", "minimax_m3": "minimax_m3_vl_text"}

# Types that publishers write around a language model and the library does not have: what it says of those it has.
WRAPPERS: dict[str, dict[str, Any]] = {
    "kimi_k3": {"text": ["text_config"], "text_type": "kimi_linear", "left_out": "vision tower and projector"},
}

# Types whose prompt attends both ways around a causal language model, by a field of it: the cache and decode are the
# causal model's, and of the prefill's pairs those with later tokens of the prompt are left out, and told to be.
PREFIXES = {"paligemma": "use_bidirectional_attention"}
LATER_PAIRS = "what a prompt's tokens see of later ones"

# Types of the library that are refused, and what of them is not modelled.
REFUSED = {
    "blt": "it caches patches of bytes, whose length a model of entropy decides, so no number of tokens says how many",
    "cpmant": "it puts rows of a prompt before every call, and its text attends both ways",
    "diffusion_gemma_text": "it writes by denoising a canvas of tokens many times over, not token by token",
    "gemma4_assistant": "it drafts for another model: it reads that one's cache and keeps none",
    "pegasus_x": "its encoder's staggered blocks, with global tokens beside them, are not modelled",
    "pi0": "it writes no tokens but actions, by denoising, beside a prompt that attends both ways",
    "prophetnet": "it predicts several tokens by streams of their own, which attend beside the main one",
    "reformer": "it caches hidden states and hash buckets, and which keys are seen depends on the numbers",
    "unlimited_ocr_text": "its window keeps the whole prompt, so the prompt's length and the context's are two numbers",
    "xlnet": "it keeps hidden states of earlier segments and attends in two streams",
}


@lru_cache(maxsize=1)
def families() -> dict[str, Family]:
    """Every model type that is understood."""
    found: dict[str, Family] = {}
    for room in ROOMS:
        found.update(import_module(f"kvcalc.readers.families.{room}").FAMILIES)
    return found
