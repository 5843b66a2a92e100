"""The roofline as tables, facts and columns: a bound, and said to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, decimal, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvcalc.model import ModelSpec
    from kvcalc.roofline import Bound
    from kvcalc.rows import Row

MEASURES = {  # of a piece and of a phase, by the name of the fact
    "flops": "flops",
    "bytes": "moved_bytes",
    "compute_seconds": "compute_seconds",
    "memory_seconds": "memory_seconds",
}
FOOTER = (
    "A bound, no forecast: peaks and bandwidth in full, computing and moving overlapped, devices sharing both evenly.",
    "Communication, activations, launches and the embedding's rows are not counted: a real step takes longer.",
)
EXPECTED = "Experts touched are an expectation: E(1 - (1 - k/E)^tokens), each token visiting any k of E."


def roofline_table(bounds: tuple[Bound, ...], spec: ModelSpec) -> Table:
    """Every piece of both phases, and each phase in all."""
    experts = any(feedforward.kind == "moe" for _, feedforward in spec.feedforwards())
    lines = [line for bound in bounds for line in _lines(bound)]
    headers = ("at the least", "", "FLOPs", "at", "computing", "bytes", "moving", "bound by")
    ranks = (0, 0, 3, 4, 2, 3, 2, 1)
    columns = tuple(
        Column(header, tuple(cells), numeric=header not in ("at the least", "at", "bound by"), rank=rank)
        for header, rank, cells in zip(headers, ranks, zip(*lines, strict=True), strict=True)
    )
    machine = bounds[0].machine
    told = [_told(bound) for bound in bounds]
    return Table(
        f"On {machine.label}: the least time, not a forecast",
        columns,
        (*told, *FOOTER, *([EXPECTED] if experts else [])),
    )


def _lines(bound: Bound) -> Iterator[tuple[str, ...]]:
    for piece in bound.pieces:
        by = "compute" if piece.compute_seconds > piece.memory_seconds else "memory"
        yield (
            f"{bound.phase}: {piece.name}",
            duration(max(piece.compute_seconds, piece.memory_seconds)),
            decimal(piece.flops),
            piece.peak,
            duration(piece.compute_seconds),
            bytes_binary(round(piece.bytes)),
            duration(piece.memory_seconds),
            by,
        )
    yield (
        f"{bound.phase}: in all",
        duration(bound.seconds),
        decimal(bound.flops),
        "",
        duration(bound.compute_seconds),
        bytes_binary(round(bound.bytes)),
        duration(bound.memory_seconds),
        bound.bound_by,
    )


def _told(bound: Bound) -> str:
    """What the phase comes to, in one line."""
    ridge = (
        ""
        if bound.intensity is None or bound.ridge is None
        else (f"; {decimal(bound.intensity)} FLOPs a byte against a ridge of {decimal(bound.ridge)}")
    )
    return f"{bound.phase}: at most {decimal(bound.tokens_per_second)} tokens/s, bound by {bound.bound_by}{ridge}"


def roofline_columns(rows: Sequence[Row]) -> list[Column]:
    """A comparison's or a sweep's columns of the least times."""

    def real(header: str, key: str, write: Callable[[float | None], str], rank: int) -> Column:
        values = (row[key] for row in rows)
        return Column(header, tuple(write(told if isinstance(told, float) else None) for told in values), rank=rank)

    def word(key: str, rank: int) -> Column:
        return Column("bound by", tuple(str(row[key] or "-") for row in rows), numeric=False, rank=rank)

    if not any(row["on"] for row in rows):
        return []
    return [
        real("decode\nat least", "decode_least_seconds", duration, 0),
        real("tokens/s\nat most", "decode_tokens_per_second_at_most", decimal, 1),
        word("decode_bound_by", 1),
        real("prefill\nat least", "prefill_least_seconds", duration, 2),
        word("prefill_bound_by", 3),
    ]


def roofline_facts(model: str, variant: str, bounds: tuple[Bound, ...]) -> Iterator[Row]:
    """The facts that --on adds to show's, in the same keys."""
    for bound in bounds:
        label = f"{bound.machine.label} {bound.phase}"
        told = [(f"{label}: {piece.name}", key, getattr(piece, key)) for piece in bound.pieces for key in MEASURES]
        told += [(label, key, getattr(bound, key)) for key in MEASURES]
        for part, key, value in told:
            yield _fact(model, variant, part, MEASURES[key], value)
        for quantity, value in (
            ("least_seconds", bound.seconds),
            ("tokens_per_second_at_most", bound.tokens_per_second),
            ("intensity", bound.intensity),
            ("ridge", bound.ridge),
        ):
            yield _fact(model, variant, label, quantity, value)


def _fact(model: str, variant: str, part: str, quantity: str, value: float | None) -> Row:
    from kvcalc.detail import Fact

    told = Fact("roofline", part, "", quantity, value)
    return {"model": model, "variant": variant, **told._asdict()}
