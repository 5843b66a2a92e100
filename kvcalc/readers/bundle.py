"""The models that ship with kvcalc, already read.

configs/*.yaml is the source. `python -m kvcalc.readers.bundle` reads it through the door, as any user's file, and
writes the plain world of every model to bundled.json, which is all that a start needs; a test holds the two equal.
"""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache
from typing import Any

from kvcalc.attention.kinds import FEEDFORWARDS, MEMORIES, REACHES, class_of
from kvcalc.model import Branch, EncoderSpec, Extra, Layer, LayerGroup, ModelSpec, runs
from kvcalc.rope import Rope, Scaling

_HERE = os.path.dirname(os.path.abspath(__file__))
_BUNDLE = os.path.join(_HERE, "bundled.json")

SELDOM = ("extras", "encoder", "encoder_tokens", "state_dtype", "lm_head_size", "mtp", "predicted", "rope")


@lru_cache(maxsize=1)
def _lines() -> dict[str, str]:
    """The line of each model, unread: a start reads the one that it needs."""
    with open(_BUNDLE, encoding="utf-8") as file:
        lines = [line.rstrip(",\n").partition(": ") for line in file if line.startswith('"')]
    return {json.loads(name): plain for name, _, plain in lines}


def _plain(name: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(_lines()[name])
    return plain


def names() -> list[str]:
    """Names of the bundled models, in order."""
    return list(_lines())


def models() -> dict[str, tuple[str, int, str]]:
    """Attention label, layers and source of each bundled model."""
    told = {name: _plain(name) for name in names()}
    return {name: (plain["attention"], plain["layers"], plain["spec"]["source"]) for name, plain in told.items()}


def short_name(name: str) -> str:
    """Return the name as bundled: lower case, without owner, and without words that leave the shape the same."""
    short = name.rsplit("/", 1)[-1].lower()
    short = re.sub(r"-(hf|pt|it|instruct|base|chat)(?=-|$)", "", short)
    return short.removeprefix("meta-")


def config_path(name: str) -> str:
    """Return the YAML file of a bundled model: beside the package in a checkout, inside it when installed."""
    package = os.path.dirname(_HERE)
    for folder in (os.path.join(package, "configs"), os.path.join(os.path.dirname(package), "configs")):
        path = os.path.join(folder, f"{name}.yaml")
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f"{name}.yaml")


def read(name: str) -> ModelSpec:
    """Return a bundled model."""
    return from_plain(_plain(name)["spec"])


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


def build(folder: str) -> str:
    """Read every config of a folder through the door and return bundled.json's text."""
    from kvcalc.readers.native import read_native
    from kvcalc.readers.text import read_documents

    files = [name for name in os.listdir(folder) if name.endswith(".yaml")]
    specs = [read_native(read_documents(os.path.join(folder, file))[0]) for file in files]
    specs.sort(key=lambda spec: spec.name)
    lines = [f"{json.dumps(spec.name)}: {json.dumps(to_plain(spec), separators=(',', ':'))}" for spec in specs]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    text = build(os.path.join(os.path.dirname(os.path.dirname(_HERE)), "configs"))
    with open(_BUNDLE, "w", encoding="utf-8") as output:
        output.write(text)
