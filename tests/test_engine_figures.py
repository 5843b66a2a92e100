"""Figures that papers print of devices and of engines, as engines give them: each names its source in truth/."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from builders import heads, mla, model, records
from kvcalc.analysis import analyze
from kvcalc.attention.memory import Memory
from kvcalc.fitting import Place, fit
from kvcalc.workload import Workload

GIB = 1 << 30
TOKENS = 1024  # whole blocks and pages of every engine
DEVICES = [row for row in (*records("figures.json"), *records("figures_sparse.json")) if "_TP" in row["id"]]
SHARED = [row for row in DEVICES if any(word in row["id"] for word in ("/MHA_", "/MLA_", "/GQA-"))]
PAGED = {row["id"]: row for row in records("figures.json") if row["id"].startswith("pagedattn/")}


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
@pytest.mark.parametrize("row", SHARED, ids=lambda row: row["id"])
def test_a_device_holds_what_the_tables_say(row: dict[str, Any], engine: str) -> None:
    """GLA's table 5 and MLRA's table 1: heads are shared out over devices, a latent is on each of them."""
    n_h, tp = row["model_dims"].get("heads", 64), row["model_dims"]["tp"]
    label = row["id"].partition("/")[2].partition("_TP")[0]
    kinds: dict[str, Memory] = {"MHA": heads(n_h, n_h, 128), "MLA": mla(n_h, 512, 64, 128, 128)}
    memory = kinds.get(label) or heads(n_h, int(label.removeprefix("GQA-")), 128)
    report = analyze(model(memory), Workload(TOKENS, engine=engine, tensor_parallel=tp))
    unit = 1 if row["unit"].startswith("bytes") else 2 * 128
    assert report.value("reserved_bytes") == TOKENS * unit * row["recomputed"]


def test_the_tables_have_rows() -> None:
    assert len(SHARED) >= 15
    assert {row["model_dims"]["tp"] for row in SHARED} >= {1, 2, 4, 8}


def test_paged_attention() -> None:
    """OPT-13B: 800 KiB a token, and 15.7 thousand slots in 12 GiB, as vLLM's blocks of 16 have them."""
    opt = model(*[heads(40, 40, 128)] * 40)
    report = analyze(opt, Workload(2048, engine="vllm"))
    assert report.value("reserved_bytes") == 2048 * 1024 * PAGED["pagedattn/per_token"]["recomputed"]
    assert (report.value("reserved_bytes") or 0) / GIB == PAGED["pagedattn/2048_tokens"]["recomputed"]
    (found,) = fit(opt, Workload(2048, engine="vllm"), Place(budget=12 * GIB), 2048, 1)
    assert found.pool is not None
    assert found.pool.tokens // 16 * 16 == 15728 == int(PAGED["pagedattn/Table_1_OPT-13B_slots"]["recomputed"] * 1000)


def test_vllm_of_deepseek_v4_against_its_own_appendix() -> None:
    """The appendix counts a bf16 cache of 2^20 tokens; what the engine reserves is of fp8 pages, and rings beside."""
    paper = {row["id"]: row["recomputed"] for row in records("figures_sparse.json") if row["id"].startswith("vllm-v4/")}
    spec, n = kvcalc.load("deepseek-v4-pro"), 1 << 20
    report = analyze(spec, Workload(n, engine="vllm"))
    told = [report.value(key) or 0 for key in ("paper_bytes", "held_bytes", "reserved_bytes")]
    needed, held, reserved = (number / GIB for number in told)
    assert needed == pytest.approx(paper["vllm-v4/V4_total"], rel=2e-3)  # the appendix leaves out what waits
    assert held < needed < reserved
    assert held == pytest.approx(1435968 * n / 256 / GIB, rel=0.01)  # 5.3 GiB: a block every 256 tokens
