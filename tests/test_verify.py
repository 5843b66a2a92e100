"""verify: kvcalc's numbers, counted as torch counts, against records of live code; the real thing if there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builders import from_config, records
from kvcalc.readers.huggingface import library_types
from kvcalc.verify.chunks import NAMES, sizes_of
from kvcalc.verify.compare import Compared, compare
from kvcalc.verify.expect import Run, counted, expect
from kvcalc.verify.observe import Held, Observation
from refusals import assert_refused, quickly

MODELS = records("models.jsonl")
COVERAGE = records("coverage.jsonl")
CHUNKED = records("chunks.jsonl")
INSTALLED = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
DOCS = Path(__file__).parent.parent / "docs" / "coverage.md"


@pytest.mark.parametrize("record", MODELS, ids=lambda record: record["name"])
def test_flops_of_real_models_as_the_counter_counts_them(record: dict[str, Any]) -> None:
    """A prefill of 2048 tokens, the whole rectangle and all logits; the step of token 2049."""
    spec = from_config(record["config"])
    assert counted(spec, Run(2048, 0, 0, True)) == sum(record["flops"]["prefill"].values())
    assert counted(spec, Run(1, 2048, 0, False)) == sum(record["flops"]["decode"].values())


def sizes(record: dict[str, Any]) -> dict[str, int]:
    """What a config says of the sizes of chunks."""
    return {name: record["config"][name] for name in NAMES if record["config"].get(name)}


@pytest.mark.parametrize("record", CHUNKED, ids=lambda record: record["model_type"])
def test_recurrences_by_chunks_are_counted_as_the_library_runs_them(record: dict[str, Any]) -> None:
    """300 tokens: several chunks and a part of one, or, of Mamba-2 and lightning attention, one and a part."""
    spec = from_config(record["config"])
    expected = expect(spec, record["tokens"], 0, sizes(record))
    assert (expected.prefill_flops, expected.decode_flops) == (record["prefill_flops"], record["decode_flops"])
    assert expected.cache_elements == record["cache_elements"]


def test_sizes_of_chunks_are_whole_numbers_of_the_config() -> None:
    told = SimpleNamespace(chunk_size=256, block_size=None, mamba_chunk_size="8", hidden_size=4)
    assert sizes_of(told) == {"chunk_size": 256}


@pytest.mark.outside
@pytest.mark.skipif(not INSTALLED, reason="torch or transformers is not installed")
@pytest.mark.filterwarnings("default")
def test_a_prompt_by_chunks_is_compared_with_the_installed_library() -> None:
    from kvcalc.verify.census import verify_type

    found = verify_type("mamba2")
    assert (found.status, found.left_out) == ("exact", "")


def test_chunks_of_a_size_that_nobody_says_are_not_compared() -> None:
    (record,) = (one for one in CHUNKED if one["model_type"] == "mamba2")
    expected = expect(from_config(record["config"]), 300)
    assert expected.prefill_flops is None
    assert "Mamba2" in expected.unmodelled
    assert "not modelled" in expected.unmodelled


@pytest.mark.parametrize("record", COVERAGE, ids=lambda record: record["model_type"])
def test_a_sample_of_the_census_holds(record: dict[str, Any]) -> None:
    """Default configs of the library's types: what its models were seen to hold and do."""
    expected = expect(from_config(record["config"]), record["tokens"], record["encoder_tokens"], sizes(record))
    assert expected.parameters == record["parameters"]
    assert expected.cache_elements == record["cache_elements"]
    assert sum(expected.by_layer.values()) == record["cache_elements"]
    if expected.prefill_flops is not None:
        assert record["prefill_flops"] in (None, expected.prefill_flops)
    assert record["decode_flops"] in (None, expected.decode_flops)


def test_the_coverage_names_every_type_that_has_a_default() -> None:
    told = DOCS.read_text(encoding="utf-8")
    words = set(told.replace("|", " ").replace(".\n", " ").replace("\\", "").split())
    assert set(library_types()) <= words
    different = [line.split("|")[1].strip() for line in told.splitlines() if "| different |" in line]
    assert different == []


SPEC = from_config(MODELS[0]["config"])


def observation(**changed: Any) -> Observation:
    """What the library would show if all agreed."""
    ours = expect(SPEC, 10)
    held = tuple(Held(layer, "keys", (elements,)) for layer, elements in ours.by_layer.items())
    seen = Observation(10, 0, ours.parameters, held, ours.prefill_flops, ours.decode_flops)
    return seen._replace(**changed)


def different(seen: Observation) -> list[str]:
    return [one.what for one in compare(seen, expect(SPEC, 10)) if one.equal is False]


def test_what_agrees_is_equal() -> None:
    assert different(observation()) == []


@pytest.mark.parametrize("what", ["parameters", "prefill_flops", "decode_flops"])
def test_one_more_is_different(what: str) -> None:
    assert different(observation(**{what: getattr(observation(), what) + 1})) == [what]


def test_a_layer_that_holds_another_number_is_named() -> None:
    seen = observation()
    swapped = (seen.held[0]._replace(shape=(1,)), seen.held[1]._replace(shape=(seen.held[0].elements * 2 - 1,)))
    told = compare(seen._replace(held=(*swapped, *seen.held[2:])), expect(SPEC, 10))
    assert [(one.where) for one in told if one.equal is False] == ["layers 0", "layers 1"]


def test_what_could_not_be_run_is_not_compared() -> None:
    assert Compared("decode_flops", "", None, 3).result == "not compared"


def test_a_native_config_names_no_class() -> None:
    assert_refused(quickly("verify", "gpt2"), "names no class")


@pytest.mark.parametrize("arguments", [(), ("--all", "gpt2"), ("--all", "--prompt", "3")])
def test_a_source_or_all(arguments: tuple[str, ...]) -> None:
    assert_refused(quickly("verify", *arguments), "--all")


@pytest.mark.skipif(bool(INSTALLED), reason="torch and transformers are installed")
def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(MODELS[0]["config"]))
    assert_refused(quickly("verify", str(file)), "kvcalc[verify]")


@pytest.mark.outside
@pytest.mark.skipif(not INSTALLED, reason="torch or transformers is not installed")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["mistral-7b-v0.1", "deepseek-v2", "llama-4-scout"])
def test_real_models_against_the_installed_library(name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(next(record["config"] for record in MODELS if record["name"] == name)))
    told = quickly("verify", str(file), "-f", "json")
    assert told.code == 0, told.err
    results = [record["result"] for record in json.loads(told.out)]
    assert set(results) == {"equal"}
    assert len(results) >= 5


@pytest.mark.outside
@pytest.mark.skipif(not INSTALLED, reason="torch or transformers is not installed")
@pytest.mark.filterwarnings("default")
def test_a_type_that_publishers_name_otherwise_is_built_as_the_librarys(tmp_path: Path) -> None:
    """Kimi K2 is DeepSeek-V3 by its fields."""
    given = next(record["config"] for record in MODELS if record["name"] == "deepseek-v3")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**given, "model_type": "kimi_k2", "num_hidden_layers": 4}))
    told = quickly("verify", str(file))
    assert (told.code, told.out.count("different")) == (0, 0), told.err
    assert "DeepseekV3ForCausalLM" in told.out


@pytest.mark.outside
@pytest.mark.skipif(not INSTALLED, reason="torch or transformers is not installed")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["dia", "pix2struct", "lfm2_moe", "paligemma", "xmod", "udop"])
def test_types_that_take_some_care_to_run(name: str) -> None:
    from kvcalc.verify.census import verify_type

    assert verify_type(name).status == "exact"
