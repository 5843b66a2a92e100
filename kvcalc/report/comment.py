"""`diff` as a pull-request comment: found again by its first line, so that it is updated in place, and never too long.

Text of files stands in <code> with everything but letters and digits as entities: there it mentions nobody, links
nowhere, and breaks no table.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING

from kvcalc.report.difference import (
    MAIN,
    NO_NUMBER,
    clean,
    files,
    main_numbers,
    quantity_table,
    sentence,
    short_texts,
    told_numbers,
)
from kvcalc.report.places import place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvcalc.difference import Change, Diff, Difference
    from kvcalc.findings import Finding

MARKER = "<!-- kvcalc diff -->"
MOST_BYTES = 64_000  # GitHub takes 65,536 characters
LEFT_OUT_BYTES = 400
_PLURAL = {
    "error or warning": "errors or warnings",
    "model": "models",
    "table": "tables",
    "list of details": "lists of details",
}
_MEANT = r"[^A-Za-z0-9 ,()/._-]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
MOST_FIELDS = 50


def to_comment(diff: Diff, findings: Sequence[Finding] = ()) -> str:
    """Write what is wrong, then a line a model; while there is room, its main numbers, then all its details.

    What finds no room is counted.
    """
    parts = [MARKER, _headline(diff, findings)]
    room = MOST_BYTES - LEFT_OUT_BYTES - sum(_size(part) for part in parts)
    problems = _fitting([_problem(finding) for finding in findings], room // 2 if diff.models else room)
    room -= sum(map(_size, problems))
    blocks = [""] * len(diff.models)
    left = {"error or warning": problems.count("") if findings else 0}
    for name, write in (("model", _line), ("table", _main), ("list of details", _details)):
        wanted = [write(model) for model in diff.models]
        found = _fitting(wanted, room)
        room -= sum(map(_size, found))
        blocks = ["\n\n".join(filter(None, both)) for both in zip(blocks, found, strict=True)]
        left[name] = sum(map(bool, wanted)) - sum(map(bool, found))
    listed = ["\n".join(filter(None, problems))]
    return "\n\n".join(filter(None, [*parts, *listed, *blocks, _left_out(left)])) + "\n"


def _fitting(texts: Sequence[str], room: int) -> list[str]:
    """The first texts that fit into so many bytes, all after them as ''."""
    ends = accumulate(map(_size, texts))
    return [text if end <= room else "" for text, end in zip(texts, ends, strict=True)]


def _size(text: str) -> int:
    """Bytes of a text and the blank line after it."""
    return len(text.encode()) + 2 if text else 0


def _headline(diff: Diff, findings: Sequence[Finding]) -> str:
    if not diff.models and not findings:
        return "### kvcalc: no difference"
    counts = [
        f"{number} {status}"
        for status in ("changed", "renamed", "new", "deleted")
        if (number := sum(model.status == status for model in diff.models))
    ]
    counts += [
        f"{number} {severity}{'' if number == 1 else 's'}"
        for severity in ("error", "warning")
        if (number := sum(finding.severity == severity for finding in findings))
    ]
    return f"### kvcalc: {', '.join(counts)}"


def _left_out(left: Mapping[str, int]) -> str:
    told = [f"{number} {name if number == 1 else _PLURAL[name]}" for name, number in left.items() if number]
    return f"_Left out, for a comment has a limit: {', '.join(told)}. `kvcalc diff` shows them all._" if told else ""


def _problem(finding: Finding) -> str:
    hint = f" {code(finding.hint, 300)}" if finding.hint else ""
    return f"- **{finding.severity}** {finding.code} {code(place(finding))}: {code(finding.message, 300)}{hint}"


def _line(model: Difference) -> str:
    """A model's name, file and status, and the first of its main numbers."""
    names = dict.fromkeys((model.old_model, model.model))
    variant = "" if model.variant == "configured" else f" as {code(model.variant)}"
    where = f" in {' &rarr; '.join(map(code, told))}" if (told := files(model)) else ""
    numbers = main_numbers(model) or told_numbers(model)
    what = sentence(numbers[0]).replace("->", "&rarr;") if numbers else NO_NUMBER
    return f"**{' &rarr; '.join(map(code, names))}**{variant}{where}: {model.status}, {what}"


def _main(model: Difference) -> str:
    return _numbers(main) if len(main := main_numbers(model)) > 1 else ""


def _details(model: Difference) -> str:
    fields = model.of_kind("field")
    rest = [change for change in told_numbers(model) if change.name not in MAIN]
    counts = [
        f"{len(of)} {name}{'' if len(of) == 1 else 's'}"
        for of, name in ((fields, "field"), (rest, "more number"))
        if of
    ]
    if not counts:
        return ""
    written = ["<details>", f"<summary>{', '.join(counts)}</summary>"]
    if fields:
        written.append(_fields(fields))
    if rest:
        written.append(_numbers(rest))
    return "\n\n".join([*written, "</details>"])


def _fields(fields: Sequence[Change]) -> str:
    rows = [
        f"| {code(change.name)} | {change.line or ''} | {code(old)} | {code(new)} |"
        for change in fields[:MOST_FIELDS]
        for old, new in (short_texts(change),)
    ]
    more = [f"\n{len(fields) - MOST_FIELDS} more fields changed."] if len(fields) > MOST_FIELDS else []
    return "\n".join(["| field | line | old | new |", "| :--- | ---: | ---: | ---: |", *rows, *more])


def _numbers(numbers: Sequence[Change]) -> str:
    """Numbers are ours, but for nothing: a workload's words are known ones."""
    table = quantity_table(numbers)
    lines = [
        [column.header for column in table.columns],
        ["---:" if column.numeric else ":---" for column in table.columns],
        *zip(*(column.cells for column in table.columns), strict=True),
    ]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), *(f"\n{line}" for line in table.footer)])


def code(text: str, most: int = 200) -> str:
    """Text of a file: as code, every character that could mean something as an entity."""
    cut = clean(text)
    cut = cut if len(cut) <= most else f"{cut[:most]}..."
    entities = re.sub(_MEANT, lambda found: f"&#{ord(found[0])};", cut)
    return f"<code>{re.sub(r'(?i)www[.]', 'www&#46;', entities)}</code>"
