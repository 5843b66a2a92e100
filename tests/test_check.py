"""`kvcalc check`: what is wrong becomes findings, what cannot run exits with 2, and what is meant can be silenced."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.checks import CODES
from kvcalc.checks.silence import parse_codes
from kvcalc.errors import KvcalcError, NotUnderstoodError
from kvcalc.findings import SEVERITIES, Finding
from kvcalc.readers.comments import comments
from kvcalc.report.comment import MOST_BYTES
from kvcalc.report.findings import MARKER, to_comment
from refusals import BAD, LLAMA, NATIVE, assert_refused, quickly, write
from test_bad_files import FILES, expectation
from test_startup import loaded

if TYPE_CHECKING:
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIGS = os.path.join(ROOT, "configs")
APART = NATIVE.replace("head_dim: 8", "head_dim: 16")  # KV105 on line 8
NOT_UNDERSTOOD = {
    "hf_foreign_model_type.yaml",
    "hf_layer_types_linear.yaml",
    "hf_layer_types_unknown.yaml",
    "hf_model_type_null.yaml",
    "hf_refused.yaml",
    "hf_unknown_model_type.yaml",
}


def findings(*arguments: str) -> list[Finding]:
    result = quickly("check", *arguments, "--format", "json")
    assert result.code in (0, 1), result
    return [Finding(**finding) for finding in json.loads(result.out)]


def codes(text: str, folder: Path, *more: str) -> list[str]:
    return [finding.code for finding in findings(write(folder, "m.yaml", text), *more)]


# ---------- valid and understood


@pytest.mark.parametrize("name", sorted(os.listdir(BAD)))
def test_a_bad_file_is_an_error_at_its_place(name: str) -> None:
    path = os.path.join(BAD, name)
    place, part, right = expectation(path)
    result = quickly("check", path, "--format", "json")
    assert result.code == 1
    (finding,) = json.loads(result.out)
    assert f"{finding['line']}:{finding['column']}" == place
    assert finding["severity"] == "error"
    assert finding["path"] == path
    assert part in finding["message"]
    assert right in finding["hint"]
    assert finding["code"] == ("KV002" if name in NOT_UNDERSTOOD else "KV001")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_is_an_error_too(name: str, tmp_path: Path) -> None:
    text, place, part = FILES[name]
    path = write(tmp_path, name, text)
    result = quickly("check", path)
    assert result.code == 1
    assert result.out.startswith(f"{path}{place.rstrip()}")
    assert f"error KV00{2 if 'not understood' in part else 1}: " in result.out
    assert part in result.out


def test_the_others_are_still_checked(tmp_path: Path) -> None:
    bad, unknown = (os.path.join(BAD, name) for name in ("size_zero.yaml", "hf_unknown_model_type.yaml"))
    result = quickly("check", bad, write(tmp_path, "apart.yaml", APART), unknown, "gpt2")
    assert result.code == 1
    assert re.findall(r"(KV\d+)", result.out) == ["KV001", "KV105", "KV002"]
    assert result.out.endswith("4 files: 2 errors, 1 warning, 0 notes\n")


def test_what_is_not_understood_is_told_by_its_type() -> None:
    with pytest.raises(NotUnderstoodError):
        kvcalc.load(os.path.join(BAD, "hf_unknown_model_type.yaml"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["no-such.yaml"], "cannot be read"),
        (["gpt2", BAD], "a directory, not a file"),
        (["llama-3.1-8bb"], "did you mean llama-3.1-8b"),
        (["-", "-"], "- is stdin, and can be given once"),
        (["gpt2", "--ignore", "KV15"], "did you mean KV115 or KV105"),
        (["gpt2", "--ignore", "KV001"], "KV001 cannot be silenced"),
        (["gpt2", "--ignore", ""], "no code to ignore is named"),
        (["gpt2", "--dtype", "fp9"], "did you mean fp8"),
    ],
)
def test_what_cannot_run_exits_with_two(arguments: list[str], part: str) -> None:
    assert_refused(quickly("check", *arguments), part)


def test_a_formula_too_large_for_the_context_is_an_error_of_the_file(tmp_path: Path) -> None:
    attention = (
        "attention: {kind: custom, name: big, symbols: {two: 2}, elements_per_token: two**500*two**490,"
        " work_per_pair: two**500*two**490, work_per_token: 0, parameters: 0}\n"
    )
    text = "".join(attention if line.startswith("attention") else line for line in NATIVE.splitlines(keepends=True))
    found = findings(write(tmp_path, "big.yaml", text + "max_position_embeddings: 1000000000\n"))
    assert all((finding.code, finding.line) == ("KV001", 8) for finding in found if finding.severity == "error")


def test_exit_codes(tmp_path: Path) -> None:
    good, apart = write(tmp_path, "good.yaml", NATIVE), write(tmp_path, "apart.yaml", APART)
    assert quickly("check", good).code == 0
    assert quickly("check", apart).code == 0
    assert quickly("check", apart, "--strict").code == 1
    assert quickly("check", good, "--strict", "--tp", "2").code == 0
    noted = quickly("check", good, "--strict", "--tp", "4")
    assert (noted.code, noted.out.count("note KV112")) == (0, 1)


def test_bundled_configs_pass_strictly() -> None:
    """Where a lint is right about a published model, its file says why that is meant."""
    paths = [os.path.join(CONFIGS, name) for name in os.listdir(CONFIGS) if name.endswith(".yaml")]
    result = quickly("check", *paths, "--strict")
    assert result.code == 0, result.out
    *notes, last = result.out.splitlines()
    assert re.fullmatch(rf"{len(paths)} files: 0 errors, 0 warnings, \d+ notes \(\d+ silenced\)", last)
    codes = {code for note in notes for code in re.findall(r": note (KV\d+): ", note)}
    assert codes == {"KV115"}, "a bound that good models break"
    told = [comment.text for path in paths for comment in _comments(path) if "kvcalc:" in comment.text]
    assert told
    assert all(re.search(r"\(.{10,}\)$", text) for text in told), "a reason each"


def _comments(path: str) -> list:  # type: ignore[type-arg]  # of JSON
    with open(path, encoding="utf-8") as file:
        return comments(file.read())


def test_names_folders_and_stdin_are_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    write(tmp_path / "model", "config.json", json.dumps({**LLAMA, "head_dim": 16}))
    (found,) = [finding for finding in findings(str(tmp_path / "model")) if finding.code == "KV105"]
    assert (found.path, found.model) == (str(tmp_path / "model" / "config.json"), "model")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(APART.encode())))
    assert [(finding.path, finding.code) for finding in findings("-")] == [("<stdin>", "KV105")]
    assert findings("gpt2") == []


def test_a_file_given_twice_is_checked_once(tmp_path: Path) -> None:
    path = write(tmp_path, "m.yaml", APART)
    assert len(findings(path, path)) == 1


def test_every_model_of_a_file_is_checked(tmp_path: Path) -> None:
    text = f"{APART}---\n{NATIVE.replace('name: bad', 'name: good')}---\n{APART.replace('name: bad', 'name: third')}"
    found = findings(write(tmp_path, "m.yaml", text))
    assert [(finding.model, finding.line) for finding in found] == [("bad", 8), ("third", 28)]


def test_dtypes_are_what_sizes_are_measured_in(tmp_path: Path) -> None:
    text = NATIVE + "max_position_embeddings: 1000\n"
    assert codes(text, tmp_path) == []
    assert codes(text, tmp_path, "--weight-dtype", "int4") == ["KV108"]
    assert codes(text, tmp_path, "--weight-dtype", "int4", "--dtype", "int4") == []


# ---------- silenced


ON_LINE_8 = "head_dim: 16}"


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        (APART.replace(ON_LINE_8, f"{ON_LINE_8}  # kvcalc: ignore KV105 (meant)"), True),
        (APART.replace(ON_LINE_8, f"{ON_LINE_8} # kvcalc: ignore KV105"), True),
        (APART.replace(ON_LINE_8, f"{ON_LINE_8} # kvcalc: ignore kv108, kv105 (two of them)"), True),
        (APART.replace(ON_LINE_8, f"{ON_LINE_8} # published so # kvcalc: ignore KV105 (yes)"), True),
        (APART.replace(ON_LINE_8, f"{ON_LINE_8} # kvcalc: ignore KV108 (another)"), False),
        (APART.replace("attention:", "# kvcalc: ignore KV105 (meant)\nattention:"), True),
        (APART.replace("attention:", "# kvcalc: ignore KV105 (meant)\n# so says its card\n\nattention:"), False),
        (APART.replace("attention:", "# kvcalc: ignore KV105 (meant)\n# so says its card\nattention:"), True),
        (APART.replace("mlp:", "# kvcalc: ignore KV105 (the line after)\nmlp:"), False),
        (APART.replace("name: bad", "name: bad  # kvcalc: ignore KV105 (another line)"), False),
        (APART + "# kvcalc: ignore-file KV105 (at the end)\n", True),
        ("# kvcalc: ignore-file KV105 (at the top)\n" + APART, True),
        (APART + "source: 'text # kvcalc: ignore-file KV105 (no comment)'\n", False),
        (APART + 'source: "text\n  # kvcalc: ignore-file KV105 (no comment)"\n', False),
        (APART + "source: text#kvcalc: ignore-file KV105\n", None),  # a key of its own is no YAML here
    ],
)
def test_comments_silence_their_place(text: str, silent: bool | None, tmp_path: Path) -> None:
    found = codes(text, tmp_path)
    assert found == ([] if silent else ["KV001"] if silent is None else ["KV105"])


@pytest.mark.parametrize(
    ("comment", "part", "right"),
    [
        ("# kvcalc: ignore KV15 (a typo)", "unknown code 'KV15'", "did you mean KV115 or KV105"),
        ("# kvcalc: ignore KV001 (no)", "KV001 cannot be silenced", ""),
        ("# kvcalc: ignore-file KV002", "KV002 cannot be silenced", ""),
        ("# kvcalc: ingore KV105 (a typo)", "is not understood", "did you mean ignore"),
        ("# kvcalc: ignore (nothing)", "no code to ignore is named", ""),
        ("# kvcalc: ignore KV105 because", "unknown code 'BECAUSE'", ""),
        ("# kvcalc: ignore KV105 (a) b", "is not understood", "write # kvcalc: ignore KV105 (reason)"),
        ("# kvcalc:", "is not understood", ""),
    ],
)
def test_a_comment_that_does_not_say_what_it_means_is_an_error(
    comment: str, part: str, right: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "m.yaml", APART.replace(ON_LINE_8, f"{ON_LINE_8} {comment}"))
    warning, error = sorted(findings(path), key=lambda finding: finding.severity != "warning")
    assert (error.code, error.severity, error.line) == ("KV001", "error", 8)
    assert error.column == APART.splitlines()[7].index("}") + 3
    assert part in error.message
    assert right in error.hint
    assert warning.code == "KV105", "what was not silenced is told"


def test_a_bad_file_cannot_silence_itself(tmp_path: Path) -> None:
    text = "# kvcalc: ignore-file KV105 (all is well)\n" + NATIVE.replace("hidden_size: 64", "hidden_size: 0")
    assert codes(text, tmp_path) == ["KV001"]


def test_json_has_no_comments(tmp_path: Path) -> None:
    config = {**LLAMA, "head_dim": 16, "max_position_embeddings": 64, "note": "# kvcalc: ignore-file KV105 (text)"}
    for indent in (None, 1, "\t"):
        path = write(tmp_path, "config.json", json.dumps(config, indent=indent))
        assert [finding.code for finding in findings(path)] == ["KV105"]
        assert findings(path, "--ignore", "KV105") == []


@given(
    st.lists(st.sampled_from(["a: 1", "'#'", '"', "'", "# c", " # c", "|", ">", "\n", "  ", "[", "]", "{", "}", ","]))
)
def test_comments_of_any_text_are_comments_and_never_fail(pieces: list[str]) -> None:
    text = "".join(pieces)
    for comment in comments(text):
        line = text.split("\n")[comment.line - 1]
        assert line[comment.column - 1 :] == comment.text
        assert comment.alone == (not line[: comment.column - 1].strip())


def test_taking_all_comments_away_changes_nothing() -> None:
    """A comment that were part of a value would take the value's end with it."""
    import yaml  # a test, not a start

    text = (
        "a: 'it''s # no' # yes\nb: \"# no \\\" # no\" # yes\nc: x#no # yes\nd: |\n  # no\n  text # no\n# yes\n"
        "e: >-\n  # no\n\n  text\n# yes\nf: [1, # yes\n 2] # yes\ng: plain\n  more # yes\n"
        "h: {i: '#'} # yes\n'#': 1 # yes\n"
    )
    found = comments(text)
    assert {comment.text for comment in found} == {"# yes"}
    assert len(found) == text.count("# yes")
    lines = text.split("\n")
    for comment in found:
        lines[comment.line - 1] = lines[comment.line - 1][: comment.column - 1]
    assert yaml.safe_load("\n".join(lines)) == yaml.safe_load(text)


def test_codes_are_read_once_each() -> None:
    assert parse_codes("kv105, KV108 KV105") == ("KV105", "KV108")
    with pytest.raises(KvcalcError, match="unknown code"):
        parse_codes("everything")


# ---------- written


HOSTILE = "name: bad\n\"=1+1\": 5\n'|@everyone': 2\n"


def test_text_is_a_linters(tmp_path: Path) -> None:
    path = write(tmp_path, "m.yaml", APART)
    result = quickly("check", path, "--tp", "3")
    lines = result.out.splitlines()
    assert lines[0].startswith(f"{path}:8:26: warning KV103: num_attention_heads 8 is not divisible by --tp 3")
    assert lines[1] == "  --tp 1, 2, 4, 8 would"
    assert lines[-1] == "1 file: 0 errors, 4 warnings, 0 notes"
    assert result.err == ""


def test_every_format_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    path, bad = write(tmp_path, "m.yaml", APART), os.path.join(BAD, "size_zero.yaml")
    expected = {"KV001", "KV105"}
    for name in ("table", "json", "jsonl", "csv", "tsv", "markdown", "github", "junit"):
        result = quickly("check", path, bad, "--format", name)
        assert result.code == 1
        assert set(re.findall(r"KV\d{3}", result.out)) == expected, name
    sarif = json.loads(quickly("check", path, bad, "--format", "sarif").out)
    assert {found["ruleId"] for found in sarif["runs"][0]["results"]} == expected
    assert MARKER in summary.read_text()
    assert set(re.findall(r"KV\d{3}", summary.read_text())) == expected


def test_nothing_found_is_written_too(tmp_path: Path) -> None:
    path = write(tmp_path, "m.yaml", NATIVE)
    assert json.loads(quickly("check", path, "--format", "json").out) == []
    assert quickly("check", path, "--format", "csv").out.rstrip("\n").split(",") == list(Finding._fields)
    assert quickly("check", path, "--format", "github").out == ""
    assert quickly("check", path, "--format", "markdown").out.startswith(f"{MARKER}\n")


def test_no_text_of_a_file_steers_anything(tmp_path: Path) -> None:
    path = write(tmp_path, "m.yaml", NATIVE + "layers: {'=cmd()': 5, \"@a\\e[31m\": 6, '-x': 7}\n")
    for row in csv.reader(io.StringIO(quickly("check", path, "--format", "csv").out)):
        assert not any(cell[:1] in ("=", "+", "-", "@") for cell in row)
        assert all(cell.isprintable() for cell in row)
    for config in (HOSTILE, f"{NATIVE}'@everyone <b>': 1\n", f"{NATIVE}layers: {{'=cmd()': 5}}\n"):
        written = quickly("check", write(tmp_path, "h.yaml", config), "--format", "markdown").out
        assert "@" not in written
        assert "<b>" not in written
        assert all(line.count("|") == 6 for line in written.splitlines() if line.startswith("|"))


def test_a_comment_is_never_too_long_and_counts_what_it_leaves_out() -> None:
    found = tuple(Finding(f"c/{at}.yaml", 1, 1, "warning", "KV105", f"{at} <&|" * 30, "h" * 300) for at in range(500))
    written = to_comment(kvcalc.Check(found, ("c",)))
    assert len(written.encode()) <= MOST_BYTES
    assert written.startswith(f"{MARKER}\n")
    rows = sum(line.startswith("| warning") for line in written.splitlines())
    left = re.search(r"([0-9,]+) more findings", written)
    assert left
    assert rows + int(left[1]) == 500
    assert rows > 20


def test_a_wrong_check_writes_nothing(tmp_path: Path) -> None:
    output = write(tmp_path, "out.json", "as it was\n")
    assert_refused(quickly("check", "gpt2", "no-such.yaml", "-o", output), "no-such.yaml")
    assert (tmp_path / "out.json").read_text() == "as it was\n"


# ---------- the register


def test_docs_and_register_are_equal() -> None:
    with open(os.path.join(ROOT, "docs", "checks.md"), encoding="utf-8") as file:
        sections = re.findall(r"^### (KV\d+): (.+)\n\n((?:.+\n)+)", file.read(), re.MULTILINE)
    told = {code: (title, " ".join(text.split())) for code, title, text in sections}
    assert len(told) == len(sections)
    assert told == {
        code: (known.title, f"{known.severity.capitalize()}. {known.reason}") for code, known in CODES.items()
    }


def test_codes_are_well_formed() -> None:
    for code, known in CODES.items():
        assert re.fullmatch(r"KV\d{3}", code)
        assert known.severity in SEVERITIES
        assert known.reason.endswith(".")
        assert not known.title.endswith(".")
        assert "\n" not in known.title + known.reason
    assert list(CODES) == sorted(CODES)


def test_a_check_in_python_is_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, "m.yaml", APART)
    found = kvcalc.check([path], tp=3, ignore=("KV113",))
    assert [finding.code for finding in found.findings] == ["KV103", "KV104", "KV105"]
    assert (found.paths, found.silenced) == ((path,), 1)
    assert found.failed(strict=True)
    assert not found.failed()


def test_a_check_needs_no_rich() -> None:
    assert loaded("check", "--help") == set()
    assert {"rich"} & loaded("check", "llama-3.1-8b") == set()
    assert {"rich"} & loaded("check", "llama-3.1-8b", "--format", "sarif") == set()
