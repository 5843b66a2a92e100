"""The real model of a config, built by the Transformers library on the meta device: no weights, no code of others."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from kvcalc.errors import KvcalcError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
# A class for language and images comes before the language model alone, which is what a causal mapping has for it.
MAPPINGS = ("IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "CAUSAL_LM")
DROPPED = ("quantization_config", "auto_map", "name")  # changes no shape; names code we never run; ours


class Live(NamedTuple):
    """A model as the library builds it, its config, and the config of the language model in it."""

    model: Any  # transformers.PreTrainedModel
    config: Any  # transformers.PreTrainedConfig
    text: Any

    @property
    def name(self) -> str:
        """Its class."""
        return type(self.model).__name__


class NotBuiltError(KvcalcError):
    """The library itself cannot build or run it; the text says why."""


def library() -> tuple[Any, Any]:
    """The modules torch and transformers, offline. Raises KvcalcError where they are not installed."""
    for name, value in (("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_VERBOSITY", "error"), ("USE_HUB_KERNELS", "NO")):
        os.environ.setdefault(name, value)
    try:
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise KvcalcError(f"verify needs {error.name}", "pip install 'kvcalc[verify]'") from None
    transformers.logging.set_verbosity_error()
    return torch, transformers


def build(fields: dict[str, Any], run: Callable[[Live], T]) -> T:
    """Build the model of a config's fields and run it: of the library's classes for it, the first that runs.

    Raises NotBuiltError with the library's own reasons.
    """
    torch, _ = library()
    reasons = []
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        config = read_config(fields)
        for model_class in classes_of(config):
            try:
                return run(_on_meta(torch, model_class, config))
            except Exception as error:  # whatever its code raises is its reason
                reasons.append(f"{model_class.__name__}: {reason(error)}")
    told = "; ".join(reasons) or f"the library has no language model of model_type {fields.get('model_type')!r}"
    raise NotBuiltError(told)


def read_config(fields: dict[str, Any]) -> Any:
    """The library's config of a file's fields. Raises NotBuiltError."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from kvcalc.readers.families import ALIASES

    told = {key: value for key, value in fields.items() if key not in DROPPED}
    model_type = told.get("model_type")
    if model_type not in CONFIG_MAPPING and model_type in ALIASES:
        model_type = told["model_type"] = ALIASES[model_type]
    if model_type == "mistral" and "layer_types" in told:  # as AutoConfig reads it
        model_type = told["model_type"] = "ministral"
    if model_type not in CONFIG_MAPPING:
        raise NotBuiltError(f"the library knows no model_type {model_type!r}")
    try:
        return CONFIG_MAPPING[model_type].from_dict(_floats(told))
    except Exception as error:  # whatever its code raises is its reason
        raise NotBuiltError(f"{model_type}: {reason(error)}") from None


def _floats(value: Any) -> Any:
    """Numbers that JSON lacks, as the library writes them: {'__float__': 'Infinity'}."""
    if isinstance(value, dict):
        if list(value) == ["__float__"]:
            return float(value["__float__"])
        return {key: _floats(inner) for key, inner in value.items()}
    return [_floats(inner) for inner in value] if isinstance(value, list) else value


def classes_of(config: Any) -> list[Any]:
    """The library's classes of language models for a config, the fullest first, that of its text alone last."""
    import transformers
    from transformers.models.auto import modeling_auto

    found: dict[Any, None] = {}
    for part in (config, config.get_text_config(decoder=True)):
        for name in MAPPINGS:
            named = getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {}).get(part.model_type)
            model_class = getattr(transformers, named, None) if isinstance(named, str) else None
            if model_class is not None:
                found[model_class] = None
    return list(found)


def _on_meta(torch: Any, model_class: Any, config: Any) -> Live:
    """Eager attention and batched experts, so that a counter sees every matmul, and only those of visited experts."""
    from copy import deepcopy

    own = deepcopy(config)
    if model_class.config_class is not None and not isinstance(own, model_class.config_class):
        own = own.get_text_config(decoder=True)
    own._attn_implementation = "eager"
    own._experts_implementation = "batched_mm"
    with torch.device("meta"):
        model = model_class(own).eval()
    return Live(model, own, _text_of(model, own))


def _text_of(model: Any, config: Any) -> Any:
    """The language model's config: one nested in it that a module has, else itself, as of an encoder-decoder."""
    text = getattr(config, "text_config", None) if config.is_encoder_decoder else config.get_text_config(decoder=True)
    whole = text is not None and text.is_encoder_decoder == config.is_encoder_decoder
    return text if whole and any(getattr(m, "config", None) is text for m in model.modules()) else config


def reason(error: BaseException) -> str:
    """Say an error of the library's in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
