"""The shell completes models, quantities, variants, dtypes and words, each after a comma too where a list is taken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

import kvcalc
import started
from kvcalc.cli.completion import list_of
from screens import KVCALC, environment

CASES = {
    "kvcalc compare deepseek-v2": ["deepseek-v2", "deepseek-v2-lite"],
    "kvcalc compare gpt2 mistral-7b": ["mistral-7b-v0.1", "mistral-7b-v0.2", "mistral-7b-v0.3"],
    "kvcalc sweep llama-2-7": ["llama-2-70b", "llama-2-7b"],
    "kvcalc show llama-2-7": ["llama-2-70b", "llama-2-7b"],
    "kvcalc explain llama-2-7": ["llama-2-70b", "llama-2-7b"],
    "kvcalc compare gpt2 --dtype b": ["bf16"],
    "kvcalc compare gpt2 -d bf16,b": [],
    "kvcalc compare gpt2 --weight-dtype fp8_b": ["fp8_b128"],
    "kvcalc sweep gpt2 --weight-dtype bf16,mx": ["bf16,mxfp8", "bf16,mxfp6", "bf16,mxfp4"],
    "kvcalc sweep gpt2 --dtype bf16,fp8_": ["bf16,fp8_e4m3", "bf16,fp8_e5m2"],
    "kvcalc sweep gpt2 --dtype-k bf16,int8,b": [],
    "kvcalc sweep gpt2 --dtype-v fp16,b": ["fp16,bf16"],
    "kvcalc sweep gpt2 --kv-cache o": ["on", "off"],
    "kvcalc sweep gpt2 --mla-decode naive,": ["naive,absorbed"],
    "kvcalc compare gpt2 --mla-decode n": ["naive"],
    "kvcalc compare gpt2 --variants g": ["gqa-8"],
    "kvcalc compare gpt2 -v mha,mq": ["mha,mqa"],
    "kvcalc compare gpt2 -v n": ["none"],
    "kvcalc compare gpt2 -v mha,n": [],
    "kvcalc explain gpt2 decode_c": ["decode_core_flops", "decode_cache_read_bytes"],
    "kvcalc compare gpt2 --format pa": ["parquet"],
    "kvcalc sw": ["sweep"],
    "kvcalc fit gpt2 --on 8xh100-n": ["8xh100-nvl"],
    "kvcalc show gpt2 --on TPU-v5": ["TPU-v5e", "TPU-v5p"],
    "kvcalc list h": ["hardware"],
    "kvcalc plot gpt2 --x b": ["batch"],
    "kvcalc plot gpt2 --y in": ["intensity"],
    "kvcalc plot gpt2 --y decode_core": ["decode_core_flops"],
    "kvcalc nonsense gp": [],
}


def completed(line: str) -> list[str]:
    """What typer tells a shell."""
    asked = {"_KVCALC_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    code, out, err = started.run(environment=environment(**asked))
    assert (code, err) == (0, b"")
    return out.decode().split()


@pytest.mark.parametrize(("line", "words"), CASES.items(), ids=CASES)
def test_a_line_is_completed(line: str, words: list[str]) -> None:
    assert completed(line) == words


def test_what_is_completed_is_accepted() -> None:
    for name in kvcalc.DTYPE_BITS:
        assert kvcalc.parse_dtype(name, "--dtype") == name
    for name in kvcalc.VARIANTS:
        assert [variant.name for variant in kvcalc.parse_variants(name)] == ([] if name == "none" else [name])


def test_a_word_is_offered_once() -> None:
    complete = list_of(("on", "off"))
    assert complete("") == ["on", "off"]
    assert complete("off,") == ["off,on"]
    assert complete("on,off,") == []


def in_bash(line: str, script: str) -> list[str]:
    """What bash would offer: its own variables set, the function that the script registered called."""
    words = " ".join(f"'{word}'" for word in line.split(" "))
    program = (
        f"{script}\nCOMP_WORDS=({words}); COMP_CWORD={line.count(' ')}; COMP_LINE='{line}'; COMP_POINT={len(line)}\n"
        'spec=$(complete -p kvcalc); function=${spec##*-F }; ${function%% *} kvcalc; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", program], env=environment(PATH=path), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes_with_the_script_that_kvcalc_prints() -> None:
    shown = subprocess.run(
        KVCALC, env=environment(_KVCALC_COMPLETE="source_bash"), capture_output=True, text=True, check=True
    )
    for line in ("kvcalc compare deepseek-v2", "kvcalc sweep gpt2 --dtype bf16,fp8_", "kvcalc explain gpt2 decode_c"):
        assert in_bash(line, shown.stdout) == CASES[line]
