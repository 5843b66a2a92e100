"""Cold start: kvcalc's commands beside bare imports, interleaved in one run.

    python benchmarks/cold_start.py [ROUNDS]

Run it with the Python of an environment that kvcalc is installed in (`pip install .` compiles the bytecode that an
installed tool has). Machines are noisy: read the medians of the ratios, each taken within one round.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

IMPORT_TYPER = "import typer"
IMPORT_TABLE = "import typer, rich.console, rich.table, rich.text"
VALIDATE = """
import typer, yaml
from pydantic import BaseModel
class Model(BaseModel):
    size: int
Model.model_validate({"size": 1})
"""
NATIVE = """\
name: mine
hidden_size: 4096
num_hidden_layers: 32
vocab_size: 128256
tie_word_embeddings: false
norm: rmsnorm
norms_per_layer: 2
attention: {kind: heads, num_attention_heads: 32, num_key_value_heads: 8, head_dim: 128}
mlp: {kind: dense, intermediate_size: 14336, gated: true}
"""


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of one whole process, whatever it exits with."""
    start = time.perf_counter()
    subprocess.run(command, check=False, env={**os.environ, **environment}, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print one line a command: the median ratio to its yardstick, and the aim."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    kvcalc = os.path.join(os.path.dirname(sys.executable), "kvcalc")
    with tempfile.TemporaryDirectory() as folder:
        mine = os.path.join(folder, "mine.yaml")
        with open(mine, "w", encoding="utf-8") as file:
            file.write(NATIVE)
        completion = {"_KVCALC_COMPLETE": "complete_bash", "COMP_WORDS": "kvcalc compare deep", "COMP_CWORD": "2"}
        cases: list[tuple[str, list[str], dict[str, str], str, float]] = [
            ("--version", ["--version"], {}, IMPORT_TYPER, 1.15),
            ("--help", ["--help"], {}, IMPORT_TYPER, 1.15),
            ("list", ["list"], {}, IMPORT_TYPER, 1.15),
            ("completion", [], completion, IMPORT_TYPER, 1.15),
            ("usage error", ["compare", "--fromat"], {}, IMPORT_TYPER, 1.15),
            ("compare, bundled, JSON", ["compare", "deepseek-v2", "--format", "json"], {}, IMPORT_TYPER, 1.3),
            ("compare, bundled, table", ["compare", "deepseek-v2"], {}, IMPORT_TABLE, 1.3),
            ("compare, own YAML, JSON", ["compare", mine, "--format", "json"], {}, VALIDATE, 1.2),
        ]
        ratios: dict[str, list[float]] = {name: [] for name, *_ in cases}
        for round_ in range(rounds + 1):
            for name, arguments, environment, yardstick, _ in cases:
                theirs = seconds([sys.executable, "-c", yardstick], {})
                ours = seconds([kvcalc, *arguments], environment)
                if round_:  # the first one warms the caches
                    ratios[name].append(ours / theirs)
    print(f"{rounds} rounds; median ratio of whole processes")
    for name, _, _, yardstick, aim in cases:
        what = {IMPORT_TYPER: "import typer", IMPORT_TABLE: "import typer and rich"}.get(yardstick, "a pydantic script")
        print(f"{name:26} {statistics.median(ratios[name]):5.2f} x {what:22} aim {aim:.2f}")


if __name__ == "__main__":
    main()
