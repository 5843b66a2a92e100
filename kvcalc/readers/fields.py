"""The fields of one Hugging Face config: what it says, under any of a field's names, else its class's default.

Every look-up is remembered with where the value came from, which is what `show --provenance` prints.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.errors import FormulaError, did_you_mean
from kvcalc.formula import parse
from kvcalc.readers.schema import MAX_LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.errors import ConfigError, NotUnderstoodError
    from kvcalc.readers.text import Document, Place

LAYER_TYPES = {"full_attention": "full", "sliding_attention": "sliding", "chunked_attention": "chunked"}
FORMER = {  # what the library wrote before, and reads as this
    "mamba": "linear_attention",
    "attention": "full_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}
NEARLY = 0.9


class Fields:
    """`config` is the mapping at `place` in the document; `facts` are its class's defaults and names."""

    def __init__(self, document: Document, place: Place, facts: dict[str, Any], version: str) -> None:
        self.document = document
        self.place = place
        data = document.data
        for step in place:
            data = data[step]
        self.config: dict[str, Any] = data
        self._facts = facts
        self._version = version
        self._derived: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.read: list[str] = []
        self.used: dict[str, Place] = {}

    def derive(self, derived: dict[str, Any], origin: str) -> None:
        """Add fields of the reader's own, and what they were decided by."""
        self._derived = derived
        self.origins.update(dict.fromkeys(derived, origin))

    def knows(self, name: str) -> bool:
        """Whether the model type has this field at all."""
        return name in self._facts["defaults"] or name in self._derived

    def beside(self, key: str, model_type: str, *inner: str) -> Fields:
        """The fields of another config that stands beside this one, or inside that one: what cross attention reads."""
        from kvcalc.readers.huggingface import library_facts

        self.sibling(key, *inner)
        facts = library_facts(model_type) or {"class": model_type, "defaults": {}, "names": {}, "not_null": []}
        return Fields(self.document, (*self.place[:-1], key, *inner), facts, self._version)

    def sibling(self, key: str, *inner: str) -> dict[str, Any]:
        """The mapping itself. Raises ConfigError where there is none."""
        place: Place = self.place[:-1]
        data: Any = self.document.data
        for step in place:
            data = data[step]
        for step in (key, *inner):
            place = (*place, step)
            data = data.get(step)
            if not isinstance(data, dict):
                raise self.document.error(place, f"missing field {step!r}, which cross attention reads")
        found: dict[str, Any] = data
        return found

    def error(self, name: str, message: str, hint: str = "") -> ConfigError:
        """Make an error at a field."""
        key = self._key(name) or name
        return self.document.error((*self.place, key), f"{key}: {message}", hint)

    def not_understood(self, name: str, message: str) -> NotUnderstoodError:
        """Make an error at a field whose value makes another model of it."""
        key = self._key(name) or name
        return self.document.not_understood((*self.place, key), f"{key}: {message}")

    def _key(self, name: str) -> str | None:
        """Return the key that gives this field in this file."""
        names: list[str] = self._facts["names"].get(name, [name])
        return next((candidate for candidate in names if candidate in self.config), None)

    def given(self, name: str) -> bool:
        """Whether the file says it."""
        return self._key(name) is not None

    def raw(self, name: str) -> Any:  # whatever the file holds
        """Return the value as given, else the default, and remember which."""
        self.read.append(name)
        if name in self._derived:
            return self._derived[name]
        key = self._key(name)
        if key is None:
            value = self._facts["defaults"].get(name)
            if name in self._facts["defaults"]:
                shown = json.dumps(value)
                library = f"{self._facts['class']}, transformers {self._version}"
                self.origins[name] = f"{name} absent: {shown}, the default of {library}"
            return value
        value = self.config[key]
        if value is None and name in self._facts["not_null"]:
            raise self.error(name, f"null, but {self._facts['class']} needs a number")
        self.origins[name] = f"{key}: {json.dumps(value)}"
        self.used[name] = (*self.place, key)
        return value

    def optional(self, name: str) -> int | None:
        """Return a whole number from 0, or None."""
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(name, f"{value!r} is not a whole number from 0")
        if name.endswith("_layers") and value > MAX_LAYERS:  # layers are listed one by one
            raise self.error(name, f"{value} is too large", f"at most {MAX_LAYERS}")
        return value

    def number_or_zero(self, name: str) -> int:
        """Return a whole number from 0; absence is an error."""
        value = self.optional(name)
        if value is None:
            raise self.document.error(self.place, f"missing field {name!r}")
        return value

    def number(self, name: str) -> int:
        """Return a whole number from 1."""
        value = self.number_or_zero(name)
        if value == 0:
            raise self.error(name, "0 is too small", "at least 1")
        return value

    def at_most(self, name: str, most: int) -> None:
        """Refuse a number that is too large."""
        if (value := self.number(name)) > most:
            raise self.error(name, f"{value} is too large", f"at most {most}")

    def flag(self, name: str) -> bool:
        """Return true or false; null is false."""
        value = self.raw(name)
        if not isinstance(value, bool | None):
            raise self.error(name, f"{value!r} is not true or false")
        return bool(value)

    def integers(self, name: str) -> list[int] | None:
        """Return a list of whole numbers, or None."""
        value = self.raw(name)
        if value is not None and not (isinstance(value, list) and all(type(item) is int for item in value)):
            raise self.error(name, "not a list of whole numbers")
        return value

    def integer(self, name: str) -> int:
        """Return a whole number, a negative one too."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, f"{value!r} is not a whole number")
        return value

    def real(self, name: str) -> float:
        """Return a number, whole or not, from 0."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise self.error(name, f"{value!r} is not a number from 0")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a mapping, an empty one where absent."""
        value = self.raw(name)
        if value is not None and not isinstance(value, dict):
            raise self.error(name, "not a mapping")
        return value or {}

    def words(self, name: str, known: Iterable[str]) -> list[str] | None:
        """Return a list of one of the known words a layer, or None where absent."""
        value = self.raw(name)
        if value is None:
            return None
        layers = self.number("num_hidden_layers")
        if not isinstance(value, list) or len(value) != layers:
            raise self.error(name, f"not a list of {layers} names, one a layer")
        value = [FORMER[word] if word in FORMER and word not in known else word for word in value]
        for at, word in enumerate(value):
            if not isinstance(word, str) or word not in known:
                place = (*self.place, name, at)
                hint = did_you_mean(str(word), known) or f"known: {', '.join(known)}"
                what = "layer type" if name == "layer_types" else f"word of {name}"
                raise self.document.not_understood(place, f"the {what} {word!r} is not understood", hint)
        return value

    def layer_types(self) -> list[str] | None:
        """Return layer_types as 'full', 'sliding' and 'chunked', or None where absent."""
        words = self.words("layer_types", LAYER_TYPES)
        return None if words is None else [LAYER_TYPES[word] for word in words]

    def checked_window(self, kinds: list[str], window: int | None) -> list[str]:
        """Refuse sliding layers without a window in use."""
        if window is None and "sliding" in kinds:
            raise self.error("layer_types", "has sliding layers, but no window is in use", "see use_sliding_window")
        return kinds

    def first(self, alternatives: tuple[str, ...]) -> tuple[Any, str]:
        """Return the first alternative that is not null, with where it came from."""
        for alternative in alternatives:
            formula = parse(alternative)
            names = formula.symbols()
            if names == (alternative,):
                value = self.raw(alternative)
                if value is not None:
                    return value, self.origins.get(alternative, "decided by the reader")
            elif all(self.optional(name) is not None for name in names):
                divisors = names[1:] if "/" in alternative else ()
                numbers = {name: self.number(name) if name in divisors else self.number_or_zero(name) for name in names}
                try:
                    return formula.evaluate(numbers), f"{alternative} = {formula.with_numbers(numbers)}"
                except FormulaError as error:
                    raise self.error(names[-1], f"{alternative}: {error.message}") from None
        raise self.document.error(self.place, f"missing field {alternatives[0]!r}")

    def check_typos(self) -> None:
        """Refuse a key that is nearly a known one where that one is absent: it would silently be the default."""
        from difflib import SequenceMatcher

        names = set(self._facts["defaults"]) | {name for names in self._facts["names"].values() for name in names}
        absent = [name for name in names if not self.given(name)]
        for key in self.config:
            if key in names or key.startswith("_"):
                continue
            for name in absent:
                if abs(len(key) - len(name)) <= 3 and key[:1] == name[:1]:
                    matcher = SequenceMatcher(None, key, name)
                    if matcher.quick_ratio() > NEARLY and matcher.ratio() > NEARLY:
                        message = f"unknown key {key!r}, and {name!r} is absent"
                        raise self.document.error((*self.place, key), message, f"did you mean {name}?")
