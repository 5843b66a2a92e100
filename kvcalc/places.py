"""What `fit` is asked, in words: places, and a workload whose context and batch may be left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.amounts import parse_amount, parse_percent
from kvcalc.comparison import cautions
from kvcalc.engines.settings import told_engine
from kvcalc.errors import KvcalcError
from kvcalc.fitting import Fit, Place, fit
from kvcalc.hardware.machine import parse_machines
from kvcalc.memory_budget import assumed, taken
from kvcalc.request import Request, parse_request
from kvcalc.reserving import engine_notes
from kvcalc.tuples import NamedTuple
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec
    from kvcalc.workload import Workload

NOT_COUNTED = "activations, CUDA graphs and fragmentation are not counted: --reserve sets bytes aside for them"


class Question(NamedTuple):
    """A request, and its batch where one was given; its context_tokens is None where none was.

    `divided`: it was said how many devices share a model, were it one.
    """

    request: Request
    batch: int | None
    divided: bool = False


class Fits(NamedTuple):
    """Answers in the order of engines and places, and what the reader should know about them."""

    answers: tuple[Fit, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def parse_question(options: Mapping[str, str | list[str] | int | None]) -> Question:
    """Read options by name. Raises KvcalcError where they contradict each other."""
    request = parse_request(options)
    batch = request.workload.batch if options.get("batch") is not None else None
    return Question(request, batch, any(options.get(name) is not None for name in PARALLEL.values()))


def parse_places(on: list[str], budget: str | None, reserve: str | None, utilization: str | None) -> list[Place]:
    """Read where it is to fit. Raises KvcalcError where nothing says so, or two things do."""
    if bool(on) == (budget is not None):
        hint = "--on 8xH100, or --budget 40GiB: bytes for the cache alone"
        raise KvcalcError("fit needs --on or --budget, and one of them alone", hint)
    if budget is not None:
        if reserve is not None or utilization is not None:
            raise KvcalcError("--budget is what is left for the cache: --reserve and --utilization are of --on")
        return [Place(budget=_bytes(budget, "--budget", 1))]
    share, aside = parse_aside(reserve, utilization)
    return [Place(machine, share, aside) for machine in parse_machines(on)]


def parse_aside(reserve: str | None, utilization: str | None) -> tuple[Fraction | None, int]:
    """Read the share of a device that is used, None the engine's default, and the bytes set aside."""
    share = None if utilization is None else _share(utilization)
    return share, 0 if reserve is None else _bytes(reserve, "--reserve", 0)


def fits(spec: ModelSpec, question: Question, places: Sequence[Place]) -> Fits:
    """Every answer: of each engine asked for, in each place. Of several, one that an engine refuses is left out.

    Raises KvcalcError where none is left.
    """
    request = question.request
    answers: list[Fit] = []
    refused: dict[str, KvcalcError] = {}
    for workload in (request.workload, *request.beside):
        for place in places:
            asked = workload._replace(machine=place.machine) if question.divided else workload
            try:
                answers += fit(spec, asked, place, request.context_tokens, question.batch)
            except KvcalcError as error:
                where = f" on {place.machine.label}" if place.machine else ""
                refused[f"{spec.name}: {told_engine(workload)}{where} is left out: {error.message}"] = error
    if not answers:
        raise next(iter(refused.values()))
    shown = [one.workload for one in answers if one.context is not None]
    warnings = cautions(spec, shown) if shown else []
    notes = [*refused, *dict.fromkeys(engine_notes(spec, [one.workload for one in answers]))]
    if any(one.endless for one in answers):
        notes.append(f"{spec.name}: its cache stops growing: any context fits")
    if spec.left_out:
        notes.append(f"{spec.name}: the {spec.left_out} are left out, of the weights too")
    machines = [one.machine for one in answers if one.machine]
    if machines:
        notes += [f"assumed: {assumed(one.workload)}" for one in answers if one.deal.devices > 1]
        notes.append(NOT_COUNTED)
        if places[0].utilization is None:
            notes += [told for one in answers if one.machine and (told := told_taken(spec, one.workload, one.machine))]
        notes += [told for machine in machines for told in machine.cautions]
    return Fits(tuple(answers), tuple(dict.fromkeys(notes)), tuple(warnings))


def told_taken(spec: ModelSpec, workload: Workload, machine: Machine) -> str:
    """What the engine takes of the device by default, and which option says otherwise; '' where it takes all."""
    rule = taken(spec, workload, machine.accelerator.memory_bytes)
    share = f"{float(rule.share):.4g}"
    return f"{told_engine(workload)} takes {share} by default ({rule.why}): --utilization" if rule.why else ""


def _bytes(text: str, where: str, least: int) -> int:
    amount = parse_amount(text, "bytes", where)
    if amount.denominator != 1 or not least <= amount <= 10**18:
        raise KvcalcError(f"{where}: {text!r:.60} is out of range", "40 GiB, 40 GB, or the number of bytes")
    return int(amount)


def _share(text: str) -> Fraction:
    share = parse_percent(text)
    if share is None:
        share = parse_amount(text, "ratio", "--utilization")
    if not 0 < share <= 1:
        raise KvcalcError(f"--utilization: {text!r:.60} is no share of the memory", "0.9, or 90%")
    return share
