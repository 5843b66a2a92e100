"""The real command line, in a pipe and at a terminal of any width."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import started
from refusals import Result

if TYPE_CHECKING:
    from pathlib import Path

REALS = ("least_seconds", "tokens_per_second_at_most")
NO_TERMINAL = "this system has no pseudo-terminals"
KVCALC = [sys.executable, "-m", "kvcalc"]
CONTRACT = [
    "model",
    "variant",
    "attention",
    "layers",
    "context_tokens",
    "batch",
    "cache_dtype",
    "cache_elements_per_token",
    "cache_bytes_per_token",
    "state_elements",
    "cache_elements",
    "cache_bytes",
    "cache_ratio",
    "decode_core_flops",
    "decode_projection_flops",
    "decode_model_flops",
    "prefill_core_flops",
    "prefill_projection_flops",
    "prefill_model_flops",
    "decode_cache_read_bytes",
    "decode_intensity",
    "parameters",
    "active_parameters",
    "weight_bytes",
    "receptive_field_tokens",
    "prompt_tokens",
    "cached_tokens",
    "kv_cache",
]
TEXTS = {"model", "variant", "attention", "cache_dtype", "kv_cache", "weight_dtype", "mla_decode", "mla_prefill"}
TEXTS |= {"engine", "mtp", "engine_version", "engine_options", "on", "decode_bound_by", "prefill_bound_by"}
FRACTIONS = {"cache_ratio", "decode_intensity", "waste_ratio"}
FRACTIONS |= {f"{phase}_{what}" for phase in ("decode", "prefill") for what in REALS}
SUFFIXES = {"json": "json", "jsonl": "jsonl", "csv": "csv", "tsv": "tsv", "md": "markdown", "txt": "table"}
COMMANDS = ("compare deepseek-v3", "show gemma-3-27b", "explain mixtral-8x7b-v0.1", "list")
WIDTHS = (20, 40, 60, 80, 120, 200)
NATIVE = """name: mine
vocab_size: 100
hidden_size: 64
num_hidden_layers: 4
tie_word_embeddings: false
norm: rmsnorm
norms_per_layer: 2
attention: {kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}
mlp: {kind: dense, intermediate_size: 128, gated: true}
"""


def environment(**changes: str) -> dict[str, str]:
    """Return an environment that says nothing about terminals."""
    silent = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "KVCALC_FORMAT")
    kept = {key: value for key, value in os.environ.items() if key not in silent}
    return {**kept, "TERM": "xterm-256color", **changes}


def kvcalc(line: str, *more: str, stdin: str = "", **changes: str) -> Result:
    """Run the command line into files."""
    code, out, err = started.run(*line.split(), *more, stdin=stdin.encode(), environment=environment(**changes))
    return Result(code, out.decode(), err.decode())


@cache
def piped(line: str) -> str:
    """Return what a command writes into a pipe."""
    result = kvcalc(line)
    assert result.code == 0, result
    return result.out


def records(line: str, *more: str, **changes: str) -> list[dict[str, Any]]:
    """Return the rows of a command as JSON."""
    result = kvcalc(line, "--format", "json", *more, **changes)
    assert result.code == 0, result
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


def at_terminal(line: str, width: int, **changes: str) -> str:
    """Return what a command writes at a real terminal of this width."""
    fcntl, pty, termios = (pytest.importorskip(name, reason=NO_TERMINAL) for name in ("fcntl", "pty", "termios"))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(
        [*KVCALC, *line.split()],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.DEVNULL,
        env=environment(**changes),
    )
    os.close(slave)
    written = b""
    while chunk := _read(master):
        written += chunk
    os.close(master)
    assert process.wait(timeout=60) == 0
    return written.decode().replace("\r\n", "\n")


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # Linux's way to say that the other side is gone
        return b""


def peak_kib(program: str, *arguments: str) -> int:
    """Return the peak memory of a Python program; ru_maxrss would be that of the process that started it."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("this system does not tell a process's peak")
    told = f"{program}\nimport sys\nsys.stderr.write(open('/proc/self/status').read())"
    done = subprocess.run([sys.executable, "-c", told, *arguments], capture_output=True, text=True, check=True)
    return int(done.stderr.rpartition("VmHWM:")[2].split()[0])


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)
