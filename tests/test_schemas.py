"""JSON Schemas: valid themselves, as committed, and of one mind with the reader about the shape of a file."""

from __future__ import annotations

import copy
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # noqa: TID253  # a test, not a start
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import ValidationError  # noqa: TID253  # a test, not a start

import kvcalc
from kvcalc.errors import KvcalcError
from kvcalc.glossary import MEANINGS
from kvcalc.readers.schema import ModelFile
from kvcalc.readers.text import read_documents
from refusals import BAD, quickly, write
from screens import NATIVE, records
from screens import kvcalc as command

CONFIGS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs")
COMMITTED = {
    "config": "kvcalc.schema.json",
    "budget": "kvcalc-budget.schema.json",
    "hardware": "kvcalc-hardware.schema.json",
    "rows": "kvcalc-rows.schema.json",
}
HEADER = "# yaml-language-server: $schema=kvcalc.schema.json"
FORMULA = "what a formula means and gives is arithmetic"
RELATION = "two numbers are compared, and JSON Schema compares none"
ORDER = "names in one list are those of another mapping, as many as a number says"
TOGETHER = "fields that need or exclude each other, null being absent: the reader says which at its place"
LAWS = {  # native files of tests/bad that a schema cannot tell from good ones, and why
    "custom_attribute": FORMULA,
    "gate_of_no_query_latent": "a gate that needs another field",
    "custom_caret": FORMULA,
    "custom_deep": FORMULA,
    "custom_division_by_zero": FORMULA,
    "custom_huge": FORMULA,
    "custom_inexact_division": FORMULA,
    "custom_long": FORMULA,
    "custom_negative": FORMULA,
    "custom_python": FORMULA,
    "custom_reserved_symbol": FORMULA,
    "custom_tower": FORMULA,
    "custom_unclosed": FORMULA,
    "custom_unknown_symbol": FORMULA,
    "experts_fewer_than_visited": RELATION,
    "heads_fewer_than_kv": RELATION,
    "heads_not_divisible": RELATION,
    "shared_layers_all": RELATION,
    "layer_pattern_empty": ORDER,
    "layer_pattern_too_long": ORDER,
    "layer_types_unknown": ORDER,
    "layer_types_wrong_length": ORDER,
    "shares_nothing": ORDER,
    "dilation_without_window": TOGETHER,
    "encoder_that_nothing_reads": TOGETHER,
    "layer_types_and_pattern": TOGETHER,
    "layers_without_order": TOGETHER,
    "missing_attention": TOGETHER,
    "missing_mlp": TOGETHER,
    "window_and_chunk": TOGETHER,
}
MODEL = yaml.safe_load(
    NATIVE
    + """
source: mine
sliding_window: null
dilation: 2
layers:
  a: {attention: {kind: mla, num_attention_heads: 2, kv_lora_rank: 8, qk_rope_head_dim: 0, qk_nope_head_dim: 4,
    v_head_dim: 4}}
  b: {mlp: {kind: moe, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 8, gated: true}}
  c: {attention: {kind: custom, name: c, symbols: {r: 2, d_h^R: 3, d_c': 4}, elements_per_token: 2*r,
    work_per_pair: 0, work_per_token: r, parameters: 10}, attention_chunk_size: 4}
layer_pattern: [a, b, c x2]
"""
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 7, 0.5, 10**9, 10**9 + 1, 10**12, [], {}, [1], ["q", "v"], ["q", "z"]),
    *("", "x", "2*r", "=1+1", " x", "-1", "a b", "\x1b[0m", "x" * 501, "per_head", "heads", "mla", "dense"),
    *({"kind": "heads"}, {"x": 1}),
)
KEYS = ("x", "bias", "sliding_window", "kind", "final_norm", "q_lora_rank", "=1", "é", "layers")


@cache
def validator(of: str) -> Draft7Validator:
    return Draft7Validator(kvcalc.json_schema(of))


def problems(of: str, data: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(of).iter_errors(data)]


def words(schema: Any, word: str) -> list[Any]:
    """Every value of a word of JSON Schema."""
    if isinstance(schema, list):
        return [found for inner in schema for found in words(inner, word)]
    if not isinstance(schema, dict):
        return []
    own = [schema[word]] if word in schema else []
    return own + [found for inner in schema.values() for found in words(inner, word)]


# ---------------------------------------------------------------- the schemas themselves


@pytest.mark.parametrize("of", COMMITTED)
def test_a_schema_is_draft_7_and_committed_as_printed(of: str) -> None:
    schema = kvcalc.json_schema(of)
    Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert set(words(schema, "$ref")) == {f"#/definitions/{name}" for name in schema.get("definitions", {})}
    with open(os.path.join(CONFIGS, COMMITTED[of]), encoding="utf-8") as file:
        assert command(f"schema {of}").out == file.read(), f"run: kvcalc schema {of} -o configs/{COMMITTED[of]}"


def test_there_is_no_other_schema() -> None:
    with pytest.raises(KvcalcError, match="no schema of 'row'"):
        kvcalc.json_schema("row")
    result = quickly("schema", "row")
    assert (result.code, result.out) == (2, "")


def test_the_default_is_the_schema_of_configs() -> None:
    assert quickly("schema").out == quickly("schema", "config").out


def test_every_field_has_words_for_an_editor() -> None:
    for of in COMMITTED:
        for properties in words(kvcalc.json_schema(of), "properties"):
            assert [name for name, field in properties.items() if not field.get("description")] == []


def test_patterns_mean_the_same_in_javascript() -> None:
    patterns = {*words(kvcalc.json_schema("config"), "pattern")}
    patterns |= {key for inner in words(kvcalc.json_schema("config"), "patternProperties") for key in inner}
    assert len(patterns) >= 3
    for pattern in patterns:
        assert not re.search(r"\(\?|\\[AZzpPhHRQGK]|\[\[:|[*+?}]\+", pattern), "only what Python, Rust and ECMA share"


# ---------------------------------------------------------------- configs


@pytest.mark.parametrize("name", sorted(name for name in os.listdir(CONFIGS) if name.endswith(".yaml")))
def test_a_bundled_config_names_the_schema_and_keeps_it(name: str) -> None:
    path = os.path.join(CONFIGS, name)
    with open(path, encoding="utf-8") as file:
        assert file.readline().rstrip("\n") == HEADER
    (document,) = read_documents(path)
    assert problems("config", document.data) == []


@pytest.mark.parametrize("name", sorted(name for name in os.listdir(BAD) if not name.startswith("hf_")))
def test_a_bad_config_breaks_the_schema_or_a_law_beyond_it(name: str) -> None:
    try:
        documents = read_documents(os.path.join(BAD, name))
    except KvcalcError:
        return  # no data at all, or data that YAML readers disagree about
    broken = [document for document in documents if problems("config", document.data)]
    assert bool(broken) is (name.removesuffix(".yaml") not in LAWS)


def test_every_law_beyond_the_schema_has_its_file() -> None:
    assert {f"{law}.yaml" for law in LAWS} <= set(os.listdir(BAD))


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, value in inner for place in [(*at, key), *places(value, (*at, key))]]


def accepted(data: Any) -> bool:
    try:
        ModelFile.model_validate(data)
    except ValidationError:
        return False
    return True


@given(place=st.sampled_from(places(MODEL)), change=st.sampled_from(("value", "key", "gone")), data=st.data())
def test_reader_and_schema_agree_on_every_shape(place: tuple[Any, ...], change: str, data: st.DataObject) -> None:
    changed = copy.deepcopy(MODEL)
    holder = changed
    for step in place[:-1]:
        holder = holder[step]
    if change == "value":
        holder[place[-1]] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    elif change == "gone":
        del holder[place[-1]]
    elif isinstance(holder, dict):
        holder[data.draw(st.sampled_from(KEYS))] = holder.pop(place[-1])
    assert accepted(changed) is (problems("config", changed) == []), problems("config", changed)


# ---------------------------------------------------------------- budgets

BUDGET = """
budgets:
  - model: llama-*
    metric: cache_bytes
    workload: {context: 128k, batch: 8, dtype: fp8, kv_cache: on, mla_decode: absorbed}
    max: 40 GiB
    min: 0
    max_increase: 5%
    name: a card
    reason: one card
  - {model: "*", metric: decode_intensity, workload: {context: 8192}, min: 0.5}
ignore:
  - {code: KV105, model: gemma-*, reason: published so}
"""
WRONG = (
    ("cache_bytes", "cache_byte"),
    ("cache_bytes", "model"),
    ("max: 40 GiB", "maximum: 40 GiB"),
    ("max: 40 GiB", "max: [40]"),
    ("max: 40 GiB", "max: true"),
    ("context: 128k", "contexts: 128k"),
    ("context: 128k", "context: {a: 1}"),
    ("kv_cache: on", "kv_cache: maybe"),
    ("  - model: llama-*\n    metric", "  - metric"),
    ("model: llama-*", "model: ''"),
    ("a card", "=a card"),
    ("budgets:", "budget:"),
    ("code: KV105, ", ""),
)


def test_a_good_budget_keeps_the_schema(tmp_path: Path) -> None:
    path = write(tmp_path, "budget.yaml", BUDGET)
    assert len(kvcalc.read_budgets(path).budgets) == 4
    (document,) = read_documents(path)
    assert problems("budget", document.data) == []


@pytest.mark.parametrize(("right", "wrong"), WRONG)
def test_a_bad_budget_breaks_the_schema_and_the_reader(right: str, wrong: str, tmp_path: Path) -> None:
    assert right in BUDGET
    path = write(tmp_path, "budget.yaml", BUDGET.replace(right, wrong, 1))
    (document,) = read_documents(path)
    assert problems("budget", document.data)
    with pytest.raises(KvcalcError):
        kvcalc.read_budgets(path)


# ---------------------------------------------------------------- rows


def test_rows_are_the_keys_each_with_its_meaning() -> None:
    item = kvcalc.json_schema("rows")["items"]
    assert list(item["properties"]) == list(kvcalc.KEYS) == list(MEANINGS)
    assert item["required"] == list(kvcalc.KEYS)
    for key, meaning in MEANINGS.items():
        for unit in ("bytes", "tokens", "elements", "flops", "parameters"):
            if key.endswith(f"_{unit}"):
                assert unit in meaning.lower() or key == "receptive_field_tokens", (key, meaning)


def test_rows_of_every_bundled_model_keep_the_schema() -> None:
    assert problems("rows", records(f"compare {' '.join(kvcalc.names())}")) == []
    assert problems("rows", records("compare gpt2 deepseek-v3 --kv-cache off --quiet")) == []
    assert problems("rows", records("sweep gpt2 deepseek-v3 --context 512,1k --dtype bf16,int4")) == []
    assert problems("rows", records("compare gpt2 mistral-7b-v0.1 --generate 10 --dtype-k int8 --dtype-v int4")) == []


@pytest.mark.parametrize(
    "changes", [{"cache_bytes": 1.5}, {"cache_bytes": "1"}, {"layers": None}, {"new": 1}, {"kv_cache": "maybe"}]
)
def test_rows_that_are_none_break_the_schema(changes: dict[str, Any]) -> None:
    (row,) = records("compare gpt2 --variants none")
    assert problems("rows", [row]) == []
    assert problems("rows", [{**row, **changes}])
    assert problems("rows", [{key: value for key, value in row.items() if key != "batch"}])


# ---------------------------------------------------------------- the command


def test_schema_writes_a_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    result = quickly("schema", "rows", "-o", str(path))
    assert (result.code, result.out, result.err) == (0, "", "")
    assert json.loads(path.read_text(encoding="utf-8"))["title"] == "kvcalc rows"
