"""Rebuilding a model: another memory, the same reach and sharing."""

from __future__ import annotations

import pytest

from builders import heads, model, value
from kvcalc.attention.latent import Latent
from kvcalc.attention.reach import Full, Reach, Window
from kvcalc.comparison import compare
from kvcalc.errors import KvcalcError
from kvcalc.model import Branch
from kvcalc.readers.load import load_all
from kvcalc.request import Request
from kvcalc.variants import NotRebuiltError, default_variants, parse_variants, rebuild
from kvcalc.workload import Workload

REQUEST = Request(Workload(0))


def names(model_name: str) -> list[str]:
    comparison = compare(load_all(model_name), REQUEST, None)
    return [report.variant for report in comparison.reports]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3.1-8b", ["configured", "mha", "gqa-8", "gqa-4", "mqa", "mla", "swa-4096"]),
        ("qwen2.5-7b", ["configured", "mha", "gqa-4", "mqa", "mla", "swa-4096"]),  # 28 heads: gqa-8 is left out
        ("gemma-3-27b", ["configured", "mha", "gqa-16", "gqa-8", "gqa-4", "mqa", "mla", "swa-1024"]),
        ("llama-2-7b", ["configured", "mha", "gqa-8", "gqa-4", "mqa", "mla", "swa-4096"]),
        ("deepseek-v2", ["configured", "mha", "gqa-8", "gqa-4", "mqa", "swa-4096"]),
        ("falcon-7b", ["configured", "mha", "mqa", "mla", "swa-4096"]),  # 71 heads
    ],
)
def test_every_variant_that_makes_sense(name: str, expected: list[str]) -> None:
    assert names(name) == expected


def test_what_does_not_divide_is_left_out_with_a_note() -> None:
    comparison = compare(load_all("qwen2.5-7b"), REQUEST, None)
    assert "qwen2.5-7b: gqa-8 is left out: 8 KV heads do not divide 28 heads" in comparison.notes


def test_several_models_are_not_rebuilt_unless_asked() -> None:
    specs = [*load_all("llama-3.1-8b"), *load_all("mistral-7b-v0.1")]
    assert [r.variant for r in compare(specs, REQUEST, None).reports] == ["configured", "configured"]
    asked = compare(specs, REQUEST, parse_variants("mqa"))
    assert [r.variant for r in asked.reports] == ["configured", "mqa", "configured", "mqa"]
    first = asked.reports[0].value("cache_bytes")
    assert first
    assert [row["cache_ratio"] for row in asked.rows()] == [
        (report.value("cache_bytes") or 0) / first for report in asked.reports
    ]


def test_mla_takes_deepseek_v2s_proportions() -> None:
    rebuilt, _ = rebuild(load_all("llama-3.1-8b")[0], parse_variants("mla")[0])
    assert rebuilt.groups[0].layer.branches[0].memory == Latent(32, 512, 64, 128, 128, 0)


@pytest.mark.parametrize(
    ("text", "latent"),
    [("mla-256+32", Latent(32, 256, 32, 128, 128, 0)), ("mla-512+0/1536", Latent(32, 512, 0, 128, 128, 1536))],
)
def test_mla_with_numbers_of_ones_own(text: str, latent: Latent) -> None:
    rebuilt, name = rebuild(load_all("llama-3.1-8b")[0], parse_variants(text)[0])
    assert rebuilt.groups[0].layer.branches[0].memory == latent
    assert name == text


def test_from_mla_heads_have_the_nope_width() -> None:
    """DeepSeek-V2, Table 1: MHA is 2*n_h*d_h*l with d_h = 128, without the RoPE part."""
    rebuilt, _ = rebuild(load_all("deepseek-v2")[0], parse_variants("mha")[0])
    assert value(rebuilt, "cache_elements_per_token", Workload(1)) == 2 * 128 * 128 * 60


def test_a_rebuilt_memory_keeps_reach_and_sharing() -> None:
    spec = model(
        Branch(heads(8, 8, 16), Window(10)), Branch(heads(8, 8, 16), Full()), Branch(heads(8, 8, 16), Full(), True)
    )
    rebuilt, _ = rebuild(spec, parse_variants("mla-16+4")[0])
    kept = [(b.reach, b.shares_kv) for group in rebuilt.groups for b in group.layer.branches]
    expected: list[tuple[Reach, bool]] = [(Window(10), False), (Full(), False), (Full(), True)]
    assert kept == expected
    assert value(rebuilt, "cache_elements", Workload(100)) == 20 * 10 + 20 * 100


def test_swa_replaces_full_reach_only() -> None:
    rebuilt, name = rebuild(load_all("gemma-3-27b")[0], parse_variants("swa-2048")[0])
    assert name == "swa-2048"
    assert rebuilt.attention == "GQA-16 (52 SWA-1024 + 10 SWA-2048)"


def test_a_latent_is_neither_k_nor_v() -> None:
    """--dtype-k and --dtype-v change nothing, are not claimed, and a warning says so; the MHA beside it has them."""
    comparison = compare(
        load_all("deepseek-v2"), Request(Workload(0, dtype_k="int8", dtype_v="int4")), parse_variants("mha")
    )
    assert [row["cache_dtype"] for row in comparison.rows()] == ["bf16", "int8/int4"]
    assert comparison.rows()[0]["cache_bytes_per_token"] == 69120
    assert "neither K nor V" in comparison.warnings[0]


def test_none_is_the_model_as_configured() -> None:
    assert parse_variants("none") == []


@pytest.mark.parametrize("text", ["gqa", "gqa-0", "mla-512", "swa-0", "mhaa", "", "gqa-8,foo", "mla-0+64"])
def test_an_unknown_variant_is_refused(text: str) -> None:
    with pytest.raises(KvcalcError, match="--variants"):
        parse_variants(text)


def test_a_custom_memory_has_no_heads_to_rebuild() -> None:
    from kvcalc.attention.custom import Custom

    spec = model(Custom("2*r", "4*r", "0", "0", (("r", 8),)))
    assert default_variants(spec) == []
    with pytest.raises(NotRebuiltError):
        rebuild(spec, parse_variants("mha")[0])
