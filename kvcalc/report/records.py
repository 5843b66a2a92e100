"""Flat records as JSON, JSON lines, CSV and TSV: raw numbers, the same keys in the same order in each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Value: TypeAlias = "str | int | float | None"
    Record: TypeAlias = Mapping[str, Value]


def to_json(records: Sequence[Record]) -> str:
    """Write an array of flat objects, one a line."""
    return "[\n" + ",\n".join(json.dumps(dict(record)) for record in records) + "\n]\n" if records else "[]\n"


def to_jsonl(records: Sequence[Record]) -> str:
    """Write one object a line."""
    return "".join(json.dumps(dict(record)) + "\n" for record in records)


def to_csv(records: Sequence[Record]) -> str:
    """Write RFC 4180 quoting, a header always, an empty cell for null."""
    return _separated(records, ",")


def to_tsv(records: Sequence[Record]) -> str:
    """Write tabs between cells, for pasting."""
    return _separated(records, "\t")


def _separated(records: Sequence[Record], delimiter: str) -> str:
    import csv
    import io

    if not records:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(records[0].keys())
    writer.writerows(["" if value is None else value for value in record.values()] for record in records)
    return text.getvalue()


WRITERS: dict[str, Callable[[Sequence[Record]], str]] = {
    "json": to_json,
    "jsonl": to_jsonl,
    "csv": to_csv,
    "tsv": to_tsv,
}
