"""What a refusal looks like, and ways to provoke one."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import started
from kvcalc.cli.app import run as run_command_line

if TYPE_CHECKING:
    from pathlib import Path

BAD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bad")
MEMORY = 1 << 30
UNTOUCHED = "as it was\n"
NATIVE = """name: bad
vocab_size: 100
hidden_size: 64
num_hidden_layers: 4
tie_word_embeddings: false
norm: rmsnorm
norms_per_layer: 2
attention: {kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}
mlp: {kind: dense, intermediate_size: 128, gated: true}
"""
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 128,
}


class Result(NamedTuple):
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str


def kvcalc(*arguments: str, stdin: bytes = b"", timeout: float = 20) -> Result:
    """Run the real command line in a process of its own, with little memory."""
    code, out, err = started.run(*arguments, stdin=stdin, timeout=timeout, memory=MEMORY)
    return Result(code, out.decode(), err.decode())


def quickly(*arguments: str) -> Result:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv, code = sys.argv, ["kvcalc", *arguments], 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run_command_line()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.argv = argv
    return Result(code, out.getvalue(), err.getvalue())


def assert_refused(result: Result, *parts: str) -> None:
    """One message on stderr with all these parts, and nothing else."""
    assert result.code == 2, result
    assert result.out == ""
    assert "Traceback" not in result.err
    first, *others = result.err.splitlines()
    assert first.startswith("kvcalc: ")
    assert all(line.startswith("  ") for line in others), "one message, its hint set in"
    for part in parts:
        assert part in result.err, result.err


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)
