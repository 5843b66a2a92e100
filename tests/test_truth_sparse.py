"""Latents, indexes, compressed and block-sparse attention against the live code of the library.

Small configs, each field varied, and six published ones: parameters, what the cache holds, the FLOPs that torch's
counter sees, which are those of a dense kernel that masks what is not chosen.
"""

from __future__ import annotations

from typing import Any

import pytest

from builders import from_config, records
from kvcalc.analysis import analyze
from kvcalc.errors import ConfigError
from kvcalc.verify.expect import Run, counted
from kvcalc.workload import Workload

RECORDS = {record["id"]: record for record in records("sparse.jsonl")}
REFUSED = {
    "deepseek_v4/legacy": "compress_rate_csa",
    "minimax_m2/win": "sliding_window",
    "qwen4_exp_text/ple": "ple_layer_ids",
}
# The library allots gate and up matrices to experts that do nothing; which tokens visit one is chance.
ZERO_EXPERTS = {"longcat_flash/zero": 2 * 96 * 48 * 4 * 2}
READ = sorted(RECORDS.keys() - REFUSED)


@pytest.mark.parametrize("name", READ)
def test_parameters(name: str) -> None:
    report = analyze(from_config(RECORDS[name]["config"]), Workload(1))
    assert report.value("parameters") == RECORDS[name]["parameters"] - ZERO_EXPERTS.get(name, 0)
    if "active_parameters" in RECORDS[name]:
        assert report.value("active_parameters") == RECORDS[name]["active_parameters"]


@pytest.mark.parametrize("name", READ)
def test_cache(name: str) -> None:
    spec = from_config(RECORDS[name]["config"])
    for length, truth in RECORDS[name]["cache"].items():
        report = analyze(spec, Workload(int(length), engine="transformers"))
        assert report.value("cache_elements") == truth["transformers_elements"], length


@pytest.mark.parametrize("name", sorted(set(READ) - set(ZERO_EXPERTS)))
def test_flops_as_torch_counts_them(name: str) -> None:
    spec = from_config(RECORDS[name]["config"])
    for n, flops in RECORDS[name]["flops"]["decode"].items():
        assert counted(spec, Run(1, int(n) - 1, 0, False)) == flops, n
    for n, flops in RECORDS[name]["flops"].get("prefill", {}).items():
        assert counted(spec, Run(int(n), 0, 0, True)) == flops, n


@pytest.mark.parametrize(("name", "field"), REFUSED.items())
def test_what_is_not_understood_is_refused_by_name(name: str, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        from_config(RECORDS[name]["config"])


M3 = {"sparse_attention_freq": [0, 1, 1, 1], "sparse_num_index_heads": 2, "sparse_index_dim": 16}


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("deepseek_v32", {"layer_types": ["full_attention"] * 4}, "layer type"),
        ("deepseek_v32", {"moe_layer_freq": 2}, "moe_layer_freq"),
        ("deepseek_v32", {"mlp_bias": True}, "mlp_bias"),
        ("glm4_moe_lite", {"first_k_dense_replace": 2}, "first_k_dense_replace"),
        ("glm_moe_dsa", {"index_topk_pattern": "FS"}, "index_topk_pattern"),
        ("glm_moe_dsa", {"indexer_types": ["shared", "full", "full", "full"]}, "indexer_types"),
        ("deepseek_v4", {"compress_ratios": [0, 4, 64, 4]}, "compress_ratios"),
        ("deepseek_v4", {"compress_rates": {"compressed_sparse_attention": 4}}, "compress_rates"),
        ("dots3_note_text", {"per_layer_config": {"2": {"head_dim": 8}}}, "per_layer_config"),
        ("minimax_m3_vl_text", {"index_local_blocks": 0}, "index_local_blocks"),
        ("minimax_m3_vl_text", {"attention_output_gate": True}, "attention_output_gate"),
        ("minimax_m3_vl_text", {"sparse_attention_config": {**M3, "sparse_init_block": 1}}, "sparse_init_block"),
        (
            "minimax_m3_vl_text",
            {"sparse_attention_config": {**M3, "sparse_disable_index_value": [0, 1, 1, 0]}},
            "sparse_disable_index_value",
        ),
        ("qwen4_exp_text", {"indexer_kv_heads": 2}, "indexer_kv_heads"),
    ],
)
def test_a_field_that_makes_another_model_is_refused(name: str, change: dict[str, Any], field: str) -> None:
    config = {**RECORDS[f"{name}/base"]["config"], **change}
    with pytest.raises(ConfigError, match=field):
        from_config(config)


@pytest.mark.parametrize(("name", "alias"), [("deepseek-v3", "kimi_k2"), ("minimax-m3", "minimax_m3_vl_text")])
def test_a_type_under_its_publishers_name(name: str, alias: str) -> None:
    config = RECORDS[name]["config"]
    assert from_config({**config, "model_type": alias}) == from_config(config)


def test_deepseek_v4_needs_one_vector_a_token_where_the_library_keeps_two() -> None:
    """In layers that only slide it caches K and V, which are the same: two layers of 512 elements."""
    spec = from_config(RECORDS["deepseek-v4-flash"]["config"])
    paper, library = (analyze(spec, Workload(100, engine=e)).value("cache_elements") for e in ("paper", "transformers"))
    assert paper == (library or 0) - 2 * 100 * 512


def test_an_index_scores_all_pairs_beside_a_latent_that_reads_some() -> None:
    """DeepSeek-V3.2: 2*64*128 + 2*64 FLOPs a pair of all, 2*128*(2*512 + 64) of those of the 2048 chosen."""
    spec = from_config(RECORDS["deepseek-v3.2"]["config"])
    n = 32768
    report = analyze(spec, Workload(n, mla_prefill="absorbed"))
    pair, chosen = 2 * 64 * 128 + 2 * 64, 2 * 128 * (2 * 512 + 64)
    assert report.value("decode_core_flops") == 61 * (n * pair + 2048 * chosen)
    all_pairs, some = n * (n + 1) // 2, n * 2048 - 2048 * 2047 // 2
    assert report.value("prefill_core_flops") == 61 * (all_pairs * pair + some * chosen)
    assert report.value("decode_cache_read_bytes") == 61 * 2 * (n * 128 + 2048 * 576)
    naive = analyze(spec, Workload(n, mla_decode="naive"))
    expanded = 2 * 512 * 128 * (128 + 128)
    assert naive.value("decode_core_flops") == 61 * (n * pair + 2048 * 2 * 128 * (128 + 64 + 128))
    difference = (naive.value("decode_attention_flops") or 0) - (naive.value("decode_core_flops") or 0)
    absorbed = 2 * 128 * 512 * (128 + 128)
    own = (report.value("decode_attention_flops") or 0) - (report.value("decode_core_flops") or 0)
    assert difference - own == 61 * (2048 * expanded - absorbed)
