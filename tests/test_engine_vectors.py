"""Engines against what their own code answered, to the byte: see truth/README.md, engines.jsonl.

Rows of TensorRT-LLM are derived by reading it, and their ids say so: nothing of it was run.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import kvcalc
from builders import from_config, records
from kvcalc.analysis import analyze
from kvcalc.engines import llamacpp, sglang, sglang_slots, tensorrt_llm, vllm, vllm_pages, vllm_plan
from kvcalc.engines.layers import CROSS, Kind, KvHeads, Recurrent, Vector, layers_of
from kvcalc.engines.settings import settings
from kvcalc.errors import KvcalcError
from kvcalc.workload import Workload

if TYPE_CHECKING:
    from kvcalc.model import ModelSpec

ROWS = records("engines.jsonl")
GIB = 1 << 30
VLLM = "0.33.0"
# What the configs are not given for, as llama.cpp's file of it has it.
BY_HAND: dict[str, list[Kind]] = {
    "DeepSeek-V3-nonMLA-legacy": [KvHeads(61, "heads", 128, 192, 128)],
    "MiniMax-Text-01": [KvHeads(10, "heads", 8, 128, 128), Recurrent(70, "linear", "linear", 64 * 128 * 128)],
    "flan-t5-xxl": [KvHeads(24, "heads", 64, 64, 64), KvHeads(24, "cross", 64, 64, 64, CROSS)],
}
# vLLM's harness failed for another reason than the cache, and so there is a number where it gave none.
NOT_OF_THE_CACHE = {("openai--gpt-oss-20b", "default"), ("meta-llama--Meta-Llama-3.1-8B", "b200-kv-nvfp4")}


def rows(of: str) -> list[dict[str, Any]]:
    found = [row for row in ROWS if row["of"] == of]
    assert found
    return found


def named(row: dict[str, Any]) -> str:
    told = [row.get(key) for key in ("model", "tp", "variant", "n", "batched", "async", "dtype", "how")]
    inputs = "-".join(str(value) for value in row.get("inputs", {}).values())
    return "-".join(str(word) for word in (*told, inputs) if word not in (None, "")).replace(" ", "_")


def every(of: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows(of), ids=named)


@cache
def spec_of(name: str) -> ModelSpec:
    (row,) = (row for row in rows("config") if row["model"] == name)
    return from_config(row["config"], name)


def asked(engine: str, row: dict[str, Any], options: dict[str, str], **more: Any) -> Workload:
    pairs = tuple(options.items())
    return Workload(row.get("n", 1), engine=engine, tensor_parallel=row.get("tp", 1), engine_options=pairs, **more)


# One request of 32,768 tokens: vLLM of today, SGLang, llama.cpp; 0: refused. SGLang's is a token's bytes times tokens,
# rounded down, and one slot of states.
TABLE = {
    "meta-llama--Meta-Llama-3.1-8B": (4294967296, 4294967296, 4294967296),
    "mistralai--Mistral-7B-v0.1": (2686451712, 4294967296, 4294967296),
    "deepseek-ai--DeepSeek-V3.2": (2566520832, 2566520832, 2814377984),
    "google--gemma-3-27b-text": (11248599040, 16642998272, 3338665984),
    "google--gemma-3n-E4B-text": (822607872, 2348810240, 301989888),
    "openai--gpt-oss-20b": (1211498496, 1449551462, 824180736),
    "meta-llama--Llama-4-Scout-text": (5234491392, 5476083302, 2894069760),
    "Qwen--Qwen3-Next-80B-A3B": (934281216, 882573312, 884342784),
    "ai21labs--Jamba-v0.1": (555745280, 0, 554303488),
    "ibm-granite--granite-4.0-h-small": (778567680, 689690624, 691515392),
    "moonshotai--Kimi-Linear-48B-A3B": (371589120, 307658752, 309133312),
}


@pytest.mark.parametrize("name", TABLE)
def test_one_request_side_by_side(name: str) -> None:
    for engine, told in zip(("vllm", "sglang", "llamacpp"), TABLE[name], strict=True):
        load = Workload(32768, engine=engine)
        if told:
            assert analyze(spec_of(name), load).value("reserved_bytes") == told, engine
        else:
            with pytest.raises(KvcalcError, match="is not modelled"):
                analyze(spec_of(name), load)


def test_whisper_reserves_for_the_longest_input() -> None:
    report = analyze(spec_of("openai--whisper-large-v3"), Workload(448, engine="vllm"))
    assert report.value("reserved_bytes") == 1415577600
    assert report.value("held_bytes") == (28 + 94) * 2621440


# ---------------------------------------------------------------- vLLM


@every("vllm@0.33.0")
def test_vllm_of_today(row: dict[str, Any]) -> None:
    """Blocks by group, bytes of a block and of a request, and what 40 and 80 GiB become."""
    spec, load = spec_of(row["model"]), asked("vllm", row, row["options"], state_dtype=row.get("state_dtype", ""))
    if "refused" in row and (row["model"], row["variant"]) not in NOT_OF_THE_CACHE:
        with pytest.raises(KvcalcError):
            vllm.reserve(spec, load)
        return
    chosen = settings(load)
    plan = vllm_plan.plan(spec, load, chosen, VLLM)
    if "refused" in row:
        return
    assert (plan.block, plan.bytes_per_block) == (row["block_size"], row["bytes_per_block"])
    assert vllm.in_flight_tokens(chosen, VLLM) == row["in_flight"]
    whole = vllm_plan.plan(spec, load, {**chosen, "disable_hybrid_kv_cache_manager": False}, VLLM)
    for case in row["cases"]:
        n = case["n"]
        scope = {"n": n, "B": 1, "encoder_tokens": 1500}
        assert [vllm.blocks_of(g.spec, chosen, VLLM).evaluate(scope) for g in plan.groups] == case["blocks"]
        assert vllm.startup_bytes(whole, chosen, VLLM, {**scope, "encoder_tokens": 0}) == case["of_layers"]
        assert analyze(spec, load._replace(context_tokens=n)).value("reserved_bytes") == case["bytes"]
        for gib, told in case["pools"].items():
            pool = vllm.pool(spec, load._replace(context_tokens=n), int(gib) * GIB)
            assert pool.fits is (told is not None)
            if told is not None:
                assert [pool.blocks, pool.tokens, pool.concurrency] == told


@pytest.mark.parametrize("version", ["0.20.0", "0.11.0"])
def test_vllm_of_old(version: str) -> None:
    """Their harness wrote layers by hand, without the query heads that tp must divide."""
    for row in rows(f"vllm@{version}"):
        kinds = [
            kind._replace(query_heads=0)
            for kind in layers_of(spec_of(row["model"]), "vllm")
            if isinstance(kind, KvHeads | Vector)
        ]
        load = asked("vllm", row, {"max_num_batched_tokens": str(row["batched"])}, engine_version=version)
        chosen = settings(load)
        plan = vllm_plan.plan_of(kinds, load, chosen, version)
        scope = {"n": row["n"], "B": 1}
        blocks = [vllm.blocks_of(group.spec, chosen, version).evaluate(scope) for group in plan.groups]
        assert blocks == row["blocks"], named(row)
        assert [group.layers for group in plan.groups] == row["groups"], named(row)
        assert plan.bytes_per_block == row["bytes_per_block"], named(row)
        assert sum(blocks) * plan.bytes_per_block == row["bytes"], named(row)
        assert vllm.startup_bytes(plan, chosen, version, scope) == row["startup"], named(row)
        pool = vllm.pool_of(plan, chosen, version, scope, 40 * GIB)
        assert [pool.blocks, pool.tokens, pool.concurrency] == row["pool"], named(row)
        assert pool.fits is (row["startup"] <= 40 * GIB)


@every("held")
def test_vllm_holds_in_decode_what_its_block_manager_held(row: dict[str, Any]) -> None:
    options = {"max_num_batched_tokens": str(row["batched"]), "async_scheduling": "on" if row["async"] else "off"}
    report = analyze(spec_of(row["model"]), asked("vllm", row, options))
    plan = vllm_plan.plan(report.spec, report.workload, settings(report.workload), VLLM)
    assert report.value("held_bytes") == row["held"] * plan.bytes_per_block
    assert report.value("reserved_bytes") == row["admitted"] * plan.bytes_per_block


def test_vllm_holds_one_state_in_decode() -> None:
    for row in rows("held-states"):
        report = analyze(spec_of("Qwen--Qwen3-Next-80B-A3B"), Workload(row["n"], engine="vllm"))
        assert report.value("held_bytes") == row["held"] * 14155776


def test_vllm_lays_out_every_dtype_as_its_specs_do() -> None:
    for row in rows("kv-dtype"):
        dtype = {"bfloat16": "bf16"}.get(row["dtype"], row["dtype"])
        assert row["heads"] * vllm_pages.head_bytes(dtype, row["d"], row["d"]) == row["bytes"], row


# ---------------------------------------------------------------- the others


@every("sglang@0.5.23")
def test_sglang(row: dict[str, Any]) -> None:
    """Bytes of a token and of a state, and what 40 and 80 GiB become."""
    spec, load = spec_of(row["model"]), asked("sglang", row, {}, dtype=row["dtype"])
    chosen = settings(load)
    slots = sglang_slots.slots_of(layers_of(spec, "sglang"), spec.architecture, load, chosen, spec.state_dtype)
    assert (float(slots.cell_size()), slots.page) == (row["cell"], row["page"])
    assert slots.state_bytes == (row["state"] or 0)
    for gib, (tokens, windows, states) in row["pools"].items():
        budget = int(gib) * GIB
        found = sglang.pool_of(slots, chosen, budget)
        assert found[0] == tokens == sglang.pool(spec, load, budget).tokens
        assert windows in (None, found[1])
        assert sglang.state_slots(slots, chosen, budget) == states


def test_sglang_buffers() -> None:
    latent, key = Vector(2, "latent", 576, 64), Vector(2, "index-128", 128, 0, "key")
    kinds: dict[str, list[Kind]] = {
        "MHATokenToKVPool": [KvHeads(2, "heads", 8, 128, 128)],
        "MLATokenToKVPool": [latent],
        "DSATokenToKVPool": [latent, key],
    }
    for row in rows("sglang-buffers"):
        dtype = {"bfloat16": "bf16", "float8_e4m3fn": "fp8"}[row["dtype"]]
        load = Workload(1, engine="sglang", dtype=dtype, engine_options=(("page_size", str(row["page"])),))
        slots = sglang_slots.slots_of(kinds[row["pool"]], "", load, settings(load))
        assert sglang.buffer_bytes(slots, row["size"]) == row["bytes"], row


@every("llamacpp@0c1e57098")
def test_llamacpp(row: dict[str, Any]) -> None:
    """Every byte that it allocates, with its options and block types."""
    given, switch = row["inputs"], {True: "on", False: "off"}
    options = {name: switch[value] if isinstance(value, bool) else str(value) for name, value in given.items()}
    types = [{"f16": "fp16"}.get(options.pop(name), given[name]) for name in ("type_k", "type_v")]
    load = asked("llamacpp", row, options, dtype=types[0], dtype_v=types[1])
    if row["model"] not in BY_HAND:
        assert analyze(spec_of(row["model"]), load).value("reserved_bytes") == row["bytes"]
        return
    kinds, chosen = BY_HAND[row["model"]], settings(load)
    assert row["bytes"] == sum(
        kind.layers * bytes_ * _rows(kind, chosen) for kind, bytes_ in llamacpp.rows_of(kinds, load, chosen)
    )


def _rows(kind: Kind, chosen: Any) -> int:
    if isinstance(kind, Recurrent):
        return int(chosen["n_seq_max"])
    return llamacpp.cells_of(kind, chosen, windowed=False).evaluate({"n": 1, "B": 1})


@every("transformers@5.23.0")
def test_transformers(row: dict[str, Any]) -> None:
    """A static cache of n tokens, and a dynamic one. Whisper's is of its decoder as a model of its own."""
    encoder = {"encoder_tokens": 0} if "whisper" in row["model"] else {}
    for kind in ("static", "dynamic"):
        for n, told in row[kind].items():
            load = asked("transformers", {"n": int(n)}, {"cache": kind}, **encoder)
            assert analyze(spec_of(row["model"]), load).value("reserved_bytes") == told, (kind, n)


@every("tensorrt-llm")
def test_tensorrt_llm(row: dict[str, Any]) -> None:
    """Tokens alone: the rows leave out the pool of states, which kvcalc counts."""
    kinds = [kind for kind in layers_of(spec_of(row["model"]), "tensorrt-llm") if not isinstance(kind, Recurrent)]
    found = tensorrt_llm.rows_of(kinds, asked("tensorrt-llm", row, {}))
    of_token = sum(kind.layers * bytes_ for kind, bytes_, _ in found)
    assert of_token == row["bytes_per_token"]
    if len(kinds) == len(layers_of(spec_of(row["model"]), "tensorrt-llm")):
        report = analyze(spec_of(row["model"]), asked("tensorrt-llm", row, {}))
        assert report.value("reserved_bytes") == row["bytes"]


# ---------------------------------------------------------------- DeepSeek-V4's compressed rows


@pytest.mark.parametrize(("batched", "blocks"), [(8192, 6810), (2048, 1818)])
def test_vllm_packs_groups_of_unequal_pages(batched: int, blocks: int) -> None:
    """DeepSeek-V4-Flash at 32,768 tokens, as vLLM 0.33's model class, specs and planning gave it."""
    load = Workload(32768, engine="vllm", engine_options=(("max_num_batched_tokens", str(batched)),))
    spec, chosen = kvcalc.load("deepseek-v4-flash"), settings(load)
    made = vllm_plan.plan(spec, load, chosen, VLLM)
    scope = {"n": 32768, "B": 1}
    assert (made.block, made.bytes_per_block) == (256, 1002240)
    assert sum(vllm.blocks_of(group.spec, chosen, VLLM).evaluate(scope) for group in made.groups) == blocks
    assert analyze(spec, load).value("reserved_bytes") == blocks * 1002240


def test_sglang_counts_rows_by_the_page_and_a_ring_a_request() -> None:
    """DeepSeek-V4-Flash: bytes_per_full_token, and 128 tokens x 2 x 512 x fp32 x 20 layers a request slot."""
    spec, load = kvcalc.load("deepseek-v4-flash"), Workload(256 * 40, engine="sglang")
    slots = sglang_slots.slots_of(layers_of(spec, "sglang"), spec.architecture, load, settings(load))
    assert (float(slots.cell_size()), slots.page, slots.ring_bytes) == (7086.75, 256, 128 * 2 * 512 * 4 * 20)
    assert analyze(spec, load).value("reserved_bytes") == 256 * 40 * 7086.75 + 10485760
    budget = 60 * GIB
    requests = sglang.request_slots(slots, budget, spec.max_position_embeddings)
    tokens = sglang.pool(spec, load, budget).tokens
    left = budget - (requests + 3) * 10485760
    assert (requests, tokens) == (4096, left * 4 // 28347 // 256 * 256)


# Tokens, and tokens of windows, of so many GiB: what calculate_pool_sizes of SGLang's DSV4PoolConfigurator gave.
ROWS_POOLS = {
    "deepseek-v4-flash": {
        45: (1888000, 188672),
        57: (2571264, 257024),
        100: (9086208, 908544),
        140: (15146752, 1514496),
    },
    "deepseek-v4-pro": {45: (1024768, 102400), 57: (1299200, 129792), 100: (4028672, 402688), 140: (8274688, 827392)},
}


@pytest.mark.parametrize("name", ROWS_POOLS)
def test_sglang_makes_the_same_pools_of_compressed_rows(name: str) -> None:
    spec, load = kvcalc.load(name), Workload(4096, engine="sglang")
    chosen = settings(load)
    slots = sglang_slots.slots_of(layers_of(spec, "sglang"), spec.architecture, load, chosen)
    for gib, told in ROWS_POOLS[name].items():
        assert sglang.pool_of(slots, chosen, gib * GIB, spec.max_position_embeddings) == told
        assert sglang.pool(spec, load, gib * GIB).tokens == told[0]


def test_blackwell_has_another_layout_of_compressed_rows() -> None:
    load = Workload(9, engine="sglang", engine_options=(("gpu_class", "b200"),))
    with pytest.raises(KvcalcError, match="sglang with gpu_class=b200: how it stores rows-512"):
        analyze(kvcalc.load("deepseek-v4-flash"), load)
    assert analyze(kvcalc.load("gpt2"), load).value("reserved_bytes")


def test_llamacpp_of_compressed_rows_derived_by_reading() -> None:
    """DeepSeek-V4-Flash, 32,768 tokens: llama_kv_cache_dsv4 makes four caches of K alone and three of fp32 states."""
    raw = 43 * 768 * 512 * 2  # a window of 128 and n_ubatch of 512, in cells of 256
    rows = 21 * 8192 * (512 + 128) * 2 + 20 * 256 * 512 * 2
    states = 21 * 8 * 2 * (1024 + 256) * 4 + 20 * 128 * 2 * 512 * 4
    load = Workload(32768, engine="llamacpp")
    assert analyze(kvcalc.load("deepseek-v4-flash"), load).value("reserved_bytes") == raw + rows + states


@pytest.mark.parametrize("engine", ["vllm@0.20.0", "vllm@0.11.0", "tensorrt-llm"])
def test_compressed_rows_are_refused_where_they_are_not_modelled(engine: str) -> None:
    name, _, version = engine.partition("@")
    with pytest.raises(KvcalcError, match="layers is not modelled"):
        analyze(kvcalc.load("deepseek-v4-flash"), Workload(9, engine=name, engine_version=version))
