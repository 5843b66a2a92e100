"""Numbers before a change, for budgets of a rise: from git, or from rows that were kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvcalc.budgets import Old, exact, measure
from kvcalc.difference import DEPENDS
from kvcalc.errors import KvcalcError
from kvcalc.readers.baseline import configured_rows
from kvcalc.readers.history import History, pairs_since, shown
from kvcalc.rows import ASKED, RATIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.budgets import Before, Budget, Number
    from kvcalc.readers.load import Loaded
    from kvcalc.rows import Row


def at_revision(revision: str, models: Sequence[Loaded]) -> Before:
    """What the models' files said at a git revision; a file that has not changed since says the same.

    Raises KvcalcError for an unknown revision, and for a file that is not in the repository.
    """
    places = {"-" if loaded.document.path == "<stdin>" else loaded.document.path for loaded in models}
    history = pairs_since(revision, sorted(places)) if places else History((), (), ())
    olds = {(pair.new.file, pair.new.name): pair.old for pair in history.pairs if pair.new}
    changed = set(map(shown, history.files))

    def before(loaded: Loaded, budget: Budget) -> Old:
        file, spec = _file(loaded.document.path), loaded.spec
        if file in changed:
            old = olds.get((file, spec.name))
            if old is None or old.spec is None:
                return Old(known=False)
            spec = old.spec
        return Old(known=True, value=exact(measure(spec, budget, loaded.spec), budget.metric))

    return before


def _file(path: str) -> str:
    """A path as history tells it: from here, links before its last part followed."""
    whole = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return shown(os.path.relpath(whole, os.path.realpath(".")))


def in_rows(path: str) -> Before:
    """What the configured rows of `kvcalc compare --format json` say, asked for the same workload.

    Raises KvcalcError for a file that holds no such rows; what comes back does where a model has rows, but none of the
    budget's workload, or none of its metric.
    """
    rows = configured_rows(path)
    known = {name for name, _ in rows}

    def before(loaded: Loaded, budget: Budget) -> Old:
        name, metric = loaded.spec.name, budget.metric
        if name not in known:
            return Old(known=False)
        today = measure(loaded.spec, budget).rows()[0]
        keys = DEPENDS.get(metric, ASKED)
        for model, row in rows:
            if model == name and metric in row and all(row.get(key, today[key]) == today[key] for key in keys):
                return Old(known=True, value=_exactly(row, metric))
        asked = ", ".join(f"{key} {today[key]}" for key in keys)
        raise KvcalcError(
            f"{shown(path)}: no row of {name} tells {metric}{f' at {asked}' if asked else ''}",
            f"{budget.place} asks for it: let kvcalc compare --format json write it, with the budget's workload",
        )

    return before


def _exactly(row: Row, metric: str) -> Number | None:
    """A number of a row; a ratio from what it is a ratio of, for a float is not exact."""
    from fractions import Fraction

    if metric in RATIOS:
        over, under = (row.get(key) for key in RATIOS[metric])
        if isinstance(over, int) and isinstance(under, int) and under:
            return Fraction(over, under)
    value = row[metric]
    return Fraction(value) if isinstance(value, float) else value if isinstance(value, int) else None
