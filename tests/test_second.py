"""kvcalc against the second derivation of second/: a short run, and by name what the long one found."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from kvcalc.analysis import analyze
from kvcalc.attention.kinds import MEMORIES, REACHES
from kvcalc.engines import engine_of
from kvcalc.storage import read_once_bytes
from second import compare, models
from second.__main__ import SERVED, Run
from second.totals import Load, Model

PLAIN: dict[str, Any] = {
    "name": "plain",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "vocab_size": 11,
    "tie_word_embeddings": True,
    "norm": "rmsnorm",
    "norms_per_layer": 2,
    "mlp": {"kind": "dense", "intermediate_size": 16, "gated": True},
}
LATENT = {
    "kind": "mla",
    "num_attention_heads": 3,
    "kv_lora_rank": 5,
    "qk_rope_head_dim": 2,
    "qk_nope_head_dim": 4,
    "v_head_dim": 3,
}


def agree(made: dict[str, Any], load: Load) -> None:
    """Both derivations have the same numbers."""
    assert compare.differences(made, load, Model(made, load).numbers()) == {}


def test_a_hundred_random_models() -> None:
    run = Run()
    assert [found for seed in range(100) if (found := run.one(seed))] == []
    assert run.counts["models"] == 100


def test_servers() -> None:
    run = Run()
    assert [found for seed in range(0, 1000, SERVED) if (found := run.one(seed))] == []
    assert run.counts["refused by both"] < 60


def test_every_memory_with_every_reach() -> None:
    assert {*models.REACHES, *models.BOTH_WAYS, "encoder"} == set(REACHES)
    rng = Random(1)  # noqa: S311  # any seed will do
    for kind in MEMORIES:
        one = models.memory(rng, kind) | ({"carries_query": True} if kind == "nsa" else {})
        for reach in (*models.REACHES, "encoder"):
            agree(PLAIN | {"attention": one | {"reach": models.reach(rng, reach)}}, models.load(rng, PLAIN))


def test_a_shared_prefix_is_read_once_at_the_least() -> None:
    """What a roofline counts as moved, of models of every kind."""
    for seed in range(60):
        rng = Random(seed)  # noqa: S311  # any seed will do
        made = models.document(rng)
        load = models.load(rng, made)._replace(kv_cache=True, library=False, mtp=False)
        spec, asked = compare.read(made), compare.workload(load)
        scope = analyze(spec, asked).scope
        told = read_once_bytes(spec, asked, engine_of("paper")).evaluate(scope)
        assert told == Model(made, load).read_at_least(), seed
        assert told <= scope["decode_cache_read_bytes"]


# ---------------------------------------------------------------- what it found


@pytest.mark.parametrize(
    "reach",
    [
        {"kind": "compressed", "compress_rate": 3},
        {"kind": "compressed", "compress_rate": 3, "top_k": 2},
        {"kind": "strided", "block_size": 4, "stride": 2},
        {"kind": "overlap", "compress_rate": 3},
        {"kind": "encoder"},
    ],
)
def test_without_a_cache_a_step_expands_rows_and_not_tokens(reach: dict[str, Any]) -> None:
    """Naive latents whose rows are fewer than the tokens, or an encoder's."""
    load = Load(17, answer=5, kv_cache=False, encoder_tokens=4)
    made = PLAIN | {"attention": LATENT | {"reach": reach}}
    agree(made, load)
    numbers = Model(made, load).numbers()
    assert numbers["decode_model_flops"] == numbers["prefill_model_flops"]


def test_a_layer_that_shares_makes_no_k_and_v_of_its_own() -> None:
    """CCA's matrices and biases of K and V."""
    one = {"kind": "cca", "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "bias": True}
    one |= {"depthwise_kernel": 3, "grouped_kernel": 2}
    layers = {"own": {"attention": one}, "again": {"attention": one, "shares_kv": True}}
    agree(PLAIN | {"layers": layers, "layer_types": ["own", "again"]}, Load(9))


def test_lm_head_of_another_width_is_projected_to() -> None:
    """Where the embedding is as wide as the model."""
    attention = {"kind": "heads", "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
    made = PLAIN | {"attention": attention, "lm_head_proj_dim": 5, "tie_word_embeddings": False}
    agree(made, Load(9))


def test_kinds_of_layers_take_nothing_from_the_top_too() -> None:
    """No MLP, or no attention, above them all."""
    attention = {"kind": "heads", "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
    layers: dict[str, Any] = {"a": {"attention": attention}, "b": {"mlp": {**PLAIN["mlp"]}}}
    agree(PLAIN | {"mlp": None, "attention": None, "layers": layers, "layer_types": ["a", "b"]}, Load(9))
