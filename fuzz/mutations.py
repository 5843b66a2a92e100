"""Bytes like those that are known, but not quite: cut, doubled, spliced, with other numbers and other words."""

from __future__ import annotations

import random
import re

NUMBERS = (b"0", b"1", b"-1", b"2", b"3", b"7", b"1000000000", b"1000000001", b"10000", b"1.5", b"1e3", b"99999999999")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]*|[0-9]+")
MOST_BYTES = 20_000
MOST_READ = 2_000
OF_READ = 0.75
AROUND = 60


class Mutator:
    """Makes new bytes of a corpus that may grow, most of them of `read`: those of it that were read."""

    def __init__(self, seed: int, corpus: list[bytes], words: list[bytes]) -> None:
        self.random = random.Random(seed)  # noqa: S311  # no secret
        self.corpus = corpus
        self.read: list[bytes] = []
        self.words = words or [b"\0"]
        self.ways = (
            self._word,
            self._word,
            self._number,
            self._cut,
            self._doubled,
            self._spliced,
            self._byte,
            self._put,
        )

    def next(self) -> bytes:
        """One of the corpus, changed some times."""
        known = self.read if self.read and self.random.random() < OF_READ else self.corpus
        return self.mutated(self.random.choice(known))

    def remember(self, content: bytes) -> None:
        """Take what was read among what is changed further; when there is much of it, in place of another."""
        if len(self.read) < MOST_READ:
            self.read.append(content)
        else:
            self.read[self.random.randrange(MOST_READ)] = content

    def mutated(self, content: bytes) -> bytes:
        """These bytes, changed some times."""
        for _ in range(self.random.choice((1, 1, 1, 1, 2, 2, 3, 5))):
            content = self.random.choice(self.ways)(content)
        return content[:MOST_BYTES]

    def _at(self, content: bytes) -> int:
        return self.random.randint(0, len(content))

    def _span(self, content: bytes) -> tuple[int, int]:
        start = self._at(content)
        return start, min(len(content), start + self.random.choice((1, 1, 2, 4, 8, 20, 60, 300)))

    def _near(self, content: bytes) -> tuple[int, int]:
        """The word or number next to a place."""
        start = self._at(content)
        match = _WORD.search(content, start, start + AROUND)
        return match.span() if match else (start, start)

    def _word(self, content: bytes) -> bytes:
        start, end = self._near(content)
        return content[:start] + self.random.choice(self.words) + content[end:]

    def _number(self, content: bytes) -> bytes:
        start, end = self._near(content)
        number = str(self.random.randint(0, 300)).encode() if self.random.random() < 0.5 else None
        return content[:start] + (number or self.random.choice(NUMBERS)) + content[end:]

    def _cut(self, content: bytes) -> bytes:
        start, end = self._span(content)
        return content[:start] + content[end:]

    def _doubled(self, content: bytes) -> bytes:
        start, end = self._span(content)
        at = self._at(content)
        return content[:at] + content[start:end] * self.random.choice((1, 1, 1, 2, 30)) + content[at:]

    def _spliced(self, content: bytes) -> bytes:
        other = self.random.choice(self.corpus)
        return content[: self._at(content)] + other[self._at(other) :]

    def _byte(self, content: bytes) -> bytes:
        at = self._at(content)
        return content[:at] + bytes([self.random.randint(0, 255)]) + content[at + 1 :]

    def _put(self, content: bytes) -> bytes:
        at = self._at(content)
        return content[:at] + self.random.choice(self.words) + content[at:]
