"""Findings as GitHub, SARIF and JUnit: valid by their schemas, and no text of a file says more than itself."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from xmlschema import XMLSchema

from kvcalc.cli.summary import LIMIT_BYTES, append_summary
from kvcalc.findings import Finding
from kvcalc.report.github import to_github
from kvcalc.report.junit import to_junit
from kvcalc.report.places import place
from kvcalc.report.sarif import to_sarif

TRUTH = Path(__file__).parent / "truth"
ERROR = Finding("configs/a.yaml", 3, 5, "error", "KV101", "heads: 3 is too many", "at most 2", "a")
WARNING = Finding("configs/b.yaml", 0, 0, "warning", "KV105", "100% of it: a, b", "", "b")
NOTE = Finding("configs/a.yaml", 7, 0, "note", "KV109", "for your information")
THREE = (ERROR, WARNING, NOTE)
HOSTILE = (
    "a\n::error::b",
    "a\r\n::set-output name=x::y",
    "##[error]no",
    "a\u2028::stop-commands::x",
    "%0A::error::",
    "[click](https://example.org)",
    "{0} of {1}",
    "</failure><testcase/>]]>",
    "\x00\x1b[31m\x0b\x85\ud800\uffff",
    ",line=1::x",
)
texts = st.one_of(st.text(), st.sampled_from(HOSTILE))
findings = st.builds(
    Finding,
    path=st.text(min_size=1),
    line=st.integers(0, 10**6),
    column=st.integers(0, 10**6),
    severity=st.sampled_from(("error", "warning", "note")),
    code=texts,
    message=texts,
    hint=texts,
    model=texts,
)
lists = st.lists(findings, max_size=4)


@cache
def sarif_validator() -> Draft4Validator:
    return Draft4Validator(json.loads((TRUTH / "sarif-2.1.0.schema.json").read_text(encoding="utf-8")))


@cache
def junit_schema() -> XMLSchema:
    return XMLSchema(str(TRUTH / "junit-10.xsd"))


def results(log: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(log)["runs"][0]["results"]
    return found


def parsed(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml)  # noqa: S314  # our own


# ---------------------------------------------------------------- GitHub


def test_github_writes_one_command_a_finding() -> None:
    assert to_github(THREE).splitlines() == [
        "::error file=configs/a.yaml,line=3,col=5,title=kvcalc KV101::heads: 3 is too many%0Aat most 2",
        "::warning file=configs/b.yaml,title=kvcalc KV105::100%25 of it: a, b",
        "::notice file=configs/a.yaml,line=7,title=kvcalc KV109::for your information",
    ]
    assert to_github([]) == ""


def test_github_escapes_what_separates_properties() -> None:
    odd = Finding("a,b:c%.yaml", 1, 1, "error", "KV1", "m")
    assert to_github([odd]) == "::error file=a%2Cb%3Ac%25.yaml,line=1,col=1,title=kvcalc KV1::m\n"


def test_a_step_in_a_folder_of_the_workspace_annotates_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.chdir(folder)
    paths = ["a.yaml", "../b.yaml", str(folder / "c.yaml"), "../../else.yaml"]

    def annotated() -> list[str]:
        written = to_github([NOTE._replace(path=path) for path in paths])
        return re.findall(r"file=([^,]*),", written)

    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    assert annotated() == ["a.yaml", "../b.yaml", "c.yaml", "../../else.yaml"]
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert annotated() == ["models/a.yaml", "b.yaml", "models/c.yaml", "../../else.yaml"]
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "another"))
    assert annotated() == ["a.yaml", "../b.yaml", "c.yaml", "../../else.yaml"]


@given(lists)
def test_github_has_one_line_a_finding_whatever_a_file_says(found: list[Finding]) -> None:
    written = to_github(found)
    lines = written.splitlines()  # splits at more characters than a runner does
    assert len(lines) == len(found)
    written.encode()
    for line, finding in zip(lines, found, strict=True):
        command, properties, message = re.fullmatch(r"::(\w+) (.*?)::(.*)", line).groups()  # type: ignore[union-attr]  # None fails the test
        assert command == {"error": "error", "warning": "warning", "note": "notice"}[finding.severity]
        keys = [part.split("=", 1)[0] for part in properties.split(",")]
        assert keys == ["file", *(["line"] if finding.line else []), *keys[1 + bool(finding.line) :]]
        assert set(keys) <= {"file", "line", "col", "title"}
        assert len(keys) == len(set(keys))
        if finding.message.isprintable() and not finding.hint:
            assert unquote(message, errors="surrogateescape") == finding.message


# ---------------------------------------------------------------- SARIF


def test_sarif_says_where_and_by_which_rule() -> None:
    log = json.loads(to_sarif(THREE))
    sarif_validator().validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result, finding in zip(run["results"], THREE, strict=True):
        place = result["locations"][0]["physicalLocation"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["level"] == finding.severity
        assert place["artifactLocation"]["uri"] == finding.path
        assert ("region" in place) is (finding.line > 0)
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 5}
    assert run["results"][0]["message"]["text"] == "heads: 3 is too many\nat most 2"


def test_sarif_without_findings_is_a_run_without_results() -> None:
    log = json.loads(to_sarif([]))
    sarif_validator().validate(log)
    assert log["runs"][0]["results"] == []


def test_sarif_knows_every_code() -> None:
    from kvcalc.checks import CODES

    rules = json.loads(to_sarif([]))["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CODES)
    assert all(rule["shortDescription"]["text"] and rule["fullDescription"]["text"] for rule in rules)


def test_sarif_paths_are_relative_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given_as = ["./a b.yaml", str(tmp_path / "c" / "ü#1.yaml"), "a:b.yaml", "c/../d.yaml", "x%y?.yaml", "/else/z.yaml"]
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in results(to_sarif([ERROR._replace(path=path) for path in given_as]))
    ]
    assert uris == ["a%20b.yaml", "c/%C3%BC%231.yaml", "a%3Ab.yaml", "d.yaml", "x%25y%3F.yaml", "file:///else/z.yaml"]


def test_sarif_fingerprints_stay_while_lines_move_and_tell_twins_apart() -> None:
    def prints(*found: Finding) -> list[str]:
        return [result["partialFingerprints"]["kvcalc/v1"] for result in results(to_sarif(found))]

    moved = ERROR._replace(line=40, message="heads: 4 is too many")
    assert prints(ERROR) == prints(moved)
    different = (ERROR, ERROR, ERROR._replace(code="KV2"), ERROR._replace(path="z"), ERROR._replace(model="z"))
    assert len(set(prints(*different))) == len(different)
    assert prints(*different) == prints(*different)


@given(lists)
def test_sarif_is_valid_whatever_a_file_says(found: list[Finding]) -> None:
    written = to_sarif(found)
    assert written.isascii()
    log = json.loads(written)
    sarif_validator().validate(log)
    for result, finding in zip(results(written), found, strict=True):
        assert result["ruleId"] == finding.code
        text = result["message"]["text"]
        text.encode()  # no half characters
        assert not re.search(r"(?<!\\)\]\(", text), "no link"
        assert not re.search(r"(?<!\{)\{\d+\}", text), "no placeholder"
        if finding.message.isprintable() and not re.search(r"\]\(|\{\d", finding.message):
            assert text.split("\n")[0] == finding.message


# ---------------------------------------------------------------- JUnit


def test_junit_has_a_case_a_file() -> None:
    root = parsed(to_junit(THREE, ["configs/fine.yaml", "configs/a.yaml", "configs/b.yaml"]))
    assert root.attrib == {"name": "kvcalc", "tests": "3", "failures": "1", "errors": "0"}
    fine, a, b = root.iter("testcase")
    assert (fine.get("name"), list(fine)) == ("configs/fine.yaml", [])
    assert [child.tag for child in a] == ["failure", "system-out"]
    assert a[0].attrib == {"message": "heads: 3 is too many", "type": "KV101"}
    assert a[0].text == "error KV101: configs/a.yaml:3:5: heads: 3 is too many\n  (at most 2)"
    assert [child.tag for child in b] == ["system-out"]
    assert b[0].text == "warning KV105: configs/b.yaml: 100% of it: a, b"


def test_junit_tells_several_errors_of_a_file_in_one_failure() -> None:
    second = ERROR._replace(line=9, code="KV102", message="another")
    (failure,) = parsed(to_junit([ERROR, second], [])).iter("failure")
    assert failure.attrib == {"message": "heads: 3 is too many (and 1 more)", "type": "KV101 KV102"}
    assert (failure.text or "").count("error KV10") == 2


@given(lists, st.lists(st.text(), max_size=3))
def test_junit_parses_whatever_a_file_says(found: list[Finding], checked: list[str]) -> None:
    written = to_junit(found, checked)
    assert written.isascii()
    assert not re.search(r"^\s*::", written, flags=re.MULTILINE), "a log may be read for commands"
    root = parsed(written)
    cases = list(root.iter("testcase"))
    paths = list(dict.fromkeys([*checked, *(finding.path for finding in found)]))
    assert len(cases) == len(paths)
    assert root.get("failures") == str(len(list(root.iter("failure"))))
    said = "\n".join("".join(case.itertext()) for case in cases)
    for case, path in zip(cases, paths, strict=True):
        assert case.get("name") == path or not path.isprintable()
    for finding in found:
        assert finding.message in said or not finding.message.isprintable()
        assert finding.hint in said or not finding.hint.isprintable()


@given(lists)
def test_junit_is_valid_by_its_schema(found: list[Finding]) -> None:
    junit_schema().validate(parsed(to_junit(found, ["a.yaml"])))


def test_a_place_is_told_as_far_as_it_is_known() -> None:
    """A column of 0 is none; and no line of a log begins with a path that a runner reads as a command."""
    assert [place(one) for one in THREE] == ["configs/a.yaml:3:5", "configs/b.yaml", "configs/a.yaml:7"]
    assert place(WARNING._replace(column=4)) == "configs/b.yaml"
    assert place(NOTE._replace(path="::error::x.yaml")) == "./::error::x.yaml:7"
    (output,) = parsed(to_junit([NOTE], [])).iter("system-out")
    assert output.text == "note KV109: configs/a.yaml:7: for your information"


# ---------------------------------------------------------------- job summary


def test_summary_is_appended_where_the_runner_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    append_summary("| é |\n")
    assert page.read_text(encoding="utf-8") == "before\n| é |\n"


def test_summary_needs_a_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    append_summary("text")
    assert os.listdir(tmp_path) == []


def test_summary_never_outgrows_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    append_summary("é line\n" * 100_000)
    assert page.stat().st_size < LIMIT_BYTES
    append_summary("é line\n" * 100_000)
    assert LIMIT_BYTES - 20 < page.stat().st_size <= LIMIT_BYTES
    kept = page.read_text(encoding="utf-8")
    assert "cut here" in kept.splitlines()[-1]
    assert set(kept.splitlines()[:-2]) == {"é line"}, "whole lines"
    append_summary("more\n")
    assert page.read_text(encoding="utf-8") == kept or page.stat().st_size <= LIMIT_BYTES


@pytest.mark.parametrize("path", ["missing/summary.md", ".", "a\nb/c"])
def test_summary_that_cannot_be_written_is_one_warning(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / path))
    append_summary("text")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("warning: GITHUB_STEP_SUMMARY: ")
    assert "cannot be written" in told.err
