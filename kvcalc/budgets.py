"""Budgets: what a number of some models may be, at most, at least, or more than before. Held exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.amounts import in_full, percent
from kvcalc.analysis import analyze
from kvcalc.difference import COMPARED, DEPENDS
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.findings import Finding
from kvcalc.rows import ASKED, RATIOS, REALS, TEXTS, weight_dtype
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from fractions import Fraction
    from typing import TypeAlias

    from kvcalc.analysis import Report
    from kvcalc.model import ModelSpec
    from kvcalc.readers.load import Loaded
    from kvcalc.request import Request

    Number: TypeAlias = int | Fraction
    Before: TypeAlias = Callable[[Loaded, "Budget"], "Old"]

METRICS = tuple(key for key in COMPARED if key not in TEXTS)  # what a diff compares, a budget can bound
OF_ANSWERS = ("answer_", "last_step_")
BOUNDS = {"max": "KV201", "min": "KV202", "max_increase": "KV203"}


class Old(NamedTuple):
    """A number before a change. `known` False: there was no such model; `value` None: it did not apply."""

    known: bool
    value: Number | None = None


class Budget(NamedTuple):
    """One bound, 'max', 'min' or 'max_increase', on one metric of every model whose name the glob `model` fits.

    `metric` is a key of the rows, `limit` in its unit; `relative`: a share of the old number. `path` and `line` say
    where it stands; `name` and `reason` are its author's words.
    """

    model: str
    request: Request
    metric: str
    bound: str
    limit: Fraction
    path: str
    line: int
    relative: bool = False
    name: str = ""
    reason: str = ""

    def covers(self, spec: ModelSpec) -> bool:
        """Whether it is a budget of this model."""
        return fits(spec.name, self.model)

    @property
    def place(self) -> str:
        """Its name, where it has one, and where it stands."""
        named = f"budget {self.name!r}" if self.name else "the budget"
        return f"{named} of {self.path}, line {self.line}"


class Exemption(NamedTuple):
    """A code that a budget file silences for models, and why."""

    code: str
    model: str
    reason: str = ""


class Budgets(NamedTuple):
    """A budget file."""

    budgets: tuple[Budget, ...] = ()
    ignore: tuple[Exemption, ...] = ()


def fits(name: str, glob: str) -> bool:
    """Whether a model's name fits a glob, upper and lower case told apart."""
    from fnmatch import fnmatchcase

    return fnmatchcase(name, glob)


def exact(report: Report, metric: str) -> Number | None:
    """A result of a report without rounding: a ratio is a fraction. None: it does not apply."""
    from fractions import Fraction

    if metric in RATIOS:
        over, under = (report.value(key) for key in RATIOS[metric])
        return Fraction(over, under) if over is not None and under else None
    if metric in REALS:
        return Fraction(report.reals[metric]) if metric in report.reals else None
    return report.value(metric)


def measure(spec: ModelSpec, budget: Budget, leading: ModelSpec | None = None) -> Report:
    """A model under a budget's workload, whose context, where it follows from a model, follows from `leading`.

    Raises KvcalcError where the workload and the model contradict each other.
    """
    try:
        return analyze(spec, budget.request.of(leading or spec))
    except KvcalcError as error:
        raise KvcalcError(f"{budget.path}:{budget.line}: {spec.name}: {error.message}", error.hint) from None


def judge(loaded: Loaded, budget: Budget, before: Before | None) -> Finding | None:
    """What is to be said of a model under one budget; None where it is within.

    Raises KvcalcError for a max_increase without anything to compare with.
    """
    report = measure(loaded.spec, budget)
    value = exact(report, budget.metric)
    told = f"{budget.metric}{_of(report, budget.metric)}"
    if value is None:
        hint = f"take the model out of the glob {budget.model!r}, or choose another metric"
        if budget.metric.startswith(OF_ANSWERS) and not report.workload.generate_tokens:
            hint = "give its workload an answer: generate: 1k"
        if budget.metric in REALS:
            hint = "give its workload a machine: on: 8xH100"
        return _finding(loaded, "KV204", f"{told} does not apply, and {budget.place} bounds it", hint)
    if budget.bound == "max_increase":
        return _rise(loaded, budget, value, before, told)
    excess = value - budget.limit if budget.bound == "max" else budget.limit - value
    if excess <= 0:
        return None
    beyond, limit = ("more", "maximum") if budget.bound == "max" else ("less", "minimum")
    shown, over, bound = (in_full(budget.metric, number) for number in (value, excess, budget.limit))
    message = f"{told} is {shown}, {over} {beyond} than the {limit}, {bound}, by {budget.place}"
    return _finding(loaded, BOUNDS[budget.bound], message, budget.reason)


def _rise(loaded: Loaded, budget: Budget, value: Number, before: Before | None, told: str) -> Finding | None:
    from fractions import Fraction

    if before is None:
        raise KvcalcError(
            f"{budget.path}:{budget.line}: max_increase needs the number before the change",
            "give --base REF, a git revision such as origin/main, or --baseline rows.json of kvcalc compare",
        )
    old = before(loaded, budget)
    if not old.known or old.value is None:
        why = "it did not apply before" if old.known else "a new model"
        return _finding(loaded, "KV206", f"{told}: {why}, nothing to compare with for {budget.place}", "", "note")
    rise = value - old.value
    excess = rise - (budget.limit * old.value if budget.relative else budget.limit)
    if excess <= 0:
        return None
    share = f" by {percent(Fraction(rise) / old.value)}" if old.value else ""
    was, is_, over = (in_full(budget.metric, number) for number in (old.value, value, excess))
    allowed = percent(budget.limit) if budget.relative else in_full(budget.metric, budget.limit)
    message = f"{told} rose{share} from {was} to {is_}, {over} beyond the {allowed} of {budget.place}"
    return _finding(loaded, "KV203", message, budget.reason)


def unused(budgets: Sequence[Budget], specs: Sequence[ModelSpec]) -> list[Finding]:
    """A finding for every budget that none of the models is under."""
    names = [spec.name for spec in specs]
    places = {(budget.path, budget.line, budget.model) for budget in budgets if not any(map(budget.covers, specs))}
    return [
        Finding(
            path, line, 1, "warning", "KV205", f"no model that was checked fits {model!r}", did_you_mean(model, names)
        )
        for path, line, model in sorted(places)
    ]


def _of(report: Report, metric: str) -> str:
    """The workload, as far as the metric depends on it: ' at 131,072 tokens, batch 8, fp8'."""
    workload = report.workload
    words = {
        "context_tokens": f"{workload.context_tokens:,} tokens",
        "generate_tokens": f"{workload.generate_tokens:,} generated",
        "batch": f"batch {workload.batch:,}",
        "cache_dtype": report.cache_dtype,
        "weight_dtype": weight_dtype(report.spec, workload),
        **({"on": workload.machine.label} if workload.machine else {}),
    }
    asked = [word for key, word in words.items() if key in DEPENDS.get(metric, ASKED)]
    return f" at {', '.join(asked)}" if asked else ""


def _finding(loaded: Loaded, code: str, message: str, hint: str, severity: str = "error") -> Finding:
    line, column = loaded.document.mark(("name",))
    return Finding(loaded.document.path, line, column, severity, code, message, hint, loaded.spec.name)
