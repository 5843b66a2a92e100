"""Several devices: stages partition layers, shares add up, one is as it was, what an engine has not is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from builders import heads, mla, model
from kvcalc.analysis import analyze
from kvcalc.attention.delta import GatedDelta
from kvcalc.attention.index import Index
from kvcalc.attention.reach import Full, Window
from kvcalc.device_weights import on_a_stage
from kvcalc.engines import ENGINES, engine_of
from kvcalc.engines.ranks import Ranks, stages_of
from kvcalc.feedforward import Experts
from kvcalc.memory_budget import weights_on_a_device
from kvcalc.model import Branch
from kvcalc.weight_bytes import held
from kvcalc.workload import PARALLEL, Workload
from refusals import assert_refused, quickly
from screens import piped, records

if TYPE_CHECKING:
    from kvcalc.analysis import Report

STAGED = ("vllm", "vllm@0.20.0", "vllm@0.11.0", "sglang", "tensorrt-llm", "llamacpp")
LAYERS = st.integers(1, 130)
WINDOWED = Branch(heads(16, 8, 128), Window(1024))
MIXED = model(*[WINDOWED, WINDOWED, WINDOWED, Branch(heads(16, 8, 128), Full())] * 5, WINDOWED)
SPECS = {
    "heads": model(*[heads(16, 8, 128)] * 10),
    "windows": MIXED,
    "latents": model(*[mla(16, 512, 64, 128, 128)] * 7),
    "states": model(*[Branch(GatedDelta(16, 32, 128, 128, 4), Full()), Branch(heads(16, 2, 128), Full())] * 6),
}
BUNDLED = ("llama-3.1-8b", "gemma-3-27b", "deepseek-v3", "mixtral-8x7b-v0.1", "gpt-oss-20b", "qwen3-30b-a3b", "gpt2")


def asked(engine: str, **more: Any) -> Workload:
    name, _, version = engine.partition("@")
    return Workload(more.pop("n", 5000), engine=name, engine_version=version, **more)


def number(report: Report, key: str) -> int:
    found = report.value(key)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("engine", "layers", "stages", "counts"),
    [
        ("vllm", 62, 4, [15, 16, 16, 15]),
        ("vllm", 61, 8, [7, 7, 8, 8, 8, 8, 8, 7]),
        ("vllm", 5, 2, [3, 2]),
        ("sglang", 62, 4, [15, 15, 16, 16]),
        ("tensorrt-llm", 62, 4, [16, 16, 15, 15]),
        ("llamacpp", 32, 2, [17, 15]),
        ("llamacpp", 32, 4, [9, 8, 8, 7]),
    ],
)
def test_stages_have_so_many_layers(engine: str, layers: int, stages: int, counts: list[int]) -> None:
    """vLLM: get_pp_indices, run; SGLang: the last ones one more; TensorRT-LLM: the first; llama.cpp: lm_head is one."""
    assert engine_of(engine).stages(layers, stages) == counts


@given(engine=st.sampled_from([name for name in ENGINES if name not in ("paper", "transformers")]), layers=LAYERS)
def test_stages_partition_the_layers(engine: str, layers: int) -> None:
    for stages in range(1, layers + 1):
        counts = engine_of(engine).stages(layers, stages)
        assert (sum(counts), len(counts)) == (layers, stages)
        assert max(counts) - min(counts) <= 1 or engine == "llamacpp"


@pytest.mark.parametrize("engine", STAGED)
@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("stages", [2, 3, 7])
def test_a_pipeline_holds_all_and_its_fullest_stage_the_most(engine: str, kind: str, stages: int) -> None:
    spec = SPECS[kind]
    if kind == "states" and "@" in engine:
        return  # refused
    whole = analyze(spec, asked(engine, batch=3))
    piped_ = analyze(spec, asked(engine, batch=3, pipeline_parallel=stages))
    one, fullest, total = (
        number(whole, "reserved_bytes"),
        number(piped_, "reserved_bytes"),
        number(piped_, "reserved_bytes_total"),
    )
    assert fullest < one <= total <= stages * fullest
    if engine in ("llamacpp", "tensorrt-llm") or kind in ("heads", "latents"):
        assert one == total  # layers add up; vLLM's groups and windows in flight may not
    assert number(piped_, "waste_bytes") == fullest - number(piped_, "paper_bytes")
    assert number(piped_, "held_bytes") <= fullest


@given(
    kind=st.sampled_from(sorted(SPECS)),
    engine=st.sampled_from(("vllm", "sglang")),
    batch=st.integers(1, 20),
    groups=st.integers(1, 5),
    stages=st.integers(1, 3),
    tp=st.sampled_from((1, 2)),
    n=st.integers(1, 40_000),
)
@settings(max_examples=60, deadline=None)
def test_groups_divide_the_batch(kind: str, engine: str, batch: int, groups: int, stages: int, tp: int, n: int) -> None:
    spec, more = SPECS[kind], {"pipeline_parallel": stages, "tensor_parallel": tp, "n": n}
    divided = analyze(spec, asked(engine, batch=batch, data_parallel=groups, **more))
    each = analyze(spec, asked(engine, batch=-(-batch // groups), **more))
    assert number(divided, "reserved_bytes") == number(each, "reserved_bytes")
    assert number(divided, "reserved_bytes_total") == sum(
        number(analyze(spec, asked(engine, batch=share, **more)), "reserved_bytes_total")
        for share in (batch // groups + (at < batch % groups) for at in range(groups))
        if share
    )
    assert number(divided, "waste_bytes") == number(divided, "reserved_bytes") - number(divided, "paper_bytes")


@pytest.mark.parametrize("engine", ["paper", *STAGED])
@pytest.mark.parametrize("name", BUNDLED)
def test_weights_of_all_stages_are_the_model_and_what_is_repeated(engine: str, name: str) -> None:
    """Only a tied embedding is on two stages."""
    spec = kvcalc.load(name)
    own, whole = engine_of(engine.partition("@")[0]), sum(one.evaluate() for one in held(spec))
    for pp in (2, 3, 4):
        ranks = Ranks(pp, pp, 1, 1, 1, 1, 1, 1, 1, 1, 1)
        stages = stages_of(spec, ranks, own.stages)
        found = sum(one.evaluate() for stage in stages for one in on_a_stage(spec, stage))
        embedding = sum(one.evaluate() for one in held(spec) if one.part.what == "embedding")
        assert found == whole + (embedding if spec.tie_word_embeddings else 0)


@given(
    name=st.sampled_from(("mixtral-8x7b-v0.1", "deepseek-v3", "llama-3.1-8b", "gpt-oss-20b")),
    engine=st.sampled_from(("paper", "vllm", "sglang")),
    tp=st.sampled_from((1, 2, 4)),
    pp=st.sampled_from((1, 2, 3)),
    dp=st.sampled_from((1, 2)),
)
@settings(max_examples=40, deadline=None)
def test_devices_together_hold_what_they_hold_one_by_one(name: str, engine: str, tp: int, pp: int, dp: int) -> None:
    load = asked(engine, n=64, tensor_parallel=tp, pipeline_parallel=pp, data_parallel=dp)
    report = analyze(kvcalc.load(name), load)
    devices = engine_of(engine).ranks(load).devices
    assert devices == tp * pp * dp
    whole, each, total = (number(report, f"weight_bytes{suffix}") for suffix in ("", "_per_device", "_total"))
    assert whole <= total <= devices * each
    assert each <= whole
    if devices == 1:
        assert each == total == whole
    assert number(report, "reserved_bytes_total") <= devices * number(report, "reserved_bytes")


def test_experts_and_what_is_beside_them_by_hand() -> None:
    """DeepSeek-V3 in vLLM, tp 8 x dp 2 with experts over 16: 16 of 256 each, shared experts whole on every device."""
    spec = kvcalc.load("deepseek-v3")
    plain = {"tensor_parallel": 8, "data_parallel": 2, "weight_dtype": "bf16"}
    split = weights_on_a_device(spec, asked("vllm", **plain))
    whole = weights_on_a_device(spec, asked("vllm", **plain, expert_parallel=16))
    shared = 58 * 3 * 7168 * 2048
    assert whole - split == 2 * (shared - shared // 8)  # 256 / 16 experts are a sixteenth of all
    experts = 58 * 256 * 3 * 7168 * 2048
    one = weights_on_a_device(spec, asked("vllm", tensor_parallel=8, weight_dtype="bf16"))
    assert one - split == 2 * (experts // 8 - experts // 16)


def test_experts_that_do_not_divide_are_more_on_some() -> None:
    dense, experts = Workload(1), Experts(5, 2, 64, gated=True)
    spec = model(*[heads(16, 8, 128)] * 2)
    groups = tuple(group._replace(layer=group.layer._replace(feedforward=experts)) for group in spec.groups)
    spec = spec._replace(groups=groups)
    both = asked("vllm", n=9, tensor_parallel=2, expert_parallel=2)
    assert analyze(spec, both).value("weight_bytes_per_device") == weights_on_a_device(spec, both)
    one_expert = 2 * 3 * spec.hidden_size * 64
    split = weights_on_a_device(spec, both._replace(expert_parallel=1))
    assert weights_on_a_device(spec, both) - split == 2 * one_expert // 2  # 3 experts against 5 halves
    assert analyze(spec, dense).value("weight_bytes_per_device") == analyze(spec, dense).value("weight_bytes")


def test_ranks_that_share_a_sequence() -> None:
    """Latents, and heads that ranks repeat, are cut by --cp; an index's keys in SGLang are not."""
    spec, n = SPECS["latents"], 4096
    for engine in ("vllm", "vllm@0.20.0", "vllm@0.11.0", "sglang"):
        one, four = (analyze(spec, asked(engine, n=n, tensor_parallel=8, context_parallel=cp)) for cp in (1, 4))
        assert number(one, "reserved_bytes") == 4 * number(four, "reserved_bytes") == 7 * n * 1152
        assert number(four, "waste_bytes") == number(four, "reserved_bytes") - number(four, "paper_bytes")
        assert number(four, "reserved_bytes_total") == 2 * 7 * n * 1152
    grouped = analyze(SPECS["heads"], asked("vllm", n=n, tensor_parallel=16, context_parallel=2))
    assert number(grouped, "reserved_bytes_total") == number(grouped, "cache_bytes")
    indexed = model(Branch(mla(16, 512, 64, 128, 128), Full()), Branch(Index(4, 128), Full()))
    told = analyze(indexed, asked("sglang", n=n, tensor_parallel=4, context_parallel=4))
    assert number(told, "reserved_bytes") == n // 4 * 1152 + n * 132
    assert number(told, "waste_bytes") == number(told, "reserved_bytes") - number(told, "paper_bytes")
    assert number(analyze(indexed, asked("vllm", n=n, tensor_parallel=4, context_parallel=4)), "reserved_bytes") == (
        n // 4 * (1152 + 132)
    )


def test_steps_in_flight_are_one_more_than_stages() -> None:
    """vLLM 0.33's max_concurrent_batches with async scheduling; before, one step whatever the stages."""
    spec, n = model(*[WINDOWED] * 4), 10**6
    for engine, off, steps in (("vllm", "", 3), ("vllm", "off", 2), ("vllm@0.20.0", "", 1)):
        options = (("async_scheduling", off),) if off else ()
        load = asked(engine, n=n, pipeline_parallel=2, engine_options=options)
        blocks = -(-(1023 + steps * 8192) // 16) + 1
        assert number(analyze(spec, load), "reserved_bytes") == 2 * blocks * 16 * 8 * 512


def test_attention_alone_is_divided_by_groups() -> None:
    """SGLang's enable_dp_attention and TensorRT-LLM's attention data parallelism: ranks of --tp, no more devices."""
    on = (("enable_dp_attention", "on"),)
    spec, plain = SPECS["latents"], {"n": 4096, "tensor_parallel": 4, "batch": 8}
    groups = asked("sglang", **plain, data_parallel=4, engine_options=on)
    whole = analyze(spec, asked("sglang", **plain))
    assert engine_of("sglang").ranks(groups).devices == 4
    assert number(whole, "reserved_bytes") == 4 * number(analyze(spec, groups), "reserved_bytes")
    replicas = asked("sglang", **plain, data_parallel=4)
    assert engine_of("sglang").ranks(replicas).devices == 16
    assert number(analyze(spec, replicas), "reserved_bytes") == number(analyze(spec, groups), "reserved_bytes")
    read = asked("tensorrt-llm", **plain, data_parallel=4)
    assert engine_of("tensorrt-llm").ranks(read).devices == 4
    assert number(analyze(spec, read), "reserved_bytes") * 4 == number(
        analyze(spec, asked("tensorrt-llm", **plain)), "reserved_bytes"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    {
        "gpt2 --engine llamacpp --tp 2": "--pp 2",
        "gpt2 --engine llamacpp --dp 2": "--dp is not its",
        "gpt2 --engine transformers --pp 2": "is not modelled",
        "gpt2 --engine tensorrt-llm --cp 2": "cp_size is not modelled",
        "gpt2 --engine tensorrt-llm --tp 4 --dp 2": "--dp 4, for enable_attention_dp",
        "mixtral-8x7b-v0.1 --engine vllm --tp 4 --dp 2 --ep 4": "--ep 8, for --enable-expert-parallel",
        "mixtral-8x7b-v0.1 --engine sglang --tp 4 --ep 3": "does not divide --tp 4",
        "mixtral-8x7b-v0.1 --engine sglang --tp 16 --ep 16": "does not divide the 8 experts",
        "gpt2 --engine vllm --tp 2 --ep 2": "gpt2 has no experts",
        "gpt2 --ep 2": "does not divide the 1 devices",
        "gpt2 --engine vllm --pp 13": "gpt2 has 12 layers",
        "llama-3.1-8b --engine vllm --tp 4 --cp 3": "does not divide --tp 4",
        "llama-3.1-8b --engine vllm --tp 8 --cp 2": "at least --tp 16",
        "gemma-3-27b --engine vllm --tp 32 --cp 2": "no decode context parallelism",
        "whisper-large-v3 --engine vllm --pp 2": "its encoder become stages is not modelled",
        "llama-3.1-8b --engine sglang --tp 4 --dp 3 --engine-option enable_dp_attention=on": "does not divide --tp 4",
        "gpt2 --pp 0": "is not a number of stages from 1",
    }.items(),
)
def test_what_an_engine_has_not_is_refused(words: str, told: str) -> None:
    assert_refused(quickly("compare", "--variants", "none", *words.split()), told)


def test_it_fits_on_the_fullest_device_of_every_stage() -> None:
    line = "fit llama-3.1-70b --on 8xH100 --engine vllm -c 32k"
    (row,) = records(f"{line} --tp 4 --pp 2")
    assert (row["devices"], row["tensor_parallel"], row["pipeline_parallel"], row["replicas"]) == (8, 4, 2, 1)
    assert row["memory_bytes"] - row["unused_bytes"] - row["weight_bytes"] == row["pool_bytes"]
    assert row["pool_bytes"] - row["reserved_bytes"] == row["free_bytes"] >= 0
    assert row["stage"] in (1, 2)
    (more,) = records(f"{line} --tp 4 --pp 2 --batch {row['largest_batch']}")
    assert more["fits"] is True
    assert quickly(*f"{line} --tp 4 --pp 2 --batch {row['largest_batch'] + 1}".split()).code == 1
    (groups,) = records(f"{line} --tp 4 --dp 2")
    (replicas,) = records(f"{line} --tp 4")
    assert (groups["replicas"], replicas["replicas"]) == (1, 2)
    assert groups["largest_batch"] == replicas["largest_batch"]
    assert quickly(*f"{line} --tp 4 --pp 2 --dp 2".split()).err.count("makes 16 devices") == 1
    assert "stage" in piped(f"{line} --tp 4 --pp 2")
    (llama,) = records("fit llama-3.1-8b --on 2xH100 --engine llamacpp -c 32k -b 1")
    assert llama["pipeline_parallel"] == 2


def test_the_ways_are_axes_and_rows_can_be_asked_again() -> None:
    rows = records("sweep mixtral-8x7b-v0.1 --engine vllm --tp 1,2 --pp 1,2 --dp 1,2 -c 1k,9k -q")
    assert len(rows) == 16
    for row in rows[::5]:
        ways = " ".join(f"--{way} {row[key]}" for key, way in PARALLEL.items())
        (again,) = records(
            f"compare mixtral-8x7b-v0.1 --variants none --engine vllm -c {row['context_tokens']} {ways} -q"
        )
        assert again == row


def test_an_explanation_names_stages_experts_and_what_is_repeated() -> None:
    text = piped("explain mixtral-8x7b-v0.1 weight_bytes_per_device --engine vllm --tp 2 --pp 2 --dp 2 --ep 4 -q")
    for told in ("stage 1 of 2, layers 0 to 15", ": 2 of 8", "whole on each device", "over 2 of 4 devices"):
        assert told in text
    waste = piped("explain gemma-3-27b reserved_bytes --engine vllm --pp 4 --dp 2 -b 3 -c 32k -q")
    assert "uneven shares" in waste


def test_one_device_is_as_it_was() -> None:
    """Every way at 1, said or not, is the same row."""
    for engine in ("paper", *STAGED):
        plain = analyze(MIXED, asked(engine)).rows()
        said = analyze(MIXED, asked(engine, pipeline_parallel=1, data_parallel=1, expert_parallel=1)).rows()
        assert plain == said
        assert plain[0]["reserved_bytes"] == plain[0]["reserved_bytes_total"]
