"""Prediction layers: nothing unless asked for, then a layer more with its projection, norms, cache and logits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from builders import from_config, model, records
from kvcalc.analysis import analyze
from kvcalc.errors import ConfigError, KvcalcError
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.variants import Variant, rebuild
from kvcalc.workload import Workload
from screens import kvcalc

if TYPE_CHECKING:
    from pathlib import Path

V3 = next(record["config"] for record in records("sparse.jsonl") if record["id"] == "deepseek-v3")
FILE: dict[str, Any] = {
    "name": "tiny",
    "hidden_size": 64,
    "vocab_size": 100,
    "num_hidden_layers": 3,
    "tie_word_embeddings": False,
    "norm": "rmsnorm",
    "norms_per_layer": 2,
    "attention": {"kind": "heads", "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
    "mlp": {"kind": "dense", "intermediate_size": 128, "gated": True},
    "layers": {"local": {"sliding_window": 8}, "global": {}},
    "layer_pattern": ["local", "global", "local"],
}


def read(**more: Any) -> Any:
    return read_native(Document("tiny.yaml", {**FILE, **more}, dict))


def test_deepseek_v3_with_its_module() -> None:
    """671.03 B parameters, 682.64 B with the module; 576 elements a token more; two logits a step."""
    spec = from_config(V3)
    off, on = (analyze(spec, Workload(4096, mtp=word)) for word in ("off", "on"))
    layer = analyze(from_config({**V3, "num_hidden_layers": 62}), Workload(4096))
    assert off.value("parameters") == 671_026_404_352
    assert on.value("parameters") == (layer.value("parameters") or 0) + 2 * 7168**2 + 3 * 7168 == 682_636_472_320
    assert on.value("cache_elements_per_token") == 62 * 576
    for phase, tokens in (("decode", 1), ("prefill", 4096)):
        for part in ("core", "projection", "attention"):
            assert on.value(f"{phase}_{part}_flops") == layer.value(f"{phase}_{part}_flops")
        more = tokens * 4 * 7168**2 + 2 * 7168 * 129280
        assert on.value(f"{phase}_model_flops") == (layer.value(f"{phase}_model_flops") or 0) + more
    assert [row["mtp"] for row in (off.rows()[0], on.rows()[0])] == ["off", "on"]
    assert analyze(on.spec, Workload(4096, mtp="on")).scope == on.scope, "asked twice, they run once"


def test_off_changes_nothing_and_none_is_null() -> None:
    with_, without = from_config(V3), from_config({**V3, "num_nextn_predict_layers": 0})
    assert with_._replace(mtp=()) == without
    told, plain = (analyze(spec, Workload(100, generate_tokens=3)).rows()[0] for spec in (with_, without))
    assert {**told, "mtp": None} == plain
    assert analyze(model(), Workload(10, mtp="on")).rows()[0]["mtp"] is None


def test_a_named_kind_of_layer_predicts() -> None:
    last, named = read(mtp={"num_layers": 2}), read(mtp={"num_layers": 2, "layer": "global"})
    assert [group.indices for group in named.mtp] == [(3, 4)]
    n, row = 100, 2 * 2 * 16
    held = [analyze(spec, Workload(n, mtp="on")).value("cache_elements") for spec in (last, named)]
    assert held == [row * (n + 2 * 8 + 2 * 8), row * (n + 2 * 8 + 2 * n)]
    assert read(mtp={"num_layers": 0}) == read()
    with pytest.raises(ConfigError, match="did you mean global"):
        read(mtp={"num_layers": 1, "layer": "globl"})


def test_a_variant_rebuilds_them_too() -> None:
    rebuilt, _ = rebuild(read(mtp={"num_layers": 1}), Variant("mqa"))
    assert all(branch.memory.label == "MQA" for group in rebuilt.mtp for branch in group.layer.branches)


def test_the_option(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(V3))
    rows = json.loads(kvcalc("sweep --mtp off,on --context 1k --format json", str(file)).out)
    assert [(row["mtp"], row["layers"]) for row in rows] == [("off", 61), ("on", 62)]
    assert kvcalc("compare --mtp yes", str(file)).code == 2
    with pytest.raises(KvcalcError, match="mtp: unknown 'yes'"):
        Workload(1, mtp="yes").check()
