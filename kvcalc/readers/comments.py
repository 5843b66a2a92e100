"""The comments of a YAML text, which its parser throws away: what is no token's and begins with a #."""

from __future__ import annotations

import re
from bisect import bisect_right

from kvcalc.tuples import NamedTuple

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # as the parser counts lines
_HASH = re.compile("(?:\\A|(?<=[\\s,\\[{}\\]]))#[^\n\r\x85\u2028\u2029]*")


class Comment(NamedTuple):
    """One comment: `line` and `column` from 1; `alone`: nothing stands before it on its line."""

    line: int
    column: int
    text: str
    alone: bool


def comments(text: str) -> list[Comment]:
    """Every comment of a text that was read before; JSON has none, whatever its strings hold."""
    if "#" not in text:
        return []
    spans = _scalars(text)
    if spans is None:
        return []
    starts = [0, *(found.end() for found in _BREAK.finditer(text))]
    ends = [end for _, end in spans]
    found, at = [], 0
    while match := _HASH.search(text, at):
        inside = bisect_right(ends, match.start())
        if inside < len(spans) and spans[inside][0] <= match.start():
            at = spans[inside][1]
            continue
        line = bisect_right(starts, match.start())
        before = text[starts[line - 1] : match.start()]
        found.append(Comment(line, len(before) + 1, match[0], not before.strip()))
        at = match.end()
    return found


def _scalars(text: str) -> list[tuple[int, int]] | None:
    """Where each scalar begins and ends; None where the text is JSON that YAML does not read."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tokens = [token for token in yaml.scan(text, Loader=loader) if isinstance(token, yaml.ScalarToken)]
    except yaml.YAMLError:
        return None
    return [(token.start_mark.index, token.end_mark.index) for token in tokens]
