"""`kvcalc convert`: what is written reads back as the same model, so every number is the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # noqa: TID253  # what kvcalc writes is read by the parser alone
from hypothesis import given

import kvcalc
from builders import TRUTH, from_config, model, records
from builders import heads as heads_of
from kvcalc.model import Branch, ModelSpec
from kvcalc.readers import bundle
from kvcalc.readers.native import read_native
from kvcalc.readers.plain import from_plain, to_plain
from kvcalc.readers.text import parse_documents
from kvcalc.readers.write import to_yaml
from refusals import LLAMA, NATIVE, assert_refused, quickly, write
from test_laws import MODELS


def read_back(text: str) -> list[ModelSpec]:
    return [read_native(document) for document in parse_documents("written.yaml", text)]


def assert_same(spec: ModelSpec) -> None:
    assert read_back(to_yaml([spec])) == [spec]
    assert from_plain(json.loads(json.dumps(to_plain(spec)))["spec"]) == spec


@pytest.mark.parametrize("name", bundle.names())
def test_bundled_models_read_back_the_same(name: str) -> None:
    assert_same(bundle.read(name))


@pytest.mark.parametrize("name", bundle.names())
def test_it_is_written_in_lines_and_by_names_that_one_reads(name: str) -> None:
    text = to_yaml([bundle.read(name)])
    assert all(len(line) <= 120 or line.lstrip().startswith("source: ") for line in text.splitlines())
    kinds = list(yaml.safe_load(text).get("layers") or {})
    assert len(set(kinds)) == len(kinds)
    assert all(len(kind) <= 32 for kind in kinds)


def recorded() -> Iterator[dict[str, Any]]:
    """Every config of the recorded truths."""
    for path in sorted(Path(TRUTH).glob("*.jsonl")):
        yield from (record["config"] for record in records(path.name) if isinstance(record.get("config"), dict))


def test_every_recorded_config_reads_back_the_same() -> None:
    read = 0
    for config in recorded():
        try:
            spec = from_config(config)
        except kvcalc.ConfigError:
            continue  # refused: another test's business
        assert_same(spec)
        read += 1
    assert read > 400


@given(MODELS)
def test_any_model_reads_back_the_same(spec: ModelSpec) -> None:
    assert_same(spec)


def test_converting_twice_changes_nothing(tmp_path: Path) -> None:
    config = write(tmp_path, "config.json", json.dumps(LLAMA))
    once, twice = str(tmp_path / "once.yaml"), str(tmp_path / "twice.yaml")
    assert quickly("convert", config, "-o", once).code == 0
    assert quickly("convert", once, "-o", twice).code == 0
    assert Path(once).read_text() == Path(twice).read_text()
    first, second = (quickly("compare", path, "--format", "csv").out for path in (config, once))
    assert first == second
    assert first


def test_every_document_of_a_file_is_converted(tmp_path: Path) -> None:
    other = NATIVE.replace("name: bad", "name: other")
    done = quickly("convert", write(tmp_path, "two.yaml", f"{NATIVE}---\n{other}"))
    assert done.code == 0
    assert [document["name"] for document in yaml.safe_load_all(done.out)] == ["bad", "other"]


def test_it_is_written_as_one_writes_it_by_hand() -> None:
    assert (
        "attention: {kind: heads, num_attention_heads: 32, num_key_value_heads: 16, head_dim: 128, qk_norm: per_head}\n"
        "mlp: {kind: dense, intermediate_size: 21504, gated: true}\n"
        "layers:\n  sliding: {sliding_window: 1024}\n  full: {}\n"
        "layer_pattern: [sliding x5, full]\n"
        "rope: {base: 1000000, local_base: 10000, scaling: {kind: linear, factor: 8}}\n"
    ) in quickly("convert", "gemma-3-27b").out


def test_what_the_format_does_not_hold_is_not_written() -> None:
    """A layer that shares a cache of its own making: no file says that."""
    spec = model(Branch(heads_of(4, 2, 8), kvcalc.load("gpt2").branches()[0][1].reach, shares_kv=True))
    with pytest.raises(kvcalc.KvcalcError):
        to_yaml([spec])


def test_a_source_that_cannot_be_read_is_refused_and_nothing_written(tmp_path: Path) -> None:
    target = tmp_path / "out.yaml"
    assert_refused(quickly("convert", "no-such-model", "-o", str(target)), "unknown model")
    assert not target.exists()
