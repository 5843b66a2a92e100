"""Write kvcalc/readers/hf_defaults.json: class defaults and aliases of the model types that kvcalc reads.

Run with the transformers version to record:  python scripts/hf_defaults.py
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from kvcalc.readers.families import FAMILIES

OUTPUT = Path(__file__).parent.parent / "kvcalc" / "readers" / "hf_defaults.json"
IRRELEVANT = re.compile(
    r".*(token_id|token_index|_id|eps|epsilon|dropout|pdrop|range|act|activation|rope_.*|coef|output_|use_cache|method"
    r"|group|factor|prob|tp|scale|summary|softcapping|alpha|limit|labels|attn_weights|upcast|exact|mm_tokens"
    r"|jitter|tuning|scalar|torch|problem_type|config|is_decoder|residual|original_max|qk_norm|alibi)[a-z0-9_]*"
)
KEPT = ("no_rope_layers", "no_rope_layer_interval", "qk_rope_head_dim")
STANDARD = {"num_local_experts": "num_experts", "n_routed_experts": "num_experts"}
# Read by the classes' own __post_init__, so neither a field nor in attribute_map.
MORE_ALIASES = {"bloom": {"n_embed": "hidden_size"}, "falcon": {"n_embed": "hidden_size"}}
MORE_DEFAULTS = {"gemma3_text": {"sliding_window_pattern": 6}}


def facts(model_type: str) -> dict[str, object]:
    """Defaults by their standard name, the names each may be given by (the first wins), fields that refuse null."""
    config_class = CONFIG_MAPPING[model_type]
    base = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)} - {"tie_word_embeddings"}
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.name not in base}
    aliases = {**config_class.attribute_map, **MORE_ALIASES.get(model_type, {})}
    names = {}
    defaults: dict[str, object] = dict(MORE_DEFAULTS.get(model_type, {}))
    not_null = []
    for name, field in fields.items():
        if name not in KEPT and IRRELEVANT.fullmatch(name):
            continue
        standard = next((alias for alias, real in aliases.items() if real == name and alias != "n_embed"), name)
        given_by = [alias for alias, real in aliases.items() if name in (real, alias) and alias != name]
        given_by += [real for alias, real in aliases.items() if alias == name and real not in given_by]
        standard = STANDARD.get(standard, standard)
        defaults[standard] = field.default
        if given_by or standard != name:
            names[standard] = [*given_by, name]
        if "None" not in str(field.type) and isinstance(field.default, int) and not isinstance(field.default, bool):
            not_null.append(standard)
    return {"class": config_class.__name__, "defaults": defaults, "names": names, "not_null": not_null}


def main() -> None:
    """Write the file."""
    types = {name: facts(name) for name, family in FAMILIES.items() if not family.text_config}
    nested = {name: {"class": CONFIG_MAPPING[name].__name__} for name, family in FAMILIES.items() if family.text_config}
    data = {"transformers": transformers.__version__, "types": {**types, **nested}}
    OUTPUT.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{OUTPUT}: {len(data['types'])} model types of transformers {transformers.__version__}\n")


if __name__ == "__main__":
    main()
