"""Laws that hold for models of every memory and reach; those of heads and latents alone are in test_laws.py."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import heads, mla, model
from kvcalc.analysis import analyze
from kvcalc.attention.blocks import Pooled, Pools, Selected, Strided
from kvcalc.attention.grouped import GroupedLatent
from kvcalc.attention.linear import Linear
from kvcalc.attention.memory import Memory
from kvcalc.attention.reach import Full, Reach, Window
from kvcalc.attention.selection import Compressed, Top
from kvcalc.attention.xlstm import Mlstm
from kvcalc.model import ModelSpec
from kvcalc.workload import Workload
from second.compare import read
from second.models import document

SEEDS = st.integers(0, 10**9)
ABSORBED: dict[str, Any] = {"mla_decode": "absorbed", "mla_prefill": "absorbed"}


def made(seed: int) -> tuple[dict[str, Any], ModelSpec]:
    """A random model as its document and as kvcalc reads it."""
    told = document(Random(seed))  # noqa: S311  # any seed will do
    return told, read(told)


def numbers(spec: ModelSpec, workload: Workload) -> dict[str, int]:
    report = analyze(spec, workload)
    return {key: report.scope[key] for key in report.quantities if key in report.scope}


@given(SEEDS, st.lists(st.integers(1, 25), min_size=1, max_size=4))
@settings(max_examples=40)
def test_chunks_of_a_prefill_add_up(seed: int, chunks: list[int]) -> None:
    """The core; latents are expanded again for every chunk. An encoder runs with the first."""
    _, spec = made(seed)
    done, total = 0, 0
    for chunk in chunks:
        done += chunk
        total += numbers(spec, Workload(done, cached_tokens=done - chunk, encoder_tokens=5))["prefill_core_flops"]
    assert total == numbers(spec, Workload(done, encoder_tokens=5))["prefill_core_flops"]


@given(SEEDS, st.integers(1, 60))
@settings(max_examples=40)
def test_a_step_is_a_prefill_of_one_token(seed: int, n: int) -> None:
    """Of the core; what a step expands is what it reads."""
    _, spec = made(seed)
    found = numbers(spec, Workload(n, cached_tokens=n - 1, encoder_tokens=5, **ABSORBED))
    if n > 1:
        assert found["decode_core_flops"] == found["prefill_core_flops"]


@given(SEEDS, st.integers(1, 60), st.integers(2, 9))
@settings(max_examples=40)
def test_a_batch_multiplies_totals(seed: int, n: int, batch: int) -> None:
    _, spec = made(seed)
    load = Workload(n, generate_tokens=3, state_dtype="bf16", encoder_tokens=5)
    one, many = numbers(spec, load), numbers(spec, load._replace(batch=batch))
    for key, single in one.items():
        alone = key.endswith(("per_token", "_tokens")) or "parameters" in key or "weight" in key
        assert many[key] == (single if alone else batch * single), key


@given(SEEDS, st.integers(1, 60))
@settings(max_examples=40)
def test_twice_the_layers_are_twice_what_layers_have(seed: int, n: int) -> None:
    told, spec = made(seed)
    if told.get("layer_types"):
        more = told | {"layer_types": told["layer_types"] * 2, "num_hidden_layers": 2 * told["num_hidden_layers"]}
        load = Workload(n, encoder_tokens=5, **ABSORBED)
        one, two = numbers(spec, load), numbers(read(more), load)
        for key in ("cache_elements", "cache_elements_per_token", "state_elements", "decode_core_flops"):
            assert two[key] == 2 * one[key], key
        if spec.encoder is None:
            for key in ("prefill_core_flops", "prefill_projection_flops"):
                assert two[key] == 2 * one[key], key


@given(SEEDS, st.integers(1, 60), st.integers(0, 30))
@settings(max_examples=40)
def test_more_is_never_less(seed: int, n: int, more: int) -> None:
    """A longer prompt, a longer answer, a wider dtype, a longer input of the encoder."""
    _, spec = made(seed)
    load = Workload(n, generate_tokens=2, encoder_tokens=5, **ABSORBED)
    one, longer = numbers(spec, load), numbers(spec, load._replace(context_tokens=n + more))
    for key in ("prefill_core_flops", "prefill_projection_flops", "prefill_model_flops", "answer_projection_flops"):
        assert one[key] <= longer[key], key
    assert one["answer_model_flops"] <= numbers(spec, load._replace(generate_tokens=2 + more))["answer_model_flops"]
    widths = [numbers(spec, load._replace(dtype=dtype)) for dtype in ("int4", "fp8", "bf16", "fp32")]
    for key in ("cache_bytes", "cache_bytes_per_token", "decode_cache_read_bytes", "answer_cache_bytes"):
        assert [told[key] for told in widths] == sorted(told[key] for told in widths), key
    wider = numbers(spec, load._replace(encoder_tokens=5 + more))
    for key in ("cache_bytes", "decode_core_flops", "prefill_model_flops"):
        assert one[key] <= wider[key], key


# ---------------------------------------------------------------- what coincides

ATTENTION = (
    *("cache_elements", "cache_bytes", "decode_core_flops", "decode_projection_flops", "prefill_core_flops"),
    *("prefill_projection_flops", "decode_cache_read_bytes", "parameters", "last_step_core_flops", "answer_core_flops"),
)


def alike(one: ModelSpec, other: ModelSpec, n: int, **words: Any) -> None:
    """All numbers of attention are the same."""
    load = Workload(n, batch=3, generate_tokens=2, **words)
    left, right = numbers(one, load), numbers(other, load)
    for key in ATTENTION:
        assert left[key] == right[key], key


@pytest.mark.parametrize("memory", [heads(4, 2, 8), mla()])
@given(n=st.integers(1, 40), kv_cache=st.booleans())
@settings(max_examples=20)
def test_reaches_that_leave_nothing_out_are_full(memory: Memory, n: int, kv_cache: bool) -> None:
    reaches: tuple[Reach, ...] = (
        *(Top(n + 2), Selected(n + 2, 1), Selected(1, n + 2), Compressed(1), Compressed(1, n + 2), Strided(1, 1)),
        *(Pools(1, n + 2), Pools(n + 3, 1), Pooled(1), Window(n + 2, 1)),
    )
    for reach in reaches:
        alike(model(memory, reach=reach), model(memory, reach=Full()), n, kv_cache=kv_cache)


@given(st.integers(1, 50), st.integers(1, 12), st.integers(1, 40))
@settings(max_examples=30)
def test_a_dilated_window_of_one_key_is_a_window_of_one_key(dilation: int, width: int, n: int) -> None:
    memory = heads(4, 2, width)
    one, other = (numbers(model(memory, reach=Window(1, step)), Workload(n)) for step in (dilation, 1))
    assert one["cache_elements"] == other["cache_elements"]
    assert one["prefill_core_flops"] == other["prefill_core_flops"]


@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 5), st.integers(1, 8), st.integers(1, 8))
@settings(max_examples=30)
def test_one_grouped_latent_is_mla(n_h: int, d_c: int, d_r: int, d_n: int, d_v: int) -> None:
    grouped = GroupedLatent(n_h, 1, d_c, d_r, d_n, d_v)
    for mode in ("absorbed", "naive"):
        alike(model(grouped), model(mla(n_h, d_c, d_r, d_n, d_v)), 17, mla_decode=mode, mla_prefill=mode)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.integers(1, 40))
@settings(max_examples=30)
def test_an_mlstm_is_linear_attention_with_a_normaliser(n_h: int, d_k: int, d_v: int, n: int) -> None:
    """Written and read beside the matrix; and a number a head, the maximum."""
    left, right = (
        numbers(model(memory), Workload(n)) for memory in (Mlstm(n_h, d_k, d_v), Linear(n_h, d_k, d_v, norm="full"))
    )
    assert left["decode_core_flops"] - right["decode_core_flops"] == 4 * n_h * d_k
    assert left["state_elements"] - right["state_elements"] == n_h * (d_k + 1)


@given(st.sampled_from((1, 2, 4, 8)), st.sampled_from((1, 2, 8)), st.integers(1, 5000), st.integers(1, 4))
@settings(max_examples=30)
def test_more_ranks_never_reserve_more_on_each(n_kv: int, tp: int, n: int, batch: int) -> None:
    """Of heads alone; and all of them together never less than the model needs."""
    spec = model(*[heads(32, n_kv, 64)] * 3)
    for engine in ("vllm", "sglang", "tensorrt-llm"):
        load = Workload(n, batch=batch, engine=engine)
        told = [numbers(spec, load._replace(tensor_parallel=ranks)) for ranks in (tp, 2 * tp)]
        assert told[1]["reserved_bytes"] <= told[0]["reserved_bytes"]
        assert told[1]["reserved_bytes_total"] >= told[0]["reserved_bytes_total"] >= told[0]["cache_bytes"]


def test_latents_as_wide_as_what_they_expand_to_have_no_crossover() -> None:
    """Absorbed scores are then no wider: 2*d_c = d_n + d_v."""
    for memory in (mla(4, 8, 2, 9, 7), GroupedLatent(4, 2, 8, 2, 9, 7)):
        assert "crossover_query_tokens" not in numbers(model(memory), Workload(100))
    assert numbers(model(mla(4, 8, 2, 9, 6)), Workload(100))["crossover_query_tokens"] > 0
