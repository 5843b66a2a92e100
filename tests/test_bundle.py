"""The bundled models: their files are the source, and what starts read is what the door makes of them."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from builders import from_config, records, value
from kvcalc.attention.kinds import MEMORIES, REACHES
from kvcalc.engines.sglang_slots import models
from kvcalc.errors import KvcalcError
from kvcalc.readers import bundle
from kvcalc.readers.load import load_all, read_source
from kvcalc.workload import Workload

CONFIGS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs")
FILES = sorted(name for name in os.listdir(CONFIGS) if name.endswith(".yaml"))
BUNDLED_AS = {
    "bloom-176b": "bloom",
    "llama-4-scout": "llama-4-scout-17b-16e",
    "mixtral-8x7b": "mixtral-8x7b-v0.1",
    "starcoder-15b": "starcoder",
}
# Totals that model cards state, the published weights have, or the library builds (language models alone).
PARAMETERS = {
    "llama-3.1-405b": 405853388800,
    "llama-3.1-70b": 70553706496,
    "llama-3.2-1b": 1235814400,
    "qwen2.5-72b": 72706203648,
    "gemma-2-2b": 2614341888,
    "gpt-oss-120b": 116829156672,
    "mixtral-8x22b-v0.1": 140620634112,
    "qwen3-235b-a22b": 235093634560,
    "phi-4": 14659507200,
    "gpt2-xl": 1557611200,
    "opt-350m": 331196416,
    "deepseek-v3.2": 671877929216,
    "deepseek-v4-flash": 284332230231,
    "glm-5": 743911199232,
    "minimax-m3": 426174565632,
    "minimax-text-01": 456089655296,
    "qwen3-next-80b-a3b": 79674391296,
    "gemma-3n-e4b": 6835235568,
    "gemma-4-26b-a4b": 25233141760,
    "jamba-v0.1": 51570323328,
    "nemotron-h-8b": 8100852736,
    "granite-4.0-h-tiny": 6939037248,
    "falcon-h1-7b": 7585513568,
    "zamba2-2.7b": 2662214560,
    "lfm2-1.2b": 1170340608,
    "rwkv-4-169m": 169342464,
    "mamba2-2.7b": 2702599680,
    "recurrentgemma-2b": 2682862080,
    "llama-3.2-11b-vision": 9775192080,
    "t5-small": 60506624,
    "whisper-large-v3": 1543490560,
    "mamba-2.8b": 2768345600,
    "xlstm-7b": 6865424896,
    "rwkv-7-world-1.5b": 1527404544,
    "smollm3-3b": 3075098624,
}


def test_bundled_json_is_what_the_configs_say() -> None:
    """Run `python -m kvcalc.readers.bundle` after changing configs/."""
    with open(os.path.join(os.path.dirname(bundle.__file__), "bundled.json"), encoding="utf-8") as file:
        assert file.read() == bundle.build(CONFIGS)


@pytest.mark.parametrize("file", FILES)
def test_a_config_is_named_as_its_file_and_has_a_source(file: str) -> None:
    ((spec, _, _, origins),) = read_source(os.path.join(CONFIGS, file))
    assert f"{spec.name}.yaml" == file
    assert spec.source.startswith("Hugging Face ")
    assert load_all(spec.name) == [spec]
    assert all(re.fullmatch(r"line \d+", origin.origin) for origin in origins)


def test_at_least_thirty_models_of_every_family() -> None:
    assert len(FILES) >= 30
    assert {"deepseek-v2", "deepseek-v2-lite", "deepseek-v3", "mistral-7b-v0.1", "falcon-7b"} <= set(bundle.names())


def test_a_llama_takes_at_most_thirteen_lines() -> None:
    with open(os.path.join(CONFIGS, "llama-3.1-8b.yaml"), encoding="utf-8") as file:
        assert len(file.readlines()) <= 13


@pytest.mark.parametrize("record", records("models.jsonl"), ids=lambda record: record["name"])
def test_bundled_models_are_their_published_configs(record: dict[str, Any]) -> None:
    """The native file gives what the published config.json gives, but for its name and source.

    It says the architecture where a server's choice hangs on it.
    """
    name = BUNDLED_AS.get(record["name"], record["name"])
    published = from_config(record["config"], name)
    spec = load_all(name)[0]
    assert spec.architecture in ("", published.architecture)
    assert spec._replace(source="", architecture=published.architecture) == published


def test_what_a_server_chooses_by_is_said() -> None:
    """Every bundled model whose published config names an architecture of SGLang's list names it too."""
    listed = models()
    for record in records("models.jsonl"):
        named = record["config"].get("architectures", [""])[0]
        if named in listed["windows"]:
            assert load_all(BUNDLED_AS.get(record["name"], record["name"]))[0].architecture == named
    assert load_all("gpt-oss-20b")[0].architecture in listed["windows"]


@pytest.mark.parametrize("record", records("published.jsonl"), ids=lambda record: record["name"])
def test_bundled_models_are_what_was_read_of_them(record: dict[str, Any]) -> None:
    """As above, of configs that were not run."""
    (bundled,) = load_all(record["name"])
    assert from_config(record["config"], record["name"])._replace(source=bundled.source) == bundled


def test_every_kind_that_a_published_model_has_is_bundled() -> None:
    """No weights are published of a language model with the kinds left out."""
    unpublished = {"custom", "s4", "gau", "nsa", "strided", "tpa", "gta", "gla_latent"}
    found = set()
    for name in bundle.names():
        (spec,) = load_all(name)
        for group in (*spec.groups, *(spec.encoder.groups if spec.encoder else ())):
            found |= {
                kind for branch in group.layer.branches for kind in (branch.memory._asdict()["kind"], branch.reach.kind)
            }
    assert {*MEMORIES, *REACHES} - found == unpublished


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_parameters_of_bundled_models(name: str, parameters: int) -> None:
    assert value(load_all(name)[0], "parameters", Workload(1)) == parameters


@pytest.mark.parametrize(
    ("name", "billions", "active"),
    [
        ("glm-4.5", 353, 33.6),  # 355 with the module that predicts, 32 without embeddings
        ("glm-4.5-air", 107, 13.4),
        ("kimi-k3", 2779, 105.4),
        ("step3", 316, 38.8),
        ("jetmoe-8b", 8.52, 2.33),
        ("inkling", 975, 41.1),
        ("longcat-flash", 561, 32.2),
        ("hy3-preview", 295, 20.7),
        ("mistral-small-4", 119, 6.6),
        ("mistral-large-4", 1050, 53.1),
        ("ling-3.0-flash", 124.4, 5.5),
        ("glm-5.3-flash", 313, 17.4),
        ("solar-open-100b", 102.7, 12.1),
        ("ernie-4.5-21b-a3b", 21.8, 3.35),
        ("zaya1-8b", 8.84, 1.29),  # 8.30 and 0.75 without the embedding
    ],
)
def test_mixtures_have_the_size_that_their_makers_name(name: str, billions: float, active: float) -> None:
    (spec,) = load_all(name)
    assert value(spec, "parameters", Workload(1)) / 1e9 == pytest.approx(billions, rel=2e-3)
    assert value(spec, "active_parameters", Workload(1)) / 1e9 == pytest.approx(active, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "bundled"),
    [
        ("deepseek-ai/DeepSeek-V2", "deepseek-v2"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistral-7b-v0.2"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Llama-2-70b-hf", "llama-2-70b"),
        ("google/gemma-3-27b-it", "gemma-3-27b"),
        ("Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("microsoft/Phi-3-mini-4k-instruct", "phi-3-mini-4k"),
        ("google/long-t5-tglobal-base", "long-t5-tglobal-base"),
        ("allenai/led-base-16384", "led-base-16384"),
        ("stepfun-ai/step3", "step3"),
        ("zai-org/GLM-4.5-Air-Base", "glm-4.5-air"),
    ],
)
def test_full_names_work_too(name: str, bundled: str) -> None:
    assert load_all(name) == load_all(bundled)


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(KvcalcError, match="did you mean deepseek-v2"):
        load_all("deepsek-v2")


def test_the_bundle_is_plain_data() -> None:
    with open(os.path.join(os.path.dirname(bundle.__file__), "bundled.json"), encoding="utf-8") as file:
        assert sorted(json.load(file)) == bundle.names()
