"""From one value of a GGUF header to the next, within bounds: nothing is made of a count before its bytes are there.

Numbers and texts follow each other without an index, so a header is walked from its start. A list of numbers is passed
by its size, a list of texts by the length of each; what is too long to keep is passed over, not copied. Source: ggml
docs/gguf.md, and gguf.constants for what the numbers of its types mean.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Any

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, Keys
from gguf.gguf_reader import READER_SUPPORTED_VERSIONS

from kvcalc.errors import ConfigError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    import mmap

MAX_KEYS = 10_000
MAX_TENSORS = 50_000  # of all parts: DeepSeek-V3 has 1,025, a Mixtral with experts apart 995
MAX_TEXTS = 2_000_000  # in all lists: the largest vocabularies have 300,000 tokens and 500,000 merges
MAX_KEPT = 2_000  # numbers of a list, one a layer
MAX_NUMBERS = 200_000  # of all lists that are kept
MAX_NAME = 512  # bytes of a key's or tensor's name; ggml's own limit for a tensor is 64
MAX_TEXT = 1_000  # of a value that are kept: a chat template is not needed
MAX_DIMENSIONS = 4  # of ggml: GGML_MAX_DIMS
NUMBERS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}


class Tensor(NamedTuple):
    """Its sizes, the innermost first; the name of its type, as ggml has it, in small letters; the bytes of its data."""

    shape: tuple[int, ...]
    type: str
    bytes: int

    @property
    def elements(self) -> int:
        """How many there are."""
        return prod(self.shape)


def walk(path: str, data: mmap.mmap) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The keys and tensors of a file that begins with GGUF. Raises ConfigError where they are not all there."""
    return _Walk(path, data).header()


class _Walk:
    """A place in the mapped bytes, from which values are taken one after the other."""

    def __init__(self, path: str, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.at = 4
        self.size = len(data)
        self.texts = 0
        self.numbers = 0
        self.order = "<"
        self.values: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}

    def error(self, message: str) -> ConfigError:
        return ConfigError(self.path, f"not a GGUF file that can be read: {message}")

    def header(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        version = self.number("I")
        if not version & 0xFFFF:  # written on a machine of the other byte order
            self.order, self.at = ">", 4
            version = self.number("I")
        if version not in READER_SUPPORTED_VERSIONS:
            known = " and ".join(str(int(one)) for one in READER_SUPPORTED_VERSIONS)
            raise ConfigError(self.path, f"a GGUF file of version {version}", hint=f"versions {known} are understood")
        tensors, keys = self.number("Q"), self.number("Q")
        if keys > MAX_KEYS or tensors > MAX_TENSORS:
            raise self.error(f"it claims {keys:,} keys and {tensors:,} tensors")
        seen: set[str] = set()
        for _ in range(keys):
            key = self.text(name=True)
            if key in seen:
                raise self.error(f"the key {key!r} is there twice")
            seen.add(key)
            value = self.value(key)
            if value is not None:
                self.values[key] = value
        alignment = self.values.get(Keys.General.ALIGNMENT, 1)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self.error(f"{Keys.General.ALIGNMENT} {str(alignment)[:20]} is no power of two")
        for _ in range(tensors):
            self.tensor()
        return self.values, self.tensors

    def value(self, key: str) -> Any:  # a number, a flag, a text or a list of numbers; None: not kept
        kind = self.number("I")
        if kind == GGUFValueType.ARRAY:
            return self.array(key)
        if kind == GGUFValueType.STRING:
            return self.text()
        if kind not in NUMBERS:
            raise self.error(f"{key!r}: there is no type {kind}")
        return self.take(NUMBERS[GGUFValueType(kind)])[0]

    def array(self, key: str) -> list[Any] | None:
        inner, length = self.number("I"), self.number("Q")
        if inner == GGUFValueType.STRING:
            self.texts += length
            if self.texts > MAX_TEXTS:
                raise self.error(f"{key!r} claims {length:,} texts")
            self.skip_texts(length)
            return None
        if inner not in NUMBERS:
            raise self.error(f"{key!r} is a list of what no list can hold")
        layout = NUMBERS[GGUFValueType(inner)]
        self.numbers += length if length <= MAX_KEPT else 0
        if length > MAX_KEPT or self.numbers > MAX_NUMBERS:
            self.skip(length * struct.calcsize(f"<{layout}"))
            return None
        return list(self.take(f"{length}{layout}"))

    def skip_texts(self, length: int) -> None:
        """Pass many texts: this loop is what reading a vocabulary takes."""
        at, last, data = self.at, self.size - 8, self.data
        unpack = struct.Struct(f"{self.order}Q").unpack_from
        for _ in range(length):
            if at > last:
                raise self.error("it ends within its header")
            at += 8 + unpack(data, at)[0]
        self.at = at
        self.skip(0)

    def tensor(self) -> None:
        name, dimensions = self.text(name=True), self.number("I")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self.error(f"the tensor {name!r} has {dimensions} dimensions")
        if name in self.tensors:
            raise self.error(f"the tensor {name!r} is there twice")
        shape = self.take(f"{dimensions}Q")
        kind, _ = self.take("IQ")
        try:
            known = GGMLQuantizationType(kind)
        except ValueError:
            message = f"the tensor {name!r} is of the type {kind}, which the gguf package here does not know"
            raise ConfigError(self.path, message, hint="pip install -U gguf") from None
        block, size = GGML_QUANT_SIZES[known]
        if shape[0] % block:
            raise self.error(f"the tensor {name!r} has rows of {shape[0]:,}, no whole blocks of {known.name}")
        self.tensors[name] = Tensor(shape, known.name.lower(), prod(shape) // block * size)

    def text(self, *, name: bool = False) -> str:
        """A text; one too long is an error for a name, and cut short for a value."""
        length = self.number("Q")
        if name and length > MAX_NAME:
            raise self.error(f"a name of {length:,} bytes")
        start = self.at
        self.skip(length)
        return self.data[start : start + min(length, MAX_TEXT)].decode("utf-8", "replace")

    def number(self, kind: str) -> int:
        return int(self.take(kind)[0])

    def skip(self, length: int) -> None:
        if length > self.size - self.at:
            raise self.error("it ends within its header")
        self.at += length

    def take(self, layout: str) -> tuple[Any, ...]:
        start = self.at
        layout = self.order + layout
        self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, start)
