"""The bytes that a run begins with: our configs and bad files, the truths' configs, headers, rows and command lines."""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TRUTHS = ("config_variants.jsonl", "plain.jsonl", "grouped.jsonl", "sparse.jsonl", "states.jsonl", "towers.jsonl")
RANGES = ("1k:8k:x2", "1:9:2", "0:3:1", "1:", ":", "4k:1k:x2")
COMMAND_YAML = "model.yaml"


def _read(*path: str) -> bytes:
    with open(os.path.join(ROOT, *path), "rb") as file:
        return file.read()


def _files(folder: str, suffix: str) -> list[bytes]:
    return [_read(folder, name) for name in sorted(os.listdir(os.path.join(ROOT, folder))) if name.endswith(suffix)]


@cache
def native() -> list[bytes]:
    """Configs that ship, files that are refused, and models of every kind."""
    from strategies import document

    made = [json.dumps(document(random.Random(at).randint)).encode() for at in range(60)]  # noqa: S311  # no secret
    return [*_files("configs", ".yaml"), *_files(os.path.join("tests", "bad"), ".yaml"), *made, *BOMBS]


BOMBS = [
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    b"[" * 30 + b"]" * 30,
    b"{a: " * 30 + b"1" + b"}" * 30,
    b"- " * 40,
    b"a: " + b"9" * 5000,
    b"a: 0x" + b"f" * 5000,
    b"a: 1" + b"0" * 400 + b".0e+999",
    b"a: 1\na: 2\n",
    b"? [a, b]\n: 1\n",
    b"<<: {a: 1}\n",
    b"a: !!python/object/apply:os.system [ls]\n",
    b"%YAML 1.1\n%TAG ! tag:x,2000:\n---\na: !x 1\n",
    b'{"a": NaN, "b": Infinity, "c": 1e999, "d": "\\ud800", "e": -0}',
    b'{"a": ' + b"1" * 5000 + b"}",
    b"a: |\n  x\n y\n",
    "a: \u202e\u2028\ufeff\n".encode(),
]


@cache
def published() -> list[bytes]:
    """Configs of the truths, a type each, and JSON that is none."""
    found: dict[str, bytes] = {}
    for name in TRUTHS:
        for line in _read("tests", "truth", name).decode().splitlines():
            config = json.loads(line).get("config")
            if isinstance(config, dict):
                found.setdefault(str(config.get("model_type")), json.dumps(config).encode())
    return [*found.values(), *BOMBS]


@cache
def headers() -> list[bytes]:
    """GGUF files as the truths have them, written by the gguf package, in both byte orders."""
    from headers import LLAMA_KEYS, llama_shapes, write_gguf

    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.gguf"
        for big_endian in (False, True):
            more: dict[str, Any] = {"tokenizer.ggml.tokens": ["a", "b", "c"], "general.alignment": 32}
            write_gguf(path, "llama", {**LLAMA_KEYS, **more, "block_count": 1}, llama_shapes(1), big_endian=big_endian)
            made.append(path.read_bytes())
        for line in _read("tests", "truth", "gguf.jsonl").decode().splitlines()[::4]:
            told = json.loads(line)
            shapes = {name: tuple(reversed(shape[1:])) for name, shape in told["tensors"].items()}
            types = {name: shape[0].upper() for name, shape in told["tensors"].items()}
            write_gguf(path, told["architecture"], told["keys"], shapes, types)
            made.append(path.read_bytes())
    return made


BUDGET = """budgets:
- {model: '*', metric: cache_bytes, max: 40 GiB, reason: because}
- {model: gpt2, metric: decode_core_flops, max_increase: 5%, workload: {context: 4k, engine: vllm@0.20, tp: 2}}
- {model: 'llama-*', metric: weight_bytes, min: 1000, workload: {on: 8xH100, dtype: fp8, kv_cache: 'off'}}
ignore:
- {code: KV105, model: x, reason: y}
"""
HARDWARE = """name: mine
vendor: me
memory: 80 GiB
bandwidth: 3.35 TB/s
peaks: {bf16: 989.5 TFLOPS, fp8: 1979 TFLOPS}
gpu_class: h100
interconnect: {name: NVLink 4, bandwidth: 450 GB/s}
source: a sheet
"""


def budgets() -> list[bytes]:
    """Budget files."""
    return [BUDGET.encode(), *BOMBS]


def hardware() -> list[bytes]:
    """Hardware files."""
    return [HARDWARE.encode(), *BOMBS]


@cache
def baselines() -> list[bytes]:
    """Rows that kvcalc wrote."""
    from refusals import quickly

    asked = (
        ("compare", "gpt2", "-f", "json"),
        ("compare", "gpt2", "--variants", "none", "-f", "jsonl"),
        ("compare", "gpt2", "mamba-2.8b", "-f", "jsonl", "--engine", "vllm", "--on", "H100", "--generate", "9"),
        ("compare", "deepseek-v2-lite", "--variants", "mha,swa-64", "--batch", "3", "-f", "json", "--tp", "2"),
    )
    return [*(quickly(*words).out.encode() for words in asked), *BOMBS]


def answers() -> list[bytes]:
    """What a hub may send."""
    page = b"<!DOCTYPE html><html><body>Log in</body></html>"
    return [*published()[:40], page, b"", b"null", b"[]", b"Entry not found", b"\x1f\x8b\x08\x00" + bytes(60)]


@cache
def formulas() -> list[bytes]:
    """Every formula of the code, and those that must be refused."""
    found: set[str] = set()
    for folder, _, names in os.walk(os.path.join(ROOT, "kvcalc", "attention")):
        for name in names:
            if name.endswith(".py"):
                text = _read(folder, name).decode()
                found.update(word for word in re.findall(r'"([^"\n]{3,200})"', text) if re.search(r"[*+]", word))
    bad = ["2**2**2**99", "9" * 31, "(" * 50, "-" * 300 + "n", "n^2", "__import__('os')", "10**400", "1/0", "a" * 990]
    more = ["m*W where m = min(n, W)", "a where a = a", "x where x = y, y = x", "min(max(n,W),ceil_div(n,b))%7//2"]
    return [text.encode() for text in (*sorted(found), *bad, *more)]


def symbols() -> list[str]:
    """The symbols in the code's formulas."""
    found = re.findall(r"[A-Za-z_][A-Za-z_0-9]*(?:\^[A-Za-z]+)?'*", b"\n".join(formulas()).decode())
    return list(dict.fromkeys(["n", "W", "a", "b", *(name for name in found if len(name) < 8)]))


def sizes() -> list[bytes]:
    """Sizes and ranges."""
    told = "4096|32k|1m|1k,8k,128k|1k:1m:x2|1024:1024000:1024|1:10:3|1_000|1,000|0|-1|1:2|1:2:x1|::|1:1:1|1:1m:1|9e9"
    return [word.encode() for word in told.split("|")]


def grids() -> list[bytes]:
    """Options of a grid, one a line."""
    told = (
        "context=1k,8k\nbatch=1:9:2\ndtype=bf16,fp8",
        "prompt=1k:64k:x2\ncached=0,4k\ngenerate=1k",
        "engine=paper,vllm@0.20,llamacpp\nengine_option=block_size=32\ntp=1,2\npp=2",
        "context=4k\nshared_prefix=1k\nkv_cache=on,off\nmla_decode=absorbed,naive\nmtp=on",
        "context=1:1000:1\nbatch=1:1000:1\ngenerate=1:100:1\ncached=0:100:1",
        "encoder_tokens=0,1k\nstate_dtype=fp32,bf16\nweight_dtype=int4_g128,fp8_b128",
    )
    return [text.encode() for text in told]


def options() -> list[bytes]:
    """Words of options, after a byte that picks whose."""
    told = "32k|40 GiB|3.2 PFLOPs|5%|gqa-4,mla-256+32/8,swa-1024|int4_g128|q4_0|vllm@0.20|block_size=32|KV105|8xH100"
    return [bytes([at]) + word.encode() for word in told.split("|") for at in range(10)]


@cache
def commands() -> list[bytes]:
    """The command lines of README, an argument a line, and some that are wrong."""
    import shlex

    found = []
    for line in _read("README.md").decode().splitlines():
        if line.startswith("$ kvcalc "):
            words = shlex.split(line[2:].partition("|")[0].partition(">")[0])[1:]
            if words and words[0] not in ("verify", "report", "sweep", "plot"):
                found.append("\n".join(words).encode())
    more = (
        "compare model.yaml -f json",
        "show model.yaml --provenance -f csv",
        "explain gpt2 cache_bytes --engine vllm",
        "fit gpt2 --on H100 --context 4k",
        "check model.yaml --budget budget.yaml -f sarif",
        "diff gpt2 model.yaml -f github",
        "sweep gpt2 --context 1k:8k:x2 --batch 1:9:2 -f csv",
        "rope --context 4k",
        "convert gpt2",
        "schema budget",
        "list hardware -f json",
        "plot gpt2 --x context",
    )
    return [*found, *(line.replace(" ", "\n").encode() for line in more)]


def files_for_commands(folder: str) -> None:
    """The files that command lines may name."""
    for name, content in ((COMMAND_YAML, _read("configs", "gpt2.yaml")), ("budget.yaml", BUDGET.encode())):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


def picks() -> list[bytes]:
    """Any bytes: each is a model."""
    made = random.Random(7)  # noqa: S311  # no secret
    return [made.randbytes(made.randint(0, 200)) for _ in range(50)]


# ---------- words


LITERALS = rb"null true false ~ NaN Infinity -1 0 1 1e999 1.5 017 0x10 9999999999999 10**25 & * !! << [ ] { } \ud800 '"
BROKEN = (b"\xff", b"\xed\xa0\x80", b"\0", "\u202e".encode(), b'"', b"#", b"\n", b"  ", b"\t", b": ", b", ")
NASTY = [*LITERALS.split(), *BROKEN, b"- ", b"---\n", b"\n\n", b"%", b"|", b">"]


def _words_in(texts: list[bytes]) -> list[bytes]:
    found: dict[bytes, None] = {}
    for text in texts:
        found.update(dict.fromkeys(re.findall(rb"[A-Za-z_][A-Za-z0-9_.-]{2,40}", text)))
    return list(found)


@cache
def words_of_configs() -> list[bytes]:
    """Names and words of both formats."""
    from kvcalc.attention.kinds import MEMORIES, REACHES

    schema = _read("configs", "kvcalc.schema.json")
    names = re.findall(rb'"([a-z_]{3,40})": \{', schema)
    return [*NASTY, *(kind.encode() for kind in (*MEMORIES, *REACHES)), *dict.fromkeys(names), *_words_in(published())]


def words_of_headers() -> list[bytes]:
    """Numbers of the format's types, and counts that are too large."""
    numbers = [0, 1, 2, 4, 8, 9, 12, 13, 255, 2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
    return [
        *(number.to_bytes(8, "little") for number in numbers),
        *(number.to_bytes(8, "big") for number in numbers),
        *(number.to_bytes(4, "little") for number in numbers[:-2]),
        *_words_in(headers()),
    ]


def words_of_budgets() -> list[bytes]:
    """Names and words of budgets."""
    return [*NASTY, *_words_in([BUDGET.encode(), _read("configs", "kvcalc-budget.schema.json")])]


def words_of_hardware() -> list[bytes]:
    """Names and words of hardware files."""
    return [*NASTY, *_words_in([HARDWARE.encode(), _read("configs", "kvcalc-hardware.schema.json")])]


def words_of_rows() -> list[bytes]:
    """Keys and words of rows."""
    return [*NASTY, *_words_in(baselines())]


def words_of_formulas() -> list[bytes]:
    """Operators, functions and symbols."""
    return b"+ - * / // % ** ( ) , = min( max( ceil_div( isqrt( where n W d_c d_h^R d_c' a b 0 1 2 99 ^ '".split()


def words_of_sizes() -> list[bytes]:
    """What sizes are made of."""
    return b"k m K M : , x2 x 0 1 9 1024 1000000000000 1000000 _ - + . e 10 1: :1 \xc2\xb2 \xd9\xa3".split()


def words_of_grids() -> list[bytes]:
    """Options and their words."""
    from kvcalc.engines import ENGINES
    from kvcalc.request import OPTIONS

    names = [f"{name}=".encode() for name in OPTIONS]
    return [*names, b"\n", *words_of_sizes(), *(name.encode() for name in ENGINES), *_words_in(grids())]


def words_of_options() -> list[bytes]:
    """Words of options."""
    return [*words_of_sizes(), *_words_in(options()), b"%", b" ", b"@", b"+", b"/", b"GiB", b"1.", b"E"]


@cache
def words_of_commands() -> list[bytes]:
    """Commands, options and what they take."""
    from kvcalc.cli.app import COMMANDS
    from kvcalc.request import OPTIONS, flag_of
    from kvcalc.rows import KEYS

    more = "-f json csv table markdown github sarif junit -o -q --color always --variants none gqa-4 model.yaml gpt2 -h"
    words = [*COMMANDS, *(flag_of(name) for name in OPTIONS), *more.split(), *RANGES, *KEYS]
    return [b"\n", *(f"\n{word}\n".encode() for word in words), *words_of_sizes()]
