"""Start-up is a feature: a command imports what it needs and nothing else. Modules are counted, never times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("rich", "pydantic", "yaml", "tempfile", "dataclasses", "importlib.metadata", "csv"),
    *("numpy", "pyarrow", "xlsxwriter", "plotille", "vl_convert"),
)
PROGRAM = """
import sys
sys.argv = ["kvcalc", *{arguments!r}]
from kvcalc.cli.start import main
try:
    main()
except SystemExit:
    pass
sys.stderr.write("\\nLOADED " + " ".join(sys.modules))
"""
NATIVE = """\
name: mine
hidden_size: 64
num_hidden_layers: 2
vocab_size: 100
tie_word_embeddings: true
norm: rmsnorm
norms_per_layer: 2
attention: {kind: heads, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16}
mlp: {kind: dense, intermediate_size: 128, gated: true}
"""


def loaded(*arguments: str, **environment: str) -> set[str]:
    """The heavy modules that a command has imported when it ends."""
    stdlib = {"dataclasses"} if sys.version_info[:2] == (3, 14) else set()  # its traceback module imports them
    return set(HEAVY) & modules(*arguments, **environment) - stdlib


def modules(*arguments: str, **environment: str) -> set[str]:
    """Every module that a command has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(arguments=arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    found = set(done.stderr.rpartition("LOADED ")[2].split())
    assert "kvcalc.cli.app" in found, done.stderr
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["compare", "--help"],
        ["diff", "--help"],
        ["list"],
        ["compare"],
        ["compare", "--fromat", "json"],
        ["compare", "deepseek-v2", "--format", "json"],
        ["compare", "deepseek-v2", "gemma-3-27b", "--format", "jsonl"],
        ["compare", "no-such-model"],
        ["explain", "deepseek-v2", "cache_bytes"],
        ["show", "deepseek-v2", "--format", "json"],
        ["list", "hardware", "--format", "json"],
        ["show", "deepseek-v2", "--on", "8xH100", "--format", "json"],
        ["fit", "deepseek-v2", "--on", "8xH100", "--format", "json"],
        ["report", "deepseek-v2", "--on", "8xH100"],
        ["plot", "--help"],
    ],
    ids=" ".join,
)
def test_a_bundled_model_needs_nothing_heavy(arguments: list[str]) -> None:
    assert loaded(*arguments) == set()


@pytest.mark.parametrize(
    "words",
    [
        "compare deeps",
        "sweep gpt2 --dtype bf16,f",
        "show gpt2 --variants mha,g",
        "explain gpt2 dec",
        "compare gpt2 -f p",
        "fit gpt2 --on 8xH1",
    ],
)
def test_completion_needs_nothing_heavy(words: str) -> None:
    asked = {"COMP_WORDS": f"kvcalc {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    assert loaded(_KVCALC_COMPLETE="complete_bash", **asked) == set()


def test_a_table_needs_rich_alone() -> None:
    assert loaded("compare", "deepseek-v2") <= {"rich", "dataclasses", "tempfile"}


def test_a_file_of_ones_own_needs_the_door_and_no_rich(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(NATIVE)
    found = loaded("compare", str(file), "--format", "json")
    assert {"pydantic", "yaml"} <= found
    assert "rich" not in found


def test_a_file_of_ones_own_brings_the_kinds_that_it_names_and_no_other(tmp_path: Path) -> None:
    """Nor what only a scaling of RoPE, another engine or a complaint would need."""
    file = tmp_path / "mine.yaml"
    file.write_text(NATIVE)
    found = modules("compare", str(file), "--variants", "none", "--format", "json")
    ours = {name for name in found if name.startswith("kvcalc.attention.")}
    known = ("heads", "kinds", "latent", "memory", "reach")  # variants are of heads and latents
    assert ours == {f"kvcalc.attention.{name}" for name in known}
    assert {name for name in found if name.startswith("kvcalc.engines.")} <= {
        "kvcalc.engines.paper",
        "kvcalc.engines.ranks",
        "kvcalc.engines.settings",
    }
    assert not {"kvcalc.rope", "kvcalc.readers.complaint", "kvcalc.readers.huggingface"} & found


def test_no_start_pays_for_typings_named_tuples(tmp_path: Path) -> None:
    """They compile every annotation; `kvcalc.tuples` makes the same in a third of the time."""
    package = Path(__file__).parent.parent / "kvcalc"
    imports = [path for path in package.rglob("*.py") if "NamedTuple" in path.read_text().partition("\nclass ")[0]]
    wrong = [path.name for path in imports if "from kvcalc.tuples import NamedTuple" not in path.read_text()]
    assert wrong == ["tuples.py"]
