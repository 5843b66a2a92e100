"""Low-rank and tied heads: each against the kind that it becomes at its limits, and against formulas of its own."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import heads, model
from kvcalc.analysis import analyze
from kvcalc.attention.compressed import SharedKv
from kvcalc.attention.custom import Custom
from kvcalc.attention.factored import Gta, Mfa, Tpa
from kvcalc.attention.grouped import GroupedLatent
from kvcalc.attention.latent import Latent
from kvcalc.attention.memory import Memory
from kvcalc.workload import Workload

SIZE = st.integers(1, 12)
NUMBERS = ("cache_bytes", "parameters", "decode_core_flops", "decode_projection_flops", "prefill_attention_flops")
WORKLOADS = [Workload(n, mla_decode=m, mla_prefill=m) for n in (1, 37) for m in ("absorbed", "naive")]


def numbers(memory: Memory, keys: tuple[str, ...] = NUMBERS) -> list[list[int | None]]:
    spec = model(memory)
    return [[analyze(spec, workload).value(key) for key in keys] for workload in WORKLOADS]


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE, SIZE, SIZE, st.integers(0, 9))
def test_one_latent_of_grouped_latent_attention_is_mla(
    n_h: int, d_c: int, d_r: int, d_n: int, d_v: int, q: int
) -> None:
    assert numbers(GroupedLatent(n_h, 1, d_c, d_r, d_n, d_v, q)) == numbers(Latent(n_h, d_c, d_r, d_n, d_v, q))


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE, st.integers(2, 4))
def test_more_latents_cost_memory_and_their_projection_alone(n_h: int, d_c: int, d_r: int, latents: int) -> None:
    one, more = (numbers(GroupedLatent(n_h, n, d_c, d_r, 5, 7)) for n in (1, latents))
    for workload, before, after in zip(WORKLOADS, one, more, strict=True):
        n, extra = workload.context_tokens, (latents - 1) * d_c
        assert after[0] == (before[0] or 0) + 2 * n * extra
        assert after[1] == (before[1] or 0) + 64 * extra + extra
        assert after[2] == before[2], "a head attends over the one latent of its group"
        assert after[3] == (before[3] or 0) + 2 * 64 * extra


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE)
def test_multi_matrix_factorization_is_mqa_behind_a_rank(n_h: int, d_h: int, d_q: int) -> None:
    mqa, mfa = numbers(heads(n_h, 1, d_h)), numbers(Mfa(n_h, d_h, d_q))
    more = 64 * d_q + d_q * n_h * d_h - 64 * n_h * d_h
    for before, after in zip(mqa, mfa, strict=True):
        assert after[0] == before[0]
        assert after[1] == (before[1] or 0) + more
        assert after[2] == before[2]
        assert after[3] == (before[3] or 0) + 2 * more


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE)
def test_key_reuse_halves_the_cache_and_makes_v_of_every_key_or_of_every_head(n_h: int, d_h: int, d_q: int) -> None:
    plain, reused = (model(Mfa(n_h, d_h, d_q, reuse)) for reuse in (False, True))
    for workload in WORKLOADS:
        before, after = analyze(plain, workload), analyze(reused, workload)
        assert 2 * (after.value("cache_bytes") or 0) == before.value("cache_bytes")
        times = workload.context_tokens if workload.mla_decode == "naive" else n_h
        made = 2 * times * d_h * d_h - 2 * 64 * d_h
        assert after.value("decode_attention_flops") == (before.value("decode_attention_flops") or 0) + made


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE, SIZE)
def test_a_tied_state_is_half_of_gqa_and_a_rope_key(n_kv: int, group: int, d_h: int, d_r: int) -> None:
    gqa, tied = (numbers(memory) for memory in (heads(n_kv * group, n_kv, d_h), Gta(n_kv * group, n_kv, d_h, d_r)))
    for workload, before, after in zip(WORKLOADS, gqa, tied, strict=True):
        assert after[0] == (before[0] or 0) // 2 + 2 * workload.context_tokens * d_r
        assert after[1] == (before[1] or 0) - 64 * n_kv * d_h + 64 * d_r
        assert after[2] == before[2]


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE)
def test_one_vector_for_k_and_v_is_half_of_mqa(n_h: int, d_h: int, rank: int) -> None:
    mqa, shared = numbers(heads(n_h, 1, d_h)), numbers(SharedKv(n_h, d_h, rank))
    for before, after in zip(mqa, shared, strict=True):
        assert 2 * (after[0] or 0) == before[0]
        assert after[2] == before[2]


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE, SIZE, SIZE)
def test_tpa_absorbed_is_the_custom_example_of_the_readme(n_h: int, d_h: int, r_q: int, r_k: int, r_v: int) -> None:
    symbols = {"n_h": n_h, "d_h": d_h, "r_q": r_q, "r_k": r_k, "r_v": r_v}
    custom = Custom(
        "(r_k + r_v)*(n_h + d_h)",
        "2*r_q*r_k*d_h + 2*n_h*r_q*r_k + 2*n_h*r_v*d_h",
        "2*d*(r_q + r_k + r_v)*(n_h + d_h) + 2*n_h*d_h*d",
        "d*(r_q + r_k + r_v)*(n_h + d_h) + n_h*d_h*d",
        tuple(symbols.items()),
    )
    workload = Workload(37, mla_prefill="absorbed")
    ours, theirs = (analyze(model(memory), workload) for memory in (Tpa(n_h, d_h, r_k, r_v, r_q), custom))
    for key in NUMBERS:
        assert ours.value(key) == theirs.value(key), key


@settings(max_examples=20)
@given(SIZE, SIZE, SIZE, SIZE)
def test_tpa_naive_attends_as_mha_over_what_it_expands(n_h: int, d_h: int, r_k: int, r_v: int) -> None:
    n = 37
    report = analyze(model(Tpa(n_h, d_h, r_k, r_v)), Workload(n, mla_decode="naive"))
    mha = analyze(model(heads(n_h, n_h, d_h)), Workload(n))
    assert report.value("decode_core_flops") == mha.value("decode_core_flops")
    projections: Any = 2 * 64 * n_h * d_h * 2 + 2 * 64 * (r_k + r_v) * (n_h + d_h)
    assert report.value("decode_projection_flops") == projections + n * 2 * n_h * (r_k + r_v) * d_h
