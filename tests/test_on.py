"""`--on` wherever a workload is asked for: the same numbers in every command, and a bound wherever it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from builders import heads, model
from kvcalc import sweeping
from kvcalc.analysis import analyze
from kvcalc.attention.moa import Moa
from kvcalc.feedforward import Experts
from kvcalc.model import Extra
from kvcalc.real import evaluate_rows
from kvcalc.roofline import least_times
from kvcalc.rows import PHASES, REALS
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from screens import at_terminal, records, write
from screens import kvcalc as run

if TYPE_CHECKING:
    from pathlib import Path

NAMES = kvcalc.names()
H100 = kvcalc.parse_machine("H100")
MINE = "name: mine\nmemory: 80 GiB\nbandwidth: 2 TB/s\npeaks: {bf16: 1000 TFLOPS}\n"


@pytest.mark.parametrize("numpy", [True, False], ids=["numpy", "plain"])
@given(
    st.sampled_from(NAMES),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 10**5), min_size=1, max_size=3, unique=True),
    st.sampled_from(["8xH100", "A100-80GB,4xMI300X"]),
    st.sampled_from([{}, {"tp": "1,2"}, {"kv_cache": "off"}, {"dtype": "fp8", "weight_dtype": "int4"}]),
)
@settings(max_examples=25, deadline=None)
def test_a_sweep_has_the_rows_of_compare_to_the_last_bit(
    numpy: bool, name: str, contexts: list[int], batches: list[int], on: str, more: dict[str, str]
) -> None:
    if "A100" in on:
        more = {key: value for key, value in more.items() if key != "tp"}
    sizes = {"context": ",".join(map(str, contexts)), "batch": ",".join(map(str, batches))}
    grid, spec = kvcalc.parse_grid({**sizes, "on": on, **more}), kvcalc.load(name)
    arrays = sweeping._evaluate_arrays
    if numpy and arrays() is None:
        pytest.skip("numpy is not installed")
    sweeping._evaluate_arrays = arrays if numpy else lambda: None
    try:
        swept = list(kvcalc.sweep([spec], grid).rows())
    finally:
        sweeping._evaluate_arrays = arrays
    asked = [row for request in grid.requests() for row in kvcalc.compare([spec], request, []).rows()]
    assert json.dumps(swept) == json.dumps(asked)
    assert all(row[key] is not None for row in swept for key in (*REALS, "on", "decode_bound_by"))


def test_the_command_writes_the_same_text_as_compare() -> None:
    line = "--context 4k --batch 3 --on 2xH100,B200 -f csv -q"
    assert run(f"sweep mixtral-8x7b-v0.1 {line}").out == run(f"compare mixtral-8x7b-v0.1 {line} --variants none").out


def test_machines_stand_side_by_side_as_engines_do() -> None:
    rows = records("compare llama-3.1-8b --on H100,8xH200 --on B200 --engine paper,vllm")
    assert [(row["engine"], row["on"], row["tensor_parallel"]) for row in rows] == [
        (engine, on, devices)
        for engine in ("paper", "vllm")
        for on, devices in (("1xH100-SXM", 1), ("8xH200-SXM", 8), ("1xB200", 1))
    ]
    swept = records("sweep llama-3.1-8b --on H100,8xH200 --on B200 --engine paper,vllm")
    assert swept == rows
    shown = at_terminal("compare llama-3.1-8b --on H100,8xH200", 80)
    assert "1xH100-SXM" in shown
    assert "8xH200-SXM" in shown


def test_without_a_machine_its_keys_are_null() -> None:
    (row,) = records("compare gpt2 --variants none")
    keys = list(row)[list(row).index("on") :]
    assert keys[:7] == ["on", *(f"{phase}_{what}" for phase in PHASES for what in ("least_seconds", "bound_by", OVER))]
    assert all(row[key] is None for key in keys[:7])


OVER = "tokens_per_second_at_most"


@pytest.mark.parametrize("name", ["mixtral-8x7b-v0.1", "gemma-3n-e4b", "whisper-large-v3", "jamba-v0.1"])
def test_explain_show_and_compare_agree(name: str) -> None:
    words = f"{name} --on 8xH100 --tp 2 --batch 5"
    (row,) = records(f"compare {words} --variants none")
    facts = {
        (fact["part"], fact["quantity"]): fact["value"]
        for fact in records(f"show {words}")
        if fact["section"] == "roofline"
    }
    for phase in PHASES:
        least = row[f"{phase}_least_seconds"]
        assert facts[f"8xH100-SXM {phase}", "least_seconds"] == least
        lines = records(f"explain {words} {phase}_least_seconds")
        assert lines[0]["result"] == least
        told = " ".join(str(line["source"]) for line in lines)
        assert "H100-SXM" in told
        assert "a bound, no forecast" in told
        assert facts[f"8xH100-SXM {phase}", OVER] == row[f"{phase}_{OVER}"]
    assert row[f"decode_{OVER}"] == 5 / row["decode_least_seconds"]


def test_explain_says_what_is_missing() -> None:
    assert_refused(quickly("explain", "gpt2", "decode_least_seconds"), "without --on")
    assert_refused(quickly("explain", "gpt2", "decode_bound_by", "--on", "H100"), "is no number")
    assert "decode_least_seconds = max" in quickly("explain", "gpt2", "--on", "H100").out


def test_diff_tells_what_changes_on_a_machine() -> None:
    rows = records("diff llama-2-7b llama-3.1-8b --on H100,H200 --context 4k --batch 8")
    least = [row for row in rows if row["name"] == "decode_least_seconds"]
    assert [row["on"] for row in least] == ["1xH100-SXM", "1xH200-SXM"]
    for row in least:
        for name, side in (("llama-2-7b", "old"), ("llama-3.1-8b", "new")):
            (alone,) = records(f"compare {name} --variants none --on {row['on']} --context 4k --batch 8")
            assert alone["decode_least_seconds"] == row[side]
    shown = run("diff llama-2-7b llama-3.1-8b --on H100 --context 4k").out
    assert "decode at the least" in shown
    bound = records("diff llama-2-7b deepseek-v3 --on H20 --batch 512 --context 32k")
    assert [(row["old"], row["new"]) for row in bound if row["name"] == "decode_bound_by"] == [("memory", "compute")]


def test_a_baseline_is_asked_on_its_machine_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    rows = records("compare gpt2 --variants none --on 4xH100 --tp 2 --batch 3")
    path.write_text(json.dumps(rows))
    assert run(f"diff --baseline {path} --exit-code").code == 0
    path.write_text(json.dumps([{**rows[0], "decode_least_seconds": 1.0, "decode_bound_by": "compute"}]))
    changed = {row["name"]: (row["old"], row["new"]) for row in records(f"diff --baseline {path}")}
    assert changed["decode_least_seconds"] == (1.0, rows[0]["decode_least_seconds"])
    assert changed["decode_bound_by"] == ("compute", "memory")
    path.write_text(json.dumps([{**rows[0], "on": "1xmine"}]))
    assert_refused(quickly("diff", "--baseline", str(path)), "unknown accelerator 'mine'")
    path.write_text(json.dumps([{**rows[0], "decode_bound_by": 3}]))
    assert_refused(quickly("diff", "--baseline", str(path)), "is not text")


BUDGET = """budgets:
  - model: llama-3.1-8b
    metric: {metric}
    workload: {{context: 4k, batch: 8{on}}}
    {bound}
"""


@pytest.mark.parametrize(
    ("metric", "on", "bound", "code", "told"),
    [
        ("decode_least_seconds", ", on: H100", "max: 7 ms", 0, ""),
        ("decode_least_seconds", ", on: H100", "max: 0.005", 1, "5.000 ms"),
        ("decode_least_seconds", ", on: H100", "max: 5000 us", 1, "1xH100-SXM"),
        ("prefill_least_seconds", ", on: 8xH100", "max: 1 s", 0, ""),
        ("decode_tokens_per_second_at_most", ", on: H100", "min: 1k", 0, ""),
        ("decode_tokens_per_second_at_most", ", on: H100", "min: 2000", 1, "2.000 k tokens/s"),
        ("decode_least_seconds", "", "max: 7 ms", 1, "on: 8xH100"),
        ("decode_least_seconds", ", on: H1000", "max: 7 ms", 2, "unknown accelerator"),
        ("decode_least_seconds", ", on: H100", "max: 7 GiB", 2, "a unit of bytes"),
        ("decode_least_seconds", ", on: H100, tp: 3", "max: 7 ms", 2, "does not divide"),
        ("decode_bound_by", ", on: H100", "max: 7 ms", 2, "unknown 'decode_bound_by'"),
    ],
)
def test_budgets_bound_the_least_times(tmp_path: Path, metric: str, on: str, bound: str, code: int, told: str) -> None:
    path = write(tmp_path, "budget.yaml", BUDGET.format(metric=metric, on=on, bound=bound))
    found = run(f"check configs/llama-3.1-8b.yaml --budget {path}")
    assert (found.code, told in found.out + found.err) == (code, True), found.out + found.err


def test_ones_own_hardware_works_everywhere(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.yaml", MINE)
    on = f"2x{path}"
    for line in ("compare gpt2", "show gpt2", "sweep gpt2", "diff gpt2 gpt2-xl"):
        result = run(f"{line} --on {on} --format json")
        assert result.code == 0
        assert "2xmine" in result.out
    assert "2000000000000" in run(f"explain gpt2 decode_least_seconds --on {on}").out
    assert records(f"fit gpt2 --on {on} -b 1")[0]["on"] == "2xmine"
    budget = BUDGET.format(metric="decode_least_seconds", on=f", on: {on}", bound="max: 1 s")
    budget_path = write(tmp_path, "budget.yaml", budget)
    assert run(f"check configs/llama-3.1-8b.yaml --budget {budget_path}").code == 0
    write(tmp_path, "mine.yaml", MINE.replace("2 TB/s", "2 TB/s # fast\nbandwith: 1"))
    for command in ("compare", "show", "sweep", "explain", "fit"):
        assert_refused(quickly(command, "gpt2", "--on", path), "mine.yaml:4", "bandwith")


def test_replicas_each_read_the_weights() -> None:
    spec = kvcalc.load("llama-3.1-8b")
    machine = kvcalc.parse_machine("8xH100")

    def asked(batch: int, tp: int) -> kvcalc.Bound:
        workload = Workload(4096, batch=batch, tensor_parallel=tp, machine=machine)
        return least_times(analyze(spec, workload))[0]

    alone = least_times(analyze(spec, Workload(4096, machine=H100)))[0]
    assert asked(1, 1).seconds == alone.seconds, "seven replicas are idle"
    assert asked(8, 1).seconds == alone.seconds
    assert asked(8, 1).tokens_per_second == pytest.approx(8 * alone.tokens_per_second)
    assert asked(8, 8).seconds < asked(8, 2).seconds < asked(8, 1).seconds
    four = Workload(4096, batch=4, tensor_parallel=2, machine=H100._replace(devices=2))
    assert asked(16, 2).seconds == pytest.approx(least_times(analyze(spec, four))[0].seconds)


def test_tp_and_devices_that_do_not_agree_are_refused() -> None:
    for command in ("compare", "show", "sweep", "explain"):
        assert_refused(
            quickly(command, "gpt2", "--on", "8xH100", "--tp", "3"),
            "--tp 3 makes 3 devices, which does not divide the 8 devices",
        )


def test_a_shared_prefix_can_be_read_once_for_the_batch() -> None:
    """A kernel that does (Hydragen, cascade attention) must not be faster than the bound."""
    spec = kvcalc.load("llama-3.1-8b")
    token = 131072
    for batch in (1, 8):
        workload = Workload(4096, batch=batch, shared_prefix_tokens=4000, machine=H100)
        assert least_times(analyze(spec, workload))[0].pieces[0].bytes == token * (4000 + 96 * batch)
    for name in NAMES:
        spec = kvcalc.load(name)
        if spec.encoder or spec.encoded:
            continue
        shared = analyze(spec, Workload(4096, batch=8, shared_prefix_tokens=1000, machine=H100))
        apart = analyze(spec, Workload(4096, batch=8, machine=H100))
        alone = analyze(spec, Workload(4096, machine=H100))
        read, most, least = (one.value("decode_moved_cache_bytes") or 0 for one in (shared, apart, alone))
        assert least <= read <= most == apart.value("decode_cache_read_bytes")


def test_experts_are_touched_by_the_tokens_that_run() -> None:
    """Of a shared prefix each token runs once: 1000 + 8 * 24 of them, not 8 * 1024."""
    spec = kvcalc.load("deepseek-v3")
    report = analyze(spec, Workload(1024, batch=8, shared_prefix_tokens=1000, machine=H100))
    assert report.value("prefill_run_tokens") == 1000 + 8 * 24
    assert report.value("decode_run_tokens") == 8


def test_what_a_model_looks_up_is_not_read_whole() -> None:
    """Gemma 3n looks up 256 elements a layer in a table of 2.35 G parameters."""
    spec = kvcalc.load("gemma-3n-e4b")
    report = analyze(spec, Workload(1024, machine=H100))
    table = 262144 * 35 * 256
    read = sum(piece.bytes for piece in least_times(report)[0].pieces[1:])
    parameters = report.value("parameters")
    assert parameters is not None
    assert 0.99 * 2 * (parameters - table) < read < 2 * (parameters - table)


def test_an_encoder_that_does_not_run_is_not_read() -> None:
    spec = kvcalc.load("llama-3.2-11b-vision")
    text, seeing = (analyze(spec, Workload(64, encoder_tokens=tokens, machine=H100)) for tokens in (0, 100))
    for at in (0, 1):
        assert least_times(text)[at].pieces[1].bytes < least_times(seeing)[at].pieces[1].bytes
    whisper = analyze(kvcalc.load("whisper-large-v3"), Workload(448, machine=H100))
    decode, prefill = least_times(whisper)
    assert decode.pieces[1].bytes < 0.51 * prefill.pieces[1].bytes


def test_experts_of_attention_are_touched_like_others() -> None:
    attention = Moa(num_experts=8, num_experts_per_tok=2, num_key_value_heads=4, head_dim=16)
    spec = model(attention, hidden_size=64)
    one, many = (analyze(spec, Workload(10, batch=batch, machine=H100)) for batch in (1, 10_000))
    few, whole = (least_times(report)[0].pieces[1].bytes for report in (one, many))
    assert few < whole / 2
    routed = model(heads(4, 4, 16), feedforward=Experts(8, 2, 16, True))
    assert least_times(analyze(routed, Workload(10, machine=H100)))[0].pieces[2].bytes > 0


def test_an_extra_without_matmuls_is_not_read() -> None:
    bare = model(heads(4, 4, 16))
    with_table = bare._replace(extras=(Extra("table", "1000000*d", "0", (), ""),))
    read = [least_times(analyze(spec, Workload(10, machine=H100)))[0].bytes for spec in (bare, with_table)]
    assert read[0] == read[1]


def test_rows_are_told_apart_from_forecasts_in_every_table() -> None:
    for line in ("compare mixtral-8x7b-v0.1", "sweep mixtral-8x7b-v0.1"):
        result = run(f"{line} --on H100")
        assert "no forecast" in result.out
        assert "a batch that agrees touches fewer" in result.err


def test_rows_by_one_are_the_rows_of_a_column() -> None:
    report = analyze(kvcalc.load("gpt2"), Workload(100, batch=7, machine=H100))
    columns = {key: [value, value] for key, value in report.scope.items()}
    assert evaluate_rows(report.bounds, columns, 2) == {key: [value] * 2 for key, value in report.reals.items()}
