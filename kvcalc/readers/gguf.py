"""A GGUF file, or all parts of a split one, as a header: its keys, and its tensors without their data.

What the format means comes from the gguf package (extra `kvcalc[gguf]`): types of values and of tensors, the sizes of
their blocks, names of keys, versions. Its GGUFReader is not used, for it is made for whole files that one trusts: with
a vocabulary of 150,000 tokens and their merges it takes 8 seconds and 740 MB, a file cut off behind its header is an
error in numpy, an array that claims 2**60 numbers is a loop without an end, and a text that ends behind the file is
read as if it did not (gguf 0.19). So gguf_walk.py walks the bytes, each count held against those that are there.
"""

from __future__ import annotations

import mmap
import os
import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import ConfigError, FileError, KvcalcError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.readers.gguf_walk import Tensor

MAGIC = b"GGUF"
SUFFIX = ".gguf"
MAX_HEADER = 128 << 20  # a vocabulary of 300,000 tokens and its merges take some 20 MiB
MAX_PARTS = 1_000
_SPLIT = re.compile(r"-([0-9]{5})-of-([0-9]{5})\.gguf$")


class Header(NamedTuple):
    """What a GGUF file says of itself; long lists, of a vocabulary, are not kept. `tensors` are those of all parts."""

    path: str
    values: dict[str, Any]
    tensors: dict[str, Tensor]


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

    Raises FileError where a file cannot be read, ConfigError where it is no GGUF file or its header is not whole,
    KvcalcError where the gguf package is absent.
    """
    header = _read(path)
    from gguf import Keys

    from kvcalc.readers.gguf_walk import MAX_TENSORS

    count = header.values.get(Keys.Split.LLM_KV_SPLIT_COUNT, 0)
    if not isinstance(count, int) or count < 2:
        return header
    match = _SPLIT.search(path)
    if match is None or int(match[2]) != count or count > MAX_PARTS:
        raise ConfigError(path, f"one of {count} parts, but not named as one", hint="name-00001-of-00003.gguf")
    parts = [f"{path[: match.start()]}-{at:05d}-of-{count:05d}.gguf" for at in range(1, count + 1)]
    if missing := [part for part in parts if not os.path.isfile(part)]:
        raise ConfigError(path, f"one of {count} parts, and {os.path.basename(missing[0])} is not beside it")
    first, tensors = header, {}
    for at, part in enumerate(parts):
        one = header if part == path else _read(part)
        first = first if at else one
        tensors.update(one.tensors)
        if len(tensors) > MAX_TENSORS:
            raise ConfigError(path, f"its parts hold more than {MAX_TENSORS:,} tensors")
    said = first.values.get(Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT, len(tensors))
    if said != len(tensors):
        raise ConfigError(path, f"its parts hold {len(tensors)} tensors, not {said}")
    return first._replace(tensors=tensors)


def _read(path: str) -> Header:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 24:
                raise ConfigError(path, "not a GGUF file: too short for a header")
            with mmap.mmap(file.fileno(), min(size, MAX_HEADER), access=mmap.ACCESS_READ) as data:
                if data[:4] != MAGIC:
                    raise ConfigError(path, f"not a GGUF file: it begins with {bytes(data[:4])!r}")
                return Header(path, *_walked(path, data))
    except IsADirectoryError:
        raise FileError(path, "a directory, not a file") from None
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from None


def _walked(path: str, data: mmap.mmap) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        from kvcalc.readers.gguf_walk import walk
    except ImportError:
        raise KvcalcError(f"reading {path} needs the gguf package", "pip install 'kvcalc[gguf]'") from None
    return walk(path, data)
