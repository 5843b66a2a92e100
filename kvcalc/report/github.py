"""Findings as GitHub's workflow commands, which a runner shows beside the lines of a pull request.

One line a finding, `::error file=..,line=..,col=..,title=..::message`. A runner reads every line of a log for such
commands, so no text of a finding may end its line.
Source: docs.github.com, Workflow commands; escapes as in actions/toolkit, packages/core/src/command.ts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.places import in_repository, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.findings import Finding

COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def to_github(findings: Sequence[Finding]) -> str:
    """Write one annotation a finding; nothing where there are none."""
    return "".join(f"{_command(finding)}\n" for finding in findings)


def _command(finding: Finding) -> str:
    properties = {"file": in_repository(finding.path)} if finding.path else {}
    if finding.line:
        properties["line"] = str(finding.line)
        if finding.column:
            properties["col"] = str(finding.column)
    properties["title"] = f"kvcalc {finding.code}"
    told = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    lines = [finding.message, *([finding.hint] if finding.hint else [])]
    return f"::{COMMANDS[finding.severity]} {told}::{'%0A'.join(map(_data, lines))}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
