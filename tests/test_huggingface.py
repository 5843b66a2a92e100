"""Published configs that say what their class cannot do are refused at the key, and not computed as something else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders import from_config
from kvcalc.errors import ConfigError
from kvcalc.readers.load import load_all, read_source
from refusals import LLAMA, assert_refused, quickly, write

SLIDING_THEN_FULL = ["sliding_attention", "full_attention"]
TINY: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 100,
}


def config(folder: Path, **fields: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({**TINY, **fields}, indent=1))
    return str(path)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"model_type": "mistral", "layer_types": SLIDING_THEN_FULL, "sliding_window": None}, "layer_types"),
        ({"model_type": "qwen3", "layer_types": ["chunked_attention", "full_attention"]}, "layer_types"),
        ({"model_type": "gpt_oss", "layer_types": ["chunked_attention", "full_attention"]}, "layer_types"),
        ({"model_type": "llama4_text", "layer_types": SLIDING_THEN_FULL}, "layer_types"),
        ({"model_type": "llama", "num_attention_heads": 5, "num_key_value_heads": 5}, "num_attention_heads"),
        ({"model_type": "gpt2", "num_attention_heads": 12}, "num_attention_heads"),
        ({"model_type": "gemma3", "text_config": {**TINY, "model_type": "llama"}}, "model_type"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [True]}, "mlp_only_layers"),
        ({"model_type": "llama", "name": 5}, "name"),
    ],
)  # fmt: skip
def test_refused_at_its_key(tmp_path: Path, fields: dict[str, Any], key: str) -> None:
    path = config(tmp_path, **fields)
    with pytest.raises(ConfigError) as refusal:
        load_all(path)
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    at = max(number for number, line in enumerate(lines, 1) if f'"{key}"' in line)
    assert refusal.value.line == at, refusal.value


def test_a_head_dim_of_its_own_needs_no_division(tmp_path: Path) -> None:
    (spec,) = load_all(config(tmp_path, model_type="llama", num_attention_heads=5, num_key_value_heads=5, head_dim=16))
    assert spec.groups[0].layer.branches[0].memory[2] == 16  # type: ignore[index]  # head_dim


def test_a_decision_names_the_keys_it_was_made_by(tmp_path: Path) -> None:
    (loaded,) = read_source(config(tmp_path, model_type="falcon", multi_query=True, num_kv_heads=4))
    origin = next(found.origin for found in loaded.origins if found.field == "attention.num_key_value_heads")
    assert "multi_query: true" in origin


@pytest.mark.parametrize("closing", ["<&-", "2>&-"])
def test_a_closed_stream_is_no_traceback(closing: str) -> None:
    command = f'"{sys.executable}" -m kvcalc compare - {closing}'
    done = subprocess.run(["bash", "-c", command], input="", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_kinds_name_steers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text('name: a\nlayers: {"=1+1": {}, "\\e[31m": {}}\nlayer_pattern: ["=1+1"]\nhidden_size: 4\n')
    with pytest.raises(ConfigError, match="is not allowed"):
        load_all(str(path))


def test_a_prompt_that_attends_both_ways_is_told(tmp_path: Path) -> None:
    """PaliGemma around Gemma: cache and decode are Gemma's; the class itself, alone, stays refused."""
    heads = {"num_key_value_heads": 2, "head_dim": 8}
    text = {**LLAMA, **heads, "model_type": "gemma", "use_bidirectional_attention": True}
    outer = write(tmp_path, "outer.json", json.dumps({"model_type": "paligemma", "text_config": text}))
    told = quickly("compare", outer, "--format", "json", "--variants", "none")
    assert "what a prompt's tokens see of later ones are left out" in told.err
    alone = write(tmp_path, "alone.json", json.dumps({**text, "use_bidirectional_attention": False}))
    plain = quickly("compare", alone, "--format", "json", "--variants", "none")
    for key in ("cache_bytes", "decode_model_flops", "parameters"):
        assert json.loads(told.out)[0][key] == json.loads(plain.out)[0][key]
    refused = write(tmp_path, "refused.json", json.dumps(text))
    assert_refused(quickly("compare", refused), "use_bidirectional_attention")


def test_what_the_library_wrote_before_is_read_as_it_reads_it(tmp_path: Path) -> None:
    """GLM-5.2-NVFP4 names its layers deepseek_sparse_attention, as transformers 5.11 wrote."""
    truth = Path(__file__).with_name("truth").joinpath("sparse.jsonl").read_text(encoding="utf-8")
    records = map(json.loads, truth.splitlines())
    given = next(record["config"] for record in records if record["id"] == "glm_moe_dsa/base")
    now = {**given, "layer_types": ["indexed_attention"] * given["num_hidden_layers"]}
    before = {**given, "layer_types": ["deepseek_sparse_attention"] * given["num_hidden_layers"]}
    ((spec,), (former,)) = (load_all(write(tmp_path, "config.json", json.dumps(fields))) for fields in (now, before))
    assert former == spec


def test_inside_another_model_the_class_says_what_the_file_does_not(tmp_path: Path) -> None:
    """LLaVA-1.5 as published: its text_config has neither layers nor a width, and its model_type is llama."""
    text = {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064}
    outer = write(tmp_path, "llava.json", json.dumps({"model_type": "llava", "text_config": text}))
    (spec,) = load_all(outer)
    assert (spec.layers, spec.hidden_size, spec.vocab_size) == (32, 4096, 32064)
    alone = write(tmp_path, "alone.json", json.dumps(text))
    assert_refused(quickly("compare", alone), "missing field 'num_hidden_layers': not assumed")


def test_a_config_that_lists_the_format_of_every_expert_is_read(tmp_path: Path) -> None:
    """As MiniMax-M3-NVFP4's, of 3 MB."""
    listed = {f"model.layers.0.mlp.experts.{at}.w1": {"quant_algo": "NVFP4"} for at in range(20_000)}
    path = write(tmp_path, "many.json", json.dumps({**LLAMA, "quantization_config": {"quantized_layers": listed}}))
    assert Path(path).stat().st_size > 1_000_000
    assert load_all(path)


def test_ten_thousand_layers_and_not_one_more() -> None:
    config: dict[str, Any] = {**TINY, "model_type": "llama", "intermediate_size": 128}
    config["num_hidden_layers"] = 10_000
    assert from_config(config).layers == 10_000
    with pytest.raises(ConfigError, match="num_hidden_layers: 10001 is too large"):
        from_config(config | {"num_hidden_layers": 10_001})
