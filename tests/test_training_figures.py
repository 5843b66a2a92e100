"""Published figures of whole models: FLOPs of training, what a machine makes of them, and contexts that fit."""

from __future__ import annotations

from typing import Any

import pytest

from builders import heads, model, records, value
from kvcalc.feedforward import Dense
from kvcalc.hardware.shipped import accelerator_of
from kvcalc.model import ModelSpec
from kvcalc.workload import Workload
from test_figures import _label, _rounds_to, deepseek_llm_parameters, mpt_parameters

FIGURES = records("figures_training.json")
BACKWARD = 3  # the forward pass and twice that
DEVICES = {"h100_80gb": "H100-SXM", "a100_80gb": "A100-SXM-80", "a100_40gb": "A100-SXM-40"}


def peak_of(device: str, dtype: str) -> int:
    return dict(accelerator_of(device, "").peaks)[dtype]


def core_of(layers: int, n_h: int, d_h: int, tokens: int) -> int:
    """FLOPs of attention of a token that sees all of a sequence, as those papers count it."""
    return value(model(*[heads(n_h, n_h, d_h)] * layers), "decode_core_flops", Workload(tokens))


def deepseek_llm(record: dict[str, Any]) -> float:
    """M, non-embedding FLOPs of training a token, or what six times the parameters are of it."""
    dims, label = record["model_dims"], _label(record)
    d = dims["d"]
    spec: ModelSpec = model(
        *[heads(d // 64, d // 64, 64)] * dims["layers"],
        hidden_size=d,
        vocab_size=dims["V"],
        feedforward=Dense(4 * d, gated=False),
    )
    flops = value(spec, "decode_model_flops", Workload(dims["l_seq"])) - 2 * d * dims["V"]
    if label.endswith("_M"):
        return float(BACKWARD * flops / {"M": 1e6, "G": 1e9}[record["unit"][0]])
    counted = {**record, "id": label.removesuffix("/M"), "unit": "M"}
    return float(6 * 1e6 * deepseek_llm_parameters(counted) / (BACKWARD * flops))


def used(record: dict[str, Any]) -> float:
    """llm-foundry's percent of the peak: parameters and the whole square of attention."""
    dims = record["model_dims"]
    peak = peak_of(DEVICES[dims["gpu"]], "fp8" if dims["precision"].endswith("fp8") else "bf16")
    core = core_of(dims["layers"], dims["d"] // 64, 64, dims["T"])
    flops = dims["times"] * (2 * mpt_parameters(record) + core)
    return float(100 * flops * dims["tokens_per_s"] / (dims["gpus"] * peak))


def palm(record: dict[str, Any]) -> float:
    dims = record["model_dims"]
    core = core_of(dims["L"], dims["H"], dims["Q"], dims["T"]) if "with_attention" in record["id"] else 0
    peak = peak_of(dims["device"], "bf16")
    return float(100 * (6 * dims["N"] + BACKWARD * core) * dims["tokens_per_s"] / (dims["devices"] * peak))


def context_that_fits(record: dict[str, Any]) -> float:
    """30 % of 64 TPUs v4 of 32 GiB for one K and V head of 256 in each of 118 layers, batch over the devices."""
    batch = record["model_dims"]["batch"]
    a_token = value(model(*[heads(48, 1, 256)] * 118), "cache_bytes", Workload(1, batch=batch))
    return 0.3 * 32 * 2**30 * 64 / a_token


COMPUTED = {"dsllm-t3": deepseek_llm, "mosaic": used, "palm": palm, "pope-t1": context_that_fits}


@pytest.mark.parametrize("record", FIGURES, ids=lambda record: record["id"].replace(" ", "_"))
def test_published_figure(record: dict[str, Any]) -> None:
    ours = COMPUTED[record["id"].partition("/")[0]](record)
    assert ours == pytest.approx(record["recomputed"], rel=1e-12)
    assert _rounds_to(ours, record["published"])
