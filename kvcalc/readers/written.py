"""What a config says, field by field, and which of it another version of the config says otherwise."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from kvcalc.difference import Field

if TYPE_CHECKING:
    from kvcalc.readers.load import Loaded
    from kvcalc.readers.text import Place
    from kvcalc.rows import Value

MAX_DIGITS = 18
MAX_TEXT = 2000
_KEY = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
_WORD = r"[A-Za-z_][A-Za-z0-9_ ./+-]*"
_RESERVED = ("true", "false", "null")


def changed_fields(old: Loaded, new: Loaded) -> tuple[Field, ...]:
    """Every field that differs, as its file writes it; two dialects meet in the native documents they mean."""
    dialects = {"model_type" in loaded.document.data for loaded in (old, new)}
    before, after = (loaded.document if len(dialects) == 1 else loaded.native for loaded in (old, new))
    was, now = _flat(before.data), _flat(after.data)
    places = [*now, *(place for place in was if place not in now)]
    return tuple(
        Field(
            _name(place),
            after.mark(place)[0] if place in now else 0,
            _value(was[place]) if place in was else None,
            _value(now[place]) if place in now else None,
        )
        for place in places
        if place not in was or place not in now or json.dumps(was[place]) != json.dumps(now[place])
    )


def _flat(data: Any) -> dict[Place, Any]:
    """Every value of a document by its place; a list is one value."""
    found: dict[Place, Any] = {}

    def walk(value: Any, place: Place) -> None:  # at most as deep as text.MAX_DEPTH
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, (*place, key))
        else:
            found[place] = value

    walk(data, ())
    return found


def _name(place: Place) -> str:
    """'attention.num_key_value_heads'; a key that is no word stands in quotes."""
    return ".".join(str(key) if re.fullmatch(_KEY, str(key)) else json.dumps(str(key)[:100]) for key in place)


def _value(value: Any) -> Value:
    """A number as it is, anything else as text that steers nothing: it holds no control character and no formula."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        plain = abs(value) < 10**MAX_DIGITS if isinstance(value, int) else math.isfinite(value)
        return value if plain else f"the number {_cut(str(value))}"
    if isinstance(value, list):
        return _cut(f"[{', '.join(_runs(value))}]")
    if isinstance(value, str) and re.fullmatch(_WORD, value) and value not in _RESERVED:
        return _cut(value)
    return _cut(json.dumps(value))


def _runs(values: list[Any]) -> list[str]:
    """Equal neighbours as one: 'sliding x5', 'full'."""
    runs: list[tuple[str, int]] = []
    for value in values:
        text = str(_value(value))
        if runs and runs[-1][0] == text:
            runs[-1] = (text, runs[-1][1] + 1)
        else:
            runs.append((text, 1))
    return [text if times == 1 else f"{text} x{times}" for text, times in runs]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text):,} characters)"
