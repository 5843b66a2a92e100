"""Published figures of sparse attention, low-rank and tied heads, each from a native file of the kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # noqa: TID253  # a test starts no command

from builders import from_config, heads, model, records, value
from kvcalc.attention.reach import Chunk, Full
from kvcalc.errors import ConfigError
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.workload import Workload
from test_figures import _label, _rounds_to

if TYPE_CHECKING:
    from kvcalc.model import ModelSpec

FIGURES = records("figures_sparse.json")
MILLION = 2**20
KEYS = {"qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
STEP_3 = """
name: step-3
vocab_size: 128815
hidden_size: 7168
num_hidden_layers: 61
tie_word_embeddings: false
norm: rmsnorm
norms_per_layer: 2
attention: {kind: mfa, num_attention_heads: 64, head_dim: 256, q_rank: 2048, q_norm: true}
layers:
  dense: {mlp: {kind: dense, intermediate_size: 18432, gated: true}}
  moe:
    mlp: {kind: moe, num_experts: 48, num_experts_per_tok: 3, moe_intermediate_size: 5120, gated: true,
          shared_intermediate_size: 5120}
layer_types: [dense x5, moe x56]
"""
ONE_LAYER = """
name: one-layer
vocab_size: 100
hidden_size: 64
num_hidden_layers: 1
tie_word_embeddings: true
norm: rmsnorm
norms_per_layer: 2
branches: {branches}
mlp: {{kind: dense, intermediate_size: 64, gated: true}}
"""
WINDOW = """{kind: shared_kv, num_attention_heads: 128, head_dim: 512, q_lora_rank: 1536,
  o_groups: 16, o_lora_rank: 1024, reach: {kind: window, sliding_window: 128}}"""
ROWS = """{{kind: compressed_kv, num_attention_heads: 128, head_dim: 512, compress_rate: {m}, series: {c},
  reach: {{kind: compressed, compress_rate: {m}}}}}"""
INDEX = """{kind: compressed_index, index_n_heads: 64, index_head_dim: 128, q_lora_rank: 1536, compress_rate: 4,
  reach: {kind: compressed, compress_rate: 4}}"""
LIGHT = f"[{WINDOW}, {ROWS.format(m=4, c=2)}, {INDEX}]"
HEAVY = f"[{WINDOW}, {ROWS.format(m=128, c=1)}]"
NSA = """[
  {kind: nsa, num_attention_heads: 64, num_key_value_heads: 4, head_dim: 192, v_head_dim: 128,
   reach: {kind: strided, block_size: 32, stride: 16}},
  {kind: nsa, num_attention_heads: 64, num_key_value_heads: 4, head_dim: 192, v_head_dim: 128,
   reach: {kind: selected, block_size: 64, blocks: 16}},
  {kind: nsa, num_attention_heads: 64, num_key_value_heads: 4, head_dim: 192, v_head_dim: 128, carries_query: true,
   reach: {kind: window, sliding_window: 512}}]"""


def native(text: str) -> ModelSpec:
    return read_native(Document("model.yaml", yaml.safe_load(text), dict))


def one_layer(branches: str) -> ModelSpec:
    return native(ONE_LAYER.format(branches=branches))


def deepseek_v4_in_vllm(record: dict[str, Any]) -> float:
    """At a million tokens of bf16; what waits to become a row is not counted there."""
    v32 = from_config(next(one["config"] for one in records("sparse.jsonl") if one["id"] == "deepseek-v3.2"))
    old = value(v32, "cache_bytes", Workload(MILLION))
    light, heavy = (value(one_layer(kind), "cache_bytes", Workload(MILLION)) for kind in (LIGHT, HEAVY))
    total = 30 * light + 31 * heavy
    return {
        "V3.2_per_token_per_layer": value(v32, "cache_bytes_per_token", Workload(1)) / 61,
        "V3.2_one_layer": old / 61 / 2**30,
        "V3.2_61_layers": old / 2**30,
        "V4_c4a_layer": light / 2**20,
        "V4_c128a_layer": heavy / 2**20,
        "V4_total": total / 2**30,
        "reduction": old / total,
    }[_label(record)]


def deepseek_v4_paper(record: dict[str, Any]) -> float:
    """Percent of V3.2's at a million tokens: vectors of 448 fp8 and 64 bf16 elements, keys of fp4, V3.2's of fp8."""
    v32 = from_config(next(one["config"] for one in records("sparse.jsonl") if one["id"] == "deepseek-v3.2"))
    parts = (f"[{WINDOW}, {ROWS.format(m=4, c=2)}]", LIGHT, HEAVY)
    rows, light, heavy = (value(one_layer(kind), "cache_elements", Workload(MILLION)) for kind in parts)
    vectors, keys = 30 * rows + 31 * heavy, 30 * (light - rows)
    old = value(v32, "cache_elements", Workload(MILLION)) * (512 + 2 * 64 + 128) / (512 + 64 + 128)
    return 100 * (vectors * (448 + 2 * 64) / 512 + keys / 2) / old


def step_3(record: dict[str, Any]) -> float:
    """Step-3's table: attention over the context alone, the FFN without its router."""
    name, _, at = _label(record).partition("@")
    workload = Workload({"8K": 8192, "32K": 32768}.get(at, 1), dtype="fp8")
    if name.startswith("Llama4"):
        full, chunked = (
            model(*[heads(40, 8, 128)] * 12, reach=Full()),
            model(*[heads(40, 8, 128)] * 36, reach=Chunk(8192)),
        )
        return value(full, "cache_bytes", workload._replace(dtype="bf16")) + value(chunked, "cache_bytes", workload)
    spec = native(STEP_3)
    key = {"Step-3_KV": "cache_bytes", "Step-3_attn": "decode_core_flops", "Step-3_linear": "decode_projection_flops"}
    if name in key:
        return value(spec, key[name], workload)
    outside = 2 * 7168 * 128815 + 56 * 2 * 7168 * 48
    return value(spec, "decode_model_flops", workload) - value(spec, "decode_attention_flops", workload) - outside


def on_one_of_several_devices(record: dict[str, Any]) -> float:
    """A device holds its share of heads, states or latents; a latent and a RoPE key that all need are on each."""
    n_h = record["model_dims"].get("heads", 64)
    kind, _, devices = _label(record).removeprefix("d_h_multiples_").partition("_TP")
    name, _, groups = kind.partition("-")

    def share(whole: int) -> int:
        return max(1, whole // int(devices))

    own = share(int(groups or 1))
    told: dict[str, Any] = {
        "MHA": {"kind": "heads", "num_key_value_heads": share(n_h), "head_dim": 128},
        "GQA": {"kind": "heads", "num_key_value_heads": own, "head_dim": 128},
        "GTA": {"kind": "gta", "num_key_value_heads": own, "head_dim": 128, "rope_head_dim": 64},
        "GLA": {"kind": "gla_latent", "latent_heads": own, "kv_lora_rank": 256, **KEYS},
        "MLRA": {"kind": "gla_latent", "latent_heads": own, "kv_lora_rank": 128, **KEYS},
        "MLA": {"kind": "mla", "kv_lora_rank": 512, **KEYS},
    }[name]
    branch = json.dumps({**told, "num_attention_heads": n_h})
    spec = one_layer(f"[{branch}]")
    if record["unit"].startswith("bytes"):
        return value(spec, "cache_bytes_per_token", Workload(1))
    return value(spec, "cache_elements_per_token", Workload(1)) / 128


def tensor_product(record: dict[str, Any]) -> float:
    """Ranks of 1."""
    spec = one_layer("[{kind: tpa, num_attention_heads: 32, head_dim: 128, q_rank: 6, k_rank: 1, v_rank: 1}]")
    return value(spec, "cache_elements_per_token", Workload(1))


COMPUTED = {
    "vllm-v4": deepseek_v4_in_vllm,
    "dsv4-paper": deepseek_v4_paper,
    "step3": step_3,
    "gla-t5": on_one_of_several_devices,
    "mlra-t1": on_one_of_several_devices,
    "tpa": tensor_product,
}


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        (NSA.replace("carries_query: true,", ""), "0 of 3 branches carry the query"),
        (NSA.replace("num_key_value_heads: 4", "num_key_value_heads: 6", 1), "not divisible by num_key_value_heads 6"),
        (
            "[{kind: gla_latent, num_attention_heads: 8, latent_heads: 3, kv_lora_rank: 16, qk_rope_head_dim: 4,"
            " qk_nope_head_dim: 8, v_head_dim: 8}]",
            "not divisible by latent_heads 3",
        ),
    ],
    ids=["query", "heads", "latents"],
)
def test_branches_that_cannot_be(branches: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        one_layer(branches)


@pytest.mark.parametrize("record", [r for r in FIGURES if not r["id"].startswith("nsa")], ids=lambda r: str(r["id"]))
def test_published_figure(record: dict[str, Any]) -> None:
    ours = COMPUTED[record["id"].partition("/")[0]](record)
    assert ours == pytest.approx(record["recomputed"], rel=1e-12)
    assert record.get("published") is None or _rounds_to(ours, record["published"])


@pytest.mark.parametrize("record", [r for r in FIGURES if r["id"].startswith("nsa")], ids=lambda r: str(r["id"]))
def test_what_native_sparse_attention_reads(record: dict[str, Any]) -> None:
    """The paper counts a row for every 16 tokens; the first comes with token 32, so there is one fewer."""
    n = record["model_dims"]["s"]
    row = 2 * 4 * (192 + 128)
    read = value(one_layer(NSA), "decode_cache_read_bytes", Workload(n)) / row
    if "speedup" in record["id"]:
        assert _rounds_to(n / read, record["published"])
    else:
        assert read == record["recomputed"] - 1
