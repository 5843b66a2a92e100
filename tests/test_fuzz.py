"""The doors of fuzz/ for a moment, the same bytes every time; and what must be refused at once, timed and weighed.

The long run is `python fuzz/run.py`: docs/reliability.md has its counts. What it found stands in FOUND.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from doors import doors
from kvcalc.errors import FormulaError, KvcalcError
from kvcalc.formula import MAX_BITS, parse
from kvcalc.grid import MAX_SETTINGS, MAX_SIZES, parse_grid
from kvcalc.readers.load import load_all
from mutations import Mutator
from refusals import LLAMA, NATIVE

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("gguf")
TIMES = {  # 4 seconds in all
    "yaml": 60,
    "config.json": 60,
    "gguf": 300,
    "budget": 150,
    "hardware": 150,
    "baseline": 40,
    "hub": 60,
    "formula": 2000,
    "sizes": 500,
    "grid": 500,
    "words": 1000,
    "command": 8,
    "valid": 20,
}


@pytest.mark.parametrize("name", TIMES)
def test_every_door_reads_or_refuses(name: str, tmp_path: Path) -> None:
    """Whatever else an error than KvcalcError is raised as fails here with its bytes."""
    door = doors(str(tmp_path))[name]
    mutator = Mutator(0, door.corpus(), door.words())
    for _ in range(TIMES[name]):
        door.enter(mutator.next())
