"""Published figures of hybrids and recurrent models, each recomputed; tests/test_figures.py says how."""

from __future__ import annotations

from typing import Any

import pytest

from builders import from_config, heads, model, records, value
from kvcalc.attention.custom import Custom
from kvcalc.attention.kda import Kda
from kvcalc.attention.latent import Latent
from kvcalc.attention.memory import Memory
from kvcalc.attention.rwkv import Rwkv6
from kvcalc.attention.rwkv7 import Rwkv7
from kvcalc.feedforward import Dense
from kvcalc.model import Extra, ModelSpec
from kvcalc.workload import Workload
from test_figures import _rounds_to

FIGURES = records("figures_state.json")
TRUTH = {record["name"]: record["config"] for record in records("state_models.jsonl")}


def jamba(record: dict[str, Any]) -> float:
    """The cache of attention alone at 256K tokens, as those tables count it; Mamba's state is 15 MiB beside."""
    dims = record["model_dims"]
    large = dims["kv_layers"] == 9
    more = {"num_hidden_layers": 72, "hidden_size": 8192, "num_attention_heads": 64} if large else {}
    spec = from_config({**TRUTH["jamba-v0.1"], **more})
    workload = Workload(dims["tokens"])
    return (value(spec, "cache_bytes", workload) - value(spec, "state_bytes", workload)) / 2**30


def kimi_linear(record: dict[str, Any]) -> float:
    """What three layers of KDA to one of MLA save of the cache that grows, and what 20 to 7 do."""
    latent, delta = Latent(32, 512, 64, 128, 128), Kda(32, 128, 4, 128)
    layers = [delta] * 20 + [latent] * 7 if "released" in record["id"] else [delta] * 3 + [latent]
    one = Workload(1)
    grows = value(model(*layers), "cache_elements_per_token", one)
    return 100 * (1 - grows / value(model(*[latent] * len(layers)), "cache_elements_per_token", one))


def minimax(record: dict[str, Any]) -> float:
    """Softmax layers in bf16; a lightning state in fp32 that a step reads and writes; matmuls of one token."""
    spec = from_config(TRUTH["minimax-text-01"])
    tokens = Workload(32768 if record["id"].endswith("32K") else 8192)
    if "_KV@" in record["id"]:
        return value(spec, "cache_bytes", tokens) + value(spec, "state_bytes", tokens)
    if "_attn@" in record["id"]:
        state = value(spec, "state_elements", tokens)
        return value(spec, "decode_core_flops", tokens) + (10 - 4) * state  # ours are 4 an element of the states
    if record["id"].endswith("linear"):
        return value(spec, "decode_projection_flops", tokens)
    attention, logits = value(spec, "decode_attention_flops", tokens), 2 * 6144 * 200064
    router = 80 * 2 * 6144 * 32
    return value(spec, "decode_model_flops", tokens) - attention - logits - router


def su_shared(record: dict[str, Any]) -> float:
    """K and V that share their elements: S1 all but RoPE's part of each, S2 all, S3 as MLA at inference."""
    name = record["model_dims"]["name"]
    groups, inner = name.removeprefix("GQA").split("-(")[0], name.split("(")[1].split(")")[0]
    nope, rope = (int(part) for part in inner.split("+"))
    memory: Memory
    if name.endswith("S3"):
        memory = Latent(16, nope, rope, 128, 128)
    else:
        formula = "g*(c + r + r)" if name.endswith("S1") else "g*(c + r)"
        symbols = (("g", int(groups)), ("c", nope), ("r", rope))
        memory = Custom(formula, "0", "0", "0", symbols, name, "kexue.fm/archives/10907")
    return value(model(memory), "cache_elements_per_token", Workload(1))


def rwkv(layers: list[Memory], dims: dict[str, Any], width: int, mixing: str) -> ModelSpec:
    """Layers of time mixing, and channel mixing as an MLP and `mixing` beside it."""
    spec = model(
        *layers,
        hidden_size=dims["d"],
        vocab_size=dims["V"],
        norm="layernorm",
        feedforward=Dense(width, gated=False),
    )
    extra = Extra("channel mixing", f"{dims['layers']}*({mixing})")
    return spec._replace(embedding_norm=True, extras=(extra,))


def goose(record: dict[str, Any]) -> float:
    dims = record["model_dims"]
    d = dims["d"]
    decay, rate, gate, mix = dims["ranks"]
    first = Rwkv7(d // 64, 64, decay, rate, gate)
    layers: list[Memory] = [first, *[first._replace(value_rank=mix)] * (dims["layers"] - 1)]
    key = "state_elements" if "state" in record["id"] else "parameters"
    return value(rwkv(layers, dims, 4 * d, "d"), key, Workload(1))


def eagle_and_finch(record: dict[str, Any]) -> float:
    dims = record["model_dims"]
    d = dims["d"]
    ranks = (32, 64) if record["id"].startswith("finch") else ()
    layers: list[Memory] = [Rwkv6(d // 64, 64, *ranks)] * dims["layers"]
    spec = rwkv(layers, dims, 7 * d // 2, "d*d + 2*d")
    state, parameters = (value(spec, key, Workload(1)) for key in ("state_elements", "parameters"))
    if "flops" in record["id"]:
        shifts: int = 2 * d * dims["layers"]
        return 2 * parameters + 6 * (state - shifts)
    return state if "state" in record["id"] else parameters


COMPUTED = {
    "jamba15": jamba,
    "jamba1": jamba,
    "kimilinear": kimi_linear,
    "step3": minimax,
    "su-mla2": su_shared,
    "rwkv7": goose,
    "eagle": eagle_and_finch,
    "finch": eagle_and_finch,
    "rwkv7-state": goose,
    "eagle-state": eagle_and_finch,
    "finch-state": eagle_and_finch,
    "eagle-flops": eagle_and_finch,
    "finch-flops": eagle_and_finch,
}


@pytest.mark.parametrize("record", FIGURES, ids=lambda record: record["id"].replace(" ", "_"))
def test_published_figure(record: dict[str, Any]) -> None:
    ours = COMPUTED[record["id"].partition("/")[0]](record)
    assert ours == pytest.approx(record["recomputed"], rel=1e-12)
    assert _rounds_to(ours, record["published"])


def test_jamba_keeps_an_eighth_of_what_mixtral_keeps() -> None:
    """4 GB against 32 GB at 256K tokens (Jamba, Table 1): four layers of 32 attend."""
    spec = from_config(TRUTH["jamba-v0.1"])
    full = model(*[heads(32, 8, 128)] * 32)
    one = Workload(1)
    assert 8 * value(spec, "cache_elements_per_token", one) == value(full, "cache_elements_per_token", one)
