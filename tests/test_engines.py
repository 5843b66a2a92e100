"""Engines: what each holds of the same model, against what live Transformers code was seen to hold."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from builders import from_config, records
from kvcalc.analysis import analyze
from kvcalc.engines import ENGINES, engine_of
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from screens import records as rows

MODELS = records("models.jsonl")
HOLDS = ("cache_elements", "cache_bytes")


@pytest.mark.parametrize("record", MODELS, ids=lambda record: record["name"])
def test_transformers_holds_what_it_was_seen_to_hold(record: dict[str, Any]) -> None:
    """W - 1 tokens of a window, C - 1 of a chunk, Falcon's heads broadcast: to the element."""
    spec = from_config(record["config"])
    for length, truth in record["cache"].items():
        report = analyze(spec, Workload(int(length), engine="transformers"))
        assert report.value("cache_elements") == truth["transformers_elements"]


@pytest.mark.parametrize("name", ["mistral-7b-v0.1", "gemma-3-27b", "llama-4-scout-17b-16e", "deepseek-v2"])
@pytest.mark.parametrize("context", [1, 1023, 1024, 4096, 9000])
def test_an_engine_changes_no_flops_and_no_parameters(name: str, context: int) -> None:
    spec = kvcalc.load(name)
    paper, *others = (analyze(spec, Workload(context, engine=engine, generate_tokens=3)) for engine in ENGINES)
    for key in paper.quantities:
        if key.endswith("_flops") or "parameters" in key:
            assert {report.value(key) for report in others} == {paper.value(key)}, key


def test_every_engine_has_its_name() -> None:
    assert [engine_of(name).name for name in ENGINES] == list(ENGINES)


def test_compare_says_the_engine_and_counts_by_it() -> None:
    (paper,) = rows("compare mistral-7b-v0.1 --variants none -c 8192")
    (library,) = rows("compare mistral-7b-v0.1 --variants none -c 8192 --engine transformers")
    assert (paper["engine"], library["engine"]) == ("paper", "transformers")
    assert paper["cache_elements"] == 65536 * 4096
    assert library["cache_elements"] == 65536 * 4095
    told = {"engine", "engine_version", "reserved_bytes", "reserved_bytes_total", "held_bytes", "waste_ratio"}
    assert {key for key in paper if paper[key] != library[key]} == {*told, *HOLDS}


def test_sweep_takes_engines_as_a_list() -> None:
    swept = rows("sweep mistral-7b-v0.1 -c 8192 --engine paper,transformers")
    assert [row["engine"] for row in swept] == ["paper", "transformers"]
    assert [row["cache_elements"] for row in swept] == [65536 * 4096, 65536 * 4095]


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="engine"):
        analyze(kvcalc.load("gpt2"), Workload(1, engine="vllmm"))
    assert_refused(quickly("sweep", "gpt2", "--engine", "transfomers"), "transformers")
