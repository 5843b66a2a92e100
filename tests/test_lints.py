"""Each lint speaks of a config made to break it, at the key that decides, and is silent on the nearest good one."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import records
from kvcalc.checks import CODES
from kvcalc.checks.heads import SHAPING
from kvcalc.checks.lint import LINTS
from kvcalc.checks.run import check
from refusals import LLAMA, NATIVE, write

if TYPE_CHECKING:
    from pathlib import Path

    from kvcalc.findings import Finding

LIMIT = "max_position_embeddings: 4096\n"
KINDS = "layers:\n  a: {sliding_window: 64}\n  b: {sliding_window: null}\nlayer_pattern: [a, b]\n"
MLA = NATIVE.replace(
    "{kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}",
    "{kind: mla, num_attention_heads: 8, kv_lora_rank: 32, qk_rope_head_dim: 8, qk_nope_head_dim: 8, v_head_dim: 8}",
)
MOE = NATIVE.replace(
    "mlp: {kind: dense, intermediate_size: 128, gated: true}\n",
    "mlp:\n  kind: moe\n  num_experts: 4\n  num_experts_per_tok: 2\n  moe_intermediate_size: 32\n  gated: true\n",
)
QWEN = {**LLAMA, "model_type": "qwen2", "num_key_value_heads": 2}
GPT2 = {"model_type": "gpt2", "vocab_size": 100, "n_embd": 64, "n_layer": 4, "n_head": 8}
MISTRAL = {**LLAMA, "model_type": "mistral", "num_key_value_heads": 2, "head_dim": 8}
DEEPSEEK = {**LLAMA, "model_type": "deepseek_v3", "kv_lora_rank": 32}
GEMMA = {
    "model_type": "gemma3",
    "text_config": {**LLAMA, "model_type": "gemma3_text", "num_key_value_heads": 2, "head_dim": 8},
}


def lines_of(config: str | dict[str, Any]) -> str:
    """A config as the text of a file: JSON with a key a line."""
    return config if isinstance(config, str) else json.dumps(config, indent=1)


def found(config: str | dict[str, Any], folder: Path, tp: int = 0) -> list[Finding]:
    name = "config.yaml" if isinstance(config, str) else "model.json"
    return list(check([write(folder, name, lines_of(config))], tp=tp).findings)


# code: what breaks it, what is in the deciding line, parts of what is said, the nearest good one, ranks
CASES: dict[str, tuple[str, str | dict[str, Any], str, list[str], str | dict[str, Any], int]] = {
    "unused window, native": (
        "KV101",
        NATIVE + "sliding_window: 128\n" + KINDS,
        "sliding_window: 128",
        ["sliding_window 128 is used by no layer", "every kind of layer has a reach of its own"],
        NATIVE + "sliding_window: 128\n" + KINDS.replace("{sliding_window: null}", "{}"),
        0,
    ),
    "unused chunk, native": (
        "KV101",
        NATIVE + "attention_chunk_size: 128\n" + KINDS,
        "attention_chunk_size: 128",
        ["attention_chunk_size 128 is used by no layer"],
        NATIVE + "attention_chunk_size: 128\n",
        0,
    ),
    "use_sliding_window false": (
        "KV101",
        {**QWEN, "sliding_window": 128, "use_sliding_window": False},
        '"sliding_window"',
        ["sliding_window 128 is used by no layer", "use_sliding_window is false"],
        {**QWEN, "sliding_window": 128, "use_sliding_window": True, "max_window_layers": 2},
        0,
    ),
    "use_sliding_window absent": (
        "KV101",
        {**QWEN, "sliding_window": 128},
        '"sliding_window"',
        ["use_sliding_window is absent, which is false"],
        QWEN,
        0,
    ),
    "max_window_layers beyond": (
        "KV101",
        {**QWEN, "sliding_window": 128, "use_sliding_window": True, "max_window_layers": 4},
        '"sliding_window"',
        ["no layer is of a kind that has it: see layer_types, max_window_layers"],
        {**QWEN, "sliding_window": 128, "use_sliding_window": True, "max_window_layers": 3},
        0,
    ),
    "a window in a llama": (
        "KV101",
        {**LLAMA, "sliding_window": 128},
        '"sliding_window"',
        ["the model type llama has none: it is ignored"],
        {**LLAMA, "sliding_window": None},
        0,
    ),
    "all layer_types full": (
        "KV101",
        {**MISTRAL, "sliding_window": 128, "layer_types": ["full_attention"] * 4},
        '"sliding_window"',
        ["sliding_window 128 is used by no layer", "see layer_types"],
        {**MISTRAL, "sliding_window": 128, "layer_types": ["full_attention"] * 3 + ["sliding_attention"]},
        0,
    ),
    "nested text_config": (
        "KV101",
        {**GEMMA, "text_config": {**GEMMA["text_config"], "attention_chunk_size": 64}},  # type: ignore[dict-item]  # of JSON
        '"attention_chunk_size"',
        ["the model type gemma3_text has none"],
        GEMMA,
        0,
    ),
    "a window of the whole context": (
        "KV102",
        NATIVE + LIMIT + "sliding_window: 4096\n",
        "sliding_window: 4096",
        ["sliding_window spans 4,096 tokens, and max_position_embeddings is 4,096"],
        NATIVE + LIMIT + "sliding_window: 4095\n",
        0,
    ),
    "a dilated window of the whole context": (
        "KV102",
        NATIVE + LIMIT + "sliding_window: 1025\ndilation: 4\n",
        "sliding_window: 1025",
        ["spans 4,097 tokens"],
        NATIVE + LIMIT + "sliding_window: 1024\ndilation: 4\n",
        0,
    ),
    "a chunk of the whole context, in one kind": (
        "KV102",
        NATIVE + LIMIT + "layers:\n  a: {}\n  b:\n    attention_chunk_size: 8192\nlayer_pattern: [a, b]\n",
        "    attention_chunk_size: 8192",
        ["attention_chunk_size spans 8,192 tokens"],
        NATIVE + LIMIT + "layers:\n  a: {}\n  b:\n    attention_chunk_size: 2048\nlayer_pattern: [a, b]\n",
        0,
    ),
    "a published window of the whole context": (
        "KV102",
        {**MISTRAL, "sliding_window": 512, "max_position_embeddings": 512},
        '"sliding_window"',
        ["nothing ever leaves the cache"],
        {**MISTRAL, "sliding_window": 511, "max_position_embeddings": 512},
        0,
    ),
    "heads over ranks": (
        "KV103",
        {**LLAMA, "num_key_value_heads": 1},
        '"num_attention_heads"',
        ["num_attention_heads 8 is not divisible by --tp 16", "--tp 1, 2, 4, 8 would"],
        {**LLAMA, "num_attention_heads": 16, "num_key_value_heads": 1},
        16,
    ),
    "latent heads over ranks": (
        "KV103",
        MLA,
        "attention",
        ["num_attention_heads 8"],
        MLA.replace(": 8,", ": 16,", 1),
        16,
    ),
    "KV heads over ranks": (
        "KV104",
        NATIVE.replace(
            "num_attention_heads: 8, num_key_value_heads: 2", "num_attention_heads: 12, num_key_value_heads: 6"
        ),
        "attention",
        ["num_key_value_heads 6 is neither divisible by --tp 4 nor a divisor of it", "--tp 1, 2, 3, 6 would"],
        NATIVE,
        4,
    ),
    "KV heads repeated": (
        "KV112",
        {**LLAMA, "num_key_value_heads": 2},
        '"num_key_value_heads"',
        ["--tp 8 keeps each of the 2 KV heads 4 times", "shrinks up to --tp 2"],
        {**LLAMA, "num_key_value_heads": 8},
        8,
    ),
    "one KV head repeated": (
        "KV112",
        {**LLAMA, "num_key_value_heads": 1},
        '"num_key',
        ["the one KV head 2 times"],
        LLAMA,
        2,
    ),
    "a latent repeated": (
        "KV112",
        DEEPSEEK,
        '"kv_lora_rank"',
        ["--tp 2 keeps the latent on each of the 2 ranks"],
        LLAMA,
        2,
    ),
    "head_dim apart": (
        "KV105",
        NATIVE.replace("head_dim: 8", "head_dim: 16"),
        "attention",
        ["head_dim 16 is not hidden_size / num_attention_heads, 64 / 8 = 8"],
        NATIVE,
        0,
    ),
    "queries of another width": (
        "KV105",
        NATIVE.replace("head_dim: 8", "head_dim: 8, q_hidden_size: 128"),
        "attention",
        ["head_dim 8 is not q_hidden_size / num_attention_heads, 128 / 8 = 16"],
        NATIVE.replace("head_dim: 8", "head_dim: 16, q_hidden_size: 128"),
        0,
    ),
    "a published head_dim apart": (
        "KV105",
        {**LLAMA, "head_dim": 32},
        '"head_dim"',
        ["head_dim 32 is not", "64 / 8 = 8"],
        {**LLAMA, "head_dim": 8},
        0,
    ),
    "a remainder": (
        "KV105",
        {**QWEN, "hidden_size": 68},
        '"num_attention_heads"',
        ["head_dim 8 is not hidden_size / num_attention_heads, 68 / 8 = 8 and a remainder"],
        QWEN,
        0,
    ),
    "no RoPE key": (
        "KV106",
        MLA.replace("qk_rope_head_dim: 8", "qk_rope_head_dim: 0"),
        "attention",
        ["kv_lora_rank 32 has no RoPE key: qk_rope_head_dim is 0"],
        MLA,
        0,
    ),
    "a RoPE key by default": (
        "KV106",
        DEEPSEEK,
        '"kv_lora_rank"',
        ["kv_lora_rank 32 without qk_rope_head_dim", "64, is counted"],
        {**DEEPSEEK, "qk_rope_head_dim": 64},
        0,
    ),
    "a latent in a llama": (
        "KV107",
        {**LLAMA, "kv_lora_rank": 512},
        '"kv_lora_rank"',
        [
            "kv_lora_rank 512 is ignored: the model type llama has no such field",
            "take it out; or is model_type another?",
        ],
        LLAMA,
        0,
    ),
    "KV heads in a gpt2": (
        "KV107",
        {**GPT2, "num_key_value_heads": 2},
        '"num_key_value_heads"',
        ["num_key_value_heads 2 is ignored: the model type gpt2", "8 is counted"],
        {**GPT2, "num_key_value_heads": 8},
        0,
    ),
    "experts in a llama": (
        "KV107",
        {**LLAMA, "num_local_experts": 8},
        '"num_local_experts"',
        ["num_local_experts 8 is ignored"],
        {**LLAMA, "model_type": "mixtral", "num_local_experts": 8},
        0,
    ),
    "a cache beyond the weights": (
        "KV108",
        NATIVE + "max_position_embeddings: 1048576\n",
        "max_position_embeddings",
        ["one sequence of 1,048,576 tokens is 256.0 MiB (268,435,456 bytes) of bf16 cache, more than"],
        NATIVE + "max_position_embeddings: 256\n",
        0,
    ),
    "short sight": (
        "KV109",
        NATIVE + LIMIT + "sliding_window: 512\n",
        "sliding_window: 512",
        ["all layers together see 2,048 tokens back, and max_position_embeddings is 4,096"],
        NATIVE + LIMIT + "sliding_window: 1024\n",
        0,
    ),
    "an odd width": (
        "KV110",
        NATIVE.replace("head_dim: 8", "head_dim: 9"),
        "attention",
        ["head_dim 9 is odd", "16 is the next"],
        NATIVE,
        0,
    ),
    "a width of four": (
        "KV110",
        MLA.replace("qk_rope_head_dim: 8", "qk_rope_head_dim: 4"),
        "attention",
        ["qk_rope_head_dim 4 is not a multiple of 8"],
        MLA,
        0,
    ),
    "all experts": (
        "KV111",
        MOE.replace("num_experts_per_tok: 2", "num_experts_per_tok: 4"),
        "  num_experts_per_tok: 4",
        ["num_experts_per_tok 4 is num_experts"],
        MOE,
        0,
    ),
    "an MLP over ranks": (
        "KV113",
        MOE.replace("moe_intermediate_size: 32", "moe_intermediate_size: 33"),
        "  moe_intermediate_size: 33",
        ["moe_intermediate_size 33 is not divisible by --tp 2", "--tp 1, 3, 11, 33 would"],
        MOE,
        2,
    ),
    "too few positions": (
        "KV114",
        NATIVE + LIMIT + "position_embeddings: 4095\n",
        "position_embeddings: 4095",
        ["position_embeddings has 4,095 rows, and max_position_embeddings is 4,096"],
        NATIVE + LIMIT + "position_embeddings: 4096\n",
        0,
    ),
    "a small base": (
        "KV115",
        NATIVE.replace("head_dim: 8", "head_dim: 128") + LIMIT + "rope: {base: 10000}\n",
        "rope: {base: 10000}",
        ["a RoPE base of 10000 over 128 of 128 elements supports 1,706 tokens, and 4,096 are claimed"],
        NATIVE.replace("head_dim: 8", "head_dim: 128") + LIMIT + "rope: {base: 10000, partial_rotary_factor: 0.5}\n",
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_lint_speaks_at_the_deciding_line(case: str, tmp_path: Path) -> None:
    code, bad, line, parts, _, tp = CASES[case]
    (finding,) = [one for one in found(bad, tmp_path, tp) if one.code == code]
    text = lines_of(bad).splitlines()[finding.line - 1]
    assert text.lstrip().startswith(line.lstrip()), text
    assert text[finding.column - 1 :].lstrip('"')[:1].isalpha()
    assert finding.severity == CODES[code].severity
    for part in parts:
        assert part in f"{finding.message} {finding.hint}"


@pytest.mark.parametrize("case", CASES)
def test_it_is_silent_on_the_nearest_good_one(case: str, tmp_path: Path) -> None:
    code, _, _, _, good, tp = CASES[case]
    assert [one.code for one in found(good, tmp_path, tp)].count(code) == 0


def test_every_lint_has_a_case() -> None:
    assert {case[0] for case in CASES.values()} == {lint.code for lint in LINTS}


def test_a_plain_model_is_beyond_reproach(tmp_path: Path) -> None:
    assert found(NATIVE, tmp_path) == []
    assert found({**LLAMA, "max_position_embeddings": 64}, tmp_path) == []


@pytest.mark.parametrize("record", records("models.jsonl"), ids=lambda record: record["name"])
def test_published_configs_are_told_only_what_is_true_of_them(record: dict[str, Any], tmp_path: Path) -> None:
    """Of the fields of another attention none is there, and the window of Qwen2.5 is switched off in truth."""
    told = {finding.code for finding in found(record["config"], tmp_path)}
    text = record["config"].get("text_config", record["config"])
    assert ("KV105" in told) == (
        "head_dim" in text and text["head_dim"] * text["num_attention_heads"] != text["hidden_size"]
    )
    assert ("KV101" in told) == (text.get("use_sliding_window") is False and bool(text.get("sliding_window")))
    assert told <= {"KV101", "KV102", "KV105", "KV108", "KV115"}


def test_every_use_of_an_inherited_attention_is_told_once(tmp_path: Path) -> None:
    kinds = "layers:\n  a: {}\n  b: {sliding_window: 64}\nlayer_pattern: [a, b]\n"
    told = found(NATIVE.replace("head_dim: 8", "head_dim: 16") + kinds, tmp_path)
    assert [(finding.code, finding.line) for finding in told] == [("KV105", 8)]


def test_an_attention_that_every_kind_replaces_is_not_told(tmp_path: Path) -> None:
    own = "{kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}"
    kinds = f"layers:\n  a: {{attention: {own}}}\nlayer_pattern: [a]\n"
    assert found(NATIVE.replace("head_dim: 8", "head_dim: 16") + kinds, tmp_path) == []


def test_custom_attention_has_no_heads_to_speak_of(tmp_path: Path) -> None:
    custom = (
        "attention: {kind: custom, name: mine, symbols: {m: 3}, elements_per_token: m, work_per_pair: m,"
        " work_per_token: m, parameters: m}\n"
    )
    text = "".join(custom if line.startswith("attention:") else line for line in NATIVE.splitlines(keepends=True))
    assert found(text, tmp_path, tp=8) == []


ODD = st.sampled_from([None, True, False, 0, 1, 2, 7, 512, -1, 1.5, "8", "", "=1", [], [1], {}, {"kind": "mla"}])
KEYS = st.sampled_from([*SHAPING, "sliding_window", "attention_chunk_size", "use_sliding_window", "layer_types"])


@given(
    st.sampled_from([LLAMA, QWEN, GPT2, MISTRAL, DEEPSEEK, {**LLAMA, "model_type": "qwen3_moe"}]),
    st.dictionaries(KEYS, ODD, max_size=4),
    st.sampled_from([0, 1, 3, 8]),
)
def test_whatever_stands_in_a_config_a_finding_is_all_that_comes_of_it(
    config: dict[str, Any], odd: dict[str, Any], tp: int
) -> None:
    text = json.dumps({**config, **odd}, indent=1)
    with mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()))):
        told = check(["-"], tp=tp).findings
    for finding in told:
        assert 1 <= finding.line <= text.count("\n") + 1
        assert finding.code in CODES
        assert f"{finding.message}{finding.hint}".isprintable()
