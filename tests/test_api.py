"""The Python interface: typed, lazy, and all that the command line uses."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import Any

import pytest

import kvcalc
from screens import NATIVE, records

PACKAGE = os.path.dirname(os.path.abspath(kvcalc.__file__))


def imports(path: str) -> set[str]:
    """Every module of ours that a file imports, anywhere in it."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name for name in found if name.split(".")[0] == "kvcalc"}


def test_the_three_lines_of_the_readme() -> None:
    spec = kvcalc.load("deepseek-v2")
    report = kvcalc.analyze(spec, kvcalc.Workload(context_tokens=32768))
    assert report.value("cache_bytes") == 34560 * 2 * 32768
    assert report.rows() == records("compare deepseek-v2 --variants none")


def test_every_public_name_is_there_and_is_the_typed_one() -> None:
    with open(kvcalc.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    typed = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert set(typed) == set(kvcalc.__all__) - {"__version__"}
    assert set(dir(kvcalc)) == set(kvcalc.__all__)
    for name, module in typed.items():
        assert getattr(kvcalc, name) is getattr(sys.modules[str(module)], name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="analyse"):
        kvcalc.analyse  # noqa: B018  # the access is the test


def test_the_command_line_uses_nothing_else() -> None:
    folder = os.path.join(PACKAGE, "cli")
    allowed = ("kvcalc.cli", "kvcalc.report", "kvcalc.rows", "kvcalc.errors", "kvcalc.tuples")
    for name in os.listdir(folder):
        if name.endswith(".py"):
            inner = {module for module in imports(os.path.join(folder, name)) if module != "kvcalc"}
            assert all(module.startswith(allowed) for module in inner), (name, inner)


def test_importing_it_imports_nothing() -> None:
    program = "import sys, kvcalc; print(*[name for name in sys.modules if name.startswith('kvcalc')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["kvcalc"]


def test_one_model_of_a_file_of_several(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "two.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{NATIVE}---\n{NATIVE.replace('mine', 'other')}")
    assert [spec.name for spec in kvcalc.load_all(path)] == ["mine", "other"]
    with pytest.raises(kvcalc.KvcalcError, match="2 models in one file"):
        kvcalc.load(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"context_tokens": 0}, "context_tokens"),
        ({"context_tokens": 1.5}, "whole number"),
        ({"batch": 0}, "batch"),
        ({"generate_tokens": -1}, "generate_tokens"),
        ({"cached_tokens": 100}, "no new token"),
        ({"shared_prefix_tokens": 100}, "shorter than the context"),
        ({"shared_prefix_tokens": 1, "kv_cache": False}, "makes no sense"),
        ({"dtype": "bf17"}, "did you mean bf16"),
        ({"dtype_v": "int9"}, "dtype_v"),
        ({"mla_decode": "both"}, "absorbed, naive"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused(changes: dict[str, Any], told: str) -> None:
    workload = kvcalc.Workload(100)._replace(**changes)
    with pytest.raises(kvcalc.KvcalcError, match=told):
        kvcalc.analyze(kvcalc.load("llama-3.1-8b"), workload)
