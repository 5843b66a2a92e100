"""Findings as JUnit XML, which GitLab, Jenkins and most other CI systems show as tests: one a checked file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.places import place, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from kvcalc.findings import Finding


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
        _case(ElementTree.SubElement(suite, "testcase", {"classname": "kvcalc", "name": printable(path)}), found)
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
        failure = SubElement(
            case, "failure", {"message": printable(errors[0].message + more), "type": printable(types)}
        )
        failure.text = "\n".join(map(_line, errors))
    if others:
        SubElement(case, "system-out").text = "\n".join(map(_line, others))


def _line(finding: Finding) -> str:
    """Begin every line with words of ours: a log that this is printed into may be read for commands (`::error::`)."""
    said = f"{finding.severity} {printable(finding.code)}: {place(finding)}: {printable(finding.message)}"
    return f"{said}\n  ({printable(finding.hint)})" if finding.hint else said
