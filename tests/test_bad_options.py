"""Options and arguments that make no sense, and usage errors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
from refusals import assert_refused, quickly

# ---------- the options

OPTIONS: list[tuple[str, tuple[str, ...]]] = [
    ("--context 0", ("--context: '0' is not a number of tokens", "32768, 32k")),
    ("--context -5", ("--context: '-5' is not a number of tokens",)),
    ("--context 1e6", ("--context: '1e6' is not a number of tokens",)),
    ("--context 32.5k", ("--context: '32.5k' is not a number of tokens",)),
    ("--context 32g", ("--context: '32g' is not a number of tokens",)),
    ("--context k", ("--context: 'k' is not a number of tokens",)),
    ("--context 9999999999999m", ("--context: ", "from 1 to 1,000,000,000,000")),
    ("--context=", ("--context: '' is not a number of tokens",)),
    ("--prompt=", ("--prompt: '' is not a number of tokens",)),
    ("--generate=", ("--generate: '' is not a number of tokens",)),
    ("--shared-prefix=", ("--shared-prefix: '' is not a number of tokens",)),
    ("--prompt 1k --cached=", ("--cached: '' is not a number of tokens",)),
    ("--dtype=", ("--dtype: unknown dtype ''",)),
    ("--dtype-k=", ("--dtype-k: unknown dtype ''",)),
    ("--dtype-v=", ("--dtype-v: unknown dtype ''",)),
    ("--prompt 0", ("--prompt: '0' is not a number of tokens",)),
    ("--generate 0", ("--generate: '0' is not a number of tokens",)),
    ("--context 2k --prompt 1k", ("--context 2048 is not --cached 0 + --prompt 1024 = 1024", "leave --context out")),
    ("--context 2k --prompt 1k --cached 2k", ("--context 2048 is not --cached 2048 + --prompt 1024 = 3072",)),
    ("--cached 1k", ("--cached needs --prompt",)),
    ("--cached 1k --context 1k", ("--cached 1024 leaves no new token in --context 1024",)),
    ("--cached 1k --prompt 1k --kv-cache off", ("--cached makes no sense with --kv-cache off",)),
    ("--shared-prefix 1k --context 1k", ("--shared-prefix 1024 is not shorter than the context, 1024 tokens",)),
    ("--shared-prefix 2k --context 1k", ("--shared-prefix 2048 is not shorter than the context, 1024 tokens",)),
    ("--shared-prefix 64k", ("--shared-prefix 65536 is not shorter than the context, 1024 tokens",)),
    ("--shared-prefix 512 --kv-cache off", ("--shared-prefix", "makes no sense with --kv-cache off")),
    ("--dtype fp17", ("--dtype: unknown dtype 'fp17'", "did you mean fp16")),
    ("--dtype q4_k", ("--dtype: unknown dtype 'q4_k'", "did you mean q4_1 or q4_0")),
    ("--dtype half-ish", ("--dtype: unknown dtype 'half-ish'", "known: fp64 fp32")),
    ("--engine vllmm", ("--engine: unknown engine 'vllmm'", "did you mean vllm?")),
    ("--engine vllm@0.5", ("vllm of version '0.5' is not modelled", "known: 0.33.0, 0.20.0, 0.11.0")),
    ("--engine paper@1", ("paper of version '1' is not modelled", "it has no versions")),
    ("--engine vllm --engine-option blok=3", ("vllm has no option 'blok'", "block_size")),
    ("--engine vllm --engine-option block_size", ("'block_size' is no option", "write name=value")),
    ("--engine vllm --engine-option block_size=x", ("block_size cannot be 'x'", "a whole number")),
    ("--engine vllm --engine-option block_size=5", ("a block_size of 5 is no multiple of 16",)),
    ("--engine vllm --engine-option async_scheduling=yes", ("async_scheduling cannot be 'yes'", "on or off")),
    ("--engine vllm --engine-option gpu_class=h", ("gpu_class cannot be 'h'", "one of h100")),
    ("--engine vllm --dtype int4", ("no cache of plain int4", "kv_cache_dtype")),
    ("--engine vllm --kv-cache off", ("vllm always caches",)),
    ("--engine sglang --engine-option swa_full_tokens_ratio=0", ("swa_full_tokens_ratio cannot be '0'",)),
    ("--engine llamacpp --tp 2", ("splits a model by layers",)),
    ("--engine vllm --tp 7", ("do not divide",)),
    ("--tp 0", ("--tp: '0' is not a number of devices from 1",)),
    ("--engine-option block_size=32", ("paper has no option 'block_size'",)),
    ("--dtype-k itn8", ("--dtype-k: unknown dtype 'itn8'", "did you mean int8")),
    ("--dtype-v 8", ("--dtype-v: unknown dtype '8'",)),
    ("--weight-dtype bf17", ("--weight-dtype: unknown dtype 'bf17'", "did you mean bf16")),
    ("--variants=", ("--variants names no variant", "mha, gqa-8")),
    ("--variants ,", ("--variants names no variant",)),
    ("--variants gqa", ("--variants: unknown variant 'gqa'", "did you mean gqa-8")),
    ("--variants gqa-0", ("--variants: unknown variant 'gqa-0'",)),
    ("--variants gqa--4", ("--variants: unknown variant 'gqa--4'",)),
    ("--variants gqa-4\N{FULLWIDTH DIGIT SIX}", ("--variants: unknown variant",)),
    ("--variants mla-512", ("--variants: unknown variant 'mla-512'", "did you mean mla-512+64")),
    ("--variants swa-0", ("--variants: unknown variant 'swa-0'", "did you mean swa-4096")),
    ("--variants mha,gqx-4", ("--variants: unknown variant 'gqx-4'",)),
    ("--variants mha,none", ("--variants: ", "none")),
]


@pytest.mark.parametrize("options, parts", OPTIONS)
def test_options_that_make_no_sense(options: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    assert_refused(quickly("compare", "gpt2", "-o", str(tmp_path / "out.csv"), *options.split(" ")), *parts)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ("compare gpt2 --contxt 4k", ("No such option: --contxt", "--context")),
        ("compare gpt2 --qiet", ("No such option: --qiet", "--quiet")),
        ("compare gpt2 --batch 0", ("--batch", "0 is not in the range")),
        ("compare gpt2 --batch two", ("--batch", "'two' is not")),
        ("compare gpt2 --format xml", ("--format", "'xml' is not one of 'table', 'json'")),
        ("compare gpt2 --kv-cache maybe", ("--kv-cache", "'maybe' is not one of 'on', 'off'")),
        ("compare gpt2 --color red", ("--color", "'red' is not one of 'auto', 'always', 'never'")),
        ("compare gpt2 --context", ("--context", "requires an argument")),
        ("compare", ("Missing argument 'MODEL...'",)),
        ("show gpt2 llama-2-7b", ("unexpected extra argument",)),
        ("compar gpt2", ("No such command 'compar'", "Did you mean", "compare")),
        ("lst", ("No such command 'lst'", "Did you mean", "list")),
        ("--verson", ("No such option: --verson", "--version")),
    ],
)
def test_usage_errors_say_what_was_meant(arguments: str, parts: tuple[str, ...]) -> None:
    result = quickly(*arguments.split(" "))
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
    assert result.err.count("Error: ") == 1
    for part in parts:
        assert part in result.err


def test_an_unknown_quantity_is_answered_with_the_nearest() -> None:
    assert_refused(quickly("explain", "gpt2", "cache_byts", "-q"), "'cache_byts'", "did you mean cache_bytes")
