"""A budget file: pydantic guards the shape, amounts and options are read here, with the place of what is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (  # noqa: TID253  # imported only once a file is read
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from kvcalc.amounts import parse_amount, parse_percent
from kvcalc.budgets import BOUNDS, METRICS, Budget, Budgets, Exemption
from kvcalc.checks.silence import parse_codes
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.readers.complaint import first_error
from kvcalc.readers.strict import Strict, Text
from kvcalc.readers.text import read_documents
from kvcalc.request import DTYPES, SIZES, TEXTS, WORDS, flag_of, parse_option, request_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from kvcalc.readers.text import Document, Place
    from kvcalc.request import Request


def _written(value: object) -> object:
    """A number as its digits: `max: 5000000` is an amount too."""
    return repr(value) if type(value) in (int, float) else value


NUMBER_OR_TEXT = WithJsonSchema({"type": ["number", "string"]})
Amount = Annotated[str, BeforeValidator(_written), NUMBER_OR_TEXT]
Glob = Annotated[str, Field(min_length=1, max_length=500)]


def _option(name: str) -> Any:  # a type and a field, as create_model takes them
    if name in WORDS:
        return Literal[WORDS[name]] | None, Field(None, description=f"as {flag_of(name)}")
    return Amount | None, Field(None, description=f"as {flag_of(name)}")


WorkloadFile: Any = create_model(  # from the options, so that a new one is known here too
    "WorkloadFile",
    __base__=Strict,
    __doc__="What is asked of the model: the options of the command line by their names, - being _.",
    **{name: _option(name) for name in (*SIZES, *DTYPES, *WORDS, *TEXTS)},
)


class BudgetEntry(Strict):
    """One budget: a metric of some models, and what it may be."""

    model: Glob = Field(description="the models by name; * and ? stand for anything")
    metric: str = Field(description="a key of the rows, such as cache_bytes", json_schema_extra={"enum": [*METRICS]})
    workload: WorkloadFile | None = Field(None, description="what is asked of the model; the default where absent")
    max: Amount | None = Field(None, description="the most it may be: 40 GiB, 3.2 PFLOPs, 8B")
    min: Amount | None = Field(None, description="the least it may be")
    max_increase: Amount | None = Field(None, description="how much it may rise by one change: 5%, or an amount")
    name: Text | None = Field(None, description="what to call it in a finding")
    reason: Text | None = Field(None, description="why it is so, told where it is exceeded")


class IgnoreEntry(Strict):
    """A code that is not told for some models."""

    code: str = Field(description="such as KV105")
    model: Glob = Field("*", description="the models by name; * and ? stand for anything")
    reason: Text | None = Field(None, description="why")


class BudgetFile(Strict):
    """Budgets, and codes that are silenced."""

    budgets: list[BudgetEntry] = Field([], description="what numbers may be")
    ignore: list[IgnoreEntry] = Field([], description="what is not told")


def read_budgets(path: str) -> Budgets:
    """Read a budget file. Raises ConfigError at what is wrong, with what would be right."""
    documents = read_documents(path)
    if len(documents) > 1:
        raise documents[1].error((), "a second document: a budget file is one")
    document = documents[0]
    try:
        file = BudgetFile.model_validate(document.data)
    except ValidationError as error:
        raise first_error(document, error, BudgetFile) from None
    budgets = [budget for at, entry in enumerate(file.budgets) for budget in _budgets(document, at, entry)]
    ignored = [one for at, entry in enumerate(file.ignore) for one in _exemptions(document, at, entry)]
    return Budgets(tuple(budgets), tuple(ignored))


def _budgets(document: Document, at: int, entry: BudgetEntry) -> Iterator[Budget]:
    """One budget for each bound of an entry."""
    place: Place = ("budgets", at)
    if entry.metric not in METRICS:
        hint = did_you_mean(entry.metric, METRICS) or f"one of {', '.join(METRICS)}"
        raise document.error((*place, "metric"), f"metric: unknown {entry.metric!r:.60}", hint)
    bounds = [bound for bound in BOUNDS if getattr(entry, bound) is not None]
    if not bounds:
        raise document.error(place, f"a budget without a bound on {entry.metric}", f"one of {', '.join(BOUNDS)}")
    request = _request(document, place, entry)
    for bound in bounds:
        limit, relative = _limit(document, (*place, bound), getattr(entry, bound), entry.metric, bound)
        yield Budget(
            model=entry.model,
            request=request,
            metric=entry.metric,
            bound=bound,
            limit=limit,
            path=document.path,
            line=document.mark((*place, bound))[0],
            relative=relative,
            name=entry.name or "",
            reason=entry.reason or "",
        )


def _limit(document: Document, place: Place, written: str, metric: str, bound: str) -> tuple[Fraction, bool]:
    share = parse_percent(written) if bound == "max_increase" else None
    if share is not None:
        return share, True
    try:
        return parse_amount(written, metric, bound), False
    except KvcalcError as error:
        raise document.error(place, error.message, error.hint) from None


def _request(document: Document, place: Place, entry: BudgetEntry) -> Request:
    """Read the workload as the command line reads its options; a complaint names them as the file does."""
    place = (*place, "workload")
    options = entry.workload.model_dump(exclude_none=True) if entry.workload else {}
    read = {}
    for name, value in options.items():
        try:
            read[name] = parse_option(name, value)
        except KvcalcError as error:
            raise document.error((*place, name), error.message.replace(flag_of(name), name), error.hint) from None
    try:
        return request_of(read)
    except KvcalcError as error:
        message = re.sub(r"--([a-z-]+)", lambda found: found[1].replace("-", "_"), error.message)
        raise document.error(place, message, error.hint) from None


def _exemptions(document: Document, at: int, entry: IgnoreEntry) -> Iterator[Exemption]:
    try:
        codes = parse_codes(entry.code)
    except KvcalcError as error:
        raise document.error(("ignore", at, "code"), error.message, error.hint) from None
    for code in codes:
        yield Exemption(code, entry.model, entry.reason or "")
