"""What git knows: which files changed since a revision, and what they said there.

Git is run with lists of arguments and never through a shell. A revision is resolved once to the id of its commit, so
that nothing a user types is read as an option; no diff driver, text conversion or file monitor of a repository is run.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SAFE = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
STATUSES = {"A": "new", "D": "deleted", "R": "renamed", "C": "new"}
VERSION = r"v?[0-9]+(\.[0-9]+)*([.-]?[A-Za-z]+[.-]?[0-9]*)?"


class Moved(NamedTuple):
    """A file that is not what it was: 'changed', 'new', 'deleted' or 'renamed'; paths from the root, '' for none."""

    status: str
    old_path: str
    new_path: str


class Repository(NamedTuple):
    """A work tree, and one commit of its history: the name it was asked for by, and its id."""

    root: str
    revision: str
    commit: str

    def moved(self, suffixes: Sequence[str]) -> list[Moved]:
        """Files of these suffixes that differ between the commit and the work tree, those not added yet included."""
        patterns = [f":(icase)*{suffix}" for suffix in suffixes]
        options = ("--name-status", "-z", "--find-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules")
        told = _git(self.root, "diff", *options, self.commit, "--", *patterns)
        found = set(_name_status(told))
        others = _git(self.root, "ls-files", "--others", "--exclude-standard", "-z", "--", *patterns)
        for path in map(os.fsdecode, filter(None, others.split(b"\0"))):
            gone = Moved("deleted", path, "")  # from the index alone: the file is still there
            found.add(Moved("changed", path, path) if gone in found else Moved("new", "", path))
            found.discard(gone)
        return sorted(found, key=lambda moved: (moved.new_path or moved.old_path, moved.old_path))

    def has(self, path: str) -> bool:
        """Whether a file or a folder stood there in the commit."""
        return _run(self.root, ["cat-file", "-e", f"{self.commit}:{path}"])[0] == 0

    def read(self, path: str, most: int) -> bytes:
        """What a file said in the commit, at most so many bytes of it."""
        code, told, complaint = _run(
            self.root, ["show", "--no-ext-diff", "--no-textconv", f"{self.commit}:{path}"], most
        )
        if code:
            raise KvcalcError(f"{path}: git cannot show it at {self.revision}: {_one_line(complaint)}")
        return told


def repository(revision: str, folder: str = ".") -> Repository:
    """Find the repository around a folder, and the commit that a revision names.

    Raises KvcalcError where git is not installed, the folder is in no work tree, or the revision is not there: with
    the command that fetches it into a shallow clone.
    """
    if not revision or revision.startswith("-") or "\0" in revision:
        raise KvcalcError(f"--base: {revision!r} is no revision", "a branch, a tag or a commit, such as origin/main")
    code, told, complaint = _run(folder, ["rev-parse", "--show-toplevel"])
    root = os.fsdecode(told).rstrip("\n")
    if code or not root:
        raise _no_repository(_one_line(complaint))
    code, told, _ = _run(root, ["rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"])
    commit = told.decode("ascii", "replace").strip()
    if code or not re.fullmatch("[0-9a-f]{40,64}", commit):
        raise _unknown(root, revision)
    return Repository(root, revision, commit)


def _no_repository(complaint: str) -> KvcalcError:
    """Git's own words, where they say more than that there is none, such as that the folder is another user's."""
    if "not a git repository" in complaint or not complaint:
        return KvcalcError(
            "--base: not in a git repository", "run it inside one, or give two files: kvcalc diff OLD NEW"
        )
    return KvcalcError(f"--base: git cannot read this repository: {complaint}")


def _unknown(root: str, revision: str) -> KvcalcError:
    told = _git(root, "for-each-ref", "--format=%(refname:short)", "--count=10000").decode("utf-8", "replace")
    shallow = _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
    remotes = _git(root, "remote").decode("utf-8", "replace").split()
    remote = next((f"{name}/" for name in remotes if revision.startswith(f"{name}/")), "")
    known = [name.removeprefix(remote) for name in told.split("\n") if name and name.startswith(remote)]
    near = did_you_mean(revision.removeprefix(remote), known)
    near = near.replace("mean ", f"mean {remote}").replace(" or ", f" or {remote}")
    command = fetch_command(revision, remotes, shallow=shallow)
    if command:
        where = "this clone is shallow, and the revision is not in it" if shallow else "this clone may lack it"
        near = f"{near + ' Or: ' if near else ''}{where}; fetch it:\n  {command}"
    return KvcalcError(f"--base: unknown revision {revision!r}", near or "see git branch --all, or git tag")


def fetch_command(revision: str, remotes: Sequence[str], *, shallow: bool) -> str:
    """The git command that brings a revision here; '' where none is known."""
    from shlex import quote

    remote = next((name for name in remotes if revision.startswith(f"{name}/")), "")
    usual = "origin" if "origin" in remotes or not remotes else remotes[0]
    depth = " --depth=1" if shallow else ""
    if remote:
        name = revision.removeprefix(f"{remote}/")
        return f"git fetch{depth} {quote(remote)} {quote(f'{name}:refs/remotes/{revision}')}" if _plain(name) else ""
    if not shallow or not remotes:
        return ""
    if steps := re.fullmatch(r"(?:HEAD|@)(?:(\^+)|~([0-9]{0,6}))", revision):
        return f"git fetch --deepen={len(steps[1]) if steps[1] else int(steps[2] or 1)} {quote(usual)}"
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision):
        return f"git fetch --depth=1 {quote(usual)} {revision}"
    short_id = re.fullmatch(r"[0-9a-f]{4,39}", revision)
    if re.fullmatch(VERSION, revision) and not short_id:
        return f"git fetch --depth=1 {quote(usual)} tag {quote(revision)}"
    if _plain(revision) and not short_id:
        return f"git fetch --depth=1 {quote(usual)} {quote(f'{revision}:refs/heads/{revision}')}"
    return f"git fetch --unshallow {quote(usual)} {quote(f'+refs/heads/*:refs/remotes/{usual}/*')}"


def _plain(name: str) -> bool:
    """Whether this is the name of a branch, and no step from one to another commit."""
    return name != "HEAD" and not re.search(r"[\^~:@{}\s\\?*\[]|\.\.", name)


def _name_status(told: bytes) -> Iterator[Moved]:
    """Read `git diff --name-status -z`: a letter and a path, or for a renamed file a letter and two."""
    words = iter(os.fsdecode(told).split("\0"))
    for word in words:
        if not word:
            continue
        letter, path = word[0], next(words)
        if letter in "RC":
            new_path = next(words)
            yield Moved(STATUSES[letter], path if letter == "R" else "", new_path)
        else:
            status = STATUSES.get(letter, "changed")
            yield Moved(status, "" if status == "new" else path, "" if status == "deleted" else path)


def _git(folder: str, *arguments: str) -> bytes:
    """What a git command says. Raises KvcalcError with git's words where it fails."""
    code, told, complaint = _run(folder, arguments)
    if code:
        raise KvcalcError(f"git {arguments[0]}: {_one_line(complaint) or f'exit code {code}'}")
    return told


def _run(folder: str, arguments: Sequence[str], most: int = -1) -> tuple[int, bytes, bytes]:
    """Run git; return its exit code, its output, of which `most` bytes are read, and its complaint."""
    import subprocess
    import tempfile

    environment = {key: value for key, value in os.environ.items() if not key.endswith("_PATHSPECS")}
    command = ["git", *SAFE, *arguments]
    with tempfile.TemporaryFile() as complaint:  # a pipe that nobody reads would block git
        try:
            process = subprocess.Popen(  # noqa: S603  # a list of arguments, no shell
                command,
                cwd=folder,
                env={**environment, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaint,
            )
        except FileNotFoundError:
            if not os.path.isdir(folder):
                raise KvcalcError(f"{folder}: no such folder") from None
            raise KvcalcError(
                "--base needs git, which is not installed", "or give two files: kvcalc diff OLD NEW"
            ) from None
        except OSError as error:
            raise KvcalcError(f"--base: git cannot be run: {error.strerror}") from None
        with process:
            told = process.stdout.read(most) if process.stdout else b""
            if most >= 0 and len(told) == most:
                process.kill()
                return 0, told, b""
        complaint.seek(0)
        return process.returncode, told, complaint.read(100_000)


def _one_line(complaint: bytes) -> str:
    """Git's complaint in one line, without the words before it."""
    lines = [line.strip() for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
    return " ".join(lines).removeprefix("fatal: ")
