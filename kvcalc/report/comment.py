"""`diff` as a pull-request comment: found again by its first line, so that it is updated in place, and never too long.

Text of files stands in <code> with everything but letters and digits as entities: there it mentions nobody, links
nowhere, and breaks no table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.report.difference import (
    MAIN,
    NO_NUMBER,
    clean,
    files,
    place,
    quantity_table,
    short_texts,
    told_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.difference import Change, Diff, Difference
    from kvcalc.findings import Finding

MARKER = "<!-- kvcalc diff -->"
MOST_BYTES = 64_000  # GitHub takes 65,536 characters
LEFT_OUT_BYTES = 400
_MEANT = r"[^A-Za-z0-9 ,()/._-]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
MOST_FIELDS = 50


def to_comment(diff: Diff, findings: Sequence[Finding] = ()) -> str:
    """Write errors first, then models while they fit, then their details while they fit; what does not is counted."""
    parts = [MARKER, _headline(diff, findings)]
    room = MOST_BYTES - LEFT_OUT_BYTES - sum(_size(part) for part in parts)
    problems, room = _fitting([_problem(finding) for finding in findings], room // 2 if diff.models else room, room)
    short, room = _fitting([_short(model) for model in diff.models], room, room)
    details = []
    for model in diff.models[: len(short)]:
        detail = _details(model)
        fits = _size(detail) <= room
        details.append(detail if fits else "")
        room -= _size(detail) if fits else 0
    written = [part for both in zip(short, details, strict=True) for part in both if part]
    if left := _left_out(diff, findings, len(problems), len(short), details):
        written.append(left)
    listed = ["\n".join(problems)] if problems else []
    return "\n\n".join([*parts, *listed, *written]) + "\n"


def _fitting(texts: Sequence[str], most: int, room: int) -> tuple[list[str], int]:
    """The first texts that fit into `most` bytes, and what is left of the room."""
    chosen: list[str] = []
    for text in texts:
        if _size(text) > most:
            break
        chosen.append(text)
        most -= _size(text)
        room -= _size(text)
    return chosen, room


def _size(text: str) -> int:
    return len(text.encode()) + 2


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


def _left_out(diff: Diff, findings: Sequence[Finding], problems: int, models: int, details: Sequence[str]) -> str:
    told = []
    if left := len(findings) - problems:
        told.append(f"{left} more error{'' if left == 1 else 's'} or warnings")
    if left := len(diff.models) - models:
        told.append(f"{left} more model{'' if left == 1 else 's'}")
    if left := sum(not detail for detail in details):
        told.append(f"the details of {left} model{'' if left == 1 else 's'}")
    return f"_Left out, for a comment has a limit: {', '.join(told)}. `kvcalc diff` shows them all._" if told else ""


def _problem(finding: Finding) -> str:
    hint = f" {code(finding.hint, 300)}" if finding.hint else ""
    return f"- **{finding.severity}** {finding.code} {code(place(finding))}: {code(finding.message, 300)}{hint}"


def _short(model: Difference) -> str:
    """A model's line, and a table of its main numbers."""
    names = dict.fromkeys((model.old_model, model.model))
    variant = "" if model.variant == "configured" else f" as {code(model.variant)}"
    where = f" in {' &rarr; '.join(map(code, told))}" if (told := files(model)) else ""
    line = f"**{' &rarr; '.join(map(code, names))}**{variant}{where}: {model.status}"
    main = [change for change in told_numbers(model) if change.name in MAIN]
    if not main:
        numbers = len(told_numbers(model))
        return f"{line}, {f'{numbers} lesser numbers change' if numbers else NO_NUMBER}"
    return f"{line}\n\n{_numbers(main)}"


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
