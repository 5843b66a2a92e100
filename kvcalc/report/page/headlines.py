"""The numbers at a glance: a card for each model as configured, with what each engine and machine makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import engine_of
from kvcalc.engines.settings import version_of
from kvcalc.memory_budget import deal, fullest_budget
from kvcalc.report.html import escape
from kvcalc.report.page.columns import WRITE
from kvcalc.report.page.explained import slot
from kvcalc.report.page.reals import Reals
from kvcalc.report.page.script import Number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.analysis import Report
    from kvcalc.model import ModelSpec
    from kvcalc.report.page.reals import Real
    from kvcalc.report.page.script import Program

HEADLINES = (  # of each model as configured: the row's key, what to call it, and how it is written
    ("cache_bytes", "cache", "bytes"),
    ("cache_bytes_per_token", "a new token stores", "bytes"),
    ("state_bytes", "fixed state", "bytes"),
    ("decode_model_flops", "one decode step", "flops"),
    ("prefill_model_flops", "the prefill", "flops"),
    ("weight_bytes", "weights", "bytes"),
    ("parameters", "parameters", "decimal"),
)


def headlines(programs: Sequence[Program]) -> str:
    """A card for each model as configured, with what each engine reserves."""
    cards = []
    for at in mapped(programs):
        program = programs[at]
        report, spec = program.report, program.report.spec
        told = [
            _headline(at, number, what, as_)
            for key, what, as_ in HEADLINES
            if (number := number_of(program, key)) is not None and (number.value or key != "state_bytes")
        ]
        more: dict[str, str] = {}
        for other, beside in enumerate(programs):
            if beside.report.spec == spec:
                for what, line in _beside(other, beside):
                    more.setdefault(what, line)
        limit = spec.max_position_embeddings
        beyond = f'<p class="beyond" data-limit="{limit}"></p>' if limit else ""
        cards.append(
            f'<article class="card"><h3>{escape(spec.name)}</h3>'
            f'<p class="what">{escape(spec.attention)}, {spec.layers} layers, cache {report.cache_dtype}</p>'
            f"<dl>{''.join([*told, *more.values()])}</dl>{beyond}</article>"
        )
    return f'<p class="setting"></p><div class="cards">{"".join(cards)}</div>'


def _beside(at: int, program: Program) -> Iterator[tuple[str, str]]:
    """What an engine reserves, and what a machine has and takes: what it is called, and its line."""
    report, workload = program.report, program.report.workload
    machine = workload.machine.label if workload.machine else ""
    engine = f"{workload.engine} {version_of(workload.engine, workload.engine_version)}".strip()
    reserved, room = program.key("reserved_bytes"), room_of(report)
    if reserved is not None and engine_of(workload.engine).reserve:
        what = f"{engine} reserves on a device{f' of {machine}' if machine else ''}"
        yield what, _headline(at, reserved, what, "bytes")
    if room is not None:
        what = f"left for the cache on a device of {machine}{'' if engine == 'paper' else f', {engine}'}"
        full = _told(at, what, "nothing: the weights fill it")
        yield what, _headline(at, Number(room), what, "bytes") if room > 0 else full
    for phase, step in (("decode", "one decode step"), ("prefill", "the prefill")):
        seconds = Reals(program).key(f"{phase}_least_seconds")
        if seconds is not None:
            what = f"{step}, at least, on {machine}"
            yield what, _headline(at, seconds, what, "duration")


def _headline(at: int, number: Number | Real, what: str, as_: str) -> str:
    return _told(at, what, slot("span", number, WRITE[as_](number.value), as_))


def _told(at: int, what: str, shown: str) -> str:
    return f'<div data-report="{at}"><dt>{escape(what)}</dt><dd>{shown}</dd></div>'


def mapped(programs: Sequence[Program]) -> list[int]:
    """Each model once, as configured, by the first engine."""
    first: dict[ModelSpec, int] = {}
    for at, program in enumerate(programs):
        if program.report.variant == "configured":
            first.setdefault(program.report.spec, at)
    return list(first.values())


def number_of(program: Program, key: str) -> Number | Real | None:
    """The number of a row's key, whole or not."""
    return Reals(program).key(key) or program.key(key)


def room_of(report: Report) -> int | None:
    """Bytes left for the cache on a device of the report's machine, as `fit` has it; None where nothing is to be said.

    Replicas share a batch, and what one of them reserves is less than what is reserved for all of it; of stages the one
    that holds most weights need not be the one that reserves most.
    """
    workload = report.workload
    if workload.machine is None or workload.pipeline_parallel > 1 or deal(workload, workload.machine).replicas > 1:
        return None
    return fullest_budget(report.spec, workload, workload.machine, None, 0).pool
