"""What fits: exactly, to the byte and to the token, and told line by line."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from builders import each_kind_or_all
from kvcalc.analysis import analyze
from kvcalc.attention.reach import kept, most
from kvcalc.fitting import Place, fit, largest, reserved_bytes
from kvcalc.memory_budget import weights_on_a_device
from kvcalc.weight_bytes import held
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from screens import kvcalc as run
from screens import records

H100 = kvcalc.parse_machine("H100")
GIB = 2**30
NAMES = kvcalc.names()
BUDGET = ("memory_bytes", "unused_bytes", "reserve_bytes", "weight_bytes", "pool_bytes", "reserved_bytes", "free_bytes")


def test_llama_on_one_h100_by_hand() -> None:
    """81,559 MiB less 16,060,522,496 bytes of weights are 529,939 tokens of 131,072 bytes and a rest."""
    (row,) = records("fit llama-3.1-8b --on H100 --batch 1")
    left = 81559 * 2**20 - 16_060_522_496
    assert row["fits"] is True
    assert row["pool_bytes"] == left
    assert row["largest_context_tokens"] == left // 131072 == 529_939
    assert row["free_bytes"] == left % 131072
    assert row["largest_batch"] is row["num_blocks"] is row["max_concurrency"] is row["pool_tokens"] is None


@given(
    st.sampled_from(NAMES),
    st.integers(1, 500),
    st.integers(1, 400) | st.integers(1, 2**34),
    st.sampled_from(["bf16", "fp8", "int4"]),
)
@settings(max_examples=60, deadline=None)
def test_the_largest_context_fits_and_one_more_does_not(name: str, batch: int, budget: int, dtype: str) -> None:
    spec, workload = kvcalc.load(name), Workload(1, dtype=dtype)
    (found,) = fit(spec, workload, Place(budget=budget), None, batch)
    reserved = reserved_bytes(spec, workload)
    if found.context is None:
        assert found.endless or reserved(1, batch) > budget
        assert found.fits is found.endless
        return
    assert reserved(found.context, batch) <= budget < reserved(found.context + 1, batch)
    assert found.reserved == reserved(found.context, batch)
    again = fit(spec, workload, Place(budget=budget), found.context, batch)[0]
    more = fit(spec, workload, Place(budget=budget), found.context + 1, batch)[0]
    assert (again.fits, more.fits) == (True, False)


@given(st.sampled_from(NAMES), st.integers(1, 100_000), st.integers(1, 2**38))
@settings(max_examples=60, deadline=None)
def test_the_largest_batch_fits_and_one_more_does_not(name: str, context: int, budget: int) -> None:
    spec, workload = kvcalc.load(name), Workload(1)
    (found,) = fit(spec, workload, Place(budget=budget), context, None)
    each = reserved_bytes(spec, workload)(context, 1)
    assert found.batch == budget // each
    assert found.fits is (found.batch > 0)


@given(st.sampled_from(NAMES), st.integers(1, 50_000), st.integers(1, 9), st.sampled_from([1, 2, 8]))
@settings(max_examples=60, deadline=None)
def test_what_is_reserved_grows_and_covers_every_length_on_the_way(
    name: str, context: int, batch: int, devices: int
) -> None:
    spec, workload = kvcalc.load(name), Workload(1, tensor_parallel=devices)
    reserved = reserved_bytes(spec, workload)
    assert reserved(context, batch) <= reserved(context + 1, batch)
    assert reserved(context, batch) <= reserved(context, batch + 1)
    cached = analyze(spec, Workload(context, batch=batch)).value("cache_bytes")
    assert cached is not None
    assert -(-cached // devices) <= reserved(context, batch)


@pytest.mark.parametrize("name", ["llama-4-scout-17b-16e", "gemma-3-27b", "deepseek-v2"])
def test_the_most_that_is_kept_is_the_most_of_all_lengths(name: str) -> None:
    for _, branch in kvcalc.load(name).branches():
        for n in (1, 1023, 1024, 8191, 8192, 8193, 20000):
            highest = max(kept(branch.reach).evaluate({"n": at}) for at in {*range(max(1, n - 9000), n + 1)})
            assert most(branch.reach).evaluate({"n": n}) == highest


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_the_search_is_exact(limit: int, end: int) -> None:
    found = largest(lambda number: number <= limit, end)
    assert found == (None if limit >= end else limit)


@each_kind_or_all
@pytest.mark.parametrize("asked", [{"batch": 2}, {"context": "8k"}], ids=["context", "batch"])
@pytest.mark.parametrize(
    "engine", ["vllm", "vllm@0.20", "vllm@0.11", "sglang", "llamacpp", "tensorrt-llm", "transformers"]
)
def test_of_every_model_with_every_engine_one_more_does_not_fit(
    engine: str, asked: dict[str, str | int], names: list[str]
) -> None:
    place, exact = [Place(budget=20 * GIB)], 0
    for name in names:
        spec, question = kvcalc.load(name), kvcalc.parse_question({"engine": engine, **asked})
        try:
            (found,) = kvcalc.fits(spec, question, place).answers
        except kvcalc.KvcalcError:
            continue  # the engine has no such layers
        if found.context is None or not found.batch:
            continue
        more = (found.context + 1, found.batch) if "batch" in asked else (found.context, found.batch + 1)
        for (context, batch), wanted in (((found.context, found.batch), True), (more, False)):
            again = kvcalc.Question(question.request._replace(context_tokens=context), batch)
            assert kvcalc.fits(spec, again, place).answers[0].fits is wanted, (name, context, batch)
        exact += 1
    assert exact > len(names) // 4


@pytest.mark.parametrize(("context", "size"), [(4096, 74648), (32768, 125115), (131072, 291658)])
def test_vllm_logs_this_size_of_gemma_in_40_gib(context: int, size: int) -> None:
    """vLLM 0.33's own planning, run: its 'GPU KV cache size' depends on max_model_len."""
    (row,) = records(f"fit gemma-3-27b --budget 40GiB --engine vllm -c {context}")
    assert row["pool_tokens"] == size
    assert row["num_blocks"] == 32768
    assert row["engine_version"] == "0.33.0"


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("name", ["llama-3.1-70b", "deepseek-v3", "gpt-oss-120b", "mixtral-8x7b-v0.1"])
def test_weights_on_devices_are_no_less_than_an_even_share(name: str, devices: int) -> None:
    spec = kvcalc.load(name)
    whole = analyze(spec, Workload(1)).value("weight_bytes")
    assert whole is not None
    even = weights_on_a_device(spec, Workload(1, tensor_parallel=devices))
    ranks = weights_on_a_device(spec, Workload(1, tensor_parallel=devices, engine="vllm"))
    assert whole <= even * devices <= whole * 1.05
    assert even <= ranks
    if devices == 1:
        assert even == ranks == whole
    repeated = sum(one.evaluate() for one in held(spec) if one.kind in ("vectors", "router", "positions"))
    assert even * devices - whole <= 4 * repeated * devices + 8 * devices


def test_heads_of_keys_are_repeated_on_devices_that_have_none() -> None:
    spec, d, n_kv, d_h, layers = kvcalc.load("llama-3.1-8b"), 4096, 8, 128, 32
    of = {tp: weights_on_a_device(spec, Workload(1, tensor_parallel=tp, engine="vllm")) for tp in (8, 16)}
    rest = analyze(spec, Workload(1)).value("parameters")
    assert rest is not None
    norms, keys = 65 * d, 2 * layers * d * n_kv * d_h
    for tp, heads in ((8, 1), (16, 1)):
        assert of[tp] == 2 * ((rest - norms - keys) // tp + norms + keys * heads // n_kv)


def test_the_budget_adds_up_and_replicas_share_the_batch() -> None:
    line = "fit llama-3.1-8b --on 8xH100 -c 32k --reserve 4GiB --utilization 90%"
    (whole,) = records(line)
    (split,) = records(f"{line} --tp 2")
    (one,) = records("fit llama-3.1-8b --on 2xH100 -c 32k --reserve 4GiB --utilization 0.9")
    for row in (whole, split, one):
        memory, unused, reserve, weights, pool, reserved, free = (row[key] for key in BUDGET)
        assert memory - unused - reserve - weights == pool
        assert pool - reserved == free >= 0
        assert memory - unused == -(-memory * 9 // 10)
    assert (split["tensor_parallel"], split["replicas"]) == (2, 4)
    assert split["largest_batch"] == 4 * one["largest_batch"]
    assert split["pool_bytes"] == one["pool_bytes"]
    (asked,) = records(f"{line} --tp 2 --batch {split['largest_batch']}")
    assert asked["fits"] is True
    assert run(f"{line} --tp 2 --batch {split['largest_batch'] + 1}").code == 1
    assert fit(kvcalc.load("gpt2"), Workload(1), Place(H100, Fraction(1, 2)), 9, 1)[0].budget.unused == 81559 << 19


def test_one_device_a_model_is_so_many_replicas() -> None:
    (alone,) = records("fit llama-3.1-8b --on H100 -c 8k --engine vllm")
    (split,) = records("fit llama-3.1-8b --on 8xH100 -c 8k --engine vllm --tp 1")
    assert (split["replicas"], split["tensor_parallel"]) == (8, 1)
    assert split["largest_batch"] == 8 * alone["largest_batch"]
    assert split["pool_bytes"] == alone["pool_bytes"]
    (row,) = records("compare llama-3.1-8b --on 8xH100 -c 8k -b 8 --engine vllm --tp 1 --variants none")
    assert (row["tensor_parallel"], row["decode_tokens_per_second_at_most"]) == (1, 8 / row["decode_least_seconds"])


def test_exit_codes_and_several_places() -> None:
    assert run("fit llama-3.1-405b --on 8xH100 -c 32k -b 1").code == 1
    both = run("fit llama-3.1-405b --on 8xH100,8xB200 --on 16xMI300X -c 32k -b 1")
    assert both.code == 0
    lines = [line.split()[:3] for line in both.out.splitlines()]
    assert ["8xH100-SXM", "paper", "no"] in lines
    assert ["8xB200", "paper", "yes"] in lines
    assert "Does not fit: the weights need" in both.out
    assert "Fits: batch 1 of 32,768 tokens." in both.out
    assert "assumed: matrices and cache split evenly" in both.err
    assert "unverified" in both.err
    assert "not counted" in both.err
    never = run("fit llama-3.1-405b --on 8xH100 -b 1")
    assert never.code == 1
    assert "Does not fit: the weights need" in never.out
    tiny = run("fit llama-3.1-8b --budget 131071 -b 1")
    assert tiny.code == 1
    assert "not even one token of batch 1, it needs 1 B more on each device" in tiny.out


def test_the_frontier_and_what_never_grows() -> None:
    rows = records("fit gemma-3-27b --on H100")
    contexts = [row["context_tokens"] for row in rows]
    assert contexts == [1024 << power for power in range(8)]
    batches = [row["largest_batch"] for row in rows]
    assert batches == sorted(batches, reverse=True)
    (alone,) = records("fit gemma-3-27b --on H100 -c 4k")
    assert batches[2] == alone["largest_batch"]


@pytest.mark.parametrize("engine", ["paper", "vllm", "llamacpp"])
def test_what_never_grows_is_one_line_of_any_context(engine: str) -> None:
    (row,) = records(f"fit mamba2-2.7b --on H100 --engine {engine}")
    (alone,) = records(f"fit mamba2-2.7b --on H100 --engine {engine} -c 4k")
    assert row["context_tokens"] is None
    assert row["largest_batch"] == alone["largest_batch"]
    assert row["reserved_bytes"] == alone["reserved_bytes"]
    assert "    any" in run(f"fit mamba2-2.7b --on H100 --engine {engine}").out


def test_a_windowed_model_holds_any_context() -> None:
    (row,) = records("fit mistral-7b-v0.1 --on H100 -b 4")
    assert row["fits"] is True
    assert row["largest_context_tokens"] is None
    assert row["reserved_bytes"] == 4 * 4096 * 131072
    assert row["pool_bytes"] - row["reserved_bytes"] == row["free_bytes"]
    shown = run("fit mistral-7b-v0.1 --on H100 -b 4")
    assert "any context" in shown.out


@pytest.mark.parametrize(
    ("words", "told"),
    {
        "fit gpt2": "--on or --budget",
        "fit gpt2 --on H100 --budget 1GiB": "one of them alone",
        "fit gpt2 --budget 1GFLOPs": "is a unit of FLOPs",
        "fit gpt2 --budget 0": "out of range",
        "fit gpt2 --budget 1GiB --reserve 1GiB": "are of --on",
        "fit gpt2 --on H100 --utilization 120%": "no share of the memory",
        "fit gpt2 --on H100 --utilization x": "no amount",
        "fit gpt2 --on 8xH100 --tp 3": "does not divide the 8 devices",
        "fit gpt2 --on H100 -c 10 --shared-prefix 20": "not shorter than the context",
        "fit nonsense --on H100": "unknown model",
        "fit gpt2 --on H100 -b 0": "",
    }.items(),
)
def test_what_makes_no_sense_is_refused(words: str, told: str) -> None:
    result = quickly(*words.split())
    assert result.code == 2
    if told:
        assert_refused(result, told)


def test_every_format_and_the_tables_at_any_width() -> None:
    for name in ("json", "jsonl", "csv", "tsv", "markdown", "table"):
        assert quickly("fit", "gpt2", "--on", "H100", "-f", name).code == 0
    assert records("fit gpt2 --budget 1GiB -c 1k")[0]["on"] is None


def test_vllm_takes_the_defaults_of_the_hardware() -> None:
    """In flight are 2 x 2048 tokens on an A100, 2 x 8192 on an H100, 2 x 16384 on a B200."""
    spec = kvcalc.load("gemma-3-27b")
    question = kvcalc.parse_question({"engine": "vllm", "context": "32k", "batch": 1})
    reserved = {}
    for on in ("A100-SXM-80", "H100", "B200"):
        reserved[on] = kvcalc.fits(spec, question, kvcalc.parse_places([on], None, None, None)).answers[0].reserved
    assert reserved["H100"] == 11_248_599_040
    assert reserved["B200"] == 18_798_346_240
    assert reserved["A100-SXM-80"] is not None
    assert reserved["A100-SXM-80"] < reserved["H100"]


def test_a_budget_reads_as_it_adds_up() -> None:
    """No signs: what is taken is 'less', what is not there is 'missing'."""
    for words, last in (("-c 32k -b 1", "free"), ("-c 32k -b 20", "missing")):
        shown = run(f"fit llama-3.1-8b --on H100 --engine vllm {words} --reserve 1GiB").out
        lines = [line for line in shown.splitlines() if "GiB" in line or "MiB" in line][:7]
        names = [line.split("  ")[0] for line in lines if not line.startswith("Does")]
        assert names == [
            "memory", "less unused, 8%", "less set aside", "less weights", "left for the cache",
            f"less cache of {words.split()[-1]} x 32,768 tokens", last,
        ]  # fmt: skip
        numbers = [int(line.split()[-1].replace(",", "")) for line in lines]
        memory, unused, aside, weights, pool, cache, rest = numbers
        assert memory - unused - aside - weights == pool
        assert abs(pool - cache) == rest
    assert "missing for the weights" in run("fit llama-3.1-405b --on H100 -c 1k").out


def test_what_an_engine_refuses_is_left_out_of_several() -> None:
    """Falcon-7B has 71 heads: vLLM runs it on one device, and not on eight."""
    several = run("fit falcon-7b --on H100,8xH100 --engine vllm,paper -c 2k -f json")
    assert several.code == 0
    assert "vllm 0.33.0 on 8xH100-SXM is left out: vllm: 71 attention heads do not divide by --tp 8" in several.err
    assert [(row["engine"], row["on"]) for row in json.loads(several.out)] == [
        ("vllm", "1xH100-SXM"),
        ("paper", "1xH100-SXM"),
        ("paper", "8xH100-SXM"),
    ]
    assert_refused(quickly("fit", "falcon-7b", "--on", "8xH100", "--engine", "vllm"), "do not divide")
