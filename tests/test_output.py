"""Where output goes: files, streams, sources."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kvcalc import __version__, names
from kvcalc.cli.output import Output

if TYPE_CHECKING:
    from pathlib import Path
from screens import COMMANDS, KVCALC, NATIVE, SUFFIXES, environment, kvcalc, piped, records, write

# ---------- files


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("line", ["compare llama-2-7b -q", "list"])
def test_output_goes_whole_into_the_file_in_the_format_of_its_suffix(line: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_text("old, and longer than what follows\n" * 1000)
    assert kvcalc(line, "-o", str(path)) == (0, "", "")
    assert path.read_bytes().decode() == piped(f"{line} --format {SUFFIXES[suffix]}")
    assert os.listdir(tmp_path) == [path.name]


def test_format_wins_over_the_suffix_and_capitals_are_no_matter(tmp_path: Path) -> None:
    kvcalc("list --format csv -o", str(tmp_path / "rows.json"))
    kvcalc("list -o", str(tmp_path / "ROWS.JSON"))
    assert (tmp_path / "rows.json").read_text() == piped("list --format csv")
    assert (tmp_path / "ROWS.JSON").read_text() == piped("list --format json")


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    kvcalc("list -o", str(tmp_path / "rows.json"))
    (tmp_path / "other").touch()
    assert (tmp_path / "rows.json").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_is_written_through_and_stays_a_link(tmp_path: Path) -> None:
    """Or else `-o /dev/stdout` of root would replace /dev/stdout."""
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    assert kvcalc("list -o", str(tmp_path / "link.json")).code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == piped("list --format json")


def test_a_device_is_written_to_and_not_replaced() -> None:
    assert kvcalc("list -o /dev/null") == (0, "", "")
    assert not os.path.isfile("/dev/null")


def test_an_interrupt_leaves_the_old_file_and_no_half_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    path = write(tmp_path, "rows.json", "old")
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Output("json", path, "auto", quiet=True).put(["new"])
    assert (tmp_path / "rows.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.json"]


# ---------- streams


@pytest.mark.parametrize("command", ["compare", "show", "explain"])
def test_notes_are_on_stderr_alone_and_quiet_silences_them(command: str) -> None:
    loud, quiet = (kvcalc(f"{command} gemma-3-27b -f json {flag}") for flag in ("", "--quiet"))
    assert loud.err.startswith("note: gemma-3-27b: the vision tower and projector are left out")
    assert (quiet.code, quiet.err) == (0, "")
    assert loud.out == quiet.out
    assert json.loads(loud.out)


@pytest.mark.parametrize("command", ["compare", "show", "explain"])
def test_a_context_beyond_the_models_is_computed_with_a_warning(command: str) -> None:
    result = kvcalc(f"{command} llama-2-7b --context 128k -f json")
    assert result.code == 0
    assert "warning: llama-2-7b: 131,072 tokens are beyond its max_position_embeddings, 4,096" in result.err
    assert "warning" not in result.out
    assert kvcalc(f"{command} llama-2-7b --context 128k -f json -q") == (0, result.out, "")


def test_an_answer_that_ends_beyond_the_models_context_warns() -> None:
    assert "warning: gpt2: 1,025 tokens" in kvcalc("compare gpt2 --context 1k --generate 1").err
    assert "warning" not in kvcalc("compare gpt2 --context 1k").err


def test_the_title_shows_the_exact_tokens() -> None:
    assert "context 131,072 tokens" in piped("compare llama-3.1-8b --context 128k -q").splitlines()[0]


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    command = f"'{sys.executable}' -m kvcalc list | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=environment(), check=False, timeout=60)
    assert done.stdout.decode().startswith(f"{names()[0]} ")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("line", ["list", "compare gpt2 -q", "explain gpt2 -q", "--help"])
def test_a_pipe_that_nobody_reads_ends_it_quietly(line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*KVCALC, *line.split()]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (-signal.SIGPIPE, 0, 1)


def test_a_closed_stdout_is_no_traceback() -> None:
    command = f"'{sys.executable}' -m kvcalc list >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=environment(), check=False, timeout=60)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("line", [*COMMANDS, "--help", "compare --help"])
def test_output_is_ascii_and_so_survives_any_locale(line: str) -> None:
    result = kvcalc(line, LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert result.code == 0
    assert result.out.isascii()
    assert result.err.isascii()


@pytest.mark.parametrize("line", ["show -", "show - --provenance", "show - --provenance -f csv", "compare -"])
def test_a_configs_own_words_survive_an_ascii_terminal(line: str) -> None:
    config = f"{NATIVE}source: caf\N{LATIN SMALL LETTER E WITH ACUTE}\n"
    result = kvcalc(line, stdin=config, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="")
    assert (result.code, result.err) == (0, "")
    assert result.out.isascii()


def test_version() -> None:
    assert kvcalc("--version") == (0, f"kvcalc {__version__}\n", "")


def test_the_environment_may_set_the_format_and_an_option_wins() -> None:
    assert kvcalc("list", KVCALC_FORMAT="json").out == piped("list --format json")
    assert kvcalc("list --format csv", KVCALC_FORMAT="json").out == piped("list --format csv")
    wrong = kvcalc("list", KVCALC_FORMAT="xml")
    assert (wrong.code, wrong.out) == (2, "")
    assert "KVCALC_FORMAT" in wrong.err


# ---------- sources


def test_stdin_is_a_model() -> None:
    assert [row["model"] for row in json.loads(kvcalc("compare - --variants mqa -f json", stdin=NATIVE).out)] == [
        "mine",
        "mine",
    ]
    llama = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    assert json.loads(kvcalc("compare - -f json", stdin=json.dumps(llama)).out)[0]["model"] == "stdin"


def test_documents_of_one_file_stand_side_by_side(tmp_path: Path) -> None:
    wide = NATIVE.replace("mine", "wide").replace("head_dim: 8", "head_dim: 16")
    path = write(tmp_path, "two.yaml", f"---\n{NATIVE}---\n{wide}...\n")
    rows = records("compare", path)
    assert [(row["model"], row["variant"], row["cache_ratio"]) for row in rows] == [
        ("mine", "configured", 1.0),
        ("wide", "configured", 2.0),
    ]


def test_several_models_are_not_rebuilt_and_ratios_are_to_the_first() -> None:
    first, second = records("compare llama-2-7b llama-3.1-8b --context 4k")
    assert (first["variant"], second["variant"]) == ("configured", "configured")
    assert (first["cache_ratio"], second["cache_ratio"]) == (1.0, second["cache_bytes"] / first["cache_bytes"])


def test_several_models_are_rebuilt_when_asked_and_ratios_stay_to_the_first() -> None:
    rows = records("compare llama-2-7b llama-3.1-8b --context 4k --variants mqa")
    assert [row["variant"] for row in rows] == ["configured", "mqa"] * 2
    assert [row["cache_ratio"] for row in rows] == [row["cache_bytes"] / rows[0]["cache_bytes"] for row in rows]


def test_two_models_of_one_name_are_still_two_models(tmp_path: Path) -> None:
    """An edited copy of a config beside the original."""
    one = write(tmp_path, "one.yaml", NATIVE)
    two = write(tmp_path, "two.yaml", NATIVE.replace("head_dim: 8", "head_dim: 16"))
    assert [row["cache_ratio"] for row in records("compare", one, two)] == [1.0, 2.0]


def test_models_of_different_contexts_say_so() -> None:
    result = kvcalc("compare gpt2 llama-3.1-8b")
    assert "note: the models' contexts differ" in result.err
    assert re.search(r"^gpt2 .* 1,024 ", result.out, re.MULTILINE)
    assert re.search(r"^llama-3.1-8b .* 32,768 ", result.out, re.MULTILINE)
