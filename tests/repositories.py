"""Real git repositories made for tests, which no configuration of the machine reaches."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import started
from refusals import Result
from screens import NATIVE, environment

if TYPE_CHECKING:
    from pathlib import Path

WHO = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "protocol.file.allow=always")
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
WIDER = NATIVE.replace("num_key_value_heads: 2", "num_key_value_heads: 4")


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody."""
    done = subprocess.run(
        ["git", *WHO, *arguments], cwd=folder, env={**os.environ, **ALONE}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path) -> None:
    """Commit all that is there."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "a change")


def repository(folder: Path) -> Path:
    """A new repository in this folder, with one config, mine.yaml, committed."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "mine.yaml").write_text(NATIVE)
    commit(folder)
    return folder


def diff(folder: Path, *arguments: str, **changes: str) -> Result:
    """Run `kvcalc diff` in a folder."""
    alone = environment(**{**ALONE, "GITHUB_STEP_SUMMARY": "", **changes})
    code, out, err = started.run("diff", *arguments, folder=folder, environment=alone)
    return Result(code, out.decode(), err.decode())
