"""Rotary positions of a Hugging Face config: rope_theta and rope_scaling as of old, or rope_parameters.

The class's own are in hf_defaults.json, generated from the library: a type without any there has no RoPE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

FULL, LOCAL = "full_attention", ("sliding_attention", "chunked_attention")
# Layers of full reach have no positions: modeling_<type>.py rotates only where a layer slides or is chunked.
LOCAL_ONLY = {"afmoe", "cohere2", "cohere2_moe", "flint", "llama4_text", "muse_glimmer_text", "muse_spark_text"}
# So too, but where the config has no window, and all layers rotate.
LOCAL_ONLY_BESIDE_WINDOWS = {"exaone4", "exaone_moe", "kolibri1"}
WITHOUT = {"alibi": True, "position_embedding_type": "nope", "use_mem_rope": False}  # fields that switch it off
KEYS = ("rope_theta", "rope_parameters", "rope_scaling")
BASES = ("rope_theta", "global_rope_theta", "rotary_emb_base")
LOCAL_BASES = ("rope_local_base_freq", "local_rope_theta", "swa_rope_theta")
PARTS = ("partial_rotary_factor", "rotary_pct")
NUMBERS = ("beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor")


def rope_of(fields: Fields, model_type: str, facts: dict[str, Any]) -> dict[str, Any] | None:
    """The native `rope` of a config, None where it has no RoPE, or one by types of layers that are not told apart here.

    `facts` are its class's. Raises ConfigError where a number is none.
    """
    config, own, defaults = fields.config, facts.get("rope"), facts["defaults"]
    if not own or any(config.get(name, defaults.get(name)) == off for name, off in WITHOUT.items()):
        return None
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise fields.error("rope_scaling", "not a mapping")
    nested = FULL in given or any(name in given for name in LOCAL)
    usual, usual_local = _by_layer(own)
    if usual is None:
        return None
    params, local = _by_layer(given) if nested else (given, None)
    params, local = params or {}, local or {}
    told: dict[str, Any] = {"base": _number(fields, "rope_theta", params, BASES, usual.get("rope_theta"))}
    if told["base"] is None:
        return None
    usual_part = _rotated(fields, defaults) or usual.get("partial_rotary_factor")
    part = _number(fields, "partial_rotary_factor", params, PARTS, usual_part)
    if part is not None and part != 1:
        told["partial_rotary_factor"] = part
    if usual_local is not None:
        told["local_base"] = _number(fields, "rope_theta", local, LOCAL_BASES, usual_local.get("rope_theta"))
    if told.get("local_base") in (None, told["base"]):
        told.pop("local_base", None)
    kind = params.get("rope_type", params.get("type")) if params else usual.get("rope_type")
    if kind not in (None, "default", "mrope"):
        told["scaling"] = _scaling(fields, str(kind), params or usual)
    beside = config.get("sliding_window", defaults.get("sliding_window")) is not None
    if model_type in LOCAL_ONLY or (model_type in LOCAL_ONLY_BESIDE_WINDOWS and beside):
        told["full_layers"] = False
    return _by_number(fields, told) if config.get("layer_rope_theta") is not None else told


def _rotated(fields: Fields, defaults: dict[str, Any]) -> float | None:
    """The share of a head that `rotary_dim` elements are, as MiniMax's configs have it; None where they say nothing."""
    rotated: Any = fields.config.get("rotary_dim")
    width: Any = fields.config.get("head_dim", defaults.get("head_dim"))
    if any(type(number) is not int or number < 1 for number in (rotated, width)):
        return None
    return float(min(1.0, rotated / width))


def _by_number(fields: Fields, told: dict[str, Any]) -> dict[str, Any] | None:
    """Bases that are listed layer by layer, 0 being none; None where layers of one reach have several."""
    bases, kinds = fields.config["layer_rope_theta"], fields.config.get("layer_types")
    if not isinstance(bases, list) or not isinstance(kinds, list) or len(bases) != len(kinds):
        return None
    checked = [_number(fields, "layer_rope_theta", {"layer_rope_theta": base}, (), 0) for base in bases]
    full = {base for base, kind in zip(checked, kinds, strict=True) if kind == FULL}
    local = {base for base, kind in zip(checked, kinds, strict=True) if kind != FULL}
    far, near = (max(one, default=0) for one in (full, local))
    if max(len(full), len(local)) > 1 or not (far or near) or (local and not near):
        return None
    told = {name: value for name, value in told.items() if name not in ("local_base", "full_layers")}
    told["base"] = far or near
    if full and not far:
        told["full_layers"] = False
    elif near and near != told["base"]:
        told["local_base"] = near
    return told


def _by_layer(told: dict[str, Any]) -> tuple[Any, Any]:
    """RoPE of layers of full reach and of the others; (None, None) where layers are of types of its own."""
    inner = {name: value for name, value in told.items() if isinstance(value, dict)}
    if not inner:
        return told, None
    local = next((inner[name] for name in LOCAL if name in inner), None)
    return inner.get(FULL), local


def _number(fields: Fields, name: str, params: dict[str, Any], names: tuple[str, ...], absent: Any) -> Any:
    """A number of rope_parameters, else under a name of its own, else the class's."""
    key = next((key for key in names if fields.config.get(key) is not None), name)
    value = params.get(name)
    value = fields.config.get(key, absent) if value is None else value
    value = absent if value is None else value
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12):
        raise fields.error(key, f"{str(value)[:50]} is no number that a frequency can be made of")
    return value


def _scaling(fields: Fields, kind: str, params: dict[str, Any]) -> dict[str, Any]:
    limit = _number(fields, "max_position_embeddings", {}, ("max_position_embeddings",), 0)
    names = ("original_max_position_embeddings",)
    original = _number(fields, names[0], params, names, limit)
    factor = _number(fields, "factor", params, (), (limit / original if original else 1))
    told: dict[str, Any] = {"kind": "".join(c for c in kind if c.isalnum() or c in "_-") or "unknown"}
    told["factor"] = factor
    if kind in ("yarn", "llama3") or names[0] in params:
        told[names[0]] = int(original)
    told.update({name: params[name] for name in NUMBERS if params.get(name) is not None})
    for name in NUMBERS:
        if name in told:
            _number(fields, name, told, (), None)
    if params.get("truncate") is False:
        told["truncate"] = False
    return told
