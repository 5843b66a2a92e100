"""Every config valid, understood and within budgets, and what an expert would say of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvcalc.analysis import analyze
from kvcalc.budgets import Budgets, fits, judge, unused
from kvcalc.checks.lint import Subject, remarks
from kvcalc.checks.silence import Silence, silence_of
from kvcalc.errors import ConfigError, FileError, FormulaError
from kvcalc.findings import SEVERITIES, Finding, finding_of
from kvcalc.readers.load import read_source
from kvcalc.request import DEFAULT_CONTEXT_TOKENS
from kvcalc.tuples import NamedTuple
from kvcalc.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.budgets import Before
    from kvcalc.readers.load import Loaded


class Check(NamedTuple):
    """What was found, the files that were checked, and how many findings were silenced."""

    findings: tuple[Finding, ...]
    paths: tuple[str, ...]
    silenced: int = 0

    def failed(self, *, strict: bool = False) -> bool:
        """Whether there is an error, or with `strict` a warning."""
        return any(finding.severity in SEVERITIES[: 1 + strict] for finding in self.findings)

    def count(self, severity: str) -> int:
        """How many findings are of this severity."""
        return sum(finding.severity == severity for finding in self.findings)


def check(
    sources: Sequence[str],
    *,
    budgets: Budgets | None = None,
    tp: int = 0,
    ignore: Sequence[str] = (),
    dtypes: Workload | None = None,
    base: str | None = None,
    baseline: str | None = None,
) -> Check:
    """Check every model of every source, a bundled name, a file, a folder or '-'.

    `tp` ranks, 0 for none, and `dtypes` are what the lints go by; `ignore` codes are not told. `base`, a git revision,
    or `baseline`, a file of rows, says what a budget's max_increase is measured from. Raises KvcalcError where a source
    cannot be read at all or names no model, and where a budget makes no sense for a model.
    """
    findings: list[Finding] = []
    paths: list[str] = []
    models: list[Loaded] = []
    bundled: set[str] = set()
    for source in dict.fromkeys(sources):
        try:
            read = read_source(source)
        except FileError:
            raise
        except ConfigError as error:
            findings.append(finding_of(error))
            paths.append(error.path)
            continue
        models += read
        paths.append(read[0].document.path)
        if source != "-" and not os.path.exists(source):
            bundled.add(read[0].document.path)
    budgets = budgets or Budgets()
    ours = [loaded for loaded in models if loaded.document.path not in bundled]
    before = _before(base, baseline, ours)
    silences: dict[str, Silence] = {}
    for loaded in models:
        path = loaded.document.path
        if path not in silences:
            try:
                silences[path] = silence_of(loaded.document)
            except ConfigError as error:
                silences[path] = Silence(frozenset(), {})
                findings.append(finding_of(error))
        findings += _of_model(loaded, budgets, tp, dtypes or Workload(1), before)
    if models:
        findings += unused(budgets.budgets, [loaded.spec for loaded in models])
    order = {path: at for at, path in enumerate(paths)}
    told = [one for one in findings if not _silenced(one, silences, set(ignore), budgets)]
    told.sort(key=lambda one: (order.get(one.path, len(order)), one.line, one.column, one.code))
    return Check(tuple(told), tuple(dict.fromkeys(paths)), len(findings) - len(told))


def _of_model(loaded: Loaded, budgets: Budgets, tp: int, dtypes: Workload, before: Before | None) -> Iterator[Finding]:
    """What the lints and the budgets say of one model; a formula too large to evaluate is an error of the file."""
    spec = loaded.spec
    workload = dtypes._replace(context_tokens=spec.max_position_embeddings or DEFAULT_CONTEXT_TOKENS)
    try:
        report = analyze(spec, workload)
    except FormulaError as error:
        yield finding_of(loaded.document.error(("attention",), error.message, error.hint))
        return
    yield from remarks(Subject(loaded, report, tp))
    for budget in budgets.budgets:
        if budget.covers(spec) and (finding := judge(loaded, budget, before)):
            yield finding


def _before(base: str | None, baseline: str | None, ours: Sequence[Loaded]) -> Before | None:
    """Where old numbers come from; a bundled model changes with kvcalc alone, and git is not asked about it."""
    if baseline is None and base is None:
        return None
    from kvcalc.checks.before import at_revision, in_rows

    return in_rows(baseline) if baseline is not None else at_revision(base or "", ours)


def _silenced(finding: Finding, silences: dict[str, Silence], ignored: set[str], budgets: Budgets) -> bool:
    exempt = {one.code for one in budgets.ignore if finding.model and fits(finding.model, one.model)}
    silence = silences.get(finding.path, Silence(frozenset(), {}))
    return silence._replace(anywhere=silence.anywhere | ignored | exempt).covers(finding)
