"""Bytes of weights: blocks with their scales as exact ratios, over what a checkpoint really puts into blocks."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from builders import from_config, value
from kvcalc.readers.native import read_native
from kvcalc.readers.text import parse_documents
from kvcalc.weight_bytes import held
from kvcalc.weight_formats import FORMATS, GGUF_BLOCKS, format_of
from kvcalc.workload import DTYPE_BITS, Workload
from refusals import LLAMA, assert_refused, quickly
from screens import records

NAMES = kvcalc.names()


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_are_all_parameters_and_each_has_a_kind(name: str) -> None:
    spec = kvcalc.load(name)
    parts = list(held(spec))
    assert sum(part.evaluate() for part in parts) == value(spec, "parameters", Workload(1))
    projections = {"embedding projection", "lm_head projection"}  # to and from an embedding of another width
    left = sum(one.evaluate() for one in parts if one.kind == "vectors" and one.part.what not in projections)
    if name in OF_THEIR_OWN:
        return
    assert left < value(spec, "parameters", Workload(1)) / 300, "no matrix is taken for a vector"


# Per-layer embeddings, gates by blocks, LoRAs: what no format is known to hold is left at 16 bits, never too small.
OF_THEIR_OWN = {
    *("gemma-3n-e4b", "led-base-16384", "longcat-flash", "mamba-2.8b", "recurrentgemma-2b", "rwkv-4-169m"),
    *("rwkv-6-world-1.6b", "rwkv-7-world-1.5b", "whisper-large-v3", "zamba2-2.7b", "zaya1-8b"),
}


@pytest.mark.parametrize("name", DTYPE_BITS)
def test_a_plain_dtype_is_bits_for_every_parameter(name: str) -> None:
    spec = kvcalc.load("opt-125m")
    bits = value(spec, "parameters", Workload(1)) * DTYPE_BITS[name]
    assert value(spec, "weight_bytes", Workload(1, weight_dtype=name)) == -(-bits // 8)


@pytest.mark.parametrize(
    ("name", "bits"),
    {
        "fp8_b128": Fraction(8) + Fraction(32, 128 * 128),
        "int4_g128": Fraction(4) + Fraction(16, 128),
        "int4_g128z": Fraction(4) + Fraction(20, 128),
        "int8_g32": Fraction(8) + Fraction(1, 2),
        "mxfp4": Fraction(17, 4),
        "nvfp4": Fraction(9, 2),
        "nf4": Fraction(9, 2),
        "nf4_double": Fraction(4) + Fraction(8, 64) + Fraction(32, 64 * 256),
        "q4_0": Fraction(9, 2),
        "q8_0": Fraction(17, 2),
        "q4_k": Fraction(9, 2),
        "q6_k": Fraction(105, 16),
    }.items(),
)
def test_bits_a_weight_with_scales(name: str, bits: Fraction) -> None:
    stored = format_of(name)
    assert Fraction(stored.bits, stored.block) == bits


def test_ggml_says_the_same_of_its_blocks() -> None:
    gguf = pytest.importorskip("gguf")
    sizes = {kind.name.lower(): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    for name, (block, size, _) in GGUF_BLOCKS.items():
        assert sizes[name] == (block, size), name


def test_llama_in_q4_0_by_hand() -> None:
    """Llama-3.1-8B as llama-quantize --pure makes it: every matrix in q4_0, 65 norms of 4096 in fp32."""
    spec, norms = kvcalc.load("llama-3.1-8b"), 65 * 4096
    matrices = value(spec, "parameters", Workload(1)) - norms
    assert value(spec, "weight_bytes", Workload(1, weight_dtype="q4_0")) == matrices * 18 // 32 + norms * 4


def test_qwen3_8b_in_blocks_of_fp8_by_hand() -> None:
    """Linear layers of 36 blocks in fp8 with a scale every 128 x 128; embedding, lm_head and norms in bf16."""
    spec, d = kvcalc.load("qwen3-8b"), 4096
    linear = 36 * (2 * d * 4096 + 2 * d * 1024 + 3 * d * 12288)
    rest = value(spec, "parameters", Workload(1)) - linear
    assert value(spec, "weight_bytes", Workload(1, weight_dtype="fp8_b128")) == linear + linear // 4096 + 2 * rest


@given(st.sampled_from(NAMES), st.sampled_from([*FORMATS, "int4_g64", "int3_g128z"]))
def test_a_format_is_never_below_its_bits_and_never_above_what_it_leaves(name: str, dtype: str) -> None:
    spec, stored = kvcalc.load(name), format_of(dtype)
    parameters = value(spec, "parameters", Workload(1))
    found = value(spec, "weight_bytes", Workload(1, weight_dtype=dtype))
    assert parameters * stored.bits / stored.block / 8 <= found <= parameters * stored.rest_bits / 8 + 2


def test_the_command_line_takes_them_and_refuses_a_mixture_by_name() -> None:
    (row,) = records("compare mixtral-8x7b-v0.1 -v none --weight-dtype INT4_G128")
    assert row["weight_dtype"] == "int4_g128"
    assert [row["weight_dtype"] for row in records("sweep gpt2 --weight-dtype q4_k,bf16")] == ["q4_k", "bf16"]
    assert_refused(quickly("compare", "gpt2", "--weight-dtype", "q4_k_m"), "mixture of block types", "q4_k")
    assert_refused(quickly("compare", "gpt2", "--weight-dtype", "mxpf4"), "unknown dtype", "mxfp4")
    assert_refused(quickly("compare", "gpt2", "--weight-dtype", "int4_g0"), "a group of no weights")
    for name in kvcalc.weight_dtypes():
        assert kvcalc.parse_weight_dtype(name, "--weight-dtype") == name


QUANTIZED: dict[str, tuple[Any, str, tuple[str, ...], str]] = {
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4_g128z", (), ""),
    "awq": (
        {"quant_method": "awq", "bits": 4, "group_size": 64, "modules_to_not_convert": ["mlp.gate"]},
        *("int4_g64z", (), ""),
    ),
    "fp8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8_b128", (), ""),
    "a list a layer": (
        {"quant_method": "fp8", "ignored_layers": ["lm_head", *(f"model.layers.{at}.self_attn" for at in range(4))]},
        *("fp8_tensor", ("attention",), ""),
    ),
    "one layer": (
        {"quant_method": "fp8", "ignored_layers": ["model.layers.0.mlp"]},
        *("fp8_tensor", ("mlp",), "leaves part of mlp: counted as left whole"),
    ),
    "all that it could hold": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["model.layers.*"]},
        *("nvfp4", ("attention", "mlp"), ""),
    ),
    "a name unheard of": (
        {"quant_method": "fp8", "modules_to_not_convert": ["zzz"]},
        *("fp8_tensor", (), "leaves 'zzz': not understood"),
    ),
    "bitsandbytes": (
        {"load_in_4bit": True, "bnb_4bit_use_double_quant": True, "llm_int8_skip_modules": ["self_attn"]},
        *("nf4_double", ("attention",), ""),
    ),
    "compressed-tensors": (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": {
                        "num_bits": 4,
                        "type": "int",
                        "strategy": "group",
                        "group_size": 128,
                        "symmetric": True,
                    },
                }
            },
            "ignore": ["re:.*mlp\\.(gate|up|down)_proj.*", "re:(a+)+$"],
            "kv_cache_scheme": {"num_bits": 8},
        },
        *("int4_g128", ("mlp",), "'re:(a+)+$': not understood"),
    ),
    "no method, but ModelOpt's word": ({"quant_algo": "FP8", "ignore": ["lm_head"]}, "fp8_tensor", (), ""),
    "globs of nothing known": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["*.zzz.*", "mtp.*", "model.layers.4*"]},
        *("nvfp4", (), "leaves '*.zzz.*': not understood"),
    ),
    "another method": ({"quant_method": "aqlm"}, "", (), "quant_method aqlm"),
    "a hostile method": ({"quant_method": "=cmd|\x1b[31m"}, "", (), "quant_method unnamed"),
    "other blocks": ({"quant_method": "fp8", "weight_block_size": [64, 1]}, "", (), "weight_block_size"),
    "no mapping": ([1], "", (), "not a mapping"),
    "wrong types": ({"quant_method": "gptq", "bits": "4", "group_size": {}}, "", (), "bits or group_size"),
    "no groups": ({"quant_method": "compressed-tensors", "config_groups": [1]}, "", (), "config_groups"),
}


@pytest.mark.parametrize("case", QUANTIZED)
def test_a_config_says_how_its_weights_are_stored_or_a_note_says_why_not(case: str) -> None:
    config, name, kept, note = QUANTIZED[case]
    spec = from_config({**LLAMA, "quantization_config": config})
    found = spec.quantization
    assert found is not None
    assert (found.format, found.kept) == (name, kept)
    assert note in found.note
    assert bool(found.note) == bool(note)
    assert found.note.isprintable()
    assert value(spec, "weight_bytes", Workload(1, weight_dtype="bf16")) == 2 * value(spec, "parameters", Workload(1))
    told = kvcalc.compare([spec], kvcalc.parse_request({}), []).warnings
    assert any(note in line for line in told) or not note
    assert not kvcalc.compare([spec], kvcalc.parse_request({"weight_dtype": "int8"}), []).warnings
    (again,) = parse_documents("again", kvcalc.to_yaml([spec]))
    assert read_native(again).quantization == found


def test_what_leaves_all_that_it_could_hold_is_bf16() -> None:
    config = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["model.layers.*"]}
    spec = from_config({**LLAMA, "quantization_config": config})
    assert value(spec, "weight_bytes", Workload(1)) == 2 * value(spec, "parameters", Workload(1))


EXPERTS = {
    "model_type": "deepseek_v3",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "first_k_dense_replace": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


@pytest.mark.parametrize(
    "left",
    [[f"*x{at}*y*" for at in range(5000)], [f"model.layers.{at % 4}.x{at}*" for at in range(8000)], ["*a" * 50] * 99],
)
def test_patterns_without_end_are_told_and_take_no_time(left: list[str]) -> None:
    config = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": left}
    begun = time.monotonic()
    found = from_config({**EXPERTS, "quantization_config": config}).quantization
    assert time.monotonic() - begun < 5
    assert found is not None
    assert "not understood, counted as if it did not" in found.note


def test_a_layer_without_experts_leaves_none() -> None:
    """As Kimi-K2.6-NVFP4 does: layer 0, which has none, and of the others attention."""
    left = ["model.layers.0*", *(f"model.layers.{at}.self_attn*" for at in range(4))]
    config = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": left}
    found = from_config({**EXPERTS, "quantization_config": config}).quantization
    assert found is not None
    assert (found.format, found.kept, found.note) == ("nvfp4", ("attention", "mlp"), "")


def test_experts_in_another_format_are_told() -> None:
    config = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    for word, experts, note in (("fp4", "mxfp4", ""), ("fp6", "", "experts in fp6 are not followed"), ("fp8", "", "")):
        found = from_config({**EXPERTS, "quantization_config": config, "expert_dtype": word}).quantization
        assert found is not None
        assert found.experts == experts
        assert note in found.note
        assert bool(note) == bool(found.note)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("gpt-oss-20b", 13_761_264_768),  # metadata.total_size of model.safetensors.index.json
        ("gpt-oss-120b", 65_248_815_744),
    ],
)
def test_gpt_oss_is_as_large_as_its_published_file(name: str, size: int) -> None:
    assert value(kvcalc.load(name), "weight_bytes", Workload(1)) == size


def test_experts_of_another_format() -> None:
    """DeepSeek-V4's expert_dtype: fp4, in blocks of 32 with a scale of 8 bits; by hand, and on devices."""
    spec = kvcalc.load("deepseek-v4-flash")
    experts, parameters = 43 * 256 * 3 * 4096 * 2048, value(spec, "parameters", Workload(1))
    linear = sum(one.evaluate() for one in held(spec) if one.kind in ("attention", "shared experts"))
    found = value(spec, "weight_bytes", Workload(1))
    assert found == -(-131104 * linear // 131072) + experts * 17 // 32 + 2 * (parameters - linear - experts)
    report = kvcalc.analyze(spec, Workload(1, engine="vllm", tensor_parallel=8, expert_parallel=8))
    total = report.value("weight_bytes_total")
    assert total is not None
    assert found <= total <= found * 1.2
    assert value(spec, "weight_bytes", Workload(1, weight_dtype="bf16")) == 2 * parameters
    for told in ("kept: [experts], experts: mxfp4", "experts: zzz"):
        text = kvcalc.to_yaml([kvcalc.load("mixtral-8x7b-v0.1")]) + f"quantization: {{format: fp8_b128, {told}}}\n"
        with pytest.raises(kvcalc.ConfigError, match="experts"):
            read_native(parse_documents("mine", text)[0])


def test_what_a_config_says_is_what_its_own_format_means() -> None:
    """So that a row, which names the format alone, can be asked again."""
    spec = kvcalc.load("gpt-oss-20b")
    assert value(spec, "weight_bytes", Workload(1, weight_dtype="mxfp4")) == value(spec, "weight_bytes", Workload(1))


@pytest.mark.parametrize(
    ("name", "bits"),
    {"kimi-k2": 8.0, "kimi-k2.5": 4.6, "deepseek-r1": 8.0, "minimax-m2.5": 8.0, "deepseek-v4-flash": 4.4}.items(),
)
def test_published_models_are_in_the_format_that_their_config_names(name: str, bits: float) -> None:
    spec = kvcalc.load(name)
    found = 8 * value(spec, "weight_bytes", Workload(1)) / value(spec, "parameters", Workload(1))
    assert round(found, 1) == bits
