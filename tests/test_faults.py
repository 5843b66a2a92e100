"""Faults: a short run of what benchmarks/faults.py does at length, with processes and signals that are real."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from typing import Any, get_args

import pytest

from kvcalc.cli.app import COMMANDS
from kvcalc.cli.output import PICTURES, SUFFIXES, CiFormat, Format
from screens import environment

FAULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "benchmarks", "faults.py")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and limits are Linux's")


@pytest.mark.parametrize(
    "names",
    [
        "closed pipe",
        "full limit read_only",
        pytest.param("kill two clock", marks=pytest.mark.long),
        pytest.param("poor narrow", marks=pytest.mark.long),
    ],
    ids=str,
)
def test_whatever_happens_is_one_message_and_no_half_file(names: str) -> None:
    command = [sys.executable, FAULTS, "--kills", "15", *names.split()]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["no breach"]), done.stdout + done.stderr


def test_every_command_and_every_format_has_its_faults() -> None:
    tried: dict[str, Any] = runpy.run_path(FAULTS)
    assert set(tried["LINES"]) == set(COMMANDS)
    assert set(tried["SUFFIXES"]) == set(COMMANDS) - {"verify"}, "verify needs the library"
    known = {suffix.removeprefix("."): format_ for suffix, format_ in SUFFIXES.items()}
    formats = {known[suffix] for suffixes in tried["SUFFIXES"].values() for suffix in suffixes if suffix in known}
    assert {*get_args(Format), *get_args(CiFormat), *PICTURES} - formats == {"table", "github"}, "they have no suffix"
