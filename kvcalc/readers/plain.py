"""A model as plain data, numbers and words in mappings and lists, and back: what bundled.json holds of each."""

from __future__ import annotations

from typing import Any

from kvcalc.attention.kinds import FEEDFORWARDS, MEMORIES, REACHES, class_of
from kvcalc.model import Branch, EncoderSpec, Extra, Layer, LayerGroup, ModelSpec, runs
from kvcalc.rotary import Rope, Scaling
from kvcalc.weight_formats import Quantization, Stored

SELDOM = (
    *("extras", "encoder", "encoder_tokens", "state_dtype", "lm_head_size", "mtp", "predicted", "rope"),
    *("quantization", "architecture"),
)


def from_plain(plain: dict[str, Any]) -> ModelSpec:
    """Return the model that a plain form says."""
    spec = _stack(plain)
    if spec.get("encoder"):
        spec["encoder"] = EncoderSpec(**_stack(spec["encoder"]))
    if "mtp" in spec:
        spec["mtp"] = tuple(_group(group) for group in spec["mtp"])
    if "rope" in spec:
        scaling = spec["rope"]["scaling"]
        spec["rope"] = Rope(**{**spec["rope"], "scaling": Scaling(**scaling) if scaling else None})
    if "quantization" in spec:
        told = spec["quantization"]
        stored = tuple(Stored(*one) for one in told.get("stored", ()))
        spec["quantization"] = Quantization(**{**told, "kept": tuple(told["kept"]), "stored": stored})
    return ModelSpec(**spec)


def _stack(plain: dict[str, Any]) -> dict[str, Any]:
    groups = tuple(_group(group) for group in plain["groups"])
    return {**plain, "groups": groups, "extras": _extras(plain.get("extras", ()))}


def _group(plain: dict[str, Any]) -> LayerGroup:
    branches = tuple(
        Branch(
            _of_kind(MEMORIES, branch["memory"]),
            _of_kind(REACHES, branch["reach"]),
            branch["shares_kv"],
            branch.get("shares_weights", False),
        )
        for branch in plain["branches"]
    )
    feedforward = _of_kind(FEEDFORWARDS, plain["feedforward"]) if plain["feedforward"] else None
    indices = [index for first, last in plain["indices"] for index in range(first, last + 1)]
    return LayerGroup(Layer(branches, feedforward, plain["norms"], _extras(plain.get("extras", ()))), tuple(indices))


def _extras(plain: list[list[Any]]) -> tuple[Extra, ...]:
    return tuple(
        Extra(name, parameters, work, tuple((symbol, number) for symbol, number in constants), *rest)
        for name, parameters, work, constants, *rest in plain
    )


def _of_kind(kinds: dict[str, tuple[str, str]], plain: dict[str, Any]) -> Any:  # one of these kinds
    told = {key: tuple(map(tuple, value)) if isinstance(value, list) else value for key, value in plain.items()}
    return class_of(kinds, plain["kind"])(**told)


def to_plain(spec: ModelSpec) -> dict[str, Any]:
    """Return what bundled.json holds for a model."""
    plain = _plain_stack(spec)
    if spec.encoder:
        plain["encoder"] = _plain_stack(spec.encoder)
    if spec.mtp:
        plain["mtp"] = _plain_groups(spec.mtp)
    if spec.rope:
        scaling = spec.rope.scaling
        plain["rope"] = {**spec.rope._asdict(), "scaling": scaling._asdict() if scaling else None}
    if spec.quantization:
        late = ("stored", "parameters", "experts")
        plain["quantization"] = {
            key: told for key, told in spec.quantization._asdict().items() if told or key not in late
        }
    return {"attention": spec.attention, "layers": spec.layers, "spec": plain}


def _plain_stack(stack: ModelSpec | EncoderSpec) -> dict[str, Any]:
    """A stack's fields; what came late to the format is left out where it says nothing."""
    plain = {**stack._asdict(), "groups": _plain_groups(stack.groups)}
    absent = stack._field_defaults
    return {key: told for key, told in plain.items() if key not in SELDOM or told != absent[key]}


def _plain_groups(groups: tuple[LayerGroup, ...]) -> list[dict[str, Any]]:
    return [
        {
            "branches": [_plain_branch(branch) for branch in group.layer.branches],
            "feedforward": group.layer.feedforward._asdict() if group.layer.feedforward else None,
            "norms": group.layer.norms,
            **({"extras": group.layer.extras} if group.layer.extras else {}),
            "indices": list(runs(group.indices)),
        }
        for group in groups
    ]


def _plain_branch(branch: Branch) -> dict[str, Any]:
    flags = {"shares_weights": True} if branch.shares_weights else {}
    return {
        "memory": branch.memory._asdict(),
        "reach": branch.reach._asdict(),
        "shares_kv": branch.shares_kv,
        **flags,
    }
