"""What engines take of a device by default, and laws of every bundled model with every engine."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from builders import each_kind_or_all
from kvcalc.analysis import analyze
from kvcalc.engines import ENGINES
from kvcalc.engines.sglang_memory import fraction_of
from kvcalc.fitting import Place, fit
from kvcalc.hardware.shipped import accelerators
from kvcalc.workload import Workload
from refusals import quickly
from screens import piped, records

if TYPE_CHECKING:
    from pathlib import Path

    from kvcalc.model import ModelSpec

MIB = 1 << 20
GIB = 1 << 30
NAMES = kvcalc.names()
ASKED = [("vllm", "0.33.0"), ("vllm", "0.20.0"), ("vllm", "0.11.0")]
ASKED += [(name, "") for name in ENGINES if name not in ("paper", "vllm")]
IDS = ["@".join(filter(None, asked)) for asked in ASKED]


# ---------------------------------------------------------------- what is taken by default


def test_sglang_sets_aside_what_its_rule_says() -> None:
    """512 + 1.5 a token of a step + tp/8*1024 + graphs, in MiB; 10,240 at least of a large device."""
    h100 = 81559 * MIB
    aside = 512 + 12288 + 128 + 2 * 256 + 8 * 58
    assert (
        fraction_of(h100, 1) == Fraction(round((81559 - aside) / 81559, 3)).limit_denominator(1000) == Fraction(83, 100)
    )
    aside = 512 + 12288 + 1024 + 2 * 512 + 1536
    assert fraction_of(h100, 8, latent=True) == Fraction(round((81559 - aside) / 81559 * 1000), 1000)
    assert fraction_of(h100, 1, 2048, 8) == Fraction(round((81559 - 10240) / 81559 * 1000), 1000)
    assert fraction_of(24 * GIB, 1) == Fraction(round((24576 - 512 - 6144 - 128 - 96 - 400) / 24576 * 1000), 1000)


def test_each_engine_takes_its_share() -> None:
    lines = records("fit llama-3.1-8b --on H100 -c 8k --engine vllm,vllm@0.11,sglang,llamacpp,tensorrt-llm")
    memory, weights = 81559 * MIB, 16_060_522_496
    told = {(row["engine"], row["engine_version"]): row for row in lines}
    shares = {("vllm", "0.33.0"): 92, ("vllm", "0.11.0"): 90, ("sglang", "0.5.23"): 83, ("llamacpp", "0c1e57098"): 100}
    for key, share in shares.items():
        assert told[key]["unused_bytes"] == memory - -(-memory * share // 100), key
    row = told["tensorrt-llm", "001541ba"]
    assert row["pool_bytes"] == (memory - weights) * 9 // 10
    for row in lines:
        parts = [row[key] for key in ("unused_bytes", "reserve_bytes", "weight_bytes", "pool_bytes")]
        assert sum(parts) == row["memory_bytes"] == memory


def test_the_share_is_told_with_its_source_and_an_option_says_another() -> None:
    err = quickly("fit", "llama-3.1-8b", "--on", "H100", "-c", "8k", "--engine", "sglang").err
    assert "sglang 0.5.23 takes 0.83 by default (mem_fraction_static of SGLang 0.5.23, arg_groups/memory_hook.py" in err
    own = quickly("fit", "llama-3.1-8b", "--on", "H100", "-c", "8k", "--engine", "sglang", "--utilization", "0.5").err
    assert "by default" not in own
    (row,) = records("fit llama-3.1-8b --on H100 -c 8k --engine tensorrt-llm --utilization 0.5 --reserve 1GiB")
    assert row["pool_bytes"] == (81559 * MIB - 16_060_522_496 - GIB) // 2
    fewer = ["--engine-option", "chunked_prefill_size=2048", "--engine-option", "cuda_graph_max_bs=8"]
    (row,) = records("fit llama-3.1-8b --on H100 -c 8k --engine sglang", *fewer)
    assert row["unused_bytes"] == 81559 * MIB - -(-81559 * MIB * 874 // 1000)


def test_the_class_of_a_gpu_is_data(tmp_path: Path) -> None:
    """A device of one's own has the class that its file says, else that of its memory."""
    assert {one.gpu_class for one in accelerators() if one.vendor == "NVIDIA"} == {"a100", "h100", "b200"}
    path = tmp_path / "mine.yaml"
    reserved = {}
    for words in ("", "gpu_class: a100\n", "gpu_class: b200\n"):
        path.write_text(f"name: mine\nmemory: 80 GiB\nbandwidth: 2 TB/s\npeaks: {{bf16: 300 TFLOPS}}\n{words}")
        (row,) = records(f"fit gemma-3-27b --on {path} --engine vllm -c 32k --batch 1")
        reserved[words] = row["reserved_bytes"]
    assert reserved[""] == 11_248_599_040
    assert reserved["gpu_class: b200\n"] == 18_798_346_240
    assert reserved["gpu_class: a100\n"] < reserved[""]
    (large,) = records("fit gemma-3-27b --on MI300X --engine vllm -c 32k --batch 1")
    assert large["reserved_bytes"] == 18_798_346_240  # no Blackwell, but of 160 GiB and more
    path.write_text("name: mine\nmemory: 80 GiB\nbandwidth: 2 TB/s\npeaks: {bf16: 300 TFLOPS}\ngpu_class: a10\n")
    assert "gpu_class" in quickly("fit", "gpt2", "--on", str(path), "-c", "1k").err


# ---------------------------------------------------------------- laws of all bundled models


def less(spec: ModelSpec, engine: str) -> bool:
    """Where an engine truly stores less than the paper counts.

    vLLM keeps recurrent states in the model's bf16, index keys are of fp8 in all but llama.cpp, and rows of
    DeepSeek-V4 in fp8; llama.cpp keeps an encoder's output in place of its keys and values; Transformers holds one
    token of a window less between steps, and all of a chunk but one.
    """
    kinds = {branch.memory.kind for _, branch in spec.branches()}  # type: ignore[attr-defined]  # every bundled memory has one
    reaches = {branch.reach.kind for _, branch in spec.branches()}
    states = any(branch.memory.states() for _, branch in spec.branches())
    if engine == "transformers":
        return bool(reaches & {"window", "chunk", "compressed"})
    if engine == "llamacpp":
        return "encoder" in reaches
    return bool(kinds & {"index", "compressed_kv"}) or (engine == "vllm" and states)


@each_kind_or_all
@pytest.mark.parametrize("asked", ASKED, ids=IDS)
def test_no_engine_reserves_less_than_any_bundled_model_needs(asked: tuple[str, str], names: list[str]) -> None:
    """But for those of the list; what is held is never more than what is reserved, and more tokens are never less."""
    name, version = asked
    counted = 0
    for model in names:
        spec, before = kvcalc.load(model), 0
        for n in (1, 127, 128, 4097, 32768, 1_000_000):
            try:
                report = analyze(spec, Workload(n, engine=name, engine_version=version))
            except kvcalc.KvcalcError:
                break  # the engine has no such layers
            told = [report.value(key) for key in ("paper_bytes", "held_bytes", "reserved_bytes")]
            paper, held, reserved = (value or 0 for value in told)
            assert held <= reserved, (model, n)
            assert reserved >= paper or less(spec, name), (model, n)
            assert reserved >= before or name == "transformers", (model, n)  # a chunk begins anew
            before = reserved
            counted += 1
    assert counted > len(names)


@given(
    st.sampled_from(NAMES),
    st.sampled_from(ASKED),
    st.sampled_from([one.name for one in accelerators()]),
    st.sampled_from((1, 2, 4, 8)),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_on_every_machine_so_many_fit_and_one_more_does_not(
    name: str, asked: tuple[str, str], on: str, devices: int, batch: int
) -> None:
    """Context by batch, batch by context, on any machine; where n fits, less does."""
    spec, place = kvcalc.load(name), Place(kvcalc.parse_machine(f"{devices}x{on}"))
    load = Workload(1, engine=asked[0], engine_version=asked[1])
    try:
        (found,) = fit(spec, load, place, None, batch)
    except kvcalc.KvcalcError:
        return  # the engine has no such layers, or splits them otherwise
    if found.context is None:
        return
    asks = {
        "fits": (found.context, batch),
        "more": (found.context + 1, batch),
        "less": (max(1, found.context // 2), batch),
    }
    fits = {word: fit(spec, load, place, *pair)[0].fits for word, pair in asks.items()}
    assert fits == {"fits": True, "more": False, "less": True}
    (most,) = fit(spec, load, place, found.context, None)
    assert most.batch is not None
    assert most.batch >= batch
    replicas = most.deal.replicas
    assert fit(spec, load, place, found.context, most.batch)[0].fits
    assert not fit(spec, load, place, found.context, most.batch + replicas)[0].fits


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-3-27b", "deepseek-v4-flash", "qwen3-next-80b-a3b"])
def test_the_null_block_and_the_edges_of_blocks(name: str, batch: int) -> None:
    """vLLM 0.33 never uses one block: a byte less than the requests' blocks and that one do not start them."""
    spec, load = kvcalc.load(name), Workload(32768, engine="vllm", batch=batch)
    reserved = analyze(spec, load).value("reserved_bytes") or 0
    (row,) = (one.row() for one in fit(spec, load, Place(budget=reserved * 2), 32768, batch))
    block = reserved * 2 // int(str(row["num_blocks"]))
    assert reserved % block == 0
    for budget, wanted in ((reserved + block, True), (reserved + block - 1, False), (reserved, False)):
        assert fit(spec, load, Place(budget=budget), 32768, batch)[0].fits is wanted
    if name != "llama-3.1-8b":
        return
    for context in (32753, 32768):  # all of one block more
        assert fit(spec, load, Place(budget=reserved + block), context, batch)[0].fits
    assert not fit(spec, load, Place(budget=reserved + block), 32769, batch)[0].fits


def test_rings_of_request_slots_are_told_and_count() -> None:
    """SGLang keeps a ring for each request that may run, 10 MiB of DeepSeek-V4-Flash, whether it runs or not."""
    load = Workload(131072, engine="sglang", tensor_parallel=8)
    (found,) = fit(kvcalc.load("deepseek-v4-flash"), load, Place(budget=57 * GIB), 131072, None)
    assert found.pool is not None
    assert found.aside % 10485760 == 0
    slots = found.aside // 10485760 - 3 + (found.batch or 0)
    assert 2048 <= slots <= 4096
    assert found.batch == found.pool.tokens // 131072
    assert found.reserved is not None
    token = (found.reserved - (found.batch or 0) * 10485760) // (found.batch or 1)
    assert 0 <= (found.free or 0) < token  # one more does not fit
    assert found.row()["aside_bytes"] == found.aside
    text = piped("fit deepseek-v4-flash --budget 57GiB --engine sglang --tp 8 -c 128k -q")
    assert "less kept for states of more requests" in text


@pytest.mark.parametrize("name", ["qwen3-next-80b-a3b", "granite-4.0-h-small", "kimi-linear-48b-a3b"])
def test_what_is_free_beside_states_is_no_slot(name: str) -> None:
    """SGLang's 0.9/1.9 of a pool is for states: what is left of the rest is less than one more sequence."""
    load = Workload(32768, engine="sglang")
    (found,) = fit(kvcalc.load(name), load, Place(budget=40 * GIB), 32768, None)
    assert found.batch
    assert found.reserved is not None
    assert 0 <= (found.free or 0) <= found.reserved // found.batch
    assert 0 < found.aside < 20 * GIB


@pytest.mark.parametrize(
    ("options", "asked", "fits"),
    [
        ({"n_ctx": "4096"}, (4096, 1), True),
        ({"n_ctx": "4096"}, (4097, 1), False),
        ({"n_ctx": "4096", "n_seq_max": "4"}, (1024, 4), True),
        ({"n_ctx": "4096", "n_seq_max": "4"}, (1025, 4), False),
        ({"n_ctx": "4096", "n_seq_max": "4"}, (1, 5), False),
        ({"n_ctx": "4096", "n_seq_max": "4", "kv_unified": "on"}, (4096, 1), True),
        ({"n_ctx": "4096", "n_seq_max": "4", "kv_unified": "on"}, (1025, 4), False),
        ({"n_seq_max": "4"}, (32768, 1), False),
    ],
)
def test_llamacpp_has_no_room_beyond_its_context(options: dict[str, str], asked: tuple[int, int], fits: bool) -> None:
    """Cells that are not allocated are not counted as if they held anything."""
    spec, (n, batch) = kvcalc.load("llama-3.1-8b"), asked
    load = Workload(n, batch=batch, engine="llamacpp", engine_options=tuple(options.items()))
    if fits:
        assert analyze(spec, load).value("reserved_bytes") == 4096 * 131072
    else:
        with pytest.raises(kvcalc.KvcalcError, match="there is no room for"):
            analyze(spec, load)


def test_llamacpp_holds_what_it_is_made_for() -> None:
    (row,) = (
        one.row()
        for one in fit(kvcalc.load("llama-3.1-8b"), Workload(1, engine="llamacpp"), Place(budget=40 * GIB), 32000, None)
    )
    assert (row["largest_batch"], row["pool_tokens"]) == (10, 10 * 32000)
    options = (("n_ctx", "4096"), ("n_seq_max", "2"))
    load = Workload(1, engine="llamacpp", engine_options=options)
    assert fit(kvcalc.load("llama-3.1-8b"), load, Place(budget=40 * GIB), None, 2)[0].context == 2048
