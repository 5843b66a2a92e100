"""The roofline: never above what was measured, exact where it can be, and said to be a bound."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from builders import heads, model, records
from kvcalc.analysis import analyze
from kvcalc.attention.latent import Latent
from kvcalc.quantity import Quantity
from kvcalc.real import evaluate_reals
from kvcalc.roofline import PIECES, TOUCHED, least_times
from kvcalc.weight_bytes import held
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from screens import records as rows

H200 = kvcalc.parse_machine("H200")
MEASURED = records("measured_h200.jsonl")  # kernels of one layer on an NVIDIA H200, PyTorch 2.11, the fastest of each
MOE = [name for name in kvcalc.names() if any(ff.kind == "moe" for _, ff in kvcalc.load(name).feedforwards())]


@pytest.mark.parametrize(
    "row", MEASURED, ids=lambda row: f"{row['kind']} {row['phase']} {row['batch']}x{row['context']}"
)
def test_attention_never_took_less_time_than_the_bound(row: dict[str, Any]) -> None:
    memory = Latent(row["n_h"], 512, 64, 128, 128, 0) if row["kind"] == "MLA absorbed" else None
    spec = model(memory or heads(row["n_h"], row["n_kv"], row["d_k"]), hidden_size=64)
    report = analyze(spec, Workload(row["context"], batch=row["batch"]))
    bound = least_times(report, H200)[row["phase"] == "prefill"]
    core = bound.pieces[0]
    assert core.name == "attention core"
    least = max(core.compute_seconds, core.memory_seconds)
    assert least <= row["seconds"]
    assert least > row["seconds"] / 500, "a bound of nothing would hold as well"


def test_the_closest_kernels_come_near() -> None:
    """At its best the card reached 90 % of the bandwidth and 65 % of the peak: the bound is not idle."""
    spec = model(heads(32, 32, 128))
    decode = least_times(analyze(spec, Workload(4096, batch=64)), H200)[0].pieces[0]
    prefill = least_times(analyze(spec, Workload(16384)), H200)[1].pieces[0]
    seconds = {(row["kind"], row["phase"], row["batch"], row["context"]): row["seconds"] for row in MEASURED}
    assert decode.memory_seconds > 0.9 * seconds["MHA", "decode", 64, 4096]
    assert prefill.compute_seconds > 0.65 * seconds["MHA", "prefill", 1, 16384]


def test_a_decode_step_of_llama_by_hand() -> None:
    spec = kvcalc.load("llama-3.1-8b")
    report = analyze(spec, Workload(32768, batch=8))
    decode, prefill = least_times(report, kvcalc.parse_machine("H100"))
    embedding = 128256 * 4096
    assert decode.bytes == 2 * (8_030_261_248 - embedding) + 8 * 32768 * 131072
    assert decode.flops == report.value("decode_model_flops")
    assert prefill.flops == report.value("prefill_model_flops")
    assert decode.seconds == pytest.approx(decode.bytes / 3.35e12)
    assert decode.tokens_per_second == pytest.approx(8 / decode.seconds)
    assert prefill.seconds == pytest.approx(prefill.flops / 989.5e12)
    assert prefill.tokens == 8 * 32768
    assert (decode.bound_by, prefill.bound_by) == ("memory", "compute")
    assert decode.ridge == pytest.approx(989.5 / 3.35)


@pytest.mark.parametrize("name", kvcalc.names())
def test_the_pieces_are_all_flops_and_no_more_than_all_weights(name: str) -> None:
    report = analyze(kvcalc.load(name), Workload(4096, batch=3))
    for bound, phase in zip(least_times(report, H200), ("decode", "prefill"), strict=True):
        assert tuple(piece.name for piece in bound.pieces) == PIECES
        assert bound.flops == report.value(f"{phase}_model_flops")
        weights, cache = report.value("weight_bytes"), report.value("cache_bytes")
        assert weights is not None
        assert cache is not None
        assert sum(piece.bytes for piece in bound.pieces[1:]) <= weights
        assert bound.pieces[0].bytes <= cache + 1 or report.spec.name.startswith("gemma-3n")
        assert (bound.bound_by == "compute") == (bound.compute_seconds > bound.memory_seconds)
        assert bound.intensity is not None
        assert bound.ridge is not None
        assert (bound.intensity > bound.ridge) == (bound.bound_by == "compute")


@given(st.sampled_from(kvcalc.names()), st.integers(1, 512), st.integers(1, 100_000), st.integers(1, 64))
@settings(max_examples=40)
def test_laws(name: str, batch: int, context: int, devices: int) -> None:
    """More to do takes no less time; so many devices take an even share of one's."""
    spec = kvcalc.load(name)
    one = least_times(analyze(spec, Workload(context, batch=batch)), H200)
    more = least_times(analyze(spec, Workload(context, batch=batch + 1)), H200)
    shared = least_times(analyze(spec, Workload(context, batch=batch)), H200._replace(devices=devices))
    for at in (0, 1):
        assert one[at].seconds <= more[at].seconds * (1 + 1e-12)
        assert shared[at].seconds == pytest.approx(one[at].seconds / devices)
        assert shared[at].bound_by == one[at].bound_by


@given(st.integers(1, 512), st.integers(1, 64), st.integers(1, 200))
def test_expected_experts_are_the_exact_expectation(experts: int, visited: int, tokens: int) -> None:
    visited = min(visited, experts)
    exact = experts * (1 - (1 - Fraction(visited, experts)) ** tokens)
    scope = {"w": experts, "E": experts, "k": visited, "t": tokens}
    found = evaluate_reals({"x": Quantity("", TOUCHED)}, scope)["x"]
    assert found == pytest.approx(float(exact), rel=1e-12)
    assert visited * (1 - 1e-12) <= found <= experts


@pytest.mark.parametrize("name", MOE)
def test_one_token_reads_the_experts_it_visits(name: str) -> None:
    spec = kvcalc.load(name)
    report = analyze(spec, Workload(1, weight_dtype="int8"))
    read = sum(piece.bytes for piece in least_times(report, H200)[0].pieces[1:])
    looked_up = sum(one.evaluate() for one in held(spec) if one.where == "embedding")
    active = report.value("active_parameters")
    assert active is not None
    needed = active - (0 if spec.tie_word_embeddings else looked_up)
    assert needed * 0.999 < read <= needed * (1 + 1e-12), "of what is neither attention nor MLP only matrices count"


def test_weights_in_eight_bits_run_at_the_peak_of_eight_bits() -> None:
    report = analyze(kvcalc.load("deepseek-v3"), Workload(4096))
    peaks = {piece.name: piece.peak for piece in least_times(report, H200)[0].pieces}
    assert peaks["attention core"] == "bf16"
    assert peaks["attention projections"] in ("fp8", "int8")
    assert peaks["lm_head"] == "bf16"
    a100 = least_times(report, kvcalc.parse_machine("a100-80gb"))[0]
    assert {piece.peak for piece in a100.pieces} == {"bf16", "int8"}


def test_show_and_compare_print_it_as_a_bound() -> None:
    shown = quickly("show", "mixtral-8x7b-v0.1", "--on", "8xH100", "--batch", "64")
    assert shown.code == 0
    for told in ("On 8xH100-SXM", "not a forecast", "A bound, no forecast", "expectation", "against a ridge of"):
        assert told in shown.out
    compared = rows("compare llama-3.1-8b --on H100")
    assert all(row["on"] == "1xH100-SXM" and row["decode_bound_by"] == "memory" for row in compared)
    facts = [fact for fact in rows("show llama-3.1-8b --on H100") if fact["section"] == "roofline"]
    assert any(fact["quantity"] == "least_seconds" and fact["part"] == "1xH100-SXM decode" for fact in facts)
    assert "tokens/s" in quickly("compare", "llama-3.1-8b", "--on", "H100", "-f", "markdown").out
    for command in ("show", "compare"):
        assert "H200-SXM: memory: unverified" in quickly(command, "gpt2", "--on", "H200").err
    assert_refused(quickly("compare", "gpt2", "--on", "H1000"), "unknown accelerator", "H100")
