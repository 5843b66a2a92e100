"""Budgets: held to the last byte, told with number, limit and excess, and refused by place where they are wrong."""

from __future__ import annotations

import json
import os
import subprocess
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import heads, model
from kvcalc import Workload, analyze, load
from kvcalc.budgets import METRICS, Budget, exact, judge
from kvcalc.errors import KvcalcError
from kvcalc.readers.budget import read_budgets
from kvcalc.readers.load import read_source
from kvcalc.request import OPTIONS, parse_request
from kvcalc.rows import RATIOS
from refusals import NATIVE, assert_refused, quickly, write

if TYPE_CHECKING:
    from pathlib import Path

    from refusals import Result

# NATIVE stores 2 heads of 8, K and V, in 4 layers: 128 elements, 256 bytes in bf16 a token.
BYTES_A_TOKEN = 256


def budget(text: str, folder: Path) -> str:
    return write(folder, "kvcalc-budget.yaml", text)


def entry(folder: Path, inner: str) -> str:
    return budget(f"budgets:\n  - {{{inner}}}\n", folder)


def checked(folder: Path, inner: str, *more: str, config: str = NATIVE) -> Result:
    return quickly("check", write(folder, "m.yaml", config), "--budget", entry(folder, inner), *more)


def told(result: Result) -> list[tuple[str, str]]:
    return [(finding["severity"], finding["code"]) for finding in json.loads(result.out)]


# ---------- held exactly


@pytest.mark.parametrize(
    ("bound", "limit", "code"),
    [
        ("max", "1 MiB", ""),
        ("max", 1_048_576, ""),
        ("max", 1_048_575, "KV201"),
        ("max", "1.048575 MB", "KV201"),
        ("min", "1 MiB", ""),
        ("min", 1_048_577, "KV202"),
    ],
)
def test_the_last_byte_decides(bound: str, limit: str | int, code: str, tmp_path: Path) -> None:
    result = checked(
        tmp_path, f"model: bad, metric: cache_bytes, workload: {{context: 4k}}, {bound}: {limit}", "-f", "json"
    )
    assert told(result) == ([("error", code)] if code else [])
    assert result.code == (1 if code else 0)


@given(st.integers(1, 10**6), st.integers(1, 512), st.integers(-1, 1))
def test_a_limit_beside_the_number_decides_for_any_workload(context: int, batch: int, beside: int) -> None:
    """Beyond 2^53 too, where floats would not tell them apart."""
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "configs", "llama-3.1-405b.yaml")
    (loaded,) = read_source(path)
    request = parse_request({"context": context, "batch": batch})
    number = analyze(loaded.spec, request.of(loaded.spec)).value("prefill_model_flops")
    assert number is not None
    one = Budget("*", request, "prefill_model_flops", "max", Fraction(number + beside), "b.yaml", 1)
    assert (judge(loaded, one, None) is not None) == (beside < 0)
    other = judge(loaded, one._replace(bound="min"), None)
    assert (other is not None) == (beside > 0)


def test_number_limit_and_excess_stand_in_the_message(tmp_path: Path) -> None:
    workload = "workload: {context: 8k, batch: 2, dtype: fp8}"
    inner = f"model: bad, metric: cache_bytes, {workload}, max: 1 MiB, name: small, reason: it must fit"
    result = checked(tmp_path, inner)
    assert result.code == 1
    first, hint, last = result.out.splitlines()
    assert first == (
        f"{tmp_path}/m.yaml:1:1: error KV201: cache_bytes at 8,192 tokens, batch 2, fp8 is 2.000 MiB "
        f"(2,097,152 bytes), 1.000 MiB (1,048,576 bytes) more than the maximum, 1.000 MiB (1,048,576 bytes), "
        f"by budget 'small' of "
        f"{tmp_path}/kvcalc-budget.yaml, line 2"
    )
    assert hint == "  it must fit"
    assert last == "1 file: 1 error, 0 warnings, 0 notes"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["llama-3.1-8b", "deepseek-v2", "mistral-7b-v0.1"])
def test_every_metric_is_the_number_of_the_row(metric: str, name: str) -> None:
    report = analyze(load(name), Workload(4096, generate_tokens=64))
    value, row = exact(report, metric), report.rows()[0]
    assert (float(value) if metric in RATIOS and value is not None else value) == row[metric]


def test_a_number_that_does_not_apply_is_told(tmp_path: Path) -> None:
    result = checked(tmp_path, "model: '*', metric: receptive_field_tokens, min: 1", "-f", "json")
    assert told(result) == [("error", "KV204")]
    answer = checked(tmp_path, "model: '*', metric: answer_cache_bytes, max: 1 GiB")
    assert "generate: 1k" in answer.out
    assert checked(tmp_path, "model: '*', metric: answer_cache_bytes, max: 1 GiB, workload: {generate: 8}").code == 0


def test_a_budget_of_no_model_is_a_warning(tmp_path: Path) -> None:
    result = checked(tmp_path, "model: bed, metric: parameters, max: 1M")
    assert result.code == 0
    assert f"{tmp_path}/kvcalc-budget.yaml:2:" in result.out
    assert "warning KV205: no model that was checked fits 'bed'\n  did you mean bad?" in result.out
    assert checked(tmp_path, "model: bed, metric: parameters, max: 1M", "--strict").code == 1
    assert checked(tmp_path, "model: bed, metric: parameters, max: 1M", "--strict", "--ignore", "KV205").code == 0


def test_globs_tell_models_apart(tmp_path: Path) -> None:
    text = "budgets:\n  - {model: 'llama-3.?-*', metric: parameters, max: 10B}\n"
    result = quickly(
        "check", "llama-3.1-8b", "llama-3.1-70b", "llama-2-70b", "--budget", budget(text, tmp_path), "-f", "json"
    )
    found = json.loads(result.out)
    assert [finding["model"] for finding in found if finding["severity"] == "error"] == ["llama-3.1-70b"]


# ---------- a rise


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the model committed; we stand in it."""
    write(tmp_path, "m.yaml", NATIVE)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "m.yaml")
    git(tmp_path, "commit", "-q", "-m", "one")
    monkeypatch.chdir(tmp_path)
    return tmp_path


RISE = "model: '*', metric: cache_bytes_per_token, max_increase: "
WIDER = NATIVE.replace(
    "num_attention_heads: 8, num_key_value_heads: 2", "num_attention_heads: 8, num_key_value_heads: 4"
)


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("100%", ""),
        ("99.99%", "KV203"),
        (BYTES_A_TOKEN, ""),
        (BYTES_A_TOKEN - 1, "KV203"),
        ("0.25 KiB", ""),
        ("0%", "KV203"),
    ],
)
def test_a_rise_is_measured_from_git(limit: str | int, code: str, history: Path) -> None:
    write(history, "m.yaml", WIDER)
    result = quickly("check", "m.yaml", "--budget", entry(history, f"{RISE}{limit}"), "--base", "HEAD", "-f", "json")
    assert told(result) == ([("error", code)] if code else [])


def test_a_rise_is_told_with_both_numbers(history: Path) -> None:
    write(history, "m.yaml", WIDER)
    result = quickly("check", "m.yaml", "--budget", entry(history, f"{RISE}5%"), "--base", "HEAD")
    assert "rose by 100% from 256 bytes to 512 bytes, 243.2 bytes beyond the 5% of the budget" in result.out


@pytest.mark.parametrize("change", ["nothing", "less", "renamed"])
def test_what_does_not_rise_is_within_any_budget(change: str, history: Path) -> None:
    name = "m.yaml"
    if change == "less":
        write(history, name, NATIVE.replace("num_key_value_heads: 2", "num_key_value_heads: 1"))
    if change == "renamed":
        git(history, "mv", name, "other.yaml")
        name = "other.yaml"
    result = quickly("check", name, "--budget", entry(history, f"{RISE}0"), "--base", "HEAD", "-f", "json")
    assert (result.code, told(result)) == (0, [])


def test_a_new_model_has_nothing_to_compare_with(history: Path) -> None:
    write(history, "new.yaml", WIDER)
    result = quickly("check", "new.yaml", "--budget", entry(history, f"{RISE}0"), "--base", "HEAD", "-f", "json")
    assert (result.code, told(result)) == (0, [("note", "KV206")])


def test_a_rise_is_measured_from_rows(tmp_path: Path) -> None:
    old, rows = write(tmp_path, "old.yaml", NATIVE), str(tmp_path / "rows.json")
    assert quickly("compare", old, "-o", rows).code == 0
    result = checked(tmp_path, f"{RISE}99%", "--baseline", rows, "-f", "json", config=WIDER)
    assert told(result) == [("error", "KV203")]
    assert checked(tmp_path, f"{RISE}100%", "--baseline", rows, config=WIDER).code == 0
    other = WIDER.replace("name: bad", "name: other")
    assert told(checked(tmp_path, f"{RISE}0", "--baseline", rows, "-f", "json", config=other)) == [("note", "KV206")]


def test_a_ratio_of_rows_is_exact(tmp_path: Path) -> None:
    """A third is no float: with the same config on both sides nothing rises."""
    config = NATIVE.replace("num_attention_heads: 8", "num_attention_heads: 6").replace("heads: 2", "heads: 1")
    old, rows = write(tmp_path, "old.yaml", config), str(tmp_path / "rows.json")
    assert quickly("compare", old, "-o", rows, "--dtype-k", "int3").code == 0
    inner = "model: '*', metric: decode_intensity, max_increase: 0, workload: {dtype_k: int3}"
    assert checked(tmp_path, inner, "--baseline", rows, config=config).code == 0


def test_rows_of_another_workload_cannot_answer(tmp_path: Path) -> None:
    old, rows = write(tmp_path, "old.yaml", NATIVE), str(tmp_path / "rows.json")
    assert quickly("compare", old, "-o", rows).code == 0
    inner = "model: '*', metric: cache_bytes, max_increase: 0, workload: {context: 128k}"
    assert_refused(
        checked(tmp_path, inner, "--baseline", rows), "no row of bad tells cache_bytes at context_tokens 131072"
    )


def test_a_rise_without_an_old_number_could_not_run(tmp_path: Path) -> None:
    assert_refused(
        checked(tmp_path, f"{RISE}5%"),
        "kvcalc-budget.yaml:2: max_increase needs the number before",
        "--base REF",
        "--baseline",
    )


def test_base_and_baseline_exclude_each_other(tmp_path: Path) -> None:
    result = checked(tmp_path, f"{RISE}5%", "--base", "HEAD", "--baseline", "rows.json")
    assert_refused(result, "--base and --baseline exclude each other")


# ---------- the file


@pytest.mark.parametrize(
    ("text", "place", "message", "right"),
    [
        ("budget: []\n", "1:1", "unknown field 'budget'", "did you mean budgets?"),
        ("budgets: 5\n", "1:1", "budgets: 5 is not a list", ""),
        ("budgets: [5]\n", "1:11", "budgets: 5 is not a mapping", ""),
        ("- budgets\n", "1:1", "not a mapping", ""),
        ("budgets:\n  - metric: parameters\n    max: 1\n", "2:5", "missing field 'model'", "the models by name"),
        (
            "budgets:\n  - model: a\n    metric: parameters\n",
            "2:5",
            "a budget without a bound on parameters",
            "one of max, min",
        ),
        (
            "budgets:\n  - model: a\n    metric: cache_byte\n    max: 1\n",
            "3:5",
            "metric: unknown 'cache_byte'",
            "did you mean cache_bytes",
        ),
        ("budgets:\n  - model: a\n    metric: cache_ratio\n    max: 1\n", "3:5", "metric: unknown 'cache_ratio'", ""),
        (
            "budgets:\n  - model: a\n    metric: parameters\n    mx: 1\n",
            "4:5",
            "unknown field 'mx'",
            "did you mean max",
        ),
        ("budgets:\n  - model: a\n    metric: parameters\n    max: true\n", "4:5", "max: True is not text", ""),
        (
            "budgets:\n  - model: a\n    metric: cache_bytes\n    max: 3 TFLOPs\n",
            "4:5",
            "max: '3 TFLOPs'",
            "counts bytes",
        ),
        ("budgets:\n  - model: a\n    metric: cache_bytes\n    max: 5%\n", "4:5", "max: '5%' is a percentage", ""),
        ("budgets:\n  - model: a\n    metric: cache_bytes\n    min: -1\n", "4:5", "min: '-1' is no amount", ""),
        (
            "budgets:\n  - model: a\n    metric: cache_bytes\n    max: 1\n    workload: {contxt: 8k}\n",
            "5:16",
            "unknown field 'contxt'",
            "did you mean context",
        ),
        (
            "budgets:\n  - model: a\n    metric: cache_bytes\n    max: 1\n    workload:\n      context: 8q\n",
            "6:7",
            "context: '8q' is not a number of tokens",
            "write 32768, 32k",
        ),
        (
            "budgets:\n  - model: a\n    metric: cache_bytes\n    max: 1\n    workload:\n      dtype: fp9\n",
            "6:7",
            "dtype: unknown dtype 'fp9'",
            "did you mean fp8",
        ),
        (
            "budgets:\n  - model: a\n    metric: cache_bytes\n    max: 1\n    workload: {context: 4, cached: 8}\n",
            "5:5",
            "cached 8 leaves no new token in context 4",
            "",
        ),
        ("ignore:\n  - code: KV1055\n", "2:5", "unknown code 'KV1055'", "did you mean KV105"),
        ("ignore:\n  - code: KV001\n", "2:5", "KV001 cannot be silenced", ""),
        ("ignore:\n  - model: a\n", "2:5", "missing field 'code'", ""),
        ("ignore: []\n---\nignore: []\n", "3:1", "a second document", ""),
    ],
)
def test_a_wrong_budget_file_is_one_message_with_its_place(
    text: str, place: str, message: str, right: str, tmp_path: Path
) -> None:
    path = budget(text, tmp_path)
    assert_refused(quickly("check", "gpt2", "--budget", path), f"{path}:{place}: {message}", right)


def test_a_budget_file_that_cannot_be_read_could_not_run(tmp_path: Path) -> None:
    assert_refused(quickly("check", "gpt2", "--budget", str(tmp_path / "none.yaml")), "cannot be read")
    assert_refused(quickly("check", "gpt2", "--budget", str(tmp_path)), "a directory, not a file")


def test_every_option_of_a_workload_is_known(tmp_path: Path) -> None:
    words = {
        "kv_cache": "on",
        "mla_decode": "naive",
        "mla_prefill": "naive",
        "engine": "vllm",
        "engine_option": "block_size=32",
        "mtp": "on",
        "cached": "1",
        "context": "8",
        "prompt": "7",
        "on": "4xH100",
    }
    options = ", ".join(f"{name}: {words.get(name, 'fp8' if 'dtype' in name else '2')}" for name in OPTIONS)
    inner = f"model: a, metric: cache_bytes, max: 1, workload: {{{options}}}"
    (one,) = read_budgets(entry(tmp_path, inner)).budgets
    expected = {name: words.get(name, "fp8" if "dtype" in name else "2") for name in OPTIONS}
    assert one.request == parse_request(expected)


def test_bounds_of_one_entry_are_budgets_of_their_own(tmp_path: Path) -> None:
    found = read_budgets(entry(tmp_path, "model: a, metric: parameters, max: 8B, min: 1M, max_increase: 5%")).budgets
    assert {(one.bound, one.limit, one.relative) for one in found} == {
        ("max", 8 * 10**9, False),
        ("min", 10**6, False),
        ("max_increase", Fraction(1, 20), True),
    }


def test_a_workload_that_a_model_cannot_have_could_not_run(tmp_path: Path) -> None:
    config = NATIVE + "max_position_embeddings: 128\n"
    inner = "model: '*', metric: cache_bytes, max: 1 GiB, workload: {shared_prefix: 4k}"
    assert_refused(checked(tmp_path, inner, config=config), "kvcalc-budget.yaml:2: bad: ", "4096", "128 tokens")


def test_a_zero_before_has_no_percentage() -> None:
    """From nothing to something: a rise without a share, and an error under any percentage."""
    from kvcalc.budgets import Old

    (loaded,) = read_source(os.path.join(os.path.dirname(os.path.dirname(__file__)), "configs", "gpt2.yaml"))
    one = Budget("*", parse_request({}), "cache_bytes", "max_increase", Fraction(1, 20), "b.yaml", 1, relative=True)
    finding = judge(loaded, one, lambda *_: Old(known=True, value=0))
    assert finding is not None
    assert "rose from 0 bytes to" in finding.message
    unknown = judge(loaded, one, lambda *_: Old(known=True, value=None))
    assert unknown is not None
    assert (unknown.code, unknown.severity) == ("KV206", "note")


def test_an_exemption_silences_models_by_name(tmp_path: Path) -> None:
    config = NATIVE.replace("head_dim: 8", "head_dim: 16")
    for glob, codes in (("b?d", []), ("other", [("warning", "KV105")])):
        path = budget(f"ignore:\n  - {{code: KV105, model: '{glob}', reason: meant}}\n", tmp_path)
        result = quickly("check", write(tmp_path, "m.yaml", config), "--budget", path, "-f", "json")
        assert told(result) == codes


def test_models_made_in_python_have_exact_ratios() -> None:
    report = analyze(model(heads(6, 1, 8)), Workload(3))
    value = exact(report, "decode_intensity")
    assert isinstance(value, Fraction)
    assert value == Fraction(report.value("decode_core_flops") or 0, report.value("decode_cache_read_bytes") or 1)
    with pytest.raises(KvcalcError):
        read_budgets("no-such-budget.yaml")
