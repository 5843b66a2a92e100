"""Plain decoders, each field varied, against the live code: parameters, what the cache holds, FLOPs of a step."""

from __future__ import annotations

from typing import Any

import pytest

from builders import from_config, records
from kvcalc.analysis import Report, analyze
from kvcalc.attention.heads import Heads
from kvcalc.attention.reach import Window
from kvcalc.errors import ConfigError
from kvcalc.workload import Workload

RECORDS = {record["id"]: record for record in records("plain.jsonl")}
# kvcalc does not guess what stands in other forms elsewhere, and names the field.
REFUSED = {
    "doge/window": "sliding_window",
    "mpt/ratio": "expansion_ratio",
    "xlm/causal": "causal",
}
READ = sorted(RECORDS.keys() - REFUSED)
RECOMPUTES = ("openai-gpt", "xlm")  # classes without a cache; the models are causal, and their K and V can be kept
ALONE = 0  # encoder tokens: cross attention is not run where there is nothing to read


def at(name: str, n: int, engine: str = "transformers") -> Report:
    return analyze(from_config(RECORDS[name]["config"]), Workload(n, encoder_tokens=ALONE, engine=engine))


def model_type(name: str) -> str:
    return str(RECORDS[name]["config"]["model_type"])


def masks(report: Report, n: int) -> bool:
    """Whether GPT-Neo masks a window below n: its class keeps and runs over all tokens all the same."""
    windows = [branch.reach for _, branch in report.spec.branches() if isinstance(branch.reach, Window)]
    return any(window.sliding_window < n for window in windows)


@pytest.mark.parametrize("name", READ)
def test_parameters(name: str) -> None:
    assert at(name, 1).value("parameters") == RECORDS[name]["parameters"]


@pytest.mark.parametrize("name", READ)
def test_cache(name: str) -> None:
    for length, truth in RECORDS[name]["cache"].items():
        report = at(name, int(length))
        held = truth["transformers_elements"]
        if model_type(name) in RECOMPUTES:
            assert held == 0
            per_token = report.spec.layers * 2 * report.spec.hidden_size
            assert report.value("cache_elements") == per_token * int(length)
        else:
            assert report.value("cache_elements") == held


@pytest.mark.parametrize("name", [name for name in READ if model_type(name) not in RECOMPUTES])
def test_decode_flops(name: str) -> None:
    for length, counted in RECORDS[name]["flops"]["decode"].items():
        report = at(name, int(length))
        ours = report.value("decode_model_flops") or 0
        core = report.value("decode_core_flops") or 0
        if any(isinstance(b.memory, Heads) and b.memory.differential for _, b in report.spec.branches()):
            assert counted == ours + core // 3  # the library makes the same scores twice, once for each half of V
        elif model_type(name) == "gpt_neo" and masks(report, int(length)):
            memory = report.spec.layers * 2 * 2 * report.spec.hidden_size
            assert counted == ours - core + memory * int(length)  # the whole row of scores and values, in every layer
        else:
            assert ours == counted


@pytest.mark.parametrize(("name", "field"), REFUSED.items())
def test_what_makes_another_model_is_refused(name: str, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        from_config(RECORDS[name]["config"])


@pytest.mark.parametrize("told", [{}, {"is_decoder": False}])
def test_a_bert_that_is_no_decoder_has_no_cache(told: dict[str, Any]) -> None:
    config = {key: value for key, value in RECORDS["bert/base"]["config"].items() if key != "is_decoder"}
    with pytest.raises(ConfigError, match="is_decoder: not true, so this is an encoder"):
        from_config({**config, **told})


def test_every_type_is_recorded() -> None:
    from kvcalc.readers.families import bert, classic, plain

    recorded = {model_type(name) for name in RECORDS}
    assert {*plain.FAMILIES, *classic.FAMILIES, *bert.FAMILIES} <= recorded
