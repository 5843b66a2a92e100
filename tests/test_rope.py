"""The context a RoPE base supports: published tables, brute force, and what configs say."""

from __future__ import annotations

import json
from math import cos, exp, log, log1p, pi
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from builders import from_config, mla, model
from builders import heads as heads_of
from kvcalc.attention.reach import Chunk, Full, Window
from kvcalc.breaches import breaches_at
from kvcalc.least_base import _outward, least_base
from kvcalc.model import Branch
from kvcalc.rope import frequencies, scaled, supported_tokens, supports
from kvcalc.rotary import Rope, Scaling
from refusals import LLAMA, assert_refused, quickly, write

# arXiv:2405.14591 Table 2 and kexue.fm/archives/10122, by a finer grid and every m tested: the least base for d = 128.
LEAST = {1: 4293, 2: 11590, 4: 26950, 8: 83770, 16: 231600, 32: 630000, 64: 2090000, 128: 4869000}
FOUND = [(32, 630001.8658334046, 1e-4), (64, 2090261.9107769646, 1e-4), (128, 4869196.483472191, 1e-4)]
SU = {1: "4.3e+03", 2: "1.2e+04", 4: "2.7e+04"}
# What the paper's own rounded bases reach: rounding an optimum can lose it.
REACHED = {4.3e3: 1076, 1.6e4: 2723, 2.7e4: 4078, 8.4e4: 8591, 3.1e5: 12222, 6.4e5: 27684, 2.1e6: 77305, 7.8e6: 128914}


def b(m: int, thetas: list[float], still: float = 0) -> float:
    return still + sum(cos(m * theta) for theta in thetas)


@pytest.mark.parametrize(("base", "tokens"), REACHED.items())
def test_what_the_papers_bases_reach(base: float, tokens: int) -> None:
    assert supported_tokens(frequencies(base, 128)) == tokens


@pytest.mark.parametrize(
    ("base", "head_dim", "tokens"),
    [(1e4, 128, 1706), (5e5, 128, 18437), (1e6, 128, 27114), (1e7, 128, 144659), (1e4, 256, 2652), (1e6, 256, 71626),
     (1.5e5, 64, 2773), (1e4, 96, 1045), (1.2e4, 128, 1553), (11590, 128, 2048)],
)  # fmt: skip
def test_what_a_base_reaches(base: float, head_dim: int, tokens: int) -> None:
    reached = supported_tokens(frequencies(base, head_dim))
    assert reached is not None
    assert reached == tokens or (base == 11590 and reached >= tokens)


@pytest.mark.parametrize("k", [1, 2, 4, 8, 16])
def test_the_least_base_is_the_published_one(k: int) -> None:
    step = 2e-5
    found = least_base(k * 1024, 128, step)
    assert found is not None
    assert f"{found:.3e}" == f"{LEAST[k]:.3e}"
    assert k not in SU or f"{found:.1e}" == SU[k]
    reached = supported_tokens(frequencies(found, 128))
    assert reached is not None
    assert reached >= k * 1024
    before = supported_tokens(frequencies(found / (1 + step), 128))
    assert before is not None
    assert before < k * 1024, "the point of the grid before it fails"


@pytest.mark.parametrize(("k", "base", "step"), FOUND)
def test_what_longer_searches_found_supports_its_context_and_the_base_before_does_not(
    k: int, base: float, step: float
) -> None:
    reached, before = (supported_tokens(frequencies(one, 128)) for one in (base, base / (1 + step)))
    assert reached is not None
    assert before is not None
    assert before < k * 1024 <= reached
    assert f"{base:.2e}" == f"{LEAST[k]:.2e}"


@given(st.floats(20, 1e7), st.integers(1, 5000), st.sampled_from([4, 16, 64]), st.sampled_from([1e-2, 1e-3, 1e-4]))
def test_a_breach_lasts_as_long_as_it_is_said_to(base: float, m: int, d: int, step: float) -> None:
    grid = log1p(step)
    points = breaches_at(base, [2 * i / d for i in range(d // 2)], grid, 50).lasts(m)
    assert 0 <= points <= 50
    assert (points > 0) == (b(m, frequencies(base, d)) < 0)
    assert all(b(m, frequencies(base * exp(grid * k), d)) < 1e-9 for k in range(points))


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_all_distances_are_looked_through_from_any_outward(around: int, more: int) -> None:
    last = around + more - 1
    assert sorted(m for first, end in _outward(around, last) for m in range(first, end + 1)) == [*range(last + 1)]


def first_on_grid(context: int, d: int, step: float) -> float | None:
    """Every point of the grid, every distance: slow and plain."""
    for k in range(int(log(2000) / log(1 + step)) + 2):
        base = context / 2 * (1 + step) ** k
        if all(b(m, frequencies(base, d)) >= 0 for m in range(context + 1)):
            return base
    return None


@pytest.mark.parametrize(("context", "d"), [(16, 2), (16, 8), (40, 16), (64, 32), (100, 64)])
def test_the_search_skips_nothing(context: int, d: int) -> None:
    found, expected = least_base(context, d, 1e-2), first_on_grid(context, d, 1e-2)
    assert (found is None) == (expected is None) == (d == 2)
    assert found is None or found == pytest.approx(expected, rel=1e-9)


@given(st.floats(10, 1e6), st.sampled_from([4, 8, 16, 64]), st.integers(0, 6))
def test_no_distance_is_left_out(base: float, d: int, still: int) -> None:
    thetas, most = frequencies(base, d), 3000
    slow = next((m - 1 for m in range(most + 1) if b(m, thetas, still) < 0), None)
    assert supported_tokens(thetas, still, most) == slow


@given(st.floats(2, 1e8), st.integers(1, 32))
def test_half_a_head_rotated_holds_at_every_distance(base: float, pairs: int) -> None:
    """A pair that is not rotated adds 1, and one that is takes at most 1."""
    assert supported_tokens(frequencies(base, 2 * pairs), pairs, 2000) is None


def spec_with(rope: Rope, *branches: Any, limit: int = 131072) -> kvcalc.ModelSpec:
    return model(*branches)._replace(rope=rope, max_position_embeddings=limit)


def test_layers_are_told_by_kind() -> None:
    memory = heads_of(8, 8, 128)
    found = supports(spec_with(Rope(1e6, local_base=1e4), Branch(memory, Window(1024)), Branch(memory, Full())))
    assert [(one.base, one.needs_tokens, one.supported_tokens, one.broken) for one in found] == [
        (1e4, 1024, 1706, False),
        (1e6, 131072, 27114, True),
    ]
    chunked = supports(spec_with(Rope(5e5, full_layers=False), Branch(memory, Chunk(8192)), Branch(memory, Full())))
    assert [(one.needs_tokens, one.broken) for one in chunked] == [(8192, False)]


def test_latents_hold_at_every_distance_and_models_without_rope_say_nothing() -> None:
    (found,) = supports(spec_with(Rope(10), mla(d_r=64, d_n=128)))
    assert (found.rotated, found.head_dim, found.supported_tokens, found.broken) == (64, 192, None, False)
    assert supports(kvcalc.load("gpt2")) == []
    assert "RoPE" not in quickly("show", "gpt2").out


def test_scalings_are_those_of_their_papers() -> None:
    plain = frequencies(1e4, 64)
    halved = scaled(plain, 1e4, 64, Scaling("linear", 2))
    assert halved == [theta / 2 for theta in plain]
    reached, further = supported_tokens(plain), supported_tokens(halved)
    assert reached is not None
    assert further is not None
    assert abs(further - 2 * reached) <= 2
    for scaling in (Scaling("yarn", 4, 4096), Scaling("llama3", 8, 8192)):
        found = scaled(plain, 1e4, 64, scaling)
        assert found[0] == plain[0], "fast pairs are left alone"
        assert found[-1] == pytest.approx(plain[-1] / scaling.factor), "slow ones interpolated"
        assert all(after <= before for before, after in zip(plain, found, strict=True))
    turns = [8192 * theta / (2 * pi) for theta in plain]
    middle = next(at for at, turn in enumerate(turns) if 1 < turn < 4)
    smooth = (turns[middle] - 1) / 3
    expected = (1 - smooth) * plain[middle] / 8 + smooth * plain[middle]
    assert scaled(plain, 1e4, 64, Scaling("llama3", 8, 8192))[middle] == pytest.approx(expected)


def test_a_scaling_that_is_not_followed_is_named(tmp_path: Path) -> None:
    config = {**LLAMA, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "max_position_embeddings": 4096}
    told = quickly("show", write(tmp_path, "config.json", json.dumps(config))).out
    assert "dynamic, not taken into account" in told


@pytest.mark.parametrize(
    ("changes", "rope"),
    [
        ({}, Rope(1e4)),
        ({"rope_theta": 500000}, Rope(5e5)),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, Rope(5e5)),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, Rope(1e4, scaling=Scaling("linear", 2))),
        (
            {"rope_scaling": {"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 8192}},
            Rope(1e4, scaling=Scaling("llama3", 8, 8192)),
        ),
        ({"model_type": "glm"}, Rope(1e4, 0.5)),
        ({"model_type": "gpt_neox", "rotary_pct": 0.5, "rotary_emb_base": 2000}, Rope(2000, 0.5)),
        ({"model_type": "gpt2"}, None),
        ({"model_type": "mixtral"}, Rope(1e6)),
    ],
)
def test_configs_old_and_new(changes: dict[str, Any], rope: Rope | None) -> None:
    try:
        spec = from_config({**LLAMA, **changes})
    except kvcalc.ConfigError as error:
        pytest.skip(f"not read here: {error.message}")
    assert spec.rope == rope


@pytest.mark.parametrize("wrong", ["x", [1], True, -1, 1e13])
def test_a_base_that_is_none_is_refused_at_its_key(wrong: Any, tmp_path: Path) -> None:
    path = write(tmp_path, "config.json", json.dumps({**LLAMA, "rope_theta": wrong}))
    assert_refused(quickly("compare", path), "config.json:1:", "rope_theta")


def test_the_command_says_its_grid() -> None:
    assert "1,706" in quickly("rope", "--base", "10000").out
    found = quickly("rope", "--context", "1k", "--head-dim", "128")
    assert "grid of relative step 0.0001" in found.out
    row = json.loads(quickly("rope", "--base", "5e5", "--context", "32k", "--format", "json").out)[0]
    assert row == {
        "head_dim": 128, "context_tokens": 32768, "rope_base": 500000.0, "supported_tokens": 18437,
        "grid_step": None, "holds": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "a context or a base is needed"),
        (["--base", "10000", "--head-dim", "7"], "rotates pairs"),
        (["--base", "0.5"], "more than 1"),
        (["--base", "nan"], "more than 1"),
        (["--context", "8m"], "from 2 to 1,048,576"),
        (["--context", "1k", "--step", "0"], "from 1e-7"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(arguments: list[str], part: str) -> None:
    assert_refused(quickly("rope", *arguments), part)


def test_show_says_what_the_base_supports() -> None:
    facts = {
        fact.quantity: fact.value
        for fact in kvcalc.facts(kvcalc.analyze(kvcalc.load("llama-2-7b"), kvcalc.Workload(4096)))
        if fact.section == "rope"
    }
    assert (facts["rope_base"], facts["rope_claimed_tokens"], facts["rope_supported_tokens"]) == (1e4, 4096, 1706)
    assert "claims more than its base supports" in quickly("show", "llama-2-7b").out


WINDOWED = {**LLAMA, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 8, "vocab_size": 128}
SLIDING = ["sliding_attention"] * 3 + ["full_attention"]
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


@pytest.mark.parametrize(
    ("changes", "rope"),
    [  # as published: MiniMax-M2's elements that are rotated, MiMo-V2's base of the layers that slide
        ({"model_type": "minimax_m2", **EXPERTS, "rope_theta": 5e6, "rotary_dim": 8}, Rope(5e6, 0.5)),
        ({"model_type": "minimax_m2", **EXPERTS, "rope_theta": 5e6, "rotary_dim": 16}, Rope(5e6)),
        ({"model_type": "minimax_m2", **EXPERTS, "rotary_dim": 8, "partial_rotary_factor": 0.25}, Rope(5e6, 0.25)),
        (
            {"model_type": "mimo_v2_flash", "n_routed_experts": 4, "num_experts_per_tok": 2, "rope_theta": 4e6}
            | {"moe_intermediate_size": 32, "swa_rope_theta": 2e4, "v_head_dim": 16, "partial_rotary_factor": 0.5},
            Rope(4e6, 0.5, local_base=2e4),
        ),
        ({"model_type": "cohere2"}, Rope(10000, full_layers=False)),
        ({"model_type": "exaone4"}, Rope(10000, full_layers=False)),
        ({"model_type": "exaone4", "sliding_window": None, "layer_types": ["full_attention"] * 8}, Rope(10000)),
        ({"model_type": "flint", "layer_types": SLIDING * 2}, Rope(10000, full_layers=False)),
        ({"model_type": "kolibri1", "layer_types": SLIDING * 2}, Rope(10000, full_layers=False)),
        ({"model_type": "granite_swa", "layer_types": SLIDING * 2}, Rope(10000)),
        (
            {"model_type": "granite_swa", "layer_types": SLIDING * 2, "layer_rope_theta": [1e4, 1e4, 1e4, 0] * 2},
            Rope(10000, full_layers=False),
        ),
        (
            {"model_type": "granite_swa", "layer_types": SLIDING * 2, "layer_rope_theta": [1e4, 1e4, 1e4, 5e5] * 2},
            Rope(5e5, local_base=1e4),
        ),
        ({"model_type": "granite_swa", "layer_types": SLIDING * 2, "layer_rope_theta": [1e4, 1e5, 0, 5e5] * 2}, None),
        ({"model_type": "granite_swa", "layer_types": SLIDING * 2, "layer_rope_theta": [0] * 8}, None),
    ],
    ids=str,
)
def test_which_layers_rotate_and_how_much(changes: dict[str, Any], rope: Rope | None) -> None:
    """By modeling_<type>.py and configuration_<type>.py of Transformers 5.23."""
    assert from_config({**WINDOWED, **changes}).rope == rope
