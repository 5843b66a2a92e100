"""Write kvcalc/readers/hf_defaults.json: what the classes of the Transformers library say where a config does not.

Every model type of its causal, image-text, encoder-decoder and speech models, one line each: class defaults by their
standard name, the names each may be given by, the fields that refuse null, and where the language model's own config
is nested. Run with the version to record:  python scripts/hf_defaults.py
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

OUTPUT = Path(__file__).parent.parent / "kvcalc" / "readers" / "hf_defaults.json"
MAPPINGS = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ")
IRRELEVANT = re.compile(
    r".*(token_id|token_index|_eps|epsilon|dropout|pdrop|initializer|_range|hidden_act|activation_function|coef|output_"
    r"|use_cache|scoring_func|topk_method|jitter|softcap|summary_|labels|upcast|dtype_plan|attn_implementation"
    r"|problem_type|residual_multiplier|logits_scal|embedding_multiplier|attention_multiplier|mup_|init_std)[a-z0-9_]*"
)
STANDARD = {"num_local_experts": "num_experts", "n_routed_experts": "num_experts"}
# Read by the classes' own __post_init__, so neither a field nor in attribute_map.
MORE_ALIASES = {
    "bloom": {"n_embed": "hidden_size"},
    "falcon": {"n_embed": "hidden_size"},
    "lfm2": {"tie_embedding": "tie_word_embeddings", "block_ff_dim": "intermediate_size"},
    "lfm2_moe": {"tie_embedding": "tie_word_embeddings"},
    "nemotron_h": {"mamba_n_groups": "n_groups", "mamba_d_conv": "conv_kernel", "mamba_conv_bias": "use_conv_bias"},
}
MORE_DEFAULTS = {"gemma3_text": {"sliding_window_pattern": 6}, "rembert": {"output_embedding_size": 1664}}
# Where a config nests what cross attention reads.
READ = {
    "blip": "vision_config",
    "canary": "encoder_config",
    "cohere_asr": "encoder_config",
    "dia": "encoder_config",
    "idefics": "vision_config",
    "mllama": "vision_config",
    "moonshine_streaming": "encoder_config",
    "pp_formulanet": "vision_config",
    "t5gemma2": "encoder",
    "vision-encoder-decoder": "encoder",
}
# Observed on built models: an lm_head of its own that the class never ties; one tied by the language model's config.
NEVER_TIED = {
    *("audioflamingo3", "cosmos3_edge", "molmo2", "muse_spark", "musicflamingo", "qwen2_audio", "vibevoice_asr"),
    *("voxtral",),
}
HEAD_OF_ITS_OWN = {"ovis2"}  # untied, lm_head is as wide and long as the outer config says
HEADS_OF_128 = {"voxtral", "voxtral_realtime"}  # put into a text config that says nothing
TIED_BY_TEXT = {"shieldgemma2", "vibevoice"}
TIED_BY_PART = {"qwen2_5_omni": "thinker_config", "qwen3_omni_moe": "thinker_config"}  # that has a head of its own
TIED_BY_EITHER = {"kosmos-2"}
PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


def facts(config_class: Any) -> dict[str, Any]:
    """Defaults by their standard name, the names each may be given by (the first wins), fields that refuse null."""
    base = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)} - {"tie_word_embeddings"}
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.name not in base}
    model_type = config_class.model_type
    aliases = {**config_class.attribute_map, **MORE_ALIASES.get(model_type, {})}
    names = {}
    defaults: dict[str, Any] = dict(MORE_DEFAULTS.get(model_type, {}))
    not_null = []
    for name, field in fields.items():
        default = field.default_factory() if callable(field.default_factory) else field.default
        if IRRELEVANT.fullmatch(name) or not isinstance(default, PLAIN) or name in config_class.sub_configs:
            continue
        standard = next((alias for alias, real in config_class.attribute_map.items() if real == name), name)
        given_by = [alias for alias, real in aliases.items() if name in (real, alias) and alias != name]
        given_by += [real for alias, real in aliases.items() if alias == name and real not in given_by]
        standard = STANDARD.get(standard, standard)
        defaults[standard] = default
        if given_by or standard != name:
            names[standard] = [*given_by, name]
        if "None" not in str(field.type) and isinstance(default, int) and not isinstance(default, bool):
            not_null.append(standard)
    rope = rotary(config_class)
    told = {"rope": rope} if rope else {}
    if not config_class.sub_configs:
        defaults.setdefault("tie_word_embeddings", False)
    return {"class": config_class.__name__, "defaults": defaults, "names": names, "not_null": not_null, **told}


def rotary(config_class: Any) -> Any:
    """The class's own RoPE, base and rotated part, by type of layer where these differ; None where it has none."""
    try:
        return getattr(config_class(), "rope_parameters", None)
    except Exception:  # a class whose own defaults it refuses
        return None


def nested(config: Any) -> tuple[list[str], Any]:
    """Where the language model's config stands in a config, and that config; nowhere where it is the config itself."""
    text = config.get_text_config(decoder=True)
    for key in config.sub_configs:
        inner = getattr(config, key, None)
        if inner is text:
            return [key], text
        if inner is not None and hasattr(inner, "sub_configs"):
            path, deeper = nested(inner)
            if path and type(deeper) is type(text):
                return [key, *path], deeper
    return [], config


def around(model_type: str) -> dict[str, Any]:
    """What stands around a nested language model: its name, and whether its class ties the embeddings itself."""
    parts = [key for key in CONFIG_MAPPING[model_type].sub_configs if "text" not in key and "decoder" not in key]
    words = [word for word in ("vision", "audio") if any(word in key for key in parts)]
    told = f"{' and '.join(words)} tower{'s' if len(words) > 1 else ''} and projector" if words else "other parts"
    # A causal class of such a type is the language model alone, so that mapping comes last.
    model_class = next((found for name in reversed(MAPPINGS) if (found := mapped(name, model_type))), None)
    if model_type in NEVER_TIED:
        return {"left_out": told, "ties": "never"}
    if model_type in TIED_BY_PART:
        part = TIED_BY_PART[model_type]
        ties = getattr(getattr(CONFIG_MAPPING[model_type](), part), "tie_word_embeddings", False)
        return {"left_out": told, "ties": ties, "ties_at": part}
    if model_type in TIED_BY_TEXT or not getattr(model_class, "_tied_weights_keys", None):
        return {"left_out": told}
    return {"left_out": told, "ties": getattr(CONFIG_MAPPING[model_type](), "tie_word_embeddings", False)}


def inside(model_type: str, path: list[str], text: Any) -> dict[str, Any]:
    """What a config of a nested language model means there: defaults of its own, ties, or fields at the top."""
    config_class = CONFIG_MAPPING[model_type]
    told: dict[str, Any] = {}
    try:
        made = config_class(**nest(path, {"model_type": text.model_type})).get_text_config(decoder=True)
    except Exception:  # it refuses so short a one
        made = type(text)()
    names = facts(type(text))["defaults"]
    here, alone = ({name: vars(config).get(name) for name in names} for config in (made, type(text)()))
    own = {name: value for name, value in here.items() if type(value) is int and value != alone[name]}
    own |= {"head_dim": 128} if model_type in HEADS_OF_128 else {}
    if own:
        told["text_defaults"] = own
    for key, fields in (
        ("ties_with_text", {"tie_word_embeddings": False, **nest(path, {"tie_word_embeddings": True})}),
        ("flat", {"hidden_size": 192}),
    ):
        try:
            config = config_class(**fields)
        except Exception as error:  # what it refuses is told
            sys.stderr.write(f"{model_type}, {key}: {error}\n")
            continue
        if key == "flat" and config.get_text_config(decoder=True).hidden_size == 192:
            told["flat"] = True
        if key == "ties_with_text" and (config.to_dict().get("tie_word_embeddings") or model_type in TIED_BY_EITHER):
            told["ties_with_text"] = True
    return told


def nest(path: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    """Fields at their place."""
    for key in reversed(path):
        fields = {key: fields}
    return fields


def encoders(config: Any) -> list[Any]:
    """The configs of what cross attention reads, where a model nests them: that one, and the text config inside."""
    inner = getattr(config, READ.get(config.model_type, ""), None)
    return [found for found in (inner, getattr(inner, "text_config", None)) if found is not None]


def fixed(config_class: Any, path: list[str]) -> bool:
    """Whether the nested config is of one class, whatever model_type it says."""
    for key in path[:-1]:
        config_class = config_class.sub_configs[key]
    return config_class.sub_configs[path[-1]] is not transformers.AutoConfig


def mapped(name: str, model_type: str) -> Any:
    """The model class that one mapping has for a type."""
    classes = getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {})
    return getattr(transformers, classes[model_type], None) if model_type in classes else None


def model_types() -> list[str]:
    """Every model type that one of the library's mappings of language models knows."""
    found = set()
    for name in MAPPINGS:
        found |= set(getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {}))
    return sorted(found & set(CONFIG_MAPPING))


def main() -> None:
    """Write the file."""
    warnings.simplefilter("ignore")
    classes: dict[str, Any] = {}
    lines: dict[str, Any] = {}
    for model_type in model_types():
        config_class = CONFIG_MAPPING[model_type]
        classes[model_type] = config_class
        try:
            config = config_class()
            path, text = nested(config)
            read = encoders(config)
        except Exception as error:  # a class whose own defaults it refuses: read without them
            sys.stderr.write(f"{model_type}: {error}\n")
            path = []
            read = []
        for inner in read:
            classes.setdefault(inner.model_type, type(inner))
        if path:
            told = {**around(model_type), **inside(model_type, path, text)}
            lines[model_type] = {"text": path, "text_type": text.model_type, **told}
            if model_type in HEAD_OF_ITS_OWN:
                lines[model_type]["own_head"] = True
            if fixed(config_class, path):
                lines[model_type]["text_fixed"] = True
            classes.setdefault(text.model_type, type(text))
    for model_type, config_class in classes.items():
        lines[model_type] = {**facts(config_class), **lines.get(model_type, {})}
    data = {"transformers": transformers.__version__, **dict(sorted(lines.items()))}
    written = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in data.items())
    OUTPUT.write_text(f"{{\n{written}\n}}\n")
    sys.stdout.write(f"{OUTPUT}: {len(lines)} model types of transformers {transformers.__version__}\n")


if __name__ == "__main__":
    main()
