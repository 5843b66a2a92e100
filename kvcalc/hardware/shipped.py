"""The accelerators that ship with kvcalc: accelerators.json, each quantity with its sources."""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache
from typing import Any

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.hardware.accelerator import UNVERIFIED, Accelerator


@lru_cache(maxsize=1)
def _plain() -> dict[str, Any]:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "accelerators.json")
    with open(path, encoding="utf-8") as file:
        plain: dict[str, Any] = json.load(file)
    return plain


def accelerators() -> list[Accelerator]:
    """Every accelerator that ships."""
    return [_made(plain) for plain in _plain()["accelerators"]]


def hardware_names() -> list[str]:
    """Their names."""
    return [plain["name"] for plain in _plain()["accelerators"]]


def accelerator_of(word: str, where: str) -> Accelerator:
    """The accelerator that a word names: case and - _ do not matter. Raises KvcalcError, with what was meant."""
    wanted = _key(word)
    for plain in _plain()["accelerators"]:
        if wanted in (_key(name) for name in (plain["name"], *plain.get("aliases", ()))):
            return _made(plain)
    names = hardware_names()
    begun = [name for name in names if wanted and _key(name).startswith(wanted)]
    if begun:
        raise KvcalcError(f"{where}: {word!r} may be {' or '.join(begun)}", "name one of them")
    hint = did_you_mean(word, names) or "`kvcalc list hardware` names those known; a YAML file of your own works too"
    raise KvcalcError(f"{where}: unknown accelerator {word!r:.60}", hint)


def _key(name: str) -> str:
    return re.sub(r"[-_ ]|^nvidia|^amd", "", name.lower())


def _made(plain: dict[str, Any]) -> Accelerator:
    sources = _plain()["sources"]
    found = {what: [sources[key] for key in keys] for what, keys in plain["found_in"].items()}
    return Accelerator(
        name=plain["name"],
        vendor=plain["vendor"],
        memory_bytes=plain["memory_bytes"],
        bandwidth_bytes_per_second=plain["bandwidth_bytes_per_second"],
        peaks=tuple(plain["peaks"].items()),
        interconnect=plain.get("interconnect", ""),
        interconnect_bytes_per_second=plain.get("interconnect_bytes_per_second", 0),
        sources=tuple((what, "; ".join(texts)) for what, texts in found.items()),
        unverified=tuple(what for what, texts in found.items() if UNVERIFIED in texts),
        note=plain.get("note", ""),
        gpu_class=plain.get("gpu_class", ""),
    )
