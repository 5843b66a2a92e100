"""Findings as JUnit XML, which GitLab, Jenkins and most other CI systems show as tests: one a checked file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from kvcalc.findings import Finding

# All but Char of XML 1.0, section 2.2, and U+000D, which a parser turns into U+000A.
_FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(findings: Sequence[Finding], checked: Sequence[str]) -> str:
    """Write one suite with a case a file: it fails by its errors; warnings and notes stand in its output."""
    from xml.etree import ElementTree

    by_path: dict[str, list[Finding]] = {path: [] for path in checked}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    failed = sum(any(finding.severity == "error" for finding in found) for found in by_path.values())
    counts = {"tests": str(len(by_path)), "failures": str(failed), "errors": "0"}
    suites = ElementTree.Element("testsuites", {"name": "kvcalc", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "kvcalc", **counts, "skipped": "0"})
    for path, found in by_path.items():
        _case(ElementTree.SubElement(suite, "testcase", {"classname": "kvcalc", "name": _clean(path)}), found)
    ElementTree.indent(suites)
    # ASCII with character references: the same file whatever the encoding of stdout
    written: bytes = ElementTree.tostring(suites, encoding="us-ascii", xml_declaration=True)
    return written.decode() + "\n"


def _case(case: Element, findings: Sequence[Finding]) -> None:
    """Fill one case: one failure for all errors, as readers show the first one only."""
    from xml.etree.ElementTree import SubElement

    errors = [finding for finding in findings if finding.severity == "error"]
    others = [finding for finding in findings if finding.severity != "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        types = " ".join(dict.fromkeys(error.code for error in errors))
        failure = SubElement(case, "failure", {"message": _clean(errors[0].message + more), "type": _clean(types)})
        failure.text = "\n".join(map(_line, errors))
    if others:
        SubElement(case, "system-out").text = "\n".join(map(_line, others))


def _line(finding: Finding) -> str:
    place = f"{finding.path}:{finding.line}:{finding.column}" if finding.line else finding.path
    hint = f"\n  {finding.hint}" if finding.hint else ""
    return _clean(f"{place}: {finding.severity} {finding.code}: {finding.message}{hint}")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
