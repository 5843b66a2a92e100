"""Types with a part that no other has, each field varied, against the live code: what it holds and a counter counts."""

from __future__ import annotations

from typing import Any

import pytest

from builders import from_config, records
from kvcalc.analysis import Report, analyze
from kvcalc.errors import ConfigError, NotUnderstoodError
from kvcalc.readers.families import REFUSED, families
from kvcalc.verify.expect import Run, counted
from kvcalc.workload import Workload

RECORDS = {record["id"]: record for record in records("rest.jsonl")}
ENCODED = 6  # tokens of image or protein when these were recorded
CROSSING = ("blip_text_model", "evolla", "idefics")
# Configs that the library takes and cannot run, and an lm_head that its own config measures.
REFUSED_HERE = {
    "chameleon/num_key_value_heads",
    "evolla/num_key_value_heads",
    "idefics/third",
    "ovis2/head_untied",
}
READ = sorted(name for name, record in RECORDS.items() if "refused" not in record and name not in REFUSED_HERE)
RUN = [name for name in READ if "cache" in RECORDS[name]]
JETMOE_8B = {
    "model_type": "jetmoe",
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_key_value_heads": 16,
    "kv_channels": 128,
    "intermediate_size": 5632,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}


def read_tokens(name: str) -> int:
    return ENCODED if RECORDS[name]["config"]["model_type"] in CROSSING else 0


def at(name: str, n: int, engine: str = "transformers") -> Report:
    workload = Workload(n, engine=engine, encoder_tokens=read_tokens(name))
    return analyze(from_config(RECORDS[name]["config"]), workload)


@pytest.mark.parametrize("name", READ)
def test_parameters(name: str) -> None:
    assert at(name, 1).value("parameters") == RECORDS[name]["parameters"]


@pytest.mark.parametrize("name", RUN)
def test_cache(name: str) -> None:
    for length, truth in RECORDS[name]["cache"].items():
        assert at(name, int(length)).value("cache_elements") == truth["transformers_elements"]


@pytest.mark.parametrize("name", RUN)
def test_decode_flops(name: str) -> None:
    for length, truth in RECORDS[name]["flops"]["decode"].items():
        report = at(name, int(length))
        assert counted(report.spec, Run(1, int(length) - 1, read_tokens(name), False)) == truth
        remade = any(branch.memory._asdict().get("remade") for _, branch in report.spec.branches())
        ours = report.value("decode_model_flops") or 0
        assert ours < truth if remade else ours == truth


@pytest.mark.parametrize("name", sorted(set(RECORDS) - set(READ)))
def test_what_the_library_refuses_or_cannot_run(name: str) -> None:
    with pytest.raises(ConfigError):
        from_config(RECORDS[name]["config"])


def test_cross_attention_that_the_library_makes_anew_could_be_kept() -> None:
    kept = [at("idefics/base", n, "paper").value("cache_elements") or 0 for n in (7, 8)]
    held = [at("idefics/base", n).value("cache_elements") or 0 for n in (7, 8)]
    assert [a - b for a, b in zip(kept, held, strict=True)] == [2 * 2 * ENCODED * 32] * 2  # two layers of cross K and V


def test_nothing_to_read_nothing_behind_it() -> None:
    spec = from_config(RECORDS["evolla/base"]["config"])
    alone = analyze(spec, Workload(41, encoder_tokens=0)).value("decode_model_flops")
    assert alone == 41 * 2 * 2 * 4 * 32 + 4 * (2 * (2 * 32 * 32 + 2 * 32 * 16) + 6 * 32 * 48) + 2 * 32 * 100


def test_blip_reads_the_patches_of_its_image() -> None:
    text = RECORDS["blip_text_model/base"]["config"]
    vision = {"hidden_size": 40, "image_size": 64, "patch_size": 16}
    spec = from_config({"model_type": "blip", "text_config": text, "vision_config": vision})
    alone = from_config({**text, "encoder_hidden_size": 40})
    assert spec.encoder_tokens == 17
    assert analyze(spec, Workload(1)).value("parameters") == analyze(alone, Workload(1)).value("parameters")


def test_idle_heads_are_not_active() -> None:
    report = analyze(from_config(JETMOE_8B), Workload(1))
    total, active = report.value("parameters") or 0, report.value("active_parameters") or 0
    assert (total, active) == (8_522_237_952, 2_331_445_248)  # JetMoE (arXiv:2404.07413): 8B, 2.2B active
    assert total - active == 24 * (8 - 2) * (2 * 2048 * 16 * 128 + 3 * 2048 * 5632)


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_refused_with_its_reason(model_type: str) -> None:
    with pytest.raises(NotUnderstoodError, match=REFUSED[model_type].partition(",")[0]):
        from_config({"model_type": model_type, "num_hidden_layers": 2, "hidden_size": 16})


def test_what_is_refused_is_not_read() -> None:
    assert not REFUSED.keys() & families().keys()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"model_type": "idefics", "vision_config": {"embed_dim": 8}, "alpha_type": "matrix"}, "alpha_type"),
        ({"model_type": "idefics"}, "vision_config"),
        ({"model_type": "jetmoe", "num_local_experts": 2, "num_experts_per_tok": 3}, "num_experts_per_tok 3"),
        ({"model_type": "evolla", "aligner_num_add_layers": 0}, "aligner_num_add_layers"),
    ],
)  # fmt: skip
def test_refused_by_name(change: dict[str, Any], key: str) -> None:
    config = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 10, **change}
    with pytest.raises(ConfigError, match=key):
        from_config(config)


def test_every_type_is_recorded() -> None:
    from kvcalc.readers.families import rest

    assert rest.FAMILIES.keys() <= {record["config"]["model_type"] for record in RECORDS.values()}
