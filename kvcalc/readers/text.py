"""Untrusted text becomes plain data with a place for every key, or one clear error.

YAML is read from the parser's events, in one pass with a stack of our own: no alias is followed, no tag obeyed,
depth and size are bounded, a duplicate key is an error, and nothing recurses, so nothing can be made to explode.
JSON (a published config.json) is read by the standard library; its places are found only when an error needs one.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import ConfigError, KvcalcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BYTES = 500_000
MAX_DEPTH = 20
MAX_VALUES = 50_000

Place = tuple[str | int, ...]
Mark = tuple[int, int]


class Document(NamedTuple):
    """One document: its data, and where each key stands, found when asked for."""

    path: str
    data: Any
    find_marks: Callable[[], dict[Place, Mark]]

    def mark(self, place: Place) -> Mark:
        """Line and column, from 1, of a key, or of the nearest one around it that is in the file."""
        marks = self.find_marks()
        while place not in marks and place:
            place = place[:-1]
        return marks.get(place, (1, 1))

    def error(self, place: Place, message: str, hint: str = "") -> ConfigError:
        """Make an error at a key."""
        line, column = self.mark(place)
        return ConfigError(self.path, message, line=line, column=column, hint=hint)


def read_text(path: str) -> str:
    """A file's text, '-' being stdin. Raises ConfigError where it cannot be read or is no text."""
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ConfigError(path, "not a regular file")
            with open(path, "rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(path, f"larger than {MAX_BYTES:,} bytes: not a model config")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(path, "not UTF-8 text", hint="a config is a YAML or JSON file") from None
    if "\0" in text:
        raise ConfigError(path, "a binary file", hint="a config is a YAML or JSON file")
    return text


def read_documents(path: str) -> list[Document]:
    """Every document of a file."""
    text = read_text(path)
    shown = "<stdin>" if path == "-" else path
    documents = [_read_json(shown, text)] if text.lstrip().startswith("{") else list(_read_yaml(shown, text))
    if not documents:
        raise ConfigError(shown, "an empty file", line=1, column=1, hint="see kvcalc list for examples")
    for document in documents:
        if not isinstance(document.data, dict):
            raise document.error((), "not a mapping of field names to values")
    return documents


def _read_json(path: str, text: str) -> Document:
    """Read one JSON document; text that is no JSON may still be YAML's braces."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise KvcalcError(f"duplicate key {key!r}")
            found[key] = value
        return found

    try:
        data = json.loads(text, object_pairs_hook=unique)
    except KvcalcError as error:
        _marks_of(path, text)  # raises at the second of the two
        raise ConfigError(path, error.message) from None
    except (RecursionError, ValueError):
        try:
            return next(_read_yaml(path, text))
        except ConfigError as error:
            raise _json_error(path, text) or error from None
    return Document(path, data, lambda: _marks_of(path, text))


def _json_error(path: str, text: str) -> ConfigError | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if path.endswith(".json"):
            return ConfigError(path, f"not JSON: {error.msg}", line=error.lineno, column=error.colno)
    except RecursionError:
        pass
    return None


def _marks_of(path: str, text: str) -> dict[Place, Mark]:
    """Places in JSON, by reading it as the YAML that it is but for tabs and surrogate escapes."""
    same_length = re.sub(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", "\\\\u0020", text.replace("\t", " "))
    for document in _read_yaml(path, same_length, values=False):
        return document.find_marks()
    return {}


def _read_yaml(path: str, text: str, *, values: bool = True) -> Iterator[Document]:
    """Documents from the parser's events. `values` False: places only, every scalar stays text."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(path, values=values)
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.DocumentStartEvent):
                builder = _Builder(path, values=values)
            elif isinstance(event, yaml.DocumentEndEvent):
                if builder.data is not None:
                    yield Document(path, builder.data, builder.found_marks)
            else:
                builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ConfigError(path, f"not YAML: {error.problem}", line=line, column=column) from None
    except yaml.YAMLError as error:
        raise ConfigError(path, f"not YAML: {str(error).splitlines()[0]}", line=1, column=1) from None


class _Frame(NamedTuple):
    """An open mapping or sequence: its container, and the key whose value comes next (in a list of at most one)."""

    container: Any
    place: Place
    pending: list[str]


class _Builder:
    """Builds one document from events, iteratively."""

    def __init__(self, path: str, *, values: bool) -> None:
        self.path = path
        self.values = values
        self.data: Any = None
        self.marks: dict[Place, Mark] = {}
        self._stack: list[_Frame] = []

    def found_marks(self) -> dict[Place, Mark]:
        """Where each key stands."""
        return self.marks

    def take(self, event: Any) -> None:  # yaml's events carry no common type
        """Take the next event."""
        kind = type(event).__name__
        if len(self.marks) > MAX_VALUES:
            raise ConfigError(self.path, f"more than {MAX_VALUES:,} values: not a model config")
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            what = "an alias" if kind == "AliasEvent" else "an anchor"
            raise self._fail(
                line, column, f"{what} is not allowed", "write the value out: small files explode by these"
            )
        if getattr(event, "tag", None) not in (None, "!") and not kind.endswith("EndEvent"):
            raise self._fail(line, column, f"the tag {event.tag} is not allowed", "plain values only")
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            if len(self._stack) >= MAX_DEPTH:
                raise self._fail(line, column, f"nested more than {MAX_DEPTH} levels deep")
            container: Any = {} if kind == "MappingStartEvent" else []
            place = self._place_of_next(line, column)
            self._put(container, line, column)
            self._stack.append(_Frame(container, place, []))
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._stack.pop()
        elif kind == "ScalarEvent":
            self._scalar(event, line, column)

    def _scalar(self, event: Any, line: int, column: int) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.container, dict) and not frame.pending:
            key = str(event.value)
            if key == "<<":
                raise self._fail(line, column, "a merge key is not allowed", "write the fields out")
            if key in frame.container:
                first = self.marks[(*frame.place, key)][0]
                raise self._fail(line, column, f"duplicate key {key!r}", f"first on line {first}")
            self.marks[(*frame.place, key)] = (line, column)
            frame.pending.append(key)
            return
        self._place_of_next(line, column)
        plain = self.values and event.implicit[0]
        self._put(self._value(event.value, line, column) if plain else event.value, line, column)

    def _place_of_next(self, line: int, column: int) -> Place:
        """Where the next value stands; a list's items get their marks here."""
        if not self._stack:
            self.marks.setdefault((), (line, column))
            return ()
        frame = self._stack[-1]
        if frame.pending:
            return (*frame.place, frame.pending[0])
        place = (*frame.place, len(frame.container))
        self.marks[place] = (line, column)
        return place

    def _put(self, value: Any, line: int, column: int) -> None:
        if not self._stack:
            self.data = value
            return
        frame = self._stack[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
        elif frame.pending:
            frame.container[frame.pending.pop()] = value
        else:
            raise self._fail(line, column, "a mapping cannot be a key")

    def _value(self, text: str, line: int, column: int) -> Any:
        """A plain scalar as YAML 1.1 means it, but for its surprises, which are refused by name."""
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return text[0] in "tT"
        if re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", text):
            if len(text) > 30:
                raise self._fail(line, column, f"the number {text[:12]}... is too large")
            return int(text)
        if re.fullmatch(r"[-+]?0[0-7_]+", text):
            octal = int(text.replace("_", ""), 8)
            decimal = text.replace("_", "").lstrip("+-0")
            raise self._fail(line, column, f"YAML reads {text} as the octal number {octal}", f"write {decimal or 0}")
        if re.fullmatch(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?", text):
            return self._float(text)
        return text

    def _float(self, text: str) -> float | str:
        """A float where YAML 1.1 reads one: it wants a point and, in an exponent, a sign."""
        if re.fullmatch(r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|[-+]?\.[0-9]+([eE][-+][0-9]+)?", text):
            return float(text.replace("_", ""))
        return text

    def _fail(self, line: int, column: int, message: str, hint: str = "") -> ConfigError:
        return ConfigError(self.path, message, line=line, column=column, hint=hint)
