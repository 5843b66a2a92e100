"""`kvcalc diff`: what changed, and what it does to every number."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from builders import heads, mla, model
from kvcalc.attention.custom import Custom
from kvcalc.attention.encoder import Encoder
from kvcalc.attention.reach import Full, Window
from kvcalc.difference import COMPARED, DEPENDS, KEYS, KINDS, STATUSES, Diff, Pair, Side
from kvcalc.model import Branch
from kvcalc.report.comment import MARKER, to_comment
from kvcalc.rows import ASKED
from refusals import assert_refused, quickly, write
from repositories import WIDER, commit, diff, git, repository
from screens import NATIVE, at_terminal, records

if TYPE_CHECKING:
    from pathlib import Path

    from kvcalc.model import ModelSpec
    from refusals import Result

CONTRACT = [
    "model",
    "variant",
    "status",
    "old_file",
    "new_file",
    "line",
    "kind",
    "name",
    "context_tokens",
    "batch",
    "cache_dtype",
    "prompt_tokens",
    "cached_tokens",
    "kv_cache",
    "weight_dtype",
    "mla_decode",
    "mla_prefill",
    "shared_prefix_tokens",
    "generate_tokens",
    "state_dtype",
    "encoder_tokens",
    "engine",
    "mtp",
    "engine_version",
    "tensor_parallel",
    "engine_options",
    "on",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "context_parallel",
    "old",
    "new",
    "difference",
    "percent",
]
LLAMA = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
}
EVIL = "=cmd|' /C calc'!A0 @octocat #1 | <b>x</b> `x` [a](http://b) \x1b[31m \u202e www.evil.example"

specs = st.builds(
    lambda memory, reach, layers, width: model(*[memory] * layers, reach=reach, hidden_size=width),
    st.sampled_from([heads(8, 8, 16), heads(8, 2, 16), heads(8, 1, 64), mla(), mla(d_c=32)]),
    st.sampled_from([Full(), Window(7), Window(64)]),
    st.integers(1, 4),
    st.sampled_from([32, 64]),
)
workloads = st.builds(
    lambda **options: kvcalc.Workload(**options),  # NamedTuple's other fields keep their defaults
    context_tokens=st.integers(2, 300),
    batch=st.integers(1, 5),
    dtype=st.sampled_from(["bf16", "int4"]),
    generate_tokens=st.integers(0, 3),
    kv_cache=st.booleans(),
)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo")


def asked(*workloads: kvcalc.Workload) -> list[kvcalc.Request]:
    return [kvcalc.Request(workload, workload.context_tokens) for workload in workloads]


def differ(old: ModelSpec | None, new: ModelSpec | None, *workloads: kvcalc.Workload) -> Diff:
    before, after = (Side(spec.name, "file", spec) if spec else None for spec in (old, new))
    return kvcalc.diff([Pair(before, after)], asked(*workloads or (kvcalc.Workload(100),)))


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.code == 0, result
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


def two(folder: Path, old: str, new: str, *arguments: str) -> list[dict[str, Any]]:
    """The rows of `diff OLD NEW` of two texts."""
    suffix = "json" if new.startswith("{") else "yaml"
    files = write(folder, f"old.{'json' if old.startswith('{') else 'yaml'}", old), write(folder, f"new.{suffix}", new)
    return rows(quickly("diff", *files, "--format", "json", *arguments))


def fields(told: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row[key] for key in ("name", "line", "old", "new")) for row in told if row["kind"] == "field"]


def quantity(told: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in told if row["name"] == name]


# Laws.


@given(specs, workloads)
def test_a_model_does_not_differ_from_itself(spec: ModelSpec, workload: kvcalc.Workload) -> None:
    assert differ(spec, spec, workload).rows() == []


@given(specs, specs, workloads)
def test_there_and_back_are_mirror_images(one: ModelSpec, other: ModelSpec, workload: kvcalc.Workload) -> None:
    there, back = differ(one, other, workload).rows(), differ(other, one, workload).rows()
    assert len(there) == len(back)
    for forth, mirrored in zip(there, back, strict=True):
        assert (forth["name"], forth["old"], forth["new"]) == (mirrored["name"], mirrored["new"], mirrored["old"])
        if isinstance(forth["old"], int) and isinstance(forth["new"], int):
            assert isinstance(forth["difference"], int)
            assert forth["old"] + forth["difference"] == forth["new"], "exact, whatever its size"
            assert mirrored["difference"] == -forth["difference"]


@given(specs, specs, st.lists(workloads, min_size=1, max_size=3))
def test_every_number_that_differs_is_told_and_is_that_of_compare(
    one: ModelSpec, other: ModelSpec, workloads: list[kvcalc.Workload]
) -> None:
    told = differ(one, other, *workloads).rows()
    for workload in workloads:
        old, new = (kvcalc.analyze(spec, workload).rows()[0] for spec in (one, other))
        for name in COMPARED:
            like = {key: new[key] for key in DEPENDS.get(name, ASKED)}
            found = [row for row in told if row["name"] == name and all(row[key] == like[key] for key in like)]
            expected = [] if old[name] == new[name] else [(old[name], new[name])]
            assert [(row["old"], row["new"]) for row in found] == expected


CHANGES: dict[str, dict[str, Any]] = {
    "context_tokens": {"context_tokens": 90},
    "batch": {"batch": 3},
    "cache_dtype": {"dtype": "int8"},
    "cached_tokens": {"cached_tokens": 10},
    "kv_cache": {"kv_cache": False},
    "weight_dtype": {"weight_dtype": "int4"},
    "mla_decode": {"mla_decode": "naive"},
    "mla_prefill": {"mla_prefill": "absorbed"},
    "shared_prefix_tokens": {"shared_prefix_tokens": 40},
    "generate_tokens": {"generate_tokens": 9},
    "state_dtype": {"state_dtype": "bf16"},
    "encoder_tokens": {"encoder_tokens": 70},
    "engine": {"engine": "transformers"},
    "mtp": {"mtp": "on"},
    "tensor_parallel": {"tensor_parallel": 2},
    "on": {"machine": kvcalc.parse_machine("8xH200")},
    "pipeline_parallel": {"pipeline_parallel": 2},
    "data_parallel": {"data_parallel": 2},
    "context_parallel": {"context_parallel": 2},
}
FOLLOWS = {"prompt_tokens", "engine_version", "engine_options"}  # from what is cached; of an engine
EXPERTS = {"expert_parallel"}  # of devices that tensor_parallel and data_parallel make


def test_a_number_depends_on_what_is_said_and_on_nothing_else() -> None:
    """Otherwise a number that differs only at one of several contexts would be left out."""
    assert set(CHANGES) == set(ASKED) - FOLLOWS - EXPERTS
    moved: dict[str, set[str]] = {name: set() for name in COMPARED}
    state, machine = Custom("0", "0", "9", "9", state_elements="40"), kvcalc.parse_machine("4xH100")
    for spec in (
        model(heads(8, 2, 16), reach=Window(50)),
        model(mla()),
        model(heads(8, 2, 16))._replace(mtp=model(heads(8, 2, 16)).groups),
        model(heads(8, 2, 16), mla()),
        model(heads(8, 2, 16), state, Branch(heads(8, 8, 16), Encoder())),
    ):
        cached = kvcalc.Workload(100, generate_tokens=4, batch=2, encoder_tokens=50, machine=machine)
        for start in (cached, cached._replace(kv_cache=False)):
            for key, change in CHANGES.items():
                if not start.kv_cache and key in ("cached_tokens", "shared_prefix_tokens", "kv_cache"):
                    continue
                was, now = (kvcalc.analyze(spec, load).rows()[0] for load in (start, start._replace(**change)))
                for name in COMPARED:
                    if was[name] != now[name]:
                        moved[name].add(key)
    for name, keys in moved.items():
        assert keys <= set(DEPENDS.get(name, ASKED)), name
    assert moved["cache_bytes"] == set(DEPENDS["cache_bytes"])
    assert moved["prefill_core_flops"] == set(DEPENDS["prefill_core_flops"]) - {"prompt_tokens"}
    assert moved["decode_core_flops"] == set(DEPENDS["decode_core_flops"])


# The contract.


def test_the_keys_are_a_contract() -> None:
    assert list(KEYS) == CONTRACT
    told = records("diff qwen3-8b qwen3-14b")
    assert all(list(row) == CONTRACT for row in told)
    assert {row["kind"] for row in told} <= set(KINDS)
    assert {row["status"] for row in told} <= set(STATUSES)


def test_gqa_4_halves_the_cache_of_gqa_8(tmp_path: Path) -> None:
    """GQA (arXiv:2305.13245) section 2.2: the cache is proportional to the number of KV heads."""
    old = kvcalc.read_source("qwen3-8b")[0].document.path
    with open(old, encoding="utf-8") as file:
        text = file.read()
    told = two(tmp_path, text, text.replace("num_key_value_heads: 8", "num_key_value_heads: 4"))
    (field,) = fields(told)
    assert field[0] == "attention.num_key_value_heads"
    assert text.splitlines()[field[1] - 1].startswith("attention:")
    assert field[2:] == (8, 4)
    (cache,) = quantity(told, "cache_bytes")
    assert (cache["context_tokens"], cache["old"], cache["new"]) == (32768, 4831838208, 2415919104)
    assert (cache["difference"], cache["percent"]) == (-2415919104, -50.0)
    (parameters,) = quantity(told, "parameters")
    assert parameters["difference"] == -36 * 2 * 4 * 128 * 4096
    assert quantity(told, "decode_core_flops") == [], "the query heads still see as many keys"


def test_what_does_not_depend_on_the_context_is_told_once(tmp_path: Path) -> None:
    told = two(tmp_path, NATIVE, WIDER, "--context", "1k,8k,128k", "--batch", "1,2")
    assert len(quantity(told, "cache_bytes")) == 6
    for name in ("parameters", "cache_elements_per_token", "cache_bytes_per_token", "weight_bytes"):
        (row,) = quantity(told, name)
        assert row["context_tokens"] is row["batch"] is None
    assert quantity(told, "weight_bytes")[0]["weight_dtype"] == "bf16"


def test_both_sides_are_asked_the_same_context(tmp_path: Path) -> None:
    old, new = (f"{NATIVE}max_position_embeddings: {tokens}\n" for tokens in (1000, 2000))
    told = two(tmp_path, old, new)
    assert fields(told) == [("max_position_embeddings", 10, 1000, 2000)]
    assert len(told) == 1, "no number differs for it"
    (cache,) = quantity(
        two(tmp_path, old, new.replace("num_key_value_heads: 2", "num_key_value_heads: 4")), "cache_bytes"
    )
    assert (cache["context_tokens"], cache["new"]) == (2000, 2 * cache["old"])


def test_order_comments_and_layout_are_no_difference(tmp_path: Path) -> None:
    lines = NATIVE.splitlines()
    assert two(tmp_path, NATIVE, "# a comment\n" + "\n".join(reversed(lines)) + "\n") == []
    assert (
        two(tmp_path, json.dumps(LLAMA), json.dumps(dict(reversed(LLAMA.items())), indent=4), "--exit-code")[1:] == []
    )


def test_a_change_that_changes_no_number_says_so(tmp_path: Path) -> None:
    old, new = write(tmp_path, "old.yaml", NATIVE), write(tmp_path, "new.yaml", f"{NATIVE}source: a paper\n")
    result = quickly("diff", old, new)
    assert "no number changes" in result.out
    assert "source" in result.out
    assert "no number changes" in quickly("diff", old, new, "--format", "markdown").out
    assert quickly("diff", old, new, "--exit-code").code == 1


def test_fields_are_shown_as_written(tmp_path: Path) -> None:
    kinds = "layers:\n  full: {}\n  local: {sliding_window: 16}\n"
    old = f"{NATIVE}{kinds}layer_types: [local, local, local, full]\n"
    new = f"{NATIVE}{kinds}layer_types: [local, full, local, full]\n"
    assert fields(two(tmp_path, old, new)) == [("layer_types", 13, "[local x3, full]", "[local, full, local, full]")]
    changed = {**LLAMA, "num_key_value_heads": 4, "rope_scaling": {"factor": 8.0, "kind": "yarn"}, "rms_norm_eps": None}
    del changed["vocab_size"]
    assert fields(
        two(
            tmp_path,
            json.dumps({**LLAMA, "flag": False, "number": "8"}),
            json.dumps({**changed, "flag": True, "number": 8}, indent=1),
        )
    ) == [
        ("num_key_value_heads", 6, 2, 4),
        ("rope_scaling.factor", 9, None, 8.0),
        ("rope_scaling.kind", 10, None, "yarn"),
        ("rms_norm_eps", 12, None, "null"),
        ("flag", 13, "false", "true"),
        ("number", 14, '"8"', 8),
        ("vocab_size", None, 100, None),
    ]


def test_two_dialects_meet_in_what_they_mean(tmp_path: Path) -> None:
    told = two(tmp_path, json.dumps({**LLAMA, "name": "mine"}), NATIVE)
    names = [name for name, *_ in fields(told)]
    assert "model_type" not in names
    assert "attention.num_key_value_heads" not in names, "both say 2"
    assert ("max_position_embeddings", None, 2048, None) in fields(told), "the class's default"


def test_several_documents_are_matched_by_name(tmp_path: Path) -> None:
    one, other, third = (NATIVE.replace("mine", name) for name in ("one", "other", "third"))
    told = two(tmp_path, f"{one}---\n{other}", f"{third}---\n{WIDER.replace('mine', 'one')}")
    status = {row["model"]: row["status"] for row in told}
    assert status == {"third": "new", "one": "changed", "other": "deleted"}
    assert all((row["new"] is None) == (row["status"] == "deleted") for row in told if row["kind"] == "quantity")
    single = two(tmp_path, one, WIDER.replace("mine", "other"))
    assert {row["status"] for row in single} == {"changed"}, "one on each side is a pair whatever its name"


@pytest.mark.parametrize("status", ["new", "deleted"])
def test_a_model_that_is_new_or_gone_has_one_side(status: str) -> None:
    spec = model(heads(8, 2, 16))
    told = differ(*((None, spec) if status == "new" else (spec, None))).rows()
    row = kvcalc.analyze(spec, kvcalc.Workload(100)).rows()[0]
    side, empty = ("new", "old") if status == "new" else ("old", "new")
    assert told[0]["kind"] == "file"
    assert {row["name"]: row[side] for row in told[1:]} == {key: row[key] for key in COMPARED if row[key] is not None}
    assert all(row[empty] is row["difference"] is row["percent"] is None for row in told)


def test_sources_are_names_files_folders_and_stdin(tmp_path: Path) -> None:
    write(tmp_path, "config.json", json.dumps(LLAMA))
    (to_stdin,) = {(row["old_file"], row["new_file"]) for row in records("diff llama-2-7b", str(tmp_path))}
    assert to_stdin == ("llama-2-7b", str(tmp_path / "config.json"))
    for arguments, part in (
        (("-", "-"), "stdin"),
        (("one.yaml",), "two sources"),
        ((), "two sources"),
        (("a", "b", "c"), "two sources"),
        (("qwen3-8b", "no-such-model"), "unknown model"),
        (("--base", "main", "--baseline", "x"), "exclude"),
        (("qwen3-8b", "qwen3-14b", "--context", "1:100000:1"), "more than 10,000"),
    ):
        assert_refused(quickly("diff", *arguments), part)
    broken = write(tmp_path, "broken.yaml", NATIVE.replace("hidden_size", "hiden_size"))
    assert_refused(quickly("diff", "qwen3-8b", broken, "--exit-code"), "broken.yaml:3:1", "hidden_size")


def test_exit_codes() -> None:
    for format_ in ("table", "json", "github"):
        assert quickly("diff", "qwen3-8b", "qwen3-8b", "--exit-code", "-f", format_).code == 0
        assert quickly("diff", "qwen3-8b", "qwen3-14b", "--exit-code", "-f", format_).code == 1
        assert quickly("diff", "qwen3-8b", "qwen3-14b", "-f", format_).code == 0


def test_rows_of_nothing_still_have_their_header() -> None:
    assert json.loads(quickly("diff", "gpt2", "gpt2", "-f", "json").out) == []
    assert quickly("diff", "gpt2", "gpt2", "-f", "csv").out == ",".join(KEYS) + "\n"


# Since a revision.


def test_every_status_and_every_finding(repo: Path) -> None:
    for name in ("gone", "moved", "broken", "commented", "mended"):
        (repo / f"{name}.yaml").write_text(NATIVE.replace("mine", name))
    (repo / "mended.yaml").write_text("name: mended\nhidden_size: 1\n")
    (repo / "workflow.yml").write_text("on: push\n")
    commit(repo)
    (repo / "mine.yaml").write_text(WIDER)
    (repo / "gone.yaml").unlink()
    git(repo, "mv", "moved.yaml", "there.yaml")
    (repo / "broken.yaml").write_text(NATIVE.replace("norms_per_layer", "norm_per_layer"))
    (repo / "commented.yaml").write_text("# only a comment\n" + NATIVE.replace("mine", "commented"))
    (repo / "mended.yaml").write_text(NATIVE.replace("mine", "mended"))
    (repo / "new.yaml").write_text(NATIVE.replace("mine", "new"))
    (repo / "unknown.json").write_text('{"model_type": "bertt"}')
    (repo / "syntax.yaml").write_text("name: x\nhidden_size: [1\n")
    (repo / "workflow.yml").write_text("on: &anchor push\n")
    (repo / "other.json").write_text("[1, 2]")
    (repo / "passwords.yaml").symlink_to("/etc/passwd")
    result = diff(repo, "--base", "HEAD", "--format", "json")
    assert result.code == 2
    status = {row["model"]: row["status"] for row in json.loads(result.out)}
    assert status == {"gone": "deleted", "mended": "new", "mine": "changed", "new": "new", "moved": "renamed"}
    assert [line.split(":")[:2] for line in result.err.splitlines()] == [
        ["error", " broken.yaml"],
        ["warning", " mended.yaml"],
        ["error", " syntax.yaml"],
        ["error", " unknown.json"],
    ]
    assert "KV002" in result.err.splitlines()[-1]
    table = diff(repo, "--base", "HEAD")
    assert table.code == 2
    assert table.err == ""
    for part in (
        "moved.yaml -> there.yaml  renamed, no number changes",
        "broken.yaml:7:1",
        "KV002",
        "gone.yaml  deleted",
    ):
        assert part in table.out
    assert "workflow" not in table.out
    github = diff(repo, "--base", "HEAD", "--format", "github").out
    assert re.search(r"^::error file=broken.yaml,line=7,col=1,title=kvcalc KV001::", github, re.MULTILINE)
    assert re.search(
        r"^::notice file=mine.yaml,line=8,title=kvcalc KV301::mine changed: cache at 32,768 tokens .* \(\+100.0 %25\)",
        github,
        re.MULTILINE,
    )
    junit = diff(repo, "--base", "HEAD", "--format", "junit").out
    assert 'name="commented.yaml" />' in junit, "what is fine is a test that passed"
    assert 'failures="3"' in junit


def test_a_file_that_is_named_must_be_a_config(repo: Path) -> None:
    (repo / "notes.yaml").write_text("a: 1\n")
    assert diff(repo, "--base", "HEAD", "--exit-code").out == "no difference\n"
    named = diff(repo, "--base", "HEAD", "notes.yaml")
    assert named.code == 2
    assert "not a model config" in named.out


def test_a_file_that_git_does_not_know_yet_was_moved(repo: Path) -> None:
    (repo / "mine.yaml").rename(repo / "there.yaml")
    (repo / "there.yaml").write_text(WIDER)
    told = json.loads(diff(repo, "--base", "HEAD", "--format", "json").out)
    assert {(row["old_file"], row["new_file"], row["status"]) for row in told} == {
        ("mine.yaml", "there.yaml", "renamed")
    }
    assert fields(told) == [("attention.num_key_value_heads", 8, 2, 4)]


def test_the_job_summary_is_the_comment(repo: Path, tmp_path: Path) -> None:
    (repo / "mine.yaml").write_text(WIDER)
    summary = tmp_path / "summary.md"
    diff(repo, "--base", "HEAD", "--format", "github", GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text() == diff(repo, "--base", "HEAD", "--format", "markdown").out


# Text that is not ours.


def test_hostile_text_steers_nothing(repo: Path) -> None:
    name = "a|b @octocat <b>.json"
    (repo / name).write_text(json.dumps(LLAMA))
    commit(repo)
    changed = {**LLAMA, "num_key_value_heads": 4, "extra": EVIL, EVIL: 1, "list": [EVIL] * 2, "@octocat": "=1+1"}
    (repo / name).write_text(json.dumps({**changed, "nan": float("nan"), "huge": 10**40}))
    text = diff(repo, "--base", "HEAD", "--format", "csv").out
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@") or re.match(r"-[^0-9]", cell)]
    for format_ in ("table", "csv", "markdown", "github"):
        written = diff(repo, "--base", "HEAD", "--format", format_).out
        assert "\x1b" not in written
        assert "\u202e" not in written
    told = json.loads(diff(repo, "--base", "HEAD", "--format", "json").out, parse_constant=pytest.fail)
    assert ("huge", 1, None, f"the number {10**40}") in fields(told)
    comment = diff(repo, "--base", "HEAD", "--format", "markdown").out
    for part in ("@octocat", "<b>", " #1", "](", "http://", "www."):
        assert part not in comment
    tables = [line for line in comment.splitlines() if line.startswith("|")]
    assert all(len(re.split(r"(?<!\\)\|", line)) in (6, 8) for line in tables)
    assert "@octocat" in html.unescape(comment), "and yet it is told"


def test_a_comment_is_never_too_long() -> None:
    old, new = model(heads(8, 2, 16)), model(heads(8, 4, 16))
    for many in (1, 100, 500):
        pairs = [Pair(Side(f"model-{at}", "f.yaml", old), Side(f"model-{at}", "f.yaml", new)) for at in range(many)]
        findings = [kvcalc.Finding("x" * 300, 1, 1, "error", "KV001", "@m" * 5000, "h" * 900)] * (many - 1)
        comment = to_comment(kvcalc.diff(pairs, asked(kvcalc.Workload(100))), findings)
        assert comment.splitlines()[0] == MARKER == "<!-- kvcalc diff -->"
        assert len(comment.encode()) < 65_000
        shown = len(re.findall(r"^\*\*<code>model-", comment, re.MULTILINE))
        left = re.search(r"(\d+) models?[,.]", comment)
        assert shown + int(left[1] if left else 0) == many
        problems = len(re.findall(r"^- \*\*error", comment, re.MULTILINE))
        left = re.search(r"(\d+) errors? or", comment)
        assert problems + int(left[1] if left else 0) == many - 1
        assert comment.count("<details>") == comment.count("</details>") <= shown


@pytest.mark.parametrize("width", [20, 80, 200])
def test_no_digit_is_cut_at_any_width(width: int) -> None:
    screen = at_terminal("diff qwen3-8b qwen3-14b", width, NO_COLOR="1")
    numbers = ["8,190,735,360", "14,768,307,200", "2,415,919,104", "2,684,354,560"]
    numbers += ["+6,577,571,840", "+268,435,456", "+80.3 %"] if width == 200 else []
    for number in numbers:
        assert re.search(rf"(?<![0-9,.]){re.escape(number)}(?![0-9,.])", screen), number


# Rows of an earlier run.


def compared(folder: Path, *arguments: str, format_: str = "json") -> str:
    """A file of rows, as `kvcalc compare` writes them."""
    result = quickly("compare", *arguments, "--format", format_)
    assert result.code == 0, result
    return write(folder, f"rows.{format_}", result.out)


WORKLOADS = [
    (),
    ("--context", "8k", "--batch", "3"),
    ("--dtype", "int8"),
    ("--dtype-k", "int8", "--dtype-v", "int4"),
    ("--cached", "1000", "--prompt", "24", "--weight-dtype", "fp8"),
    ("--kv-cache", "off"),
    ("--shared-prefix", "64", "--batch", "2", "--generate", "100"),
    ("--mla-decode", "naive", "--mla-prefill", "absorbed"),
]


@pytest.mark.parametrize("workload", WORKLOADS, ids=" ".join)
@pytest.mark.parametrize("format_", ["json", "jsonl"])
def test_rows_answer_the_same_question_again(tmp_path: Path, workload: tuple[str, ...], format_: str) -> None:
    variants = "mha,gqa-4,mla-256+32/512,swa-128"
    file = compared(tmp_path, "qwen3-8b", "deepseek-v2", "--variants", variants, *workload, format_=format_)
    same = quickly("diff", "--baseline", file, "--exit-code")
    assert (same.code, same.out) == (0, "no difference\n")


def test_rows_and_files_tell_the_same(tmp_path: Path) -> None:
    old, new = write(tmp_path, "old.yaml", NATIVE), write(tmp_path, "new.yaml", WIDER)
    file = compared(tmp_path, old, "--variants", "none", "--context", "8k")
    told = [row for row in rows(quickly("diff", "--baseline", file, new, "-f", "json")) if row["kind"] == "quantity"]
    files = rows(quickly("diff", old, new, "--context", "8k", "-f", "json"))
    assert told
    assert [{**row, "old_file": old} for row in told] == [row for row in files if row["kind"] == "quantity"]


def test_variants_and_models_of_a_baseline(tmp_path: Path) -> None:
    old = write(tmp_path, "old.yaml", f"{NATIVE}---\n{NATIVE.replace('mine', 'gone')}")
    file = compared(tmp_path, old, "--variants", "gqa-4", "--context", "1k")
    new = write(tmp_path, "new.yaml", f"{WIDER}---\n{NATIVE.replace('mine', 'fresh')}")
    told = rows(quickly("diff", "--baseline", file, new, "-f", "json"))
    assert {(row["model"], row["variant"], row["status"]) for row in told} == {
        ("mine", "configured", "changed"),
        ("gone", "configured", "deleted"),
        ("gone", "gqa-4", "deleted"),
        ("fresh", "configured", "new"),
    }, "gqa-4 of what has 2 KV heads is gqa-4 of what has 4"
    assert {row["context_tokens"] for row in quantity(told, "cache_bytes")} == {1024}


def test_older_and_newer_rows(tmp_path: Path) -> None:
    with open(compared(tmp_path, "qwen3-8b", "--variants", "none"), encoding="utf-8") as file:
        (row,) = json.load(file)
    del row["parameters"], row["mla_decode"], row["generate_tokens"]
    older = write(tmp_path, "older.json", json.dumps([{**row, "cache_bytes": 1, "a_new_key": {"x": 1}, "tp": 8}]))
    told = rows(quickly("diff", "--baseline", older, "-f", "json"))
    assert [(row["name"], row["old"], row["new"]) for row in told] == [("cache_bytes", 1, 4831838208)]


ROW = '{"model": "qwen3-8b", "context_tokens": 100'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("[]", "no rows"),
        ("[1]", "row 1: not a row"),
        ('[{"model": "x"}]', "row 1: not a row of `kvcalc compare`"),
        ("model,variant\n", "not JSON"),
        (f"[{ROW}}},\n{ROW}, oops}}]", "rows.json:2:"),
        (f"{ROW}}}\n{ROW}\n", "rows.json:2:"),
        (f'[{ROW}, "cache_bytes": "4 GiB"}}]', "row 1: cache_bytes: '4 GiB' is not a number"),
        (f'[{ROW}, "cache_bytes": true}}]', "is not a number"),
        (f'[{ROW}, "cache_bytes": NaN}}]', "not JSON"),
        (f'[{ROW}, "cache_bytes": 1e400}}]', "is not a number"),
        (f'[{ROW}, "cache_bytes": {10**70}}}]', "is not a number"),
        (f'[{ROW}, {ROW[1:]}, "batch": 0}}]', "batch: 0 is not a whole number"),
        (f'[{ROW}, "batch": "3"}}]', "batch"),
        (f'[{ROW}, "cached_tokens": 100}}]', "no new token"),
        (f'[{ROW}, "cache_dtype": "int9"}}]', "int9"),
        (f'[{ROW}, "cache_dtype": ["int8"]}}]', "is not text"),
        (f'[{ROW}, "cache_dtype": "a/b/c/d"}}]', "is not known"),
        (f'[{ROW}, "kv_cache": "maybe"}}]', "on or off"),
        (f'[{ROW}, "mla_decode": "both"}}]', "both"),
        (f'[{ROW}, "variant": "gqq-4"}}]', "unknown variant"),
        (f'[{ROW}, "variant": "none"}}]', "no variant"),
        (f'[{ROW}, "variant": "mha,mqa"}}]', "no variant"),
        (f'[{ROW}, "cache_bytes": 1}}, {ROW}, "cache_bytes": 2}}]', "row 2: 'qwen3-8b' was asked the same in row 1"),
        ('[{"model": "nobody", "context_tokens": 100}]', "'nobody' is not bundled"),
        ("[" * 100_000, "not JSON"),
        ('[{"model": "\\u001b[31m", "context_tokens": 1}]', "not bundled"),
    ],
)
def test_a_baseline_that_is_broken_or_foreign(tmp_path: Path, text: str, told: str) -> None:
    assert_refused(quickly("diff", "--baseline", write(tmp_path, "rows.json", text)), told)


def test_a_baseline_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    assert_refused(quickly("diff", "--baseline", write(tmp_path, "rows.json", b"\xff\xfe")), "not UTF-8")
    assert_refused(quickly("diff", "--baseline", str(tmp_path / "none.json")), "cannot be read")
    assert_refused(quickly("diff", "--baseline", str(tmp_path)), "cannot be read")


def test_a_baseline_has_its_own_workloads(tmp_path: Path) -> None:
    file = compared(tmp_path, "gpt2", "--variants", "none")
    for option in (("--batch", "1"), ("--context", "1k"), ("--dtype", "bf16"), ("--mla-decode", "naive")):
        assert_refused(quickly("diff", "--baseline", file, *option), f"{option[0]} contradicts --baseline")
    both = write(tmp_path, "a.yaml", NATIVE), write(tmp_path, "b.yaml", NATIVE)
    assert_refused(quickly("diff", "--baseline", file, *both), "b.yaml: ", "a.yaml has a model 'mine' too")


def test_from_python(tmp_path: Path) -> None:
    old, new = write(tmp_path, "old.yaml", NATIVE), write(tmp_path, "new.yaml", WIDER)
    found = kvcalc.diff(kvcalc.pair_sources(old, new), [kvcalc.parse_request({"context": "8k"})])
    assert found.rows() == rows(quickly("diff", old, new, "--context", "8k", "-f", "json"))
    assert os.path.basename(str(found.models[0].new_file)) == "new.yaml"
