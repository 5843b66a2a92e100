"""What is shown is what was computed: every line of an explanation is true arithmetic, and `show` adds up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from builders import model, records
from kvcalc.analysis import Report, analyze
from kvcalc.detail import facts
from kvcalc.errors import KvcalcError
from kvcalc.explanation import MEANINGS, explain, symbols
from kvcalc.formula import parse
from kvcalc.hardware.machine import parse_machine
from kvcalc.model import ModelSpec
from kvcalc.readers import bundle
from kvcalc.readers.load import load_all
from kvcalc.rows import KEYS
from kvcalc.workload import PARALLEL, Workload
from test_laws import MODELS

WORKLOADS = [
    Workload(32768),
    Workload(5000, cached_tokens=4000, batch=3, mla_decode="naive", dtype_k="fp8", dtype_v="int4"),
    Workload(300, batch=4, shared_prefix_tokens=100, generate_tokens=17),
    Workload(77, kv_cache=False, generate_tokens=5),
]


def check_arithmetic(report: Report) -> None:
    for line in explain(report, None):
        if line.quantity == "decode_intensity":
            continue
        body, _, where = line.with_numbers.partition(" where ")
        assert parse(body.replace(" x ", "*")).evaluate({}) == line.result, line
        for definition in re.split(r", (?=\w+ = )", where) if where else ():
            _, formula, result = definition.split(" = ")
            assert parse(formula).evaluate({}) == int(result)


@pytest.mark.parametrize("workload", WORKLOADS, ids=["default", "chunk", "answer", "no cache"])
@pytest.mark.parametrize("name", ["deepseek-v2-lite", "gpt-oss-20b", "opt-350m"])
def test_every_line_is_true(name: str, workload: Workload) -> None:
    check_arithmetic(analyze(load_all(name)[0], workload))


@given(MODELS)
@settings(max_examples=25)
def test_every_line_is_true_of_any_model(spec: ModelSpec) -> None:
    check_arithmetic(analyze(spec, Workload(100, generate_tokens=3)))


@pytest.mark.parametrize("name", ["deepseek-v3", "gemma-2-9b", "bloom", "qwen1.5-moe-a2.7b", "opt-350m"])
def test_an_explanation_ends_in_the_number_of_the_row(name: str) -> None:
    report = analyze(load_all(name)[0], Workload(2048, generate_tokens=10))
    tops = {line.quantity: line.result for line in explain(report, None) if line.depth == 0}
    assert tops.pop("decode_intensity") == report.decode_intensity
    assert tops.pop("waste_ratio") == report.ratio("waste_ratio") == 1
    assert tops == {key: report.value(key) for key in report.quantities if report.value(key) is not None}


def test_every_formula_of_a_real_model_names_its_source() -> None:
    """All that is not the sum or product of other lines."""
    for name in ("deepseek-v2", "gemma-3-27b", "gpt2"):
        lines = explain(analyze(load_all(name)[0], Workload(100)), None)
        for line, after in zip(lines, [*lines[1:], lines[0]], strict=True):
            leaf = after.depth <= line.depth
            if leaf and any(symbol in MEANINGS for symbol in parse(line.formula).symbols() if symbol not in "nKPBST"):
                assert line.source, line


def test_symbols_in_use_have_a_meaning() -> None:
    for name in bundle.names():
        report = analyze(load_all(name)[0], Workload(100))
        lines = explain(report, None)
        from kvcalc.quantity import symbols_in

        used = {s for node in report.quantities.values() if node is not None for s in symbols_in(node)}
        single = {symbol for symbol in used if symbol not in report.quantities}
        inner = {"F_n", "F_p", "w", "x", "b", "e", "t", "u", "i", "bits", "p", "s"}
        assert single - inner <= set(symbols(report, lines))


def test_both_ways_of_mla_are_explained_with_their_crossover() -> None:
    report = analyze(load_all("deepseek-v3")[0], Workload(4097))
    names = [line.name for line in explain(report, "decode_core_flops") if line.depth == 0]
    assert names == ["decode_core_flops", "decode_core_flops, --mla-decode naive", "crossover_query_tokens"]
    assert report.value("crossover_query_tokens") == 167


def test_an_unknown_quantity_gets_the_nearest() -> None:
    with pytest.raises(KvcalcError, match="did you mean cache_bytes"):
        explain(analyze(model(), Workload(1)), "cache_byte")


def test_every_whole_number_of_a_row_can_be_explained() -> None:
    report = analyze(load_all("mistral-7b-v0.1")[0], Workload(100, generate_tokens=2, machine=parse_machine("H100")))
    told = {
        "model", "variant", "attention", "layers", "context_tokens", "batch", "cache_dtype", "cache_ratio",
        "prompt_tokens", "cached_tokens", "kv_cache", "weight_dtype", "mla_decode", "mla_prefill",
        "shared_prefix_tokens", "generate_tokens", "state_dtype", "encoder_tokens", "engine", "mtp",
        "engine_version", "engine_options", "on", "decode_bound_by", "prefill_bound_by", *PARALLEL,
    }  # fmt: skip
    for key in KEYS:
        if key not in told:
            assert explain(report, key)[0].quantity == key


@pytest.mark.parametrize("record", records("models.jsonl"), ids=lambda record: record["name"])
def test_show_adds_up(record: dict[str, object]) -> None:
    """Parts of the parameters, of the FLOPs and of the cache sum to the whole."""
    name = {"bloom-176b": "bloom", "llama-4-scout": "llama-4-scout-17b-16e", "mixtral-8x7b": "mixtral-8x7b-v0.1"}
    report = analyze(
        load_all(name.get(str(record["name"]), str(record["name"]).replace("-15b", "")))[0], Workload(3000)
    )
    found = facts(report)

    def total(section: str, quantity: str) -> float:
        return sum(f.value or 0 for f in found if (f.section, f.quantity) == (section, quantity))

    assert total("parameters", "parameters") == report.value("parameters")
    assert total("flops", "decode_flops") == report.value("decode_model_flops")
    assert total("flops", "prefill_flops") == report.value("prefill_model_flops")
    assert total("layers", "cache_elements_per_sequence") == report.value("cache_elements")
    assert total("layers", "layers") == report.spec.layers


def test_pairs_of_an_encoder_say_which_mask_they_have() -> None:
    """None at all, or a band's; a decoder's full reach has a causal one."""

    def sources(name: str) -> set[str]:
        report = analyze(load_all(name)[0], Workload(100))
        return {line.source for line in explain(report, "prefill_core_flops") if line.name.startswith("x: pairs")}

    assert any(source.startswith("an encoder has no causal mask") for source in sources("whisper-large-v3"))
    banded = sources("led-base-16384")
    assert any(source.startswith("Longformer") for source in banded)
    assert not any(source.startswith("an encoder has no causal mask") for source in banded)
