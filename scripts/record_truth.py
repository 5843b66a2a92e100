"""Record what the live code of the Transformers library does with configs: the truths of tests/truth/*.jsonl.

Reads JSON lines {"id", "config"} and writes for each the parameters of the language model, the elements that its
cache holds after n tokens, and the FLOPs that torch's FlopCounterMode counts for the step of token n:

    python scripts/record_truth.py < configs.jsonl > tests/truth/some.jsonl

Models stand on the meta device; where code looks at values, as routers do, a small one runs on the CPU. `refused`: the
library takes no such config; `forward_error`: it takes it and cannot run it.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAPPINGS = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ")
OTHER_PARTS = (
    *("vision", "visual", "audio", "image", "vqmodel", "projector", "multi_modal", "qformer", "codec", "connector"),
    *("perceiver", "protein_encoder"),
)
# Classes of what generates text in others; what beside a text they run, which no count is of.
ALONE = {
    "blip_text_model": "BlipTextLMHeadModel",
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}
ENCODERS = ("protein_encoder",)
ENCODED = 6  # tokens that cross attention reads
LENGTHS = (1, 7, 100)
STEPS = (41, 101)
SMALL = 5_000_000


def model_class(model_type: str) -> Any:
    """The class that generates text with a model type."""
    if model_type in ALONE:
        return getattr(transformers, ALONE[model_type])
    for name in MAPPINGS:
        classes = getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {})
        if model_type in classes and hasattr(transformers, classes[model_type]):
            return getattr(transformers, classes[model_type])
    by_config = {found.config_class.model_type: found for found in generators()}
    return by_config[model_type]


def generators() -> Iterator[Any]:
    """Every class of the causal mapping that can be had."""
    for name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        found = getattr(transformers, name, None)
        if found is not None and found.config_class is not None:
            yield found


def config_class(model_type: str) -> Any:
    """The class of a model type's config, nested ones too."""
    return CONFIG_MAPPING[model_type] if model_type in CONFIG_MAPPING else model_class(model_type).config_class


def build(config: dict[str, Any], device: str) -> Any:
    """The model, without weights of meaning."""
    kind = model_class(config["model_type"])
    made = config_class(config["model_type"])(**{key: told for key, told in config.items() if key != "model_type"})
    if kind.config_class is not None and not isinstance(made, kind.config_class):
        parts = (getattr(made, name, None) for name in made.sub_configs)
        inside = (part for part in parts if isinstance(part, kind.config_class))
        made = next(inside, None) or made.get_text_config(decoder=True)
    made._attn_implementation = "eager"  # as the library's own from_config does
    if kind._can_set_experts_implementation():  # a counter sees the visited experts alone
        made._experts_implementation = "batched_mm"
    with torch.device(device):
        return kind(made).eval()


def tensors(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """Every tensor of a cache, once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    inner: Any = ()
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    elif type(value).__module__.startswith("transformers"):
        inner = vars(value).values()
    for one in inner:
        yield from tensors(one, seen)


def elements(cache: Any) -> int:
    """Elements that a cache holds."""
    return sum(tensor.numel() for tensor in tensors(cache, set()))


def run(model: Any, tokens: int, cache: Any = None) -> Any:
    """The output for some tokens."""
    config = model.config
    rows = config.num_codebooks if config.model_type.startswith("musicgen") else 1
    ids = torch.ones(rows, tokens, dtype=torch.long, device=next(model.parameters()).device)
    more: dict[str, Any] = {}
    if getattr(config, "is_encoder_decoder", False):
        more["decoder_input_ids"] = ids
    if getattr(config, "languages", None):
        more["lang_ids"] = torch.zeros(rows, dtype=torch.long, device=ids.device)
    more.update(read(config, tokens, ids.device))
    with torch.no_grad():
        return model(input_ids=ids, use_cache=True, **(cache or {}), **more)


def read(config: Any, tokens: int, device: Any) -> dict[str, Any]:
    """What cross attention reads, of models that take it from elsewhere."""
    if config.model_type == "blip_text_model":
        return {"encoder_hidden_states": torch.zeros(1, ENCODED, config.encoder_hidden_size, device=device)}
    if config.model_type == "idefics":
        name = "perceiver_embeddings" if config.use_resampler else "image_encoder_embeddings"
        states = torch.zeros(1, 1, ENCODED, config.vision_config.embed_dim, device=device)
        return {name: states, "image_attention_mask": torch.ones(1, tokens, 1, device=device)}
    if config.model_type == "evolla":
        ids = torch.ones(1, ENCODED, dtype=torch.long, device=device)
        return {"protein_input_ids": ids, "protein_attention_mask": torch.ones_like(ids)}
    return {}


def flops(counter: FlopCounterMode) -> int:
    """What a counter counted, less encoders that run at every call."""
    apart = [found for name, found in counter.get_flop_counts().items() if name.rpartition(".")[2] in ENCODERS]
    total: int = counter.get_total_flops()
    return total - sum(sum(found.values()) for found in apart)


def held(output: Any) -> dict[str, Any]:
    """The cache of an output, by its name in it, which is its name in the next call too."""
    return {key: output[key] for key in ("past_key_values", "cache_params", "state") if key in output}


def observed(config: dict[str, Any], device: str) -> dict[str, Any]:
    """What a model does on one device."""
    model = build(config, device)
    cache = {str(n): {"transformers_elements": elements(held(run(model, n)))} for n in LENGTHS}
    steps = {}
    for n in STEPS:
        before = held(run(model, n - 1))
        with FlopCounterMode(display=False) as counter:
            run(model, 1, before)
        steps[str(n)] = flops(counter)
    return {"cache": cache, "flops": {"decode": steps}}


def nested(model: Any) -> int:
    """Parameters of a language model inside another: its layers, embeddings and head; 0 where it stands alone."""
    config = model.config
    if config.get_text_config(decoder=True) is config or getattr(config, "is_encoder_decoder", False):
        return 0
    if (layers := model.get_decoder()) in (None, model):
        return 0
    parts = (layers, model.get_input_embeddings(), model.get_output_embeddings())
    weights = {id(weight): weight.numel() for part in parts if part is not None for weight in part.parameters()}
    return sum(weights.values())


def record(config: dict[str, Any]) -> dict[str, Any]:
    """What the library does with a config."""
    try:
        model = build(config, "meta")
    except Exception as error:  # whatever it refuses a config with
        return {"refused": f"{type(error).__name__}: {str(error)[:120]}"}
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    parameters = nested(model) or sum(
        size for name, size in sizes.items() if not any(part in name for part in OTHER_PARTS)
    )
    found: dict[str, Any] = {"parameters": parameters}
    for device in ("meta", "cpu") if sum(sizes.values()) < SMALL else ("meta",):
        try:
            return {**found, **observed(config, device)}
        except Exception as error:  # whatever stops the code
            found["forward_error"] = f"{type(error).__name__}: {str(error)[:120]}"
    return found


def main() -> None:
    """Read configs, write records."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    for line in sys.stdin:
        told = json.loads(line)
        found = {"id": told["id"], "config": told["config"], **record(told["config"])}
        if "cache" in found:
            found.pop("forward_error", None)
        sys.stdout.write(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
