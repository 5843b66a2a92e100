"""Laws that hold for every model, by construction."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from builders import heads, mla, model, value
from kvcalc.analysis import analyze
from kvcalc.attention.memory import Memory
from kvcalc.attention.reach import Chunk, Full, Reach, Window
from kvcalc.feedforward import Dense, Experts
from kvcalc.model import Branch, ModelSpec
from kvcalc.workload import Workload

CROSSOVER = "crossover_query_tokens"
SIZE = st.integers(1, 12)
TOKENS = st.integers(1, 300)
REACHES: st.SearchStrategy[Reach] = st.one_of(
    st.just(Full()),
    st.builds(lambda window, dilation: Window(window, dilation), st.integers(1, 200), st.integers(1, 4)),
    st.builds(lambda size: Chunk(size), st.integers(1, 200)),
)
HEADS = st.builds(lambda g, n_kv, k, v: heads(g * n_kv, n_kv, k, v), SIZE, SIZE, SIZE, SIZE)
LATENTS = st.builds(mla, SIZE, SIZE, st.integers(0, 8), SIZE, SIZE, st.integers(0, 8))
MEMORIES: st.SearchStrategy[Memory] = st.one_of(HEADS, LATENTS)
BRANCHES = st.builds(lambda memory, reach: Branch(memory, reach), MEMORIES, REACHES)
FEEDFORWARDS = st.one_of(
    st.builds(lambda w, gated, bias: Dense(w, gated, bias), SIZE, st.booleans(), st.booleans()),
    st.builds(lambda e, k, w, s: Experts(e + k, k, w, gated=True, shared_intermediate_size=s), SIZE, SIZE, SIZE, SIZE),
)
MODELS = st.builds(
    lambda branches, feedforward, tied: model(*branches, feedforward=feedforward, tied=tied),
    st.lists(BRANCHES, min_size=1, max_size=4),
    FEEDFORWARDS,
    st.booleans(),
)


def numbers(spec: ModelSpec, workload: Workload) -> dict[str, int]:
    report = analyze(spec, workload)
    return {key: report.scope[key] for key in report.quantities if key in report.scope}


@given(SIZE, SIZE, TOKENS)
def test_gqa_with_all_heads_is_mha(n_h: int, d_h: int, n: int) -> None:
    grouped = numbers(model(heads(n_h, n_h, d_h)), Workload(n))
    assert grouped["cache_elements_per_token"] == 2 * n_h * d_h
    assert grouped["decode_core_flops"] == 4 * n_h * d_h * n


@given(HEADS, REACHES, TOKENS)
def test_grouping_changes_memory_and_never_the_core(memory: Memory, reach: Reach, n: int) -> None:
    n_h, d_k, d_v = memory[0], memory[2], memory[3]  # type: ignore[index]  # the fields of Heads
    mqa = numbers(model(heads(n_h, 1, d_k, d_v), reach=reach), Workload(n))
    mha = numbers(model(heads(n_h, n_h, d_k, d_v), reach=reach), Workload(n))
    assert mqa["decode_core_flops"] == mha["decode_core_flops"]
    assert mqa["prefill_core_flops"] == mha["prefill_core_flops"]
    assert mqa["cache_elements"] * n_h == mha["cache_elements"]


def of_attention(spec: ModelSpec, n: int) -> dict[str, int]:
    """Its numbers but for those that only one kind of reach has."""
    found = numbers(spec, Workload(n))
    return {key: number for key, number in found.items() if key not in ("receptive_field_tokens", CROSSOVER)}


@given(MEMORIES, TOKENS, st.integers(0, 50))
def test_a_window_of_at_least_n_is_full_attention(memory: Memory, n: int, more: int) -> None:
    assert of_attention(model(memory, reach=Window(n + more)), n) == of_attention(model(memory), n)


@given(MEMORIES, TOKENS, st.integers(0, 50))
def test_a_chunk_of_at_least_n_is_full_attention(memory: Memory, n: int, more: int) -> None:
    assert of_attention(model(memory, reach=Chunk(n + more)), n) == of_attention(model(memory), n)


@given(MODELS, st.lists(st.integers(1, 80), min_size=1, max_size=5))
def test_chunks_of_a_prefill_add_up_to_the_whole(spec: ModelSpec, chunks: list[int]) -> None:
    """Core and projections of any chunks; absorbed, for naive MLA re-expands what is cached for each chunk."""
    whole = numbers(spec, Workload(sum(chunks), mla_prefill="absorbed"))
    for key in ("prefill_core_flops", "prefill_projection_flops"):
        done, total = 0, 0
        for chunk in chunks:
            done += chunk
            total += value(spec, key, Workload(done, cached_tokens=done - chunk, mla_prefill="absorbed"))
        assert total == whole[key]


@given(MEMORIES, st.integers(1, 40), st.integers(1, 5))
def test_chunks_of_the_window_itself_add_up(memory: Memory, window: int, times: int) -> None:
    spec = model(memory, reach=Window(window))
    parts = [
        value(spec, "prefill_core_flops", Workload(window * (i + 1), cached_tokens=window * i)) for i in range(times)
    ]
    assert sum(parts) == value(spec, "prefill_core_flops", Workload(window * times))


@given(MODELS, TOKENS)
def test_a_prefill_is_the_sum_of_its_decode_steps(spec: ModelSpec, n: int) -> None:
    n = min(n, 40)
    workload = Workload(n, mla_prefill="absorbed")
    steps = [numbers(spec, Workload(t)) for t in range(1, n + 1)]
    for part in ("core", "projection"):
        assert sum(step[f"decode_{part}_flops"] for step in steps) == value(spec, f"prefill_{part}_flops", workload)


@given(MODELS, st.integers(1, 60), st.integers(1, 20), st.booleans(), st.sampled_from(["absorbed", "naive"]))
def test_an_answer_is_the_sum_of_its_steps(spec: ModelSpec, n: int, answer: int, cache: bool, mode: str) -> None:
    def workload(tokens: int) -> Workload:
        return Workload(tokens, kv_cache=cache, mla_decode=mode, mla_prefill=mode)

    whole = numbers(spec, workload(n)._replace(generate_tokens=answer))
    steps = [numbers(spec, workload(n + t)) for t in range(1, answer + 1)]
    for part in ("core", "projection", "model"):
        assert whole[f"answer_{part}_flops"] == sum(step[f"decode_{part}_flops"] for step in steps)
        assert whole[f"last_step_{part}_flops"] == steps[-1][f"decode_{part}_flops"]


@given(MODELS, TOKENS)
def test_without_a_cache_a_step_costs_the_prefill_of_n_tokens(spec: ModelSpec, n: int) -> None:
    off = numbers(spec, Workload(n, kv_cache=False))
    on = numbers(spec, Workload(n))
    assert off["decode_model_flops"] == on["prefill_model_flops"]
    assert off["cache_bytes"] == off["decode_cache_read_bytes"] == 0


@given(MODELS, TOKENS, st.integers(2, 9))
def test_a_batch_multiplies_totals_and_nothing_per_token(spec: ModelSpec, n: int, batch: int) -> None:
    one, many = numbers(spec, Workload(n)), numbers(spec, Workload(n, batch=batch))
    for key, single in one.items():
        shared = key.endswith(("per_token", "_tokens")) or "parameters" in key or "weight" in key
        assert many[key] == (single if shared else batch * single)


@given(MODELS, st.integers(2, 200), st.integers(1, 199), st.integers(1, 6))
def test_a_shared_prefix_is_stored_and_computed_once(spec: ModelSpec, n: int, prefix: int, batch: int) -> None:
    assume(prefix < n)
    workload = Workload(n, batch=batch, shared_prefix_tokens=prefix, mla_prefill="absorbed")
    shared, apart, alone = numbers(spec, workload), numbers(spec, Workload(n, batch=batch)), numbers(spec, Workload(n))
    assert alone["cache_elements"] <= shared["cache_elements"] <= apart["cache_elements"]
    once = value(spec, "prefill_core_flops", Workload(prefix, mla_prefill="absorbed"))
    each = value(spec, "prefill_core_flops", Workload(n, cached_tokens=prefix, mla_prefill="absorbed"))
    assert shared["prefill_core_flops"] == once + batch * each
    if all(isinstance(b.reach, Full) for g in spec.groups for b in g.layer.branches):
        per_token = alone["cache_elements_per_token"]
        assert shared["cache_elements"] == per_token * (prefix + batch * (n - prefix))


@given(st.lists(BRANCHES, min_size=1, max_size=3), TOKENS)
def test_sharing_saves_capacity_and_never_traffic(branches: list[Branch], n: int) -> None:
    """Every layer twice: the second time reading the first one's cache, or its own."""
    shared = numbers(model(*(b._replace(shares_kv=s) for b in branches for s in (False, True))), Workload(n))
    owned = numbers(model(*(b for b in branches for _ in (0, 1))), Workload(n))
    assert shared["cache_elements"] * 2 == owned["cache_elements"]
    assert shared["decode_cache_read_bytes"] == owned["decode_cache_read_bytes"]
    assert shared["decode_core_flops"] == owned["decode_core_flops"]
    assert shared["decode_projection_flops"] < owned["decode_projection_flops"]
    assert shared["parameters"] < owned["parameters"]


@given(st.lists(BRANCHES, min_size=1, max_size=4), TOKENS)
def test_layers_add_up(branches: list[Branch], n: int) -> None:
    together = numbers(model(*branches), Workload(n))
    for key in ("cache_elements", "decode_core_flops", "prefill_projection_flops", "cache_elements_per_token"):
        assert together[key] == sum(value(model(branch), key, Workload(n)) for branch in branches)


@given(MODELS, TOKENS)
def test_the_cache_never_shrinks_but_at_a_chunks_edge(spec: ModelSpec, n: int) -> None:
    if not any(isinstance(b.reach, Chunk) for g in spec.groups for b in g.layer.branches):
        assert value(spec, "cache_elements", Workload(n)) <= value(spec, "cache_elements", Workload(n + 1))
    assert value(spec, "prefill_core_flops", Workload(n)) < value(spec, "prefill_core_flops", Workload(n + 1))


@given(LATENTS, st.integers(1, 400), st.integers(1, 400))
def test_the_crossover_is_where_absorbed_becomes_dearer(memory: Memory, cached: int, new: int) -> None:
    """Query tokens up to the crossover: absorbed needs no more FLOPs; beyond it: more."""
    spec = model(memory)
    crossover = analyze(spec, Workload(cached)).value("crossover_query_tokens")
    totals = {
        mode: sum(
            value(spec, f"prefill_{part}_flops", Workload(cached + new, cached_tokens=cached, mla_prefill=mode))
            for part in ("core", "projection")
        )
        for mode in ("absorbed", "naive")
    }
    assert (totals["absorbed"] <= totals["naive"]) is (crossover is None or new <= crossover)


@given(MODELS, TOKENS, st.sampled_from(["int4", "int6", "fp8", "fp32", "int1"]))
def test_bytes_are_bits_rounded_up_once(spec: ModelSpec, n: int, dtype: str) -> None:
    bits = {"int4": 4, "int6": 6, "fp8": 8, "fp32": 32, "int1": 1}[dtype]
    found = numbers(spec, Workload(n, dtype=dtype))
    assert found["cache_bytes"] == -(-found["cache_elements"] * bits // 8)
    assert found["cache_bytes_per_token"] == -(-found["cache_elements_per_token"] * bits // 8)


@given(HEADS, TOKENS)
def test_k_and_v_have_dtypes_of_their_own(memory: Memory, n: int) -> None:
    n_kv, d_k, d_v = memory[1], memory[2], memory[3]  # type: ignore[index]  # the fields of Heads
    found = numbers(model(memory), Workload(n, dtype_k="fp8", dtype_v="int4"))
    assert found["cache_bytes"] == -(-n * n_kv * (8 * d_k + 4 * d_v) // 8)


@given(MEMORIES)
def test_what_is_stored_is_what_the_formula_says(memory: Memory) -> None:
    from kvcalc.formula import parse

    stored = sum(parse(store.formula).evaluate(memory.symbols()) for store in memory.stores())
    assert parse(memory.elements_formula).evaluate(memory.symbols()) == stored


def test_the_crossover_is_that_of_latents_with_a_cache_and_full_reach() -> None:
    def crossover(spec: ModelSpec, workload: Workload) -> int | None:
        return analyze(spec, workload).value(CROSSOVER)

    latent = mla(d_c=512, d_r=64, d_n=128, d_v=128)
    assert crossover(model(latent), Workload(4096)) == 167
    assert crossover(model(latent, reach=Window(64)), Workload(4096)) is None
    assert crossover(model(latent), Workload(4096, kv_cache=False)) is None
    assert crossover(model(heads(4, 4, 16)), Workload(4096)) is None
    assert crossover(model(latent, heads(4, 4, 16)), Workload(4096)) is None


def test_experts_without_a_gate_have_two_matrices() -> None:
    """With biases, a router bias, a shared expert with its gate: counted by hand."""
    experts = Experts(
        5, 2, 24, gated=False, shared_intermediate_size=40, shared_gate=True, shared_bias=True, expert_bias=True,
        router_bias=True,
    )  # fmt: skip
    found = numbers(model(heads(2, 2, 8), hidden_size=16, vocab_size=1, feedforward=experts), Workload(1))
    plain = numbers(model(heads(2, 2, 8), hidden_size=16, vocab_size=1, feedforward=Dense(1, gated=False)), Workload(1))
    expert = 2 * 16 * 24 + 24 + 16
    shared = 2 * 16 * 40 + 40 + 16 + 16  # matrices, biases, the gate
    assert found["parameters"] - plain["parameters"] == 5 * expert + 16 * 5 + 5 + shared - 2 * 16
    assert found["parameters"] - found["active_parameters"] == 3 * expert
    flops = found["decode_model_flops"] - plain["decode_model_flops"]
    assert flops == 4 * 16 * 24 * 2 + 2 * 16 * 5 + 4 * 16 * 40 + 2 * 16 - 4 * 16


@given(MODELS, TOKENS)
def test_active_parameters_leave_out_unvisited_experts_alone(spec: ModelSpec, n: int) -> None:
    found = numbers(spec, Workload(n))
    idle = 0
    for group in spec.groups:
        if isinstance(experts := group.layer.feedforward, Experts):
            unvisited = experts.num_experts - experts.num_experts_per_tok
            idle += group.layers * unvisited * 3 * spec.hidden_size * experts.moe_intermediate_size
    assert found["parameters"] - found["active_parameters"] == idle
