"""Attention as an RNN (kexue.fm/archives/10017): what is kept instead of a cache, and what it then costs."""

from __future__ import annotations

from math import comb

import pytest

import kvcalc
from builders import heads, mla, model, value
from kvcalc.attention.reach import Full, Window
from kvcalc.model import Branch
from kvcalc.recompute import trades
from kvcalc.workload import Workload
from refusals import quickly


def told(spec: kvcalc.ModelSpec, workload: Workload) -> dict[tuple[str, str], int | float | None]:
    return {(trade.way, trade.quantity): trade.value for trade in trades(kvcalc.analyze(spec, workload))}


def test_the_working_state_of_the_post() -> None:
    """LLaMA-2-70B: 2*d*l is 1.3 M elements."""
    found = told(kvcalc.load("llama-2-70b"), Workload(4096))
    assert found["nothing stored", "working_elements"] == 2 * 8192 * 80 == 1_310_720


@pytest.mark.parametrize("batch", [1, 3])
def test_a_layer_counted_by_hand(batch: int) -> None:
    """Section 10 of the post's arithmetic: 2n*d*n_kv(d_k+d_v) + 2n*n_h(d_k+d_v) + q and o."""
    n, d, n_h, n_kv, d_k, d_v = 100, 64, 8, 2, 16, 24
    found = told(model(heads(n_h, n_kv, d_k, d_v)), Workload(n, batch=batch))
    step = 2 * n * d * n_kv * (d_k + d_v) + 2 * n * n_h * (d_k + d_v) + 2 * d * n_h * (d_k + d_v)
    assert found["inputs stored", "step_attention_flops"] == batch * step
    assert found["inputs stored", "input_elements"] == batch * n * d
    assert found["running state", "state_elements"] == batch * n_h * (d_v + 2)


def test_recomputing_costs_no_less_than_the_cache_and_more_with_every_token() -> None:
    spec = model(heads(8, 2, 16), mla())
    before = 0
    for n in (1, 10, 100, 1000):
        found = told(spec, Workload(n))
        step = found["inputs stored", "step_attention_flops"]
        whole = found["use_cache=False", "step_attention_flops"]
        assert isinstance(step, int)
        assert isinstance(whole, int)
        assert before < value(spec, "decode_attention_flops", Workload(n, mla_decode="naive")) <= step <= whole
        before = step


def test_without_a_cache_a_step_is_the_prefill() -> None:
    spec = model(heads(8, 2, 16))
    found = told(spec, Workload(50))
    assert found["use_cache=False", "step_attention_flops"] == value(spec, "prefill_attention_flops", Workload(50))


@pytest.mark.parametrize(("layers", "n"), [(1, 10), (2, 10), (3, 7), (12, 40)])
def test_leaves_are_counted_by_their_tree(layers: int, n: int) -> None:
    def leaves(layer: int, at: int) -> int:
        return 1 if layer == 0 else sum(leaves(layer - 1, j) for j in range(1, at + 1))

    found = told(model(*[heads(2, 2, 8)] * layers), Workload(n))["nothing stored", "leaf_evaluations"]
    assert found == comb(n + layers - 1, layers)
    if layers < 4:
        assert found == leaves(layers, n)


def test_a_window_recomputes_what_it_sees_alone() -> None:
    memory = heads(8, 2, 16)
    windowed, full = (told(model(Branch(memory, reach)), Workload(1000)) for reach in (Window(10), Full()))
    assert windowed["inputs stored", "input_elements"] == 10 * 64
    assert full["inputs stored", "input_elements"] == 1000 * 64


def test_it_is_shown_where_it_is_asked_for() -> None:
    assert "instead of a cache" not in quickly("show", "llama-2-7b").out
    shown = quickly("show", "llama-2-7b", "--recompute").out
    assert "C(n + l - 1, l)" in shown
    assert "kexue.fm/archives/10017" in shown
    rows = quickly("show", "deepseek-v2", "--recompute", "--format", "csv").out
    assert "running state" in rows
