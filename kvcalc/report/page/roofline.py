"""The roofline of the page: where each report's decode step and prefill stand under the roofs, as places of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.figures.roofs import roofs_over
from kvcalc.figures.words import labels
from kvcalc.quantity import Quantity
from kvcalc.report.page.columns import firsts
from kvcalc.report.page.reals import Reals
from kvcalc.roofline import least_times
from kvcalc.rows import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.report.page.reals import Real
    from kvcalc.report.page.script import Number, Program
    from kvcalc.rows import Row


def roofline(programs: Sequence[Program], rows: Sequence[Row]) -> dict[str, Any] | None:
    """The roofs, and the two points of each report, of like ones once; None without a machine."""
    reports = [program.report for program in programs]
    if not any(report.workload.machine for report in reports):
        return None
    drawn = firsts(
        [(one.spec, one.variant, [one.bounds[f"{phase}_least_seconds"] for phase in PHASES]) for one in reports]
    )
    lines = [
        {
            "report": at,
            "label": label,
            "points": {phase: [number.ref for number in point(programs[at], phase)] for phase in PHASES},
        }
        for at, label in zip(drawn, labels([rows[at] for at in drawn], ()), strict=True)
    ]
    return {"roofs": roofs_over([bound for at in drawn for bound in least_times(reports[at])]), "lines": lines}


def point(program: Program, phase: str) -> tuple[Number | Real, Number | Real]:
    """FLOPs a byte, and the FLOPs a second of the least time, as the function computes them."""
    reals = Reals(program)
    moving = program.report.bounds[f"{phase}_memory_seconds"]
    moved = moving.symbols["bytes"] if isinstance(moving, Quantity) else 0
    return (
        reals.number(Quantity("intensity", f"{phase}_model_flops/bytes", {"bytes": moved})),
        reals.number(Quantity("attained", f"{phase}_model_flops/{phase}_least_seconds")),
    )
