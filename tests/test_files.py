"""Where results go and where models come from, beyond the plain file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kvcalc.comparison import compare
from kvcalc.readers.load import load_all
from kvcalc.request import Request
from kvcalc.variants import parse_variants
from kvcalc.workload import Workload


def kvcalc(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kvcalc", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("old")
    rows.chmod(0o600)
    assert kvcalc("compare", "gpt2", "-o", "rows.csv", folder=tmp_path).returncode == 0
    assert stat.S_IMODE(rows.stat().st_mode) == 0o600
    assert rows.read_text().startswith("model,variant,")
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_a_dash_is_stdout(tmp_path: Path) -> None:
    done = kvcalc("compare", "gpt2", "--format", "json", "-o", "-", folder=tmp_path)
    assert json.loads(done.stdout)[0]["model"] == "gpt2"
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no /dev/stdout")
def test_a_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    done = kvcalc("compare", "gpt2", "-f", "csv", "-o", "/dev/stdout", folder=tmp_path)
    assert done.stdout.startswith("model,variant,")


def test_an_unknown_suffix_is_no_table_in_disguise(tmp_path: Path) -> None:
    done = kvcalc("compare", "gpt2", "-o", "rows.ods", folder=tmp_path)
    assert done.returncode == 2
    assert "no format is known by .ods" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_models_folder_is_its_config(tmp_path: Path) -> None:
    (tmp_path / "Tiny").mkdir()
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    (tmp_path / "Tiny" / "config.json").write_text(json.dumps(config))
    (spec,) = load_all(str(tmp_path / "Tiny"))
    assert (spec.name, spec.layers) == ("Tiny", 2)


def test_what_is_no_model_config_is_said(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6}')
    done = kvcalc("compare", "generation_config.json", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "generation_config.json:1:1: not a model config" in done.stderr


def test_a_window_that_changes_nothing_is_a_note() -> None:
    comparison = compare(load_all("mistral-7b-v0.1"), Request(Workload(0)), parse_variants("swa-1024"))
    assert [report.variant for report in comparison.reports] == ["configured"]
    assert comparison.notes == ("mistral-7b-v0.1: swa-1024 is left out: no layer has full reach",)
