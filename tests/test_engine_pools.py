"""What a budget becomes, counted up to it; and what mutants of the engines lived through until these stood here."""

from __future__ import annotations

import pytest

import kvcalc
from builders import heads, mla, model
from kvcalc.analysis import analyze
from kvcalc.attention.index import Index
from kvcalc.attention.mamba import Mamba2
from kvcalc.attention.reach import Full
from kvcalc.engines import engine_of
from kvcalc.engines.ranks import WHOLE
from kvcalc.errors import KvcalcError
from kvcalc.model import Branch, ModelSpec
from kvcalc.workload import Workload

HYBRID = model(heads(8, 2, 64), heads(8, 2, 64), Mamba2(16, 64, 128, 1, 4))
STATE = 16 * 64 * 128 * 4 + 3 * (16 * 64 + 2 * 128) * 2  # fp32, and the convolution in bf16


def told(load: Workload, budget: int, spec: ModelSpec = HYBRID) -> tuple[bool, int | None, int]:
    """Whether it fits, blocks and tokens."""
    pool = engine_of(load.engine).pool
    assert pool is not None
    found = pool(spec, load, budget, WHOLE)
    return found.fits, found.blocks, found.tokens


def test_tensorrt_llm_has_whole_blocks_of_what_states_leave() -> None:
    """A state for each request and one more; two layers of 2 heads of 64, K and V in bf16, 32 tokens a block."""
    load, block = Workload(100, batch=3, engine="tensorrt-llm"), 32 * 2 * 2 * 2 * 64 * 2
    for blocks in (11, 12, 40):  # three requests take four blocks each
        for more in (0, block - 1):
            budget = 4 * STATE + blocks * block + more
            assert told(load, budget) == (blocks >= 12, blocks, 32 * blocks)
    assert told(load, 4 * STATE) == (False, 0, 0)


def test_llamacpp_fits_or_does_not() -> None:
    """One context of whole cells, or none."""
    load = Workload(1000, engine="llamacpp")
    need = analyze(HYBRID, load).value("reserved_bytes")
    assert need is not None
    assert told(load, need) == (True, None, 1024)
    assert told(load, need - 1) == (False, None, 0)


@pytest.mark.parametrize(("share", "taken"), [("100", True), ("100.5", False), ("0.001", True), ("-1", False)])
def test_a_windows_share_has_limits(share: str, *, taken: bool) -> None:
    load = Workload(9, engine="sglang", engine_options=(("swa_full_tokens_ratio", share),))
    if taken:
        assert analyze(HYBRID, load).value("reserved_bytes")
        return
    with pytest.raises(KvcalcError, match="swa_full_tokens_ratio cannot be"):
        analyze(HYBRID, load)


def test_turboquant_leaves_the_ends_of_the_model_and_not_of_a_stage() -> None:
    """The first and the last two of eight layers stay in bf16; one block of 32 tokens on each of two stages."""
    spec = model(*[heads(8, 2, 128)] * 8)
    load = Workload(32, engine="vllm", pipeline_parallel=2, engine_options=(("kv_cache_dtype", "turboquant_k8v4"),))
    plain, quantized = 2 * 2 * 128 * 2, 2 * (128 + 64 + 4)
    assert analyze(spec, load).value("reserved_bytes") == 32 * (2 * plain + 2 * quantized)
    of_four = load._replace(pipeline_parallel=4)
    assert analyze(spec, of_four).value("reserved_bytes") == 32 * 2 * plain  # the first stage, or the last


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llamacpp"])
@pytest.mark.parametrize("n", [1, 130, 5000])
def test_waste_adds_up_beside_compressed_rows(engine: str, n: int) -> None:
    report = analyze(kvcalc.load("deepseek-v4-flash"), Workload(n, batch=3, engine=engine))
    reserved, paper = report.scope["reserved_bytes"], report.scope["paper_bytes"]
    assert report.scope["waste_bytes"] == reserved - paper


@pytest.mark.parametrize(("width", "scales"), [(128, 1), (129, 2), (256, 2), (257, 3)])
def test_a_scale_stands_for_128_elements(width: int, scales: int) -> None:
    """Of an fp8 latent beside an index, and of the index's key; the RoPE key stays in bf16."""
    spec = model(Branch(mla(16, width, 64, 128, 128), Full()), Branch(Index(4, width), Full()))
    row = width + 4 * scales
    for engine in ("vllm", "sglang"):
        load = Workload(64, engine=engine, dtype="fp8")
        assert analyze(spec, load).value("reserved_bytes") == 64 * (row + 2 * 64 + row)
    load = Workload(64, engine="tensorrt-llm", dtype="fp8")
    assert analyze(spec, load).value("reserved_bytes") == 64 * (width + 64 + row)


def test_an_option_lays_latents_out_in_fp8() -> None:
    """By either name of it."""
    for layout in ("fp8", "fp8_e4m3"):
        load = Workload(64, engine="vllm", engine_options=(("kv_cache_dtype", layout),))
        assert analyze(model(mla(16, 512, 64, 128, 128)), load).value("reserved_bytes") == 64 * 576
