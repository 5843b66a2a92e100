"""Figures that papers and engine pages print, each recomputed from the model's dimensions.

A record says what is published; `computed` says how kvcalc answers it. Published numbers are rounded, so ours must
round to the same digits, and must equal the record's exact recomputation.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from builders import heads, model, records, value
from kvcalc.attention.latent import Latent
from kvcalc.attention.memory import Memory
from kvcalc.attention.reach import Chunk, Full, Window
from kvcalc.feedforward import Dense, Experts, FeedForward
from kvcalc.formula import parse
from kvcalc.model import Branch, ModelSpec
from kvcalc.readers.load import load_all
from kvcalc.variants import Variant, rebuild
from kvcalc.workload import Workload

FIGURES = records("figures.json")
DEEPSEEK_LATENT = Latent(128, 512, 64, 128, 128, 1536)


def per_token(spec: ModelSpec, dtype: str = "bf16") -> int:
    return value(spec, "cache_bytes_per_token", Workload(1, dtype=dtype))


def elements(spec: ModelSpec) -> int:
    return value(spec, "cache_elements_per_token", Workload(1))


def bundled(name: str) -> ModelSpec:
    return load_all(name)[0]


def as_mha(name: str) -> ModelSpec:
    return rebuild(bundled(name), Variant("mha"))[0]


def deepseek_v2_table_1(record: dict[str, Any]) -> float:
    ours = elements(bundled("deepseek-v2"))
    return ours / (128 * 60) if "coefficient" in record["id"] else ours / (2 * 128 * 60)


def deepseek_v2_table_9(record: dict[str, Any]) -> float:
    small, small_mha = elements(bundled("deepseek-v2-lite")), elements(as_mha("deepseek-v2-lite"))
    large, large_mha = elements(bundled("deepseek-v2")), elements(model(*[heads(56, 56, 128)] * 60))
    return {
        "small_MoE_MHA": small_mha / 1000,
        "small_MoE_MLA": small / 1000,
        "large_MoE_MHA": large_mha / 1000,
        "large_MoE_MLA": large / 1000,
        "small_ratio": 100 * small / small_mha,
        "large_ratio": 100 * large / large_mha,
    }[_label(record)]


def deepseek_v2_deployed(record: dict[str, Any]) -> float:
    """V2 at 6 bits against a 16-bit DeepSeek 67B."""
    return 100 * (1 - per_token(bundled("deepseek-v2"), "int6") / per_token(bundled("deepseek-llm-67b")))


def insights(record: dict[str, Any]) -> float:
    v3, qwen, llama = (per_token(bundled(n)) for n in ("deepseek-v3", "qwen2.5-72b", "llama-3.1-405b"))
    label = _label(record)
    if label.startswith("multiplier"):
        return qwen / v3
    return {"D": v3, "Q": qwen, "L": llama}[label[0]] / 1000


def su_variants(record: dict[str, Any]) -> float:
    """Variants at equal cache, per layer of 16 heads."""
    label = _label(record)
    mha, latent = elements(model(heads(16, 16, 128))), elements(model(Latent(16, 512, 64, 128, 128)))
    if label == "MHA_is_7x_MLA":
        return mha / latent
    if grouped := re.fullmatch(r"GQA(\d+)-(\d+)(-PR)?", label):  # partial RoPE changes no shape
        return elements(model(heads(16, int(grouped[1]), int(grouped[2]))))
    return mha if label == "MHA" else latent


def cross_layer_attention(record: dict[str, Any]) -> float:
    """CLA2 shares with every second layer; KeepEnds lets the first and last layer own theirs."""
    dims = record["model_dims"]
    memory = heads(16 if dims["kv_heads"] > 1 else 8, dims["kv_heads"], dims["head_dim"])
    label = _label(record)
    layers = 32 if label.startswith("3B") else 20
    every = int(found[1]) if (found := re.search(r"CLA(\d)", label)) else 1
    owners = {i for i in range(layers) if i % every == 0}
    if "KeepEnds" in label:
        owners = {0, layers - 1, *range(1, layers - 1, 2)}
    spec = model(*(Branch(memory, Full(), shares_kv=i not in owners) for i in range(layers)))
    return per_token(spec)


def step_3(record: dict[str, Any]) -> float:
    """Attention and FFN of one decoded token, bytes at one a cache element; routers are not counted there."""
    name, _, what = _label(record).rpartition("_")
    layers, d, memory, feedforwards, reaches = STEP_3[name]
    spec = model(*(Branch(memory, reaches[i % len(reaches)]) for i in range(layers)), hidden_size=d)
    tokens = 32768 if what.endswith("32K") else 8192
    workload = Workload(tokens, dtype="fp8")
    if what.startswith("KV"):
        return value(spec, "cache_bytes", workload)
    if what.startswith("attn"):
        if isinstance(memory, Latent):  # counted as wide for values as for scores
            (scores,) = (work.formula for work in memory.work("absorbed") if work.name == "scores")
            return 2 * layers * parse(scores).evaluate(memory.symbols()) * tokens
        return value(spec, "decode_core_flops", workload)
    if what == "linear":
        return value(spec, "decode_projection_flops", workload)
    return sum(count * _mlp_flops(d, feedforward) for count, feedforward in feedforwards)


def _mlp_flops(d: int, feedforward: FeedForward) -> int:
    """FLOPs of one layer's MLP or experts alone."""
    report = value(model(heads(1, 1, 1), hidden_size=d, feedforward=feedforward), "decode_model_flops", Workload(1))
    bare = model(heads(1, 1, 1), hidden_size=d, feedforward=Dense(1, gated=True))
    without = value(bare, "decode_model_flops", Workload(1)) - 6 * d
    router = 2 * d * feedforward.num_experts if isinstance(feedforward, Experts) else 0
    return report - without - router


def _experts(k: int, width: int, shared: int = 0) -> Experts:
    return Experts(64, k, width, gated=True, shared_intermediate_size=shared * width)


Step3 = tuple[int, int, Memory, list[tuple[int, FeedForward]], list[Full | Chunk]]
STEP_3: dict[str, Step3] = {
    "DSv3": (61, 7168, DEEPSEEK_LATENT, [(3, Dense(18432, gated=True)), (58, _experts(8, 2048, 1))], [Full()]),
    "Kimi_K2": (
        61,
        7168,
        DEEPSEEK_LATENT._replace(num_attention_heads=64),
        [(1, Dense(18432, gated=True)), (60, _experts(8, 2048, 1))],
        [Full()],
    ),
    "Qwen3_MoE": (94, 4096, heads(64, 4, 128), [(94, _experts(8, 1536))], [Full()]),
    "Qwen3_32B": (64, 5120, heads(64, 8, 128), [(64, Dense(25600, gated=True))], [Full()]),
    "Llama4_Maverick": (
        48,
        5120,
        heads(40, 8, 128),
        [(48, Dense(16384, gated=True))],
        [Chunk(8192), Chunk(8192), Chunk(8192), Full()],
    ),
    "ERNIE4.5": (
        54,
        8192,
        heads(64, 8, 128),
        [(3, Dense(28672, gated=True)), (51, _experts(8, 3584))],
        [Full()],
    ),
    "Pangu_Pro_MoE": (48, 5120, heads(40, 8, 128), [(48, _experts(8, 1344, 4))], [Full()]),
}


def mistral(record: dict[str, Any]) -> float:
    spec = bundled("mistral-7b-v0.1")
    if "span" in record["id"]:
        return value(spec, "receptive_field_tokens", Workload(1)) / 1000
    full = model(*[heads(32, 8, 128)] * 32)
    return value(full, "cache_elements", Workload(32768)) / value(spec, "cache_elements", Workload(32768))


def paged_attention(record: dict[str, Any]) -> float:
    spec = bundled("opt-13b")
    if "slots" in record["id"]:
        return 12 * 2**30 / per_token(spec) / 1000
    if "per_token" in record["id"]:
        return per_token(spec) / 1024
    return value(spec, "cache_bytes", Workload(2048)) / 2**30


def datacrunch(record: dict[str, Any]) -> float:
    one, tokens = model(DEEPSEEK_LATENT), Workload(8192)
    if "V3-as-MHA" in record["id"]:
        return value(as_mha("deepseek-v3"), "cache_bytes", tokens) / 2**30
    core = value(one, "decode_core_flops", tokens)
    if "GFLOPs" in record["id"]:
        return core / 1e9
    # There the intensity also counts the query and the output, 128 heads of 576 + 512 bf16 elements, as traffic.
    return core / (value(one, "decode_cache_read_bytes", tokens) + 2 * 128 * (576 + 512))


def hf_mem(record: dict[str, Any]) -> float:
    return value(model(*[heads(48, 8, 128)] * 62), "cache_bytes", Workload(196608, dtype="fp8"))


def llm_viewer(record: dict[str, Any]) -> float:
    """One layer of Llama-2-7B: each of q, k, v and o, each of gate, up and down, and the scores."""
    label = _label(record)
    spec = model(heads(32, 32, 128), hidden_size=4096, feedforward=Dense(11008, gated=True), vocab_size=1)
    phase, scale = ("prefill", 1e9) if label.startswith("prefill") else ("decode", 1e6)
    workload = Workload(2048)
    projections, core = (value(spec, f"{phase}_{part}_flops", workload) for part in ("projection", "core"))
    if "q/k/v/o" in label:
        return projections / 4 / scale
    if "gate" in label:
        logits = 2 * 4096
        return (value(spec, f"{phase}_model_flops", workload) - projections - core - logits) / 3 / scale
    return core / 2 / scale


def trans_mla(record: dict[str, Any]) -> float:
    """Of 2*32*128 elements a layer, a latent of so many is kept."""
    kept = record["model_dims"]["kept"]
    latent = elements(model(Latent(32, kept - 64, 64, 128, 128)))
    return 100 * (1 - latent / elements(model(heads(32, 32, 128))))


def mpt_parameters(record: dict[str, Any]) -> float:
    """GPT with biases, LayerNorm, learned positions and a tied head."""
    dims = record["model_dims"]
    d = dims["d"]
    memory = heads(d // 64, d // 64, 64)._replace(bias="qkvo")
    spec = model(
        *[memory] * dims["layers"],
        hidden_size=d,
        vocab_size=dims["V"],
        feedforward=Dense(4 * d, gated=False, bias=True),
        norm="layernorm",
        tied=True,
        position_embeddings=dims["T"],
    )
    return value(spec, "parameters", Workload(1))


def deepseek_llm_parameters(record: dict[str, Any]) -> float:
    """N1 without the embedding, N2 with it; no norms."""
    dims = record["model_dims"]
    d = dims["d"]
    spec = model(
        *[heads(d // 64, d // 64, 64)] * dims["layers"],
        hidden_size=d,
        vocab_size=dims["V"],
        feedforward=Dense(4 * d, gated=False),
        norm="unweighted",
        tied=True,
    )
    found = value(spec, "parameters", Workload(1)) - (dims["V"] * d if record["id"].endswith("N1") else 0)
    return found / {"M": 1e6, "G": 1e9}[record["unit"][0]]


def long_context(record: dict[str, Any]) -> float:
    """Jamba's tables: the cache at 256K tokens in GiB."""
    dims = record["model_dims"]
    spec = model(*[heads(32 if dims["kv_heads"] == 32 else 64, dims["kv_heads"], dims["head_dim"])] * dims["kv_layers"])
    return value(spec, "cache_bytes", Workload(dims["tokens"])) / 2**30


def mimo(record: dict[str, Any]) -> float:
    """40 of 48 layers with a window of 128, against full attention in all."""
    memory, tokens = heads(64, 8, 128), Workload(262144)
    hybrid = model(*(Branch(memory, Full() if i % 6 == 5 else Window(128)) for i in range(48)))
    return value(model(*[memory] * 48), "cache_elements", tokens) / value(hybrid, "cache_elements", tokens)


def on_one_device(record: dict[str, Any]) -> float:
    """Grouped-latent and multi-head low-rank attention's tables at TP 1: bytes, or elements in units of d_h."""
    n_h = record["model_dims"]["heads"]
    label = _label(record).removesuffix("_TP1")
    memory: Memory = Latent(n_h, 512, 64, 128, 128) if label in ("MLA", "MLRA-4") else heads(n_h, n_h, 128)
    if label.startswith("GQA-"):
        memory = heads(n_h, int(label.removeprefix("GQA-")), 128)
    return per_token(model(memory)) if record["id"].startswith("gla") else elements(model(memory)) / 128


COMPUTED = {
    "dsv2-t1": deepseek_v2_table_1,
    "dsv2-t9": deepseek_v2_table_9,
    "dsv2-933": deepseek_v2_deployed,
    "insights-t1": insights,
    "su-mla2": su_variants,
    "cla-t1": cross_layer_attention,
    "step3": step_3,
    "mistral7b": mistral,
    "pagedattn": paged_attention,
    "datacrunch": datacrunch,
    "hfmem": hf_mem,
    "llmviewer": llm_viewer,
    "transmla": trans_mla,
    "mosaic": mpt_parameters,
    "dsllm-t3": deepseek_llm_parameters,
    "jamba15": long_context,
    "jamba1": long_context,
    "mimo": mimo,
    "gla-t5": on_one_device,
    "mlra-t1": on_one_device,
}


def _label(record: dict[str, Any]) -> str:
    return str(record["id"]).partition("/")[2].replace(" ", "_")


@pytest.mark.parametrize("record", FIGURES, ids=lambda record: record["id"].replace(" ", "_"))
def test_published_figure(record: dict[str, Any]) -> None:
    ours = COMPUTED[record["id"].partition("/")[0]](record)
    assert ours == pytest.approx(record["recomputed"], rel=1e-12)
    assert _rounds_to(ours, record["published"])


def _rounds_to(ours: float, published: str) -> bool:
    """Whether ours, at the digits that are printed, is the printed number; papers round either way at a tie or trim."""
    printed = Decimal(published)
    exponent = printed.as_tuple().exponent
    assert isinstance(exponent, int)
    return abs(Decimal(repr(ours)) - printed) < Decimal(10) ** exponent


def test_a_sliding_window_cache_is_an_eighth_at_32k() -> None:
    """Mistral 7B, sec. 2: the same by the swa variant of a model without a window."""
    plain = bundled("mistral-7b-v0.3")
    windowed, name = rebuild(plain, Variant("swa", sliding_window=4096))
    assert name == "swa-4096"
    assert isinstance(windowed.groups[0].layer.branches[0].reach, Window)
    assert value(windowed, "cache_bytes", Workload(32768)) * 8 == value(plain, "cache_bytes", Workload(32768))
