"""The models that ship with kvcalc, already read.

configs/*.yaml is the source. `python -m kvcalc.readers.bundle` reads it through the door, as any user's file, and
writes the plain world of every model to bundled.json, which is all that a start needs; a test holds the two equal.
"""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvcalc.model import LayerGroup, ModelSpec

_HERE = os.path.dirname(os.path.abspath(__file__))
_BUNDLE = os.path.join(_HERE, "bundled.json")


@lru_cache(maxsize=1)
def _plain() -> dict[str, Any]:
    with open(_BUNDLE, encoding="utf-8") as file:
        models: dict[str, Any] = json.load(file)
    return models


def names() -> list[str]:
    """Names of the bundled models, in order."""
    return list(_plain())


def models() -> dict[str, tuple[str, int, str]]:
    """Attention label, layers and source of each bundled model."""
    return {name: (plain["attention"], plain["layers"], plain["spec"]["source"]) for name, plain in _plain().items()}


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
    from kvcalc.model import ModelSpec

    spec = dict(_plain()[name]["spec"])
    spec["groups"] = tuple(_group(group) for group in spec["groups"])
    return ModelSpec(**spec)


def _group(plain: dict[str, Any]) -> LayerGroup:
    from kvcalc.model import Branch, Layer, LayerGroup

    branches = tuple(
        Branch(_of_kind(branch["memory"]), _of_kind(branch["reach"]), branch["shares_kv"])
        for branch in plain["branches"]
    )
    feedforward = _of_kind(plain["feedforward"]) if plain["feedforward"] else None
    indices = [index for first, last in plain["indices"] for index in range(first, last + 1)]
    return LayerGroup(Layer(branches, feedforward, plain["norms"]), tuple(indices))


def _of_kind(plain: dict[str, Any]) -> Any:  # one of _kinds
    return _kinds()[plain["kind"]](**plain)


@lru_cache(maxsize=1)
def _kinds() -> dict[str, Any]:
    """What a model is made of, which completing a name and `kvcalc list` need nothing of."""
    from kvcalc.attention.heads import Heads
    from kvcalc.attention.latent import Latent
    from kvcalc.attention.reach import Chunk, Full, Window
    from kvcalc.feedforward import Dense, Experts

    return {
        "heads": Heads,
        "mla": Latent,
        "full": Full,
        "window": Window,
        "chunk": Chunk,
        "dense": Dense,
        "moe": Experts,
    }


def to_plain(spec: ModelSpec) -> dict[str, Any]:
    """Return what bundled.json holds for a model."""
    from kvcalc.model import runs

    plain = spec._asdict()
    plain["groups"] = [
        {
            "branches": [
                {"memory": b.memory._asdict(), "reach": b.reach._asdict(), "shares_kv": b.shares_kv}
                for b in group.layer.branches
            ],
            "feedforward": group.layer.feedforward._asdict() if group.layer.feedforward else None,
            "norms": group.layer.norms,
            "indices": list(runs(group.indices)),
        }
        for group in spec.groups
    ]
    return {"attention": spec.attention, "layers": spec.layers, "spec": plain}


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
