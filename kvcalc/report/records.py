"""Flat records as JSON, JSON lines, CSV and TSV: raw numbers, the same keys in the same order in each.

Rows come in blocks and are written as they come, so that a million of them need no more memory than some thousand.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvcalc.rows import Block, Value

PLAIN = {int, float}  # what `%s` writes as CSV and JSON do


def to_json(blocks: Iterable[Block]) -> Iterator[str]:
    """Write an array of flat objects, one a line."""
    before = "[\n"
    for block in blocks:
        if block.length:
            yield before + ",\n".join(_rows(block, _keys(block), json.dumps, "}"))
            before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def to_jsonl(blocks: Iterable[Block]) -> Iterator[str]:
    """Write one object a line."""
    for block in blocks:
        yield "".join(_rows(block, _keys(block), json.dumps, "}\n"))


def to_csv(blocks: Iterable[Block]) -> Iterator[str]:
    """Write RFC 4180 quoting, a header always, an empty cell for null."""
    return _separated(blocks, ",")


def to_tsv(blocks: Iterable[Block]) -> Iterator[str]:
    """Write tabs between cells, for pasting."""
    return _separated(blocks, "\t")


def _keys(block: Block) -> list[str]:
    """What stands before each value of a JSON object."""
    return [f"{', ' if at else '{'}{json.dumps(key)}: " for at, key in enumerate(block.columns)]


def _separated(blocks: Iterable[Block], delimiter: str) -> Iterator[str]:
    def cell(value: Value) -> str:
        text = "" if value is None else str(value)
        needs = isinstance(value, str) and any(character in value for character in (delimiter, '"', "\n", "\r"))
        return '"' + text.replace('"', '""') + '"' if needs else text

    for at, block in enumerate(blocks):
        if not at:
            yield delimiter.join(map(cell, block.columns)) + "\n"
        yield "".join(_rows(block, ["", *[delimiter] * (len(block.columns) - 1)], cell, "\n"))


def _rows(block: Block, before: list[str], cell: Callable[[Value], str], end: str) -> Iterator[str]:
    """The text of each row: what all rows have in common is written once, into the pattern that the rest goes into."""
    pattern, varying = "", []
    for prefix, told in zip(before, block.columns.values(), strict=True):
        if isinstance(told, list):
            pattern += prefix.replace("%", "%%") + "%s"
            varying.append(told if set(map(type, told)) <= PLAIN else list(map(cell, told)))
        else:
            pattern += (prefix + cell(told)).replace("%", "%%")
    pattern += end
    return map(pattern.__mod__, zip(*varying, strict=True) if varying else [()] * block.length)


WRITERS: dict[str, Callable[[Iterable[Block]], Iterator[str]]] = {
    "json": to_json,
    "jsonl": to_jsonl,
    "csv": to_csv,
    "tsv": to_tsv,
}
