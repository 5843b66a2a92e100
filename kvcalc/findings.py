"""What is to be said about a place in a file: one shape for every check, and for every renderer of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import NotUnderstoodError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.errors import ConfigError

SEVERITIES = ("error", "warning", "note")


class Finding(NamedTuple):
    """One thing at one place: `line` and `column` from 1, 0 where unknown; `code` as in docs/checks.md.

    `severity` is one of SEVERITIES. `message` says what is the matter, `hint` what would be right or why it matters,
    each in one line of plain text. `model` is the model's name, '' where the file has none that can be read.
    """

    path: str
    line: int
    column: int
    severity: str
    code: str
    message: str
    hint: str = ""
    model: str = ""


def finding_of(error: ConfigError) -> Finding:
    """An error that a reader met, as a finding: KV002 for a model that is not understood, KV001 for all else."""
    code = "KV002" if isinstance(error, NotUnderstoodError) else "KV001"
    return Finding(error.path, error.line, error.column, "error", code, error.message, " ".join(error.hint.split()))
