"""How a finding is silenced: by a comment in its file, by --ignore, or by a budget file, each naming codes.

head_dim: 128  # kvcalc: ignore KV105 (reason)     that line; alone on a line, the next line that is no comment
# kvcalc: ignore-file KV105, KV108 (reason)        the whole file
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.checks.codes import UNSILENCED
from kvcalc.errors import ConfigError, KvcalcError, did_you_mean
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.findings import Finding
    from kvcalc.readers.text import Document

VERBS = ("ignore", "ignore-file")
_DIRECTIVE = re.compile(r"#\s*kvcalc\s*:\s*(?P<verb>[^\s(]*)(?P<codes>[^(]*)(?P<reason>\(.*\)\s*)?$")
_MEANT = re.compile(r"#\s*kvcalc\s*:")
EXAMPLE = "write # kvcalc: ignore KV105 (reason), or ignore-file"


class Silence(NamedTuple):
    """What one file silences: codes anywhere in it, and codes on single lines."""

    anywhere: frozenset[str]
    lines: Mapping[int, frozenset[str]]

    def covers(self, finding: Finding) -> bool:
        """Whether this finding is not to be told. What makes a file unreadable is always told."""
        silenced = finding.code in self.anywhere or finding.code in self.lines.get(finding.line, ())
        return silenced and finding.code not in UNSILENCED


def parse_codes(text: str) -> tuple[str, ...]:
    """Read 'KV105, KV108'. Raises KvcalcError for what is no code, or none that can be silenced."""
    from kvcalc.checks import CODES

    codes = [code.upper() for code in re.split(r"[\s,]+", text) if code]
    if not codes:
        raise KvcalcError("no code to ignore is named", f"one or more of {', '.join(_silenceable())}")
    for code in codes:
        if code not in CODES:
            near = did_you_mean(code, CODES)
            raise KvcalcError(f"unknown code {code[:40]!r}", near or f"known: {', '.join(_silenceable())}")
        if code in UNSILENCED:
            raise KvcalcError(f"{code} cannot be silenced", "what cannot be read cannot be checked")
    return tuple(dict.fromkeys(codes))


def _silenceable() -> list[str]:
    from kvcalc.checks import CODES

    return [code for code in CODES if code not in UNSILENCED]


def silence_of(document: Document) -> Silence:
    """What the comments of a file silence. Raises ConfigError at a comment that does not say what it means."""
    from kvcalc.readers.comments import comments

    if "kvcalc" not in document.text:
        return Silence(frozenset(), {})
    anywhere: set[str] = set()
    lines: dict[int, frozenset[str]] = {}
    found = comments(document.text)
    meant_for: dict[int, int] = {}  # the next line that is no comment, of each line that is one
    for comment in reversed(found):
        if comment.alone:
            meant_for[comment.line] = meant_for.get(comment.line + 1, comment.line + 1)
    for comment in found:
        if not (meant := _MEANT.search(comment.text)):
            continue
        verb, codes = _read(comment.text[meant.start() :], document.path, comment.line, comment.column + meant.start())
        if verb == "ignore-file":
            anywhere.update(codes)
            continue
        line = meant_for.get(comment.line, comment.line)
        lines[line] = lines.get(line, frozenset()) | frozenset(codes)
    return Silence(frozenset(anywhere), lines)


def _read(text: str, path: str, line: int, column: int) -> tuple[str, tuple[str, ...]]:
    match = _DIRECTIVE.match(text)
    if match is None or match["verb"] not in VERBS:
        word = match["verb"] if match else ""
        near = did_you_mean(word, VERBS)
        message = f"{text[:80]!r} is not understood"
        raise ConfigError(path, message, line=line, column=column, hint=f"{near} {EXAMPLE}".strip())
    try:
        return match["verb"], parse_codes(match["codes"])
    except KvcalcError as error:
        raise ConfigError(path, error.message, line=line, column=column, hint=error.hint) from None
