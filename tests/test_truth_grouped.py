"""Grouped and sliding decoders, Gemmas, and language models inside others, each field varied, against the live code."""

from __future__ import annotations

from typing import Any

import pytest

from builders import from_config, records
from kvcalc.analysis import Report, analyze
from kvcalc.attention.reach import Window
from kvcalc.errors import ConfigError
from kvcalc.workload import Workload

RECORDS = {record["id"]: record for file in ("grouped.jsonl", "towers.jsonl") for record in records(file)}
# Their classes take more than token ids, or stand in models that refuse a small config: held by live code alone.
LACKING = {"emu3_text_model", "granite4_vision_text", "kyutai_speech_to_text"}
READ = sorted(name for name, record in RECORDS.items() if "refused" not in record)
RUN = [name for name in READ if "cache" in RECORDS[name]]


def at(name: str, n: int, engine: str = "transformers") -> Report:
    return analyze(from_config(RECORDS[name]["config"]), Workload(n, engine=engine))


def wider_in_the_library(report: Report) -> bool:
    """MiMo-V2-Flash: the library's window has one token more than its authors'."""
    return any(isinstance(b.reach, Window) and b.reach.library_window for _, b in report.spec.branches())


@pytest.mark.parametrize("name", READ)
def test_parameters(name: str) -> None:
    assert at(name, 1).value("parameters") == RECORDS[name]["parameters"]


@pytest.mark.parametrize("name", RUN)
def test_cache(name: str) -> None:
    for length, truth in RECORDS[name]["cache"].items():
        assert at(name, int(length)).value("cache_elements") == truth["transformers_elements"]
        if "window_elements" in truth:
            assert at(name, int(length), "paper").value("cache_elements") == truth["window_elements"]


@pytest.mark.parametrize("name", RUN)
def test_decode_flops(name: str) -> None:
    for length, counted in RECORDS[name]["flops"]["decode"].items():
        report = at(name, int(length))
        ours = report.value("decode_model_flops")
        assert ours is not None
        if wider_in_the_library(report):
            assert ours < counted
        else:
            assert ours == counted


def test_the_authors_window_is_the_papers_and_the_librarys_its_own() -> None:
    name = "mimo_v2_flash/window-size"
    window = RECORDS[name]["config"]["sliding_window_size"]
    spec = from_config(RECORDS[name]["config"])
    per_token = [at(name, n, "paper").value("cache_elements") or 0 for n in (window + 1, window + 2)]
    held = [at(name, n).value("cache_elements") or 0 for n in (window + 1, window + 2)]
    full = sum(group.layers for group in spec.groups if not isinstance(group.layer.branches[0].reach, Window))
    assert per_token[1] - per_token[0] == held[1] - held[0] == full * 2 * (16 + 12)
    assert at(name, window - 1).value("cache_elements") == at(name, window - 1, "paper").value("cache_elements")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"model_type": "gemma4_text", "use_bidirectional_attention": "all"}, "use_bidirectional_attention"),
        ({"model_type": "gemma3n_text", "num_kv_shared_layers": 0, "intermediate_size": [8]}, "intermediate_size"),
        ({"model_type": "gemma3n_text", "num_kv_shared_layers": 2}, "num_kv_shared_layers"),
        ({"model_type": "laguna", "num_attention_heads_per_layer": [2]}, "num_attention_heads_per_layer"),
        ({"model_type": "hy_v3", "mlp_layer_types": ["dense", "spare"]}, "did you mean sparse"),
        ({"model_type": "hy_v3", "mlp_layer_types": ["dense"]}, "mlp_layer_types"),
        ({"model_type": "step3p5", "moe_layers_enum": "3,x"}, "moe_layers_enum"),
        ({"model_type": "molmo2_text", "qk_norm_type": "other"}, "qk_norm_type"),
        ({"model_type": "deepseek_ocr2_text", "num_experts_per_tok": 2}, "mlp_layer_types"),
        ({"model_type": "kyutai_speech_to_text", "tie_word_embeddings": True}, "tie_word_embeddings"),
    ],
)  # fmt: skip
def test_refused_by_name(change: dict[str, Any], key: str) -> None:
    config = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 10, **change}
    with pytest.raises(ConfigError, match=key):
        from_config(config)


def test_every_type_is_recorded() -> None:
    from kvcalc.readers.families import gemmas, grouped, sliding, towers
    from kvcalc.readers.huggingface import library_facts

    read = {record["config"]["model_type"] for record in RECORDS.values()}
    inside = {library_facts(name).get("text_type") for name in read}
    families = {*grouped.FAMILIES, *sliding.FAMILIES, *gemmas.FAMILIES, *towers.FAMILIES}
    assert families - read - inside <= LACKING
