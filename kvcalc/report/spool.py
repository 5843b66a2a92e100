"""Rows kept on the disk, for the files whose head must tell what the last row holds.

A type is known only when every value has been seen: a sweep may pass 2^63 FLOPs in its last block.
"""

from __future__ import annotations

import marshal
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from kvcalc.rows import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from kvcalc.rows import Value


class Seen:
    """What the values of one column have been so far."""

    def __init__(self) -> None:
        self.kinds: set[type] = set()  # of str, int, float and bool
        self.least = 0  # of the integers, and 0
        self.most = 0
        self.longest = 0  # characters of the longest text

    def see(self, values: list[Value]) -> None:
        """Take note of values."""
        kinds = set(map(type, values))
        self.kinds |= kinds - {type(None)}
        if int in kinds:
            whole: list[Any] = values if kinds == {int} else [value for value in values if isinstance(value, int)]
            self.least, self.most = min(self.least, min(whole)), max(self.most, max(whole))
        if str in kinds:
            self.longest = max(self.longest, max(len(value) for value in values if isinstance(value, str)))

    @property
    def is_text(self) -> bool:
        """Whether any of them is text."""
        return str in self.kinds

    def within(self, limit: int) -> bool:
        """Whether no integer is larger, whatever its sign."""
        return -limit <= self.least and self.most <= limit


class Spool:
    """Blocks with the same keys, to be read back as often as need be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sizes: list[int] = []  # in bytes, a block each: marshal is slow where it must find the end itself
        self.length = 0
        self.columns: dict[str, Seen] = {}

    def take(self, block: Block) -> None:
        """Keep one more block."""
        self.length += block.length
        for key, told in block.columns.items():
            self.columns.setdefault(key, Seen()).see(told if isinstance(told, list) else [told])
        self._sizes.append(self._file.write(marshal.dumps((block.length, dict(block.columns)))))

    def blocks(self) -> Iterator[Block]:
        """Every block, in order."""
        self._file.seek(0)
        for size in self._sizes:
            yield Block(*marshal.loads(self._file.read(size)))  # noqa: S302  # what was written above, and by nobody else


@contextmanager
def spooled(blocks: Iterable[Block], check: Callable[[Spool], None] | None = None) -> Iterator[Spool]:
    """Keep all blocks while they are needed; `check` looks after each one, and may refuse."""
    with TemporaryFile() as file:
        spool = Spool(file)
        for block in blocks:
            if block.length:
                spool.take(block)
                if check:
                    check(spool)
        yield spool
