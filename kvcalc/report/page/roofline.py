"""The roofline of the page: where each report's decode step and prefill stand under the roofs, as places of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.figures.roofs import roofs_over
from kvcalc.quantity import Quantity
from kvcalc.report.page.reals import Reals
from kvcalc.roofline import least_times
from kvcalc.rows import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.report.page.reals import Real
    from kvcalc.report.page.script import Number, Program


def roofline(programs: Sequence[Program], labels: Sequence[str]) -> dict[str, Any] | None:
    """The roofs, and each report's two points; None without a machine."""
    on = [(at, program) for at, program in enumerate(programs) if program.report.workload.machine]
    bounds = [bound for _, program in on for bound in least_times(program.report)]
    lines = [
        {
            "report": at,
            "label": labels[at],
            "points": {phase: [one.ref for one in point(program, phase)] for phase in PHASES},
        }
        for at, program in on
    ]
    return {"roofs": roofs_over(bounds), "lines": lines} if lines else None


def point(program: Program, phase: str) -> tuple[Number | Real, Number | Real]:
    """FLOPs a byte, and the FLOPs a second of the least time, as the function computes them."""
    reals = Reals(program)
    moving = program.report.bounds[f"{phase}_memory_seconds"]
    moved = moving.symbols["bytes"] if isinstance(moving, Quantity) else 0
    return (
        reals.number(Quantity("intensity", f"{phase}_model_flops/bytes", {"bytes": moved})),
        reals.number(Quantity("attained", f"{phase}_model_flops/{phase}_least_seconds")),
    )
