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
    from kvcalc.model import ModelSpec


_HERE = os.path.dirname(os.path.abspath(__file__))
_BUNDLE = os.path.join(_HERE, "bundled.json")


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
    if short in _lines():  # where such a word is a part of the name
        return short
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
    from kvcalc.readers.plain import from_plain

    return from_plain(_plain(name)["spec"])


def build(folder: str) -> str:
    """Read every config of a folder through the door and return bundled.json's text."""
    from kvcalc.readers.native import read_native
    from kvcalc.readers.plain import to_plain
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
