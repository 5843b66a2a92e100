"""Findings as SARIF 2.1.0, which GitHub's code scanning, GitLab and editors read.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, by section below.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from kvcalc import __version__
from kvcalc.report.places import in_repository, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.findings import Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def to_sarif(findings: Sequence[Finding]) -> str:
    """Write a log of one run: every rule there is, and a result a finding."""
    rules = _rules(findings)
    places = {rule["id"]: at for at, rule in enumerate(rules)}
    seen: dict[tuple[str, str, str], int] = {}
    results = []
    for finding in findings:
        like = (in_repository(finding.path), finding.model, finding.code)
        seen[like] = seen.get(like, 0) + 1
        results.append(_result(finding, places[finding.code], (*like, str(seen[like]))))
    driver = {"name": "kvcalc", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rules(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    from kvcalc.checks import CODES

    rules: list[dict[str, Any]] = [
        {
            "id": code,
            "shortDescription": {"text": known.title},
            "fullDescription": {"text": known.reason},
            "help": {"text": known.reason},
            "defaultConfiguration": {"level": known.severity},
        }
        for code, known in CODES.items()
    ]
    return rules + [{"id": code} for code in dict.fromkeys(f.code for f in findings) if code not in CODES]


def _result(finding: Finding, rule: int, like: tuple[str, ...]) -> dict[str, Any]:
    said = f"{finding.message}\n{finding.hint}" if finding.hint else finding.message
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.path)}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
        if finding.column:
            place["region"]["startColumn"] = finding.column
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": _message(said)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"kvcalc/v1": _fingerprint(like)},
    }


def _message(text: str) -> str:
    """Plain text that is neither a placeholder (3.11.5) nor a link (3.11.6) to any reader."""
    lines = "\n".join(map(printable, text.split("\n")))
    return re.sub(r"\{(\d+)\}", r"{{\1}}", lines).replace("](", "\\](")


def _uri(path: str) -> str:
    """Return a relative reference, percent-encoded (3.4.3); an absolute file outside of here as a file URI."""
    from urllib.parse import quote

    told = in_repository(path)
    outside = os.path.isabs(told)
    quoted = quote(os.fsencode(told), safe="/")
    return f"file://{quoted}" if outside else quoted


def _fingerprint(like: tuple[str, ...]) -> str:
    """Stay the same (3.27.17) while lines move and numbers change: path, model, code and which of several."""
    from hashlib import sha256

    return sha256("\0".join(like).encode("utf-8", "surrogatepass")).hexdigest()[:32]
