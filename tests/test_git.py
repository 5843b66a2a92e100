"""What git knows: real repositories, real clones, and the commands that we print for them, run as printed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import kvcalc
import repositories
from kvcalc.git import Moved, fetch_command, repository
from refusals import assert_refused
from repositories import ALONE, WIDER, commit, diff, git
from screens import NATIVE

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".yaml", ".yml", ".json")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repositories.repository(tmp_path / "repo")


def moved(folder: Path, revision: str = "HEAD") -> list[Moved]:
    return repository(revision, str(folder)).moved(SUFFIXES)


def test_every_way_that_a_file_can_change(repo: Path) -> None:
    for name in ("changed.yaml", "gone.yml", "unindexed.yaml", "same.yaml"):
        (repo / name).write_text(f"{NATIVE}# {name}\n")
    (repo / "before.json").write_text('{"a": "long enough to be known again", "b": [1, 2, 3, 4, 5, 6, 7, 8]}')
    (repo / ".gitignore").write_text("ignored.yaml\n")
    commit(repo)
    (repo / "changed.yaml").write_text(WIDER)
    (repo / "gone.yml").unlink()
    git(repo, "mv", "before.json", "after.json")
    git(repo, "rm", "-q", "--cached", "unindexed.yaml")
    (repo / "unindexed.yaml").write_text(WIDER)
    for name in ("untracked.yaml", "ignored.yaml", "notes.txt", "Capital.YAML"):
        (repo / name).write_text(WIDER)
    assert moved(repo) == [
        Moved("new", "", "Capital.YAML"),
        Moved("renamed", "before.json", "after.json"),
        Moved("changed", "changed.yaml", "changed.yaml"),
        Moved("deleted", "gone.yml", ""),
        Moved("changed", "unindexed.yaml", "unindexed.yaml"),
        Moved("new", "", "untracked.yaml"),
    ]


def test_names_that_a_shell_or_a_terminal_would_obey(repo: Path) -> None:
    names = [
        "-f.yaml",
        "$(touch pwned).yaml",
        "; touch pwned;.yaml",
        "two\nlines.yaml",
        "tab\t.yaml",
        "ü.yaml",
        ":(top).yaml",
    ]
    for name in names:
        (repo / name).write_text(NATIVE)
    commit(repo)
    for name in names:
        (repo / name).write_text(WIDER)
    found = moved(repo)
    assert sorted(change.new_path for change in found) == sorted(names)
    here = repository("HEAD", str(repo))
    assert all(here.read(name, 10_000) == NATIVE.encode() for name in names)
    result = diff(repo, "--base", "HEAD")
    assert result.code == 0
    assert "two\\nlines.yaml" in result.out
    assert sorted(os.listdir(repo)) == sorted([*names, ".git", "mine.yaml"]), "nothing was run"


def test_no_program_of_a_repository_is_run(repo: Path) -> None:
    """A diff driver and a text conversion are the user's own configuration, and still none of our business."""
    for key in ("diff.spy.command", "diff.spy.textconv", "diff.external", "core.fsmonitor", "core.pager"):
        git(repo, "config", key, f"touch {repo}/pwned; cat")
    (repo / ".gitattributes").write_text("*.yaml diff=spy\n")
    (repo / "mine.yaml").write_text(WIDER)
    result = diff(repo, "--base", "HEAD", "--format", "csv")
    assert result.code == 0
    assert "attention.num_key_value_heads" in result.out
    assert not (repo / "pwned").exists()


def test_a_large_file_is_read_up_to_a_limit(repo: Path) -> None:
    (repo / "big.yaml").write_text("x" * 3_000_000)
    commit(repo)
    assert len(repository("HEAD", str(repo)).read("big.yaml", 1000)) == 1000


@pytest.mark.parametrize(
    "revision", ["", "-x", "--output=pwned", "-", "^main", "main..HEAD", "main:mine.yaml", "no\0such"]
)
def test_what_is_no_revision_is_refused(repo: Path, revision: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match="revision"):
        repository(revision, str(repo))
    assert sorted(os.listdir(repo)) == [".git", "mine.yaml"]


def test_a_misspelt_branch_or_tag(repo: Path) -> None:
    git(repo, "tag", "release-2")
    assert_refused(diff(repo, "--base", "mian"), "unknown revision 'mian'", "did you mean main?")
    assert_refused(diff(repo, "--base", "relaese-2"), "did you mean release-2?")


def test_outside_of_a_repository(tmp_path: Path) -> None:
    result = diff(tmp_path, "--base", "main", GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert_refused(result, "not in a git repository", "kvcalc diff OLD NEW")


def test_without_git(repo: Path, tmp_path: Path) -> None:
    assert_refused(diff(repo, "--base", "main", PATH=str(tmp_path)), "git, which is not installed")


def test_a_bare_repository_has_no_files_to_compare(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare")
    assert_refused(diff(tmp_path / "bare", "--base", "main"), "must be run in a work tree")


@pytest.mark.parametrize("revision", ["origin/main", "main", "v1.0", "HEAD~1", "HEAD^", "id", "short id"])
def test_in_a_shallow_clone_the_printed_command_makes_the_same_diff_work(
    repo: Path, tmp_path: Path, revision: str
) -> None:
    git(repo, "tag", "-a", "v1.0", "-m", "first")
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "-q", "-b", "work")
    (repo / "mine.yaml").write_text(WIDER)
    commit(repo)
    git(tmp_path, "clone", "-q", "--depth=1", "--branch=work", f"file://{repo}", "clone")
    clone = tmp_path / "clone"
    asked = {"id": first, "short id": first[:9]}.get(revision, revision)
    refused = diff(clone, "--base", asked)
    assert_refused(refused, "unknown revision", "shallow")
    command = refused.err.splitlines()[-1].strip()
    assert command.startswith("git fetch ")
    if revision == "origin/main":
        assert command == "git fetch --depth=1 origin main:refs/remotes/origin/main"
    subprocess.run(command, shell=True, cwd=clone, env={**os.environ, **ALONE}, check=True, capture_output=True)  # noqa: S602  # as a user pastes it
    result = diff(clone, "--base", asked)
    assert (result.code, result.err) == (0, "")
    assert "attention.num_key_value_heads" in result.out


def test_a_whole_clone_that_lacks_a_remote_branch(repo: Path, tmp_path: Path) -> None:
    git(repo, "branch", "other")
    git(tmp_path, "clone", "-q", "--single-branch", "--branch=main", f"file://{repo}", "clone")
    result = diff(tmp_path / "clone", "--base", "origin/other")
    assert_refused(result, "git fetch origin other:refs/remotes/origin/other")


@pytest.mark.parametrize("revision", ["0f1261627", "12345678", "abcdef0"])
def test_a_short_id_is_no_version(revision: str) -> None:
    assert fetch_command(revision, ["origin"], shallow=True).startswith("git fetch --unshallow")


@pytest.mark.parametrize("revision", ["origin/$(touch)", "origin/a;b", "a|b", "it's"])
def test_a_printed_command_is_quoted(revision: str) -> None:
    import shlex

    command = fetch_command(revision, ["origin"], shallow=True)
    assert shlex.split(command)[:3] == ["git", "fetch", "--depth=1"]
    assert len(shlex.split(command)) == 5


def test_in_a_subdirectory(repo: Path) -> None:
    inner = repo / "configs" / "deep"
    inner.mkdir(parents=True)
    (inner / "other.yaml").write_text(NATIVE.replace("mine", "other"))
    commit(repo)
    (inner / "other.yaml").write_text(WIDER.replace("mine", "other"))
    (repo / "mine.yaml").write_text(WIDER)
    csv = diff(inner, "--base", "HEAD", "--format", "csv").out
    assert {line.split(",")[4] for line in csv.splitlines()[1:]} == {"other.yaml", "../../mine.yaml"}
    for named in (("other.yaml",), (".",), ("../deep",), (str(inner / "other.yaml"),)):
        csv = diff(inner, "--base", "HEAD", "--format", "csv", *named).out
        assert {line.split(",")[4] for line in csv.splitlines()[1:]} == {"other.yaml"}, named


def test_a_path_that_is_nowhere_or_elsewhere(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(NATIVE)
    assert_refused(diff(repo, "--base", "HEAD", "nosuch.yaml"), "nosuch.yaml: no such file, neither here nor at HEAD")
    assert_refused(diff(repo, "--base", "HEAD", "../outside.yaml"), "not a file of the repository")
    assert_refused(diff(repo, "--base", "HEAD", "-"), "not a file of the repository")
    same = diff(repo, "--base", "HEAD", "mine.yaml")
    assert (same.code, same.out) == (0, "no difference\n")
