"""The contract of the output: keys, formats, streams, files, widths and colours."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kvcalc import __version__
from kvcalc.cli.output import Output
from kvcalc.comparison import KEYS

if TYPE_CHECKING:
    from pathlib import Path

KVCALC = [sys.executable, "-m", "kvcalc"]
CONTRACT = [
    "model",
    "variant",
    "attention",
    "layers",
    "context_tokens",
    "batch",
    "cache_dtype",
    "cache_elements_per_token",
    "cache_bytes_per_token",
    "state_elements",
    "cache_elements",
    "cache_bytes",
    "cache_ratio",
    "decode_core_flops",
    "decode_projection_flops",
    "decode_model_flops",
    "prefill_core_flops",
    "prefill_projection_flops",
    "prefill_model_flops",
    "decode_cache_read_bytes",
    "decode_intensity",
    "parameters",
    "active_parameters",
    "weight_bytes",
    "receptive_field_tokens",
    "prompt_tokens",
    "cached_tokens",
    "kv_cache",
]
TEXTS = {"model", "variant", "attention", "cache_dtype", "kv_cache", "weight_dtype", "mla_decode", "mla_prefill"}
FRACTIONS = {"cache_ratio", "decode_intensity"}
SUFFIXES = {"json": "json", "jsonl": "jsonl", "csv": "csv", "tsv": "tsv", "md": "markdown", "txt": "table"}
COMMANDS = ("compare deepseek-v3", "show gemma-3-27b", "explain mixtral-8x7b-v0.1", "list")
WIDTHS = (20, 40, 60, 80, 120, 200)
NATIVE = """name: mine
vocab_size: 100
hidden_size: 64
num_hidden_layers: 4
tie_word_embeddings: false
norm: rmsnorm
norms_per_layer: 2
attention: {kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}
mlp: {kind: dense, intermediate_size: 128, gated: true}
"""


class Result(NamedTuple):
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str


def environment(**changes: str) -> dict[str, str]:
    """Return an environment that says nothing about terminals."""
    silent = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "KVCALC_FORMAT")
    kept = {key: value for key, value in os.environ.items() if key not in silent}
    return {**kept, "TERM": "xterm-256color", **changes}


def kvcalc(line: str, *more: str, stdin: str = "", **changes: str) -> Result:
    """Run the command line into pipes."""
    done = subprocess.run(
        [*KVCALC, *line.split(), *more],
        input=stdin.encode(),
        capture_output=True,
        env=environment(**changes),
        check=False,
        timeout=60,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


@cache
def piped(line: str) -> str:
    """Return what a command writes into a pipe."""
    result = kvcalc(line)
    assert result.code == 0, result
    return result.out


def records(line: str, *more: str, **changes: str) -> list[dict[str, Any]]:
    """Return the rows of a command as JSON."""
    result = kvcalc(line, "--format", "json", *more, **changes)
    assert result.code == 0, result
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


def at_terminal(line: str, width: int, **changes: str) -> str:
    """Return what a command writes at a real terminal of this width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(
        [*KVCALC, *line.split()],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.DEVNULL,
        env=environment(**changes),
    )
    os.close(slave)
    written = b""
    while chunk := _read(master):
        written += chunk
    os.close(master)
    assert process.wait(timeout=60) == 0
    return written.decode().replace("\r\n", "\n")


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # Linux's way to say that the other side is gone
        return b""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# ----------------------------------------------------------------------- records


def test_json_is_an_array_of_flat_objects_with_the_contracts_keys_first() -> None:
    rows = records("compare deepseek-v2")
    assert list(KEYS[: len(CONTRACT)]) == CONTRACT
    assert len(rows) > 4
    for row in rows:
        assert list(row) == list(KEYS)
        assert all(not isinstance(value, list | dict) for value in row.values())


@pytest.mark.parametrize("model", ["deepseek-v2", "mistral-7b-v0.1", "bloom"])
def test_integers_are_integers_and_missing_is_null(model: str) -> None:
    for row in records(f"compare {model}"):
        for key, value in row.items():
            wanted: type = str if key in TEXTS else float if key in FRACTIONS else int
            assert value is None or type(value) is wanted, f"{key} = {value!r}"
        assert row["variant"] != "configured" or row["cache_ratio"] == 1
    assert row["answer_model_flops"] is None


def test_null_is_no_zero() -> None:
    by_variant = {row["variant"]: row for row in records("compare llama-2-7b --variants swa-1024")}
    assert by_variant["configured"]["receptive_field_tokens"] is None
    assert by_variant["swa-1024"]["receptive_field_tokens"] == 1024 * 32
    assert by_variant["configured"]["state_elements"] == 0


def test_every_number_is_exact_above_two_to_the_53() -> None:
    row = records("compare llama-2-7b --variants none --context 1m --batch 1024")[0]
    assert row["cache_bytes"] == 2 * 2 * 4096 * 32 * 2**20 * 2**10
    assert row["prefill_core_flops"] == 4 * 4096 * 32 * (2**20 * (2**20 + 1) // 2) * 2**10
    assert row["prefill_core_flops"] > 2**53


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("format_, delimiter", [("csv", ","), ("tsv", "\t")])
def test_csv_and_tsv_are_the_json_rows_in_the_same_order(line: str, format_: str, delimiter: str) -> None:
    rows = json.loads(piped(f"{line} --format json"))
    text = piped(f"{line} --format {format_}")
    header, *cells = csv.reader(io.StringIO(text), delimiter=delimiter)
    assert header == list(rows[0])
    assert cells == [["" if value is None else str(value) for value in row.values()] for row in rows]
    assert "\r" not in text
    assert text.isascii()


@pytest.mark.parametrize("line", COMMANDS)
def test_jsonl_is_the_json_rows_one_a_line(line: str) -> None:
    lines = piped(f"{line} --format jsonl").splitlines()
    assert [json.loads(one) for one in lines] == json.loads(piped(f"{line} --format json"))
    assert len({tuple(json.loads(one)) for one in lines}) == 1


EVIL = NATIVE + 'source: "=HYPERLINK(1)"\nleft_out: "@SUM(A1)"\n'
EVIL_CUSTOM = NATIVE.replace(
    "attention: {kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}",
    "attention: {kind: custom, name: own, symbols: {d_h: 8}, elements_per_token: '-d_h + 3*d_h', work_per_pair: "
    "'-d_h + 5*d_h', work_per_token: '0', parameters: '-0', source: '=1+1'}",
)


@pytest.mark.parametrize("line", [*COMMANDS, "show gemma-3-27b --provenance"])
@pytest.mark.parametrize("format_", ["csv", "tsv"])
def test_no_cell_is_a_formula_for_a_spreadsheet(line: str, format_: str) -> None:
    assert_no_formula(piped(f"{line} --format {format_}"), format_)


@pytest.mark.parametrize("line", ["compare -", "show -", "show - --provenance", "explain -"])
@pytest.mark.parametrize("config", [EVIL, EVIL_CUSTOM], ids=["source", "custom"])
def test_no_text_of_a_config_becomes_a_formula_for_a_spreadsheet(line: str, config: str) -> None:
    result = kvcalc(line, "--format", "csv", stdin=config)
    assert result.code in (0, 2)
    assert_no_formula(result.out, "csv")


def assert_no_formula(text: str, format_: str) -> None:
    for cells in csv.reader(io.StringIO(text), delimiter="\t" if format_ == "tsv" else ","):
        for cell in cells:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell


@pytest.mark.parametrize("line", ["show -", "show - --provenance", "explain -", "compare -"])
def test_no_text_of_a_config_steers_the_terminal(line: str) -> None:
    config = f'{NATIVE}source: "a\\e[31mred\\u009b5m\\a"\nleft_out: "b\\e[5m\\r\\nc"\n'
    result = kvcalc(line, stdin=config)
    assert result.code in (0, 2)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.out + result.err)


# ---------------------------------------------------------------------- markdown


def row_cells(line: str) -> list[str]:
    """Return the cells of a GitHub table's row."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])]


@pytest.mark.parametrize("line", [*COMMANDS, "show llama-4-scout-17b-16e --provenance", "compare bloom gpt2"])
def test_markdown_is_well_formed_github_tables(line: str) -> None:
    blocks = [block.splitlines() for block in piped(f"{line} --format markdown").strip("\n").split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert tables
    for head, rule, *body in tables:
        width = len(row_cells(head))
        assert all(re.fullmatch(r":---|---:", cell) for cell in row_cells(rule))
        assert body
        assert [len(row_cells(one)) for one in (rule, *body)] == [width] * (len(body) + 1)
    assert all(len(block) == 1 or block[0].startswith(("|", "Source")) for block in blocks), "one line of prose"


def test_markdown_numbers_are_on_the_right() -> None:
    head, rule, configured, *_ = [one for one in piped("compare deepseek-v2 -f markdown").splitlines() if "|" in one]
    sides = dict(zip(row_cells(head), row_cells(rule), strict=True))
    cells = dict(zip(row_cells(head), row_cells(configured), strict=True))
    assert (sides["variant"], sides["elements a token"]) == (":---", "---:")
    assert (cells["variant"], cells["elements a token"]) == ("configured", "34,560")


# ------------------------------------------------------------------------- files


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
        Output("json", path, "auto", quiet=True).put("new")
    assert (tmp_path / "rows.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.json"]


# ----------------------------------------------------------------------- streams


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
    assert done.stdout.decode().startswith("bloom ")
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


# ------------------------------------------------------------------------ sources


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


# ------------------------------------------------------------------------- widths

TABLES = (
    "compare deepseek-v2",
    "compare llama-3.1-405b --context 1m --batch 1024 --generate 4k",
    "compare gpt2 llama-4-maverick-17b-128e gemma-3-27b",
    "show gemma-3-27b",
)


def cells(line: str) -> list[str]:
    """Return the cells of a line: two blanks or more part them."""
    return re.split(r" {2,}", line.strip())


def is_part(some: list[str], whole: list[str]) -> bool:
    """Tell whether some cells are cells of a whole line, in its order."""
    rest = iter(whole)
    return all(cell in rest for cell in some)


@cache
def drawn(line: str, width: int) -> list[str]:
    """Return the lines of a table at a terminal of this width."""
    return at_terminal(f"{line} --color never", width).splitlines()


@pytest.mark.parametrize("line", TABLES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_digit_is_cut_at_any_width(line: str, width: int) -> None:
    """Every line of a narrow table is whole cells of a line of the wide one, in its order."""
    wide = [cells(one) for one in piped(f"{line} --color never").splitlines()]
    for one in drawn(line, width):
        assert any(is_part(cells(one), whole) for whole in wide), one
    assert len(drawn(line, width)) >= len(wide) - 2, "headers may need fewer lines, but no row is left out"


@pytest.mark.parametrize("line", TABLES)
def test_a_wider_terminal_shows_more_columns_and_a_pipe_all(line: str) -> None:
    shown = [sum(len(cells(one)) for one in drawn(line, width)) for width in WIDTHS]
    assert shown == sorted(shown)
    assert shown[0] < shown[-1]
    assert piped(f"{line} --color never").splitlines() == drawn(line, 1000)


@pytest.mark.parametrize("line", TABLES)
@pytest.mark.parametrize("width", WIDTHS[1:])
def test_a_table_is_no_wider_than_the_terminal_but_for_what_every_width_shows(line: str, width: int) -> None:
    for one in drawn(line, width):
        if len(cells(one)) > 1 and one not in drawn(line, WIDTHS[0]):
            assert len(one) <= width, one


@pytest.mark.parametrize("line", ["list", "explain deepseek-v2"])
def test_plain_text_is_the_same_at_every_width(line: str) -> None:
    for width in (20, 200):
        assert at_terminal(line, width) == piped(line)


# ------------------------------------------------------------------------- colours


@pytest.mark.parametrize(
    "option, changes, colored",
    [
        ("", {}, True),
        ("--color auto", {}, True),
        ("--color always", {}, True),
        ("--color never", {}, False),
        ("", {"NO_COLOR": "1"}, False),
        ("", {"NO_COLOR": ""}, True),
        ("--color always", {"NO_COLOR": "1"}, True),
        ("", {"TERM": "dumb"}, False),
        ("--color always", {"TERM": "dumb"}, True),
    ],
)
def test_colours_at_a_terminal(option: str, changes: dict[str, str], colored: bool) -> None:
    """no-color.org: NO_COLOR counts when present and not empty; an option of the command line wins."""
    assert ("\x1b[" in at_terminal(f"compare gpt2 {option}", 80, **changes)) is colored


@pytest.mark.parametrize("option, colored", [("", False), ("--color never", False), ("--color always", True)])
def test_colours_in_a_pipe(option: str, colored: bool) -> None:
    assert ("\x1b[" in piped(f"compare gpt2 {option}")) is colored


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv", "tsv", "markdown"])
def test_no_colours_in_what_machines_read(format_: str) -> None:
    assert "\x1b" not in piped(f"compare gpt2 --format {format_} --color always")


def test_colours_change_no_character(tmp_path: Path) -> None:
    colored = re.sub(r"\x1b\[[0-9;]*m", "", piped("compare deepseek-v2 --color always"))
    assert [one.rstrip() for one in colored.splitlines()] == piped("compare deepseek-v2 --color never").splitlines()
    kvcalc("compare deepseek-v2 -o", str(tmp_path / "table.txt"))
    assert (tmp_path / "table.txt").read_text() == piped("compare deepseek-v2 --color never")
