"""JSON Schemas (draft 7, which editors know) of what is read and written: configs, budgets and rows.

Those of files are made from the models at the door, so they cannot disagree with the reader. Laws between fields,
such as heads that divide, stay with the reader, which says them with their place.
"""

from __future__ import annotations

from typing import Any

from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.glossary import MEANINGS
from kvcalc.rows import ASKED, FRACTIONS, KEYS, LABELS, TEXTS
from kvcalc.workload import PARALLEL

DRAFT = "http://json-schema.org/draft-07/schema#"
WORDS: dict[str, dict[str, Any]] = {
    **{key: {"type": "string"} for key in ("model", "variant", "attention", "cache_dtype", "weight_dtype")},
    "kv_cache": {"enum": ["on", "off"]},
    "mla_decode": {"enum": ["absorbed", "naive"]},
    "mla_prefill": {"enum": ["absorbed", "naive"]},
    "state_dtype": {"type": ["string", "null"]},
    "encoder_tokens": {"type": ["integer", "null"], "minimum": 0},
    "engine": {"enum": [*ENGINES]},
    "mtp": {"enum": ["on", "off", None]},
    "engine_version": {"type": ["string", "null"]},
    "engine_options": {"type": ["string", "null"]},
    "on": {"type": ["string", "null"]},
    **{key: {"enum": ["compute", "memory", None]} for key in TEXTS},
    **{key: {"type": "integer", "minimum": 1} for key in PARALLEL},
}


def json_schema(of: str) -> dict[str, Any]:
    """Return the schema of a 'config', a 'budget' or a 'hardware' file, or of the 'rows' that compare writes as JSON.

    Raises KvcalcError for any other word.
    """
    made = {"config": _config, "budget": _budget, "hardware": _hardware, "rows": _rows}
    if of not in made:
        raise KvcalcError(f"no schema of {of!r}", did_you_mean(of, made) or f"one of {', '.join(made)}")
    return made[of]()


def _config() -> dict[str, Any]:
    from kvcalc.readers.schema import ModelFile

    return _of_file("kvcalc config", ModelFile.model_json_schema())


def _budget() -> dict[str, Any]:
    from kvcalc.readers.budget import BudgetFile

    return _of_file("kvcalc budget", BudgetFile.model_json_schema())


def _hardware() -> dict[str, Any]:
    from kvcalc.readers.hardware import AcceleratorFile

    return _of_file("kvcalc hardware", AcceleratorFile.model_json_schema())


def _rows() -> dict[str, Any]:
    properties = {key: {"description": MEANINGS[key], **_of_value(key)} for key in KEYS}
    item = {"type": "object", "properties": properties, "required": list(KEYS), "additionalProperties": False}
    description = "what kvcalc compare and kvcalc sweep write with --format json: one flat record a row"
    return {"$schema": DRAFT, "title": "kvcalc rows", "description": description, "type": "array", "items": item}


def _of_value(key: str) -> dict[str, Any]:
    """Results are null where they do not apply; what was asked is never, but for what few models have."""
    if key in WORDS:
        return WORDS[key]
    number = "number" if key in FRACTIONS else "integer"
    return {"type": number if key in (*LABELS, *ASKED) else [number, "null"], "minimum": 0}


def _of_file(title: str, made: dict[str, Any]) -> dict[str, Any]:
    """Pydantic's schema in the words of draft 7."""
    definitions = {name: _plain(schema) for name, schema in sorted(made.pop("$defs", {}).items())}
    return {"$schema": DRAFT, **_plain(made), "title": title, "definitions": definitions}


def _plain(schema: Any) -> Any:
    """Drop what is pydantic's own, and write what draft 7 writes otherwise; properties keep their order."""
    if isinstance(schema, list):
        return [_plain(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for word, value in schema.items():
        if word in ("properties", "patternProperties"):
            kept[word] = {name: _plain(inner) for name, inner in value.items()}
        elif word == "$ref":
            kept[word] = value.replace("#/$defs/", "#/definitions/")
        elif word == "oneOf":  # told apart by `kind`: what matches any matches one
            kept["anyOf"] = _plain(value)
        elif word not in ("title", "discriminator", "default", "propertyNames"):
            kept[word] = _plain(value)
    if "anyOf" in kept:
        kept = _either(kept.pop("anyOf"), kept)
    if "const" in kept:
        kept.pop("enum", None)  # older versions of pydantic say both
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    if "$ref" in kept and len(kept) > 1:  # draft 7 reads nothing beside a $ref
        kept["allOf"] = [{"$ref": kept.pop("$ref")}]
    return kept


def _either(choices: list[dict[str, Any]], beside: dict[str, Any]) -> dict[str, Any]:
    """Write a choice without choices inside it, and an optional plain type as one with two types: editors say less."""
    flat = [inner for choice in choices for inner in (choice["anyOf"] if list(choice) == ["anyOf"] else [choice])]
    null = {"type": "null"}
    if len(flat) == 2 and null in flat:
        other = next(choice for choice in flat if choice != null)
        types = other.get("type", [])
        if types and not {"enum", "const"} & set(other):
            return {**beside, **other, "type": [*([types] if isinstance(types, str) else types), "null"]}
    return {**beside, "anyOf": flat}
