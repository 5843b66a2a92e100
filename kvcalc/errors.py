"""The errors a user can see. Fields first; the sentence is made in `__str__`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


MOST_CHARACTERS = 4000  # of a sentence: a file may hold a word of a megabyte


class KvcalcError(Exception):
    """Input that cannot be answered: printed as one message on stderr, exit code 2."""

    def __init__(self, message: str, hint: str = "") -> None:
        message, hint = _cut(message), _cut(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        message = _one_line(self.message)
        return f"{message}\n  {self.hint}" if self.hint else message


class ConfigError(KvcalcError):
    """A config that is wrong at a place: `path`, and `line` and `column` from 1 where known."""

    def __init__(self, path: str, message: str, *, line: int = 0, column: int = 0, hint: str = "") -> None:
        super().__init__(message, hint)
        self.path = path
        self.line = line
        self.column = column

    def __str__(self) -> str:
        path = _one_line(self.path)
        place = f"{path}:{self.line}:{self.column}" if self.line else path
        return f"{place}: {super().__str__()}"


class NotUnderstoodError(ConfigError):
    """A config that may be right, of a model that is not understood, and is not guessed at."""


class FileError(ConfigError):
    """A file that cannot be read at all, whatever it holds."""


class FormulaError(KvcalcError):
    """A formula that cannot be read or evaluated."""


def _cut(text: str) -> str:
    """The beginning and the end of a sentence that is too long."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 103]}...{text[-100:]}"


def _one_line(text: str) -> str:
    """The name of a file may hold the end of a line: what stands behind it begins none."""
    return text.replace("\n", "\\n")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'did you mean ...?' for the nearest of the known words, or ''."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = [by_lower[found] for found in get_close_matches(word.lower(), by_lower, n=3, cutoff=0.6)]
    return f"did you mean {' or '.join(near)}?" if near else ""
