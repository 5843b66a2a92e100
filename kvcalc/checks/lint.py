"""The register of lints. Adding one is one decorated function in a module that checks/__init__.py imports.

A lint sees one model as a Subject and yields a Remark for each thing an expert would say aloud, at the key that
decides it. Code, severity, title and reason stand with it, once; docs/checks.md tells the same, and a test holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.checks.codes import Code
from kvcalc.findings import Finding
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kvcalc.analysis import Report
    from kvcalc.model import ModelSpec
    from kvcalc.readers.load import Loaded
    from kvcalc.readers.text import Mark, Place

REACHES = ("sliding_window", "attention_chunk_size")


class Remark(NamedTuple):
    """What a lint says, at a line and column."""

    mark: Mark
    message: str
    hint: str = ""


class Subject(NamedTuple):
    """One model as a lint sees it. `report` is of one sequence at full context; `tp` 0: no ranks were asked for."""

    loaded: Loaded
    report: Report
    tp: int = 0

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.loaded.spec

    @property
    def native(self) -> Mapping[str, Any]:
        """The fields of the native document, which passed the door: their types are right."""
        fields: Mapping[str, Any] = self.loaded.native.data
        return fields

    @property
    def is_native(self) -> bool:
        """Whether the file is native, not one of Hugging Face's."""
        return self.loaded.native is self.loaded.document

    def mark(self, *places: Place) -> Mark:
        """Where the first of these places of the native document stands that the file has."""
        marks = self.loaded.native.find_marks()
        return self.loaded.native.mark(next((place for place in places if place in marks), places[0]))

    def described(self, field: str) -> Iterator[tuple[Place, Mapping[str, Any]]]:
        """Every `attention` or `mlp` that a layer uses: the one at the top where a kind of layer says nothing itself.

        Attention may be several `branches`, and either may be null: a layer without.
        """
        fields = {field, "branches"} if field == "attention" else {field}
        kinds: Mapping[str, Any] = self.native.get("layers") or {}
        stacks: list[tuple[Place, Any]] = [
            (("layers", name), kind) for name, kind in kinds.items() if fields & kind.keys()
        ]
        if len(stacks) < len(kinds) or not kinds:
            stacks.insert(0, ((), self.native))
        for place, told in stacks:
            if told.get(field):
                yield (*place, field), told[field]
            elif "branches" in fields:
                yield from (((*place, "branches", at), one) for at, one in enumerate(told.get("branches") or ()))

    def reaches(self) -> Iterator[tuple[Place, str, int]]:
        """Every window and chunk that a layer uses: its place, its field and its size, dilation included."""
        kinds: Mapping[str, Any] = self.native.get("layers") or {}
        speaking = {name: kind for name, kind in kinds.items() if {*REACHES, "dilation"} & kind.keys()}
        inner = [(("layers", name), kind) for name, kind in speaking.items()]
        outer: list[tuple[Place, Mapping[str, Any]]] = (
            [] if kinds and len(speaking) == len(kinds) else [((), self.native)]
        )
        for place, kind in [*outer, *inner]:
            for field in REACHES:
                if size := kind.get(field):
                    span = (size - 1) * (kind.get("dilation") or 1) + 1 if field == "sliding_window" else size
                    yield (*place, field), field, span


class Lint(NamedTuple):
    """A lint's code and what it says of a model."""

    code: str
    about: Code
    run: Callable[[Subject], Iterable[Remark]]


LINTS: list[Lint] = []


def lint(
    code: str, title: str, reason: str, severity: str = "warning"
) -> Callable[[Callable[[Subject], Iterable[Remark]]], Callable[[Subject], Iterable[Remark]]]:
    """Register a lint."""

    def register(run: Callable[[Subject], Iterable[Remark]]) -> Callable[[Subject], Iterable[Remark]]:
        LINTS.append(Lint(code, Code(title, reason, severity), run))
        return run

    return register


def remarks(subject: Subject) -> Iterator[Finding]:
    """What every lint says of a model."""
    path, name = subject.loaded.document.path, subject.spec.name
    for one in LINTS:
        for (line, column), message, hint in dict.fromkeys(one.run(subject)):  # kinds may share a field
            yield Finding(path, line, column, one.about.severity, one.code, message, hint, name)
