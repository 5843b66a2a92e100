"""Untrusted text becomes plain data with a place for every key, or one clear error.

YAML is read from the parser's events, in one pass with a stack of our own: no alias is followed, no tag obeyed,
depth and size are bounded, a duplicate key is an error, and nothing recurses, so nothing can be made to explode.
JSON (a published config.json) is read by the standard library; its places are found only when asked for.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from kvcalc.errors import ConfigError, FileError, KvcalcError, NotUnderstoodError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BYTES = 5_000_000  # a config that names the format of every expert's weights takes 3 MB
MAX_DEPTH = 20
MAX_VALUES = 50_000  # of all documents of a file
MAX_JSON_VALUES = 500_000  # about: what separates them is counted, before anything is made
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"

_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")

Place = tuple[str | int, ...]
Mark = tuple[int, int]


class Document(NamedTuple):
    """One document: its data, where each key stands, found when asked for, and the text of the whole file."""

    path: str
    data: Any
    find_marks: Callable[[], dict[Place, Mark]]
    text: str = ""

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

    def not_understood(self, place: Place, message: str, hint: str = "") -> NotUnderstoodError:
        """Make an error at a key that makes of it a model which is not understood."""
        line, column = self.mark(place)
        return NotUnderstoodError(self.path, message, line=line, column=column, hint=hint)


def read_text(path: str) -> str:
    """Read a file's text, '-' being stdin. Raises FileError, or ConfigError where it can be read and is no text."""
    shown = "<stdin>" if path == "-" else path
    try:
        if path == "-":
            if sys.stdin is None:
                raise FileError(shown, "closed: nothing to read")
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise FileError(shown, "a directory, not a file") from None
    except OSError as error:
        raise FileError(shown, f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise FileError(shown, f"cannot be read: {error}") from None
    return decode(shown, raw)


def decode(shown: str, raw: bytes) -> str:
    """Untrusted bytes as text. Raises ConfigError where they are too many or no text."""
    if len(raw) > MAX_BYTES:
        raise ConfigError(shown, f"larger than {MAX_BYTES:,} bytes: not a model config")
    hint = "a config is a YAML or JSON file"
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _mark_at(raw[: error.start].decode("utf-8", "replace"))
        raise ConfigError(shown, "not UTF-8 text", line=line, column=column, hint=hint) from None
    if "\0" in text:
        line, column = _mark_at(text[: text.index("\0")])
        raise ConfigError(shown, "a binary file", line=line, column=column, hint=hint)
    return text


def _mark_at(before: str) -> Mark:
    """Line and column, from 1, of what follows this text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def read_documents(path: str) -> list[Document]:
    """Every document of a file."""
    return parse_documents("<stdin>" if path == "-" else path, read_text(path))


def parse_documents(shown: str, text: str) -> list[Document]:
    """Every document of a text; `shown` names it in errors, and its suffix says whether it must be JSON."""
    braces = text.lstrip().startswith("{") or (text.strip() and shown.lower().endswith(".json"))
    json_alone = _read_json(shown, text) if braces else None
    documents = [json_alone] if json_alone else list(_read_yaml(shown, text))
    if not documents:
        raise ConfigError(shown, "an empty file", line=1, column=1, hint="see kvcalc list for examples")
    for document in documents:
        if not isinstance(document.data, dict):
            raise document.error((), "not a mapping of field names to values")
    return documents


def _read_json(path: str, text: str) -> Document | None:
    """Read JSON; None where it is none and may still be YAML, whose flow mappings begin with a brace too."""
    if sum(map(text.count, ",[{")) > MAX_JSON_VALUES:
        raise ConfigError(path, f"more than {MAX_JSON_VALUES:,} values: not a model config")

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
        list(_read_yaml(path, _as_yaml(text), values=False))  # raises at the second of the two
        raise ConfigError(path, error.message) from None
    except json.JSONDecodeError as error:
        if path.lower().endswith(".json"):
            raise ConfigError(path, f"not JSON: {error.msg}", line=error.lineno, column=error.colno) from None
        return None
    except (RecursionError, ValueError):  # too deep, or an integer of thousands of digits: YAML's guards say so
        return None

    if _too_deep(data):
        return None

    @cache
    def marks() -> dict[Place, Mark]:
        try:
            return next(_read_yaml(path, _as_yaml(text), values=False)).find_marks()
        except ConfigError:  # JSON that is no YAML: without places
            return {}

    return Document(path, data, marks, text)


def _too_deep(data: Any) -> bool:
    """Whether JSON nests deeper than YAML is let to, whose reader then says where."""
    level, depth = [data], 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return depth > MAX_DEPTH and bool(level)


def _as_yaml(text: str) -> str:
    """JSON as the YAML that it is but for tabs, surrogate escapes and control characters, every place kept."""
    same_length = re.sub(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", r"\\u0020", text)
    return _CONTROL.sub(" ", same_length.replace("\t", " "))


def _read_yaml(path: str, text: str, *, values: bool = True) -> Iterator[Document]:
    """Documents from the parser's events. `values` False: places only, every scalar stays text."""
    import yaml

    if control := _CONTROL.search(text):
        line, column = _mark_at(text[: control.start()])
        character = f"U+{ord(control[0]):04X}"
        raise ConfigError(path, f"not YAML: the control character {character}", line=line, column=column)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(path, values=values)
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.DocumentStartEvent):
                builder = _Builder(path, values=values, before=builder.taken)
            elif isinstance(event, yaml.DocumentEndEvent):
                if builder.data is not None:
                    yield Document(path, builder.data, builder.found_marks, text)
            else:
                builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if "nesting depth" in str(error.problem):  # a parser with a limit of its own gets there before the events do
            raise ConfigError(path, TOO_DEEP, line=line, column=column) from None
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

    def __init__(self, path: str, *, values: bool, before: int = 0) -> None:
        self.path = path
        self.before = before
        self.values = values
        self.data: Any = None
        self.marks: dict[Place, Mark] = {}
        self._stack: list[_Frame] = []

    @property
    def taken(self) -> int:
        """Values of this document and of those before it."""
        return self.before + len(self.marks)

    def found_marks(self) -> dict[Place, Mark]:
        """Where each key stands."""
        return self.marks

    def take(self, event: Any) -> None:  # yaml's events carry no common type
        """Take the next event."""
        kind = type(event).__name__
        if self.taken > MAX_VALUES:
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
                raise self._fail(line, column, TOO_DEEP)
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
        if len(text) > 30 and re.fullmatch(r"[-+]?[0-9_]+", text):
            raise self._fail(line, column, f"the number {text[:12]}... is too large")
        if re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", text):
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
