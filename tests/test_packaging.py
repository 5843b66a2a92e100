"""The wheel: the package and the configs, nothing else, the same bytes each time; and the lock that tests it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kvcalc.report.page.document import SCRIPTS

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def build(folder: Path, out: Path) -> Path:
    """Build the wheel of a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the tree."""
    if not os.path.exists(os.path.join(ROOT, "pyproject.toml")):
        pytest.skip("not a checkout")
    return build(Path(ROOT), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "site")
    return wheel.parent / "site"


def test_the_wheel_is_the_same_from_a_folder_of_other_times_and_permissions(wheel: Path, tmp_path: Path) -> None:
    """`.ci/build-twice` does so from clones, the sdist included."""
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in ("README.md", "LICENSE", "pyproject.toml", ".gitignore"):
        shutil.copyfile(os.path.join(ROOT, name), copy / name)
    for name in ("kvcalc", "configs"):
        shutil.copytree(os.path.join(ROOT, name), copy / name, copy_function=shutil.copyfile)
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1e9, 1e9))
    assert build(copy, tmp_path).read_bytes() == wheel.read_bytes()


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


def test_the_lock_has_what_pyproject_asks_for_and_names_no_registry() -> None:
    with open(os.path.join(ROOT, ".ci", "requirements.txt"), encoding="utf-8") as file:
        lock = file.read()
    assert "://" not in lock
    assert "index" not in lock
    locked: dict[str, list[str]] = {}
    for name, version, hashes in re.findall(
        r"^([\w.-]+)==(\S+)[^\n]*\\\n((?:    --hash=\S+(?: \\)?\n)+)", lock, re.MULTILINE
    ):
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in hashes.splitlines())
        locked.setdefault(name, []).append(version)
    assert sum(map(len, locked.values())) == len(re.findall(r"^\S", lock, re.MULTILINE))
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as config:
        project = tomllib.load(config)["project"]
    extras = project["optional-dependencies"]
    tested = [text for extra in extras if extra != "verify" for text in extras[extra]]
    for asked in map(Requirement, [*project["dependencies"], *tested]):
        if asked.name != "kvcalc":
            versions = locked[re.sub(r"[-_.]+", "-", asked.name).lower()]
            assert all(asked.specifier.contains(version, prereleases=True) for version in versions), asked
