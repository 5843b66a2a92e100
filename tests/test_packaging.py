"""The wheel: it holds the package and the configs, nothing else, and answers from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kvcalc.report.page.document import SCRIPTS

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the tree, unpacked."""
    if not os.path.exists(os.path.join(ROOT, "pyproject.toml")):
        pytest.skip("not a checkout")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_package_and_the_configs(unpacked: Path) -> None:
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert {"kvcalc/py.typed", "kvcalc/readers/bundled.json", "kvcalc/readers/hf_defaults.json"} <= files
    assert {f"kvcalc/report/page/{name}" for name in (*SCRIPTS, "page.css")} <= files
    configs = {name for name in files if name.startswith("kvcalc/configs/")}
    assert configs == {f"kvcalc/configs/{name}" for name in os.listdir(os.path.join(ROOT, "configs"))}
    assert all(name.startswith(("kvcalc/", "kvcalc-")) for name in files)


@pytest.mark.parametrize(
    "arguments",
    [["compare", "deepseek-v2"], ["show", "deepseek-v2", "--provenance"], ["fit", "deepseek-v2", "--on", "8xH100"]],
)
def test_the_wheel_answers_from_any_folder(unpacked: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kvcalc", *arguments, "--format", "json"],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)[0]["model"] == "deepseek-v2"
