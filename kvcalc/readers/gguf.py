"""The header of a GGUF file: its keys and the shapes of its tensors. No tensor's data is read.

The format is small, and a header may come from anywhere, so it is read here rather than by the gguf package: every
count is held against the bytes that are there before anything is made of it, long lists are skipped, not kept, and no
more than the file's first part is mapped. Source: ggml docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from typing import Any, NamedTuple

from kvcalc.errors import ConfigError, FileError

MAGIC = b"GGUF"
SUFFIX = ".gguf"
VERSIONS = (2, 3)
MAX_HEADER = 256 << 20
MAX_KEYS = 10_000
MAX_TENSORS = 200_000
MAX_ELEMENTS = 4_000_000  # of all lists; a vocabulary has some 100,000 tokens
MAX_KEPT = 10_000
MAX_TEXT = 65_535
MAX_PARTS = 1_000
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_SPLIT = re.compile(r"-([0-9]{5})-of-([0-9]{5})\.gguf$")


class Header(NamedTuple):
    """What a GGUF file says of itself: `lengths` are of the lists that were not kept; shapes are innermost first."""

    path: str
    values: dict[str, Any]
    lengths: dict[str, int]
    tensors: dict[str, tuple[int, ...]]


def is_gguf(path: str) -> bool:
    """Whether a file is, or claims to be, one."""
    if is_named(path):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(4) == MAGIC
    except (OSError, ValueError):
        return False


def stem(path: str) -> str:
    """A file's name without what says that it is one of several parts."""
    name = os.path.basename(path)
    return _SPLIT.sub("", name) if _SPLIT.search(name) else name[: -len(SUFFIX)] if is_named(name) else name


def is_named(path: str) -> bool:
    """Whether its name says that it is a GGUF file."""
    return path.lower().endswith(SUFFIX)


def read_header(path: str) -> Header:
    """Read a header, with the tensors of all parts of a split file.

    Raises FileError where a file cannot be read, ConfigError where it is no GGUF file or not a whole one.
    """
    header = _read(path)
    count = header.values.get("split.count", 0)
    if not isinstance(count, int) or count < 2:
        return header
    match = _SPLIT.search(path)
    if match is None or int(match[2]) != count or count > MAX_PARTS:
        raise ConfigError(path, f"one of {count} parts, but not named as one", hint="name-00001-of-00003.gguf")
    parts = [f"{path[: match.start()]}-{at:05d}-of-{count:05d}.gguf" for at in range(1, count + 1)]
    if missing := [part for part in parts if not os.path.isfile(part)]:
        raise ConfigError(path, f"one of {count} parts, and {os.path.basename(missing[0])} is not beside it")
    headers = [header if part == path else _read(part) for part in parts]
    tensors = {name: shape for one in headers for name, shape in one.tensors.items()}
    said = headers[0].values.get("split.tensors.count", len(tensors))
    if said != len(tensors):
        raise ConfigError(path, f"its parts hold {len(tensors)} tensors, not {said}")
    return headers[0]._replace(tensors=tensors)


def _read(path: str) -> Header:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 24:
                raise ConfigError(path, "not a GGUF file: too short for a header")
            with mmap.mmap(file.fileno(), min(size, MAX_HEADER), access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).header()
    except IsADirectoryError:
        raise FileError(path, "a directory, not a file") from None
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from None


class _Reader:
    """A place in the mapped bytes, from which values are taken one after the other."""

    def __init__(self, path: str, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.at = 0
        self.size = len(data)
        self.elements = 0

    def error(self, message: str) -> ConfigError:
        return ConfigError(self.path, f"not a GGUF file that can be read: {message}")

    def header(self) -> Header:
        if self.data[:4] != MAGIC:
            raise ConfigError(self.path, f"not a GGUF file: it begins with {bytes(self.data[:4])!r}")
        self.at = 4
        version = self.number(4)
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            why = "it is big-endian" if swapped in VERSIONS else f"version {version}"
            raise ConfigError(self.path, f"a GGUF file that is not understood: {why}", hint="versions 2 and 3 are")
        tensors, keys = self.number(10), self.number(10)
        if keys > MAX_KEYS or tensors > MAX_TENSORS:
            raise self.error(f"it claims {keys:,} keys and {tensors:,} tensors")
        found = Header(self.path, {}, {}, {})
        for _ in range(keys):
            self.pair(found)
        for _ in range(tensors):
            self.tensor(found)
        return found

    def pair(self, found: Header) -> None:
        key, kind = self.text(), self.number(4)
        if key in found.values or key in found.lengths:
            raise self.error(f"the key {key!r} is there twice")
        if kind != _LIST:
            found.values[key] = self.value(kind)
            return
        inner, length = self.number(4), self.number(10)
        self.elements += length
        if self.elements > MAX_ELEMENTS:
            raise self.error(f"{key} claims {length:,} elements")
        if inner == _TEXT:
            for _ in range(length):
                self.skip(self.number(10))
            found.lengths[key] = length
        elif inner not in _NUMBERS:
            raise self.error(f"{key} is a list of what no list can hold")
        elif length > MAX_KEPT:
            self.skip(struct.calcsize(f"<{length}{_NUMBERS[inner]}"))
            found.lengths[key] = length
        else:
            found.values[key] = list(self.take(f"<{length}{_NUMBERS[inner]}"))

    def tensor(self, found: Header) -> None:
        name, dimensions = self.text(), self.number(4)
        if not 1 <= dimensions <= 4:
            raise self.error(f"the tensor {name!r} has {dimensions} dimensions")
        if name in found.tensors:
            raise self.error(f"the tensor {name!r} is there twice")
        found.tensors[name] = self.take(f"<{dimensions}Q")
        self.take("<IQ")  # its type and its place, which say nothing of its shape

    def value(self, kind: int) -> Any:  # a number, a flag or a text
        if kind == _TEXT:
            return self.text(keep=False)
        if kind not in _NUMBERS:
            raise self.error(f"there is no type {kind}")
        (value,) = self.take(f"<{_NUMBERS[kind]}")
        return value

    def text(self, *, keep: bool = True) -> str:
        """A text; one too long is an error for a name, and cut short for a value (chat templates are long)."""
        length = self.number(10)
        if keep and length > MAX_TEXT:
            raise self.error(f"a name of {length:,} bytes")
        start = self.at
        self.skip(length)
        return self.data[start : start + min(length, MAX_TEXT)].decode("utf-8", "replace")

    def number(self, kind: int) -> int:
        (value,) = self.take(f"<{_NUMBERS[kind]}")
        return int(value)

    def skip(self, length: int) -> None:
        if length > self.size - self.at:
            raise self.error("it ends within its header")
        self.at += length

    def take(self, layout: str) -> tuple[Any, ...]:
        start = self.at
        self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, start)
