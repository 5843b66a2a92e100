"""Findings for people: lines as a linter writes them, and a table in Markdown for a comment that is kept up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.places import place, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.checks.run import Check
    from kvcalc.findings import Finding
    from kvcalc.rows import Record, Value

MARKER = "<!-- kvcalc check -->"
HEAD = ("| severity | code | place | model | message |", "| :--- | :--- | :--- | :--- | :--- |")


def to_text(check: Check) -> str:
    """'path:line:col: warning KV105: message', its hint set in, and a last line that counts."""
    lines = []
    for finding in check.findings:
        lines.append(f"{place(finding)}: {finding.severity} {finding.code}: {printable(finding.message)}")
        lines += [f"  {printable(finding.hint)}"] if finding.hint else []
    return "".join(f"{line}\n" for line in [*lines, summary(check)])


def summary(check: Check) -> str:
    """'3 files: 1 error, 2 warnings, 0 notes', and how many are silenced, if any."""
    counts = [_counted(check.count(severity), severity) for severity in ("error", "warning", "note")]
    silenced = f" ({check.silenced:,} silenced)" if check.silenced else ""
    return f"{_counted(len(check.paths), 'file')}: {', '.join(counts)}{silenced}"


def to_comment(check: Check) -> str:
    """Markdown that begins with a hidden marker, so that the comment can be found and written over."""
    from kvcalc.report.comment import LEFT_OUT_BYTES, MOST_BYTES

    parts = [MARKER, f"### kvcalc check: {summary(check)}"]
    rows = [_row(finding) for finding in check.findings]
    room = MOST_BYTES - LEFT_OUT_BYTES - sum(len(line.encode()) + 2 for line in (*parts, *HEAD))
    kept = 0
    for row in rows:
        room -= len(row.encode()) + 1
        if room < 0:
            break
        kept += 1
    if rows:
        parts.append("\n".join([*HEAD, *rows[:kept]]))
    if left := len(rows) - kept:
        parts.append(f"_Left out, for a comment has a limit: {_counted(left, 'more finding')}._")
    return "\n\n".join(parts) + "\n"


def records(findings: Sequence[Finding]) -> list[Record]:
    """One flat record a finding; no text in it steers a spreadsheet."""
    return [{key: _cell(value) for key, value in finding._asdict().items()} for finding in findings]


def _row(finding: Finding) -> str:
    """Text of files stands as code, where it can neither link nor mention."""
    from kvcalc.report.comment import code

    said = [code(text, 500) for text in (finding.message, finding.hint) if text]
    model = code(finding.model) if finding.model else ""
    cells = [finding.severity, finding.code, code(place(finding)), model, "<br>".join(said)]
    return f"| {' | '.join(cells)} |"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _cell(value: Value) -> Value:
    text = printable(value) if isinstance(value, str) else value
    return f"./{text}" if isinstance(text, str) and text[:1] in ("=", "+", "-", "@") and text else text
