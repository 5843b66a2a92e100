"""Configs before and after a change: two sources, or what git remembers and what stands there now."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from kvcalc.difference import Pair, Side
from kvcalc.errors import ConfigError, KvcalcError
from kvcalc.findings import Finding, finding_of
from kvcalc.git import Moved, Repository, repository
from kvcalc.readers.load import FILE_SUFFIXES, Loaded, check_is_config, read_models, read_source
from kvcalc.readers.text import MAX_BYTES, decode, parse_documents, read_text
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# A file that cannot be parsed is taken for a config where it speaks like one.
_SPEAKS = re.compile(
    r"""^[ \t{,]*["']?(model_type|attention|hidden_size|num_hidden_layers)["']?[ \t]*:""", re.MULTILINE
)


class History(NamedTuple):
    """Pairs since a revision, what is wrong with their files, and every config that was looked at."""

    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]
    files: tuple[str, ...]


class _Version(NamedTuple):
    """A file as it was or is: its models, or why there are none; `config` False: it is none, and none of ours."""

    models: tuple[Loaded, ...] = ()
    error: ConfigError | None = None
    config: bool = False


class _Met(NamedTuple):
    """A model before and after, each with its file; `moved`: from one file to another."""

    old: Loaded | None
    new: Loaded | None
    old_file: str
    new_file: str
    moved: bool = False

    def pair(self) -> Pair:
        """The same without what only a reader needs."""
        from kvcalc.readers.written import changed_fields

        return Pair(
            Side(self.old.spec.name, self.old_file, self.old.spec) if self.old else None,
            Side(self.new.spec.name, self.new_file, self.new.spec) if self.new else None,
            changed_fields(self.old, self.new) if self.old and self.new else (),
            self.moved,
        )


def pair_sources(old: str, new: str) -> list[Pair]:
    """Pair the models of two sources by name; one on each side is a pair whatever its name.

    Raises KvcalcError for what is wrong or not understood on either side.
    """
    if old == new == "-":
        raise KvcalcError("- is stdin, and can be given once")
    before, after = read_source(old), read_source(new)
    old_file, new_file = _file(old, before), _file(new, after)
    return [_Met(*both, old_file, new_file).pair() for both in match(before, after)]


def _file(source: str, models: Sequence[Loaded]) -> str:
    """The file that was read, or the name of a bundled model, as shown."""
    path = models[0].document.path
    return shown(path if source == "-" or os.path.normpath(path).startswith(os.path.normpath(source)) else source)


def pairs_since(revision: str, paths: Sequence[str] = (), folder: str = ".") -> History:
    """Pair the models of changed configs with those at a git revision; `paths`, files or folders, narrow it down.

    A config that is wrong, or not understood, becomes a finding and hides no other; one that was wrong before the
    change, a warning. Raises KvcalcError for an unknown revision, and for a path that is neither here nor there.
    """
    repo = repository(revision, folder)
    here = os.path.realpath(folder)
    moved, named = _chosen(repo, here, paths)
    met: list[_Met] = []
    findings: list[Finding] = []
    files: list[str] = []
    for change in moved:
        old_file, new_file = (
            shown(os.path.relpath(os.path.join(repo.root, path), here)) if path else ""
            for path in (change.old_path, change.new_path)
        )
        old = _old_version(repo, change.old_path) if change.old_path else _Version()
        new = _new_version(os.path.join(repo.root, change.new_path), new_file) if change.new_path else _Version()
        if not (old.config or new.config or change in named):
            continue
        files.append(new_file or old_file)
        if new.error:
            findings.append(finding_of(new.error))
            continue
        if old.error and old.config and new.models:
            findings.append(_was_wrong(old.error, revision, new_file))
        renamed = change.status == "renamed"
        met += [_Met(*both, old_file, new_file, renamed) for both in match(old.models, new.models)]
    return History(tuple(one.pair() for one in _reunited(met)), tuple(findings), tuple(files))


def shown(path: str) -> str:
    """A path as text that steers no terminal and no spreadsheet."""
    if path == "-":
        return "<stdin>"
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)
    return f"./{printable}" if printable[:1] in ("=", "+", "-", "@") else printable


def _chosen(repo: Repository, here: str, paths: Sequence[str]) -> tuple[list[Moved], set[Moved]]:
    """The changes that these paths name, all of them where there are none; and those named as single files."""
    moved = repo.moved(FILE_SUFFIXES)
    if not paths:
        return moved, set()
    chosen: set[Moved] = set()
    named: set[Moved] = set()
    for path in paths:
        whole = os.path.join(here, path)
        whole = os.path.join(os.path.realpath(os.path.dirname(whole.rstrip("/"))), os.path.basename(whole.rstrip("/")))
        inner = os.path.relpath(whole, os.path.realpath(repo.root))
        if path == "-" or inner.split(os.sep)[0] == os.pardir:
            raise KvcalcError(f"{path}: not a file of the repository {repo.root}", "--base reads files that git knows")
        inner = "" if inner == "." else inner
        exact = {change for change in moved if inner in (change.old_path, change.new_path)}
        below = {change for change in moved if _below(inner, change.old_path) or _below(inner, change.new_path)}
        if not exact and not below and not repo.has(inner):
            if not os.path.exists(whole):
                raise KvcalcError(f"{path}: no such file, neither here nor at {repo.revision}")
            if os.path.isfile(whole):  # one that git ignores
                exact = {Moved("new", "", inner)}
        chosen |= exact | below
        named |= exact
    return sorted(chosen, key=lambda change: (change.new_path or change.old_path, change.old_path)), named


def _below(folder: str, path: str) -> bool:
    return bool(path) and (not folder or path.startswith(f"{folder}/"))


def _old_version(repo: Repository, path: str) -> _Version:
    name = f"{repo.revision}:{path}"
    try:
        text = decode(shown(name), repo.read(path, MAX_BYTES + 1))
    except ConfigError as error:
        return _Version(error=error)
    return _version(shown(name), text, os.path.join(repo.root, path))


def _new_version(path: str, file: str) -> _Version:
    if os.path.islink(path):
        return _Version(error=ConfigError(file, "a symbolic link: not followed"))
    try:
        text = read_text(path)
    except ConfigError as error:
        error.path = file
        return _Version(error=error)
    return _version(file, text, path)


def _version(file: str, text: str, path: str) -> _Version:
    """Read the models of a file. A file of several documents is a config where one of them is."""
    try:
        documents = parse_documents(file, text)
    except ConfigError as error:
        return _Version(error=error, config=bool(_SPEAKS.search(text)))
    config = False
    try:
        for document in documents:
            try:
                check_is_config(document)
                config = True
            except ConfigError:
                continue
        return _Version(tuple(read_models(documents, path)), config=True)
    except ConfigError as error:
        return _Version(error=error, config=config)


def _was_wrong(error: ConfigError, revision: str, file: str) -> Finding:
    """What was wrong before the change is no fault of it."""
    told = finding_of(error)
    where = f" on line {error.line}" if error.line else ""
    message = f"at {shown(revision)} it could not be read ({told.message}{where}): its models are told as new"
    return told._replace(path=file, line=0, column=0, severity="warning", message=message, hint="")


def match(old: Sequence[Loaded], new: Sequence[Loaded]) -> list[tuple[Loaded | None, Loaded | None]]:
    """Match models by name, in the order of the new ones, the deleted ones last; one on each side is a match."""
    if len(old) == len(new) == 1:
        return [(old[0], new[0])]
    left: dict[str, list[Loaded]] = {}
    for loaded in old:
        left.setdefault(loaded.spec.name, []).append(loaded)
    found: list[tuple[Loaded | None, Loaded | None]] = []
    for loaded in new:
        same = left.get(loaded.spec.name)
        found.append((same.pop(0) if same else None, loaded))
    return [*found, *((loaded, None) for rest in left.values() for loaded in rest)]


def _reunited(met: Sequence[_Met]) -> list[_Met]:
    """A model that is gone from one file and new in another was moved: git pairs no file that it does not track yet."""
    gone = Counter(one.old.spec.name for one in met if one.old and not one.new)
    come = Counter(one.new.spec.name for one in met if one.new and not one.old)
    moved = {name for name in gone if gone[name] == come[name] == 1}
    left = {one.old.spec.name: one for one in met if one.old and not one.new and one.old.spec.name in moved}
    found = []
    for one in met:
        if one.new and not one.old and one.new.spec.name in moved:
            found.append(left[one.new.spec.name]._replace(new=one.new, new_file=one.new_file, moved=True))
        elif one.new or not one.old or one.old.spec.name not in moved:
            found.append(one)
    return found
