"""What `verify` compared, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.table import Column, Table
from kvcalc.report.units import count

if TYPE_CHECKING:
    from kvcalc.verify.census import Census
    from kvcalc.verify.run import Verified

WHERE = 24  # characters


def verified_table(verified: Verified) -> Table:
    """One line a number: the library's, kvcalc's, and whether they agree."""
    told = verified.compared
    columns = (
        Column("what", tuple(c.what for c in told), numeric=False),
        Column("where", tuple(_cut(c.where) for c in told), numeric=False, rank=1),
        Column("library", tuple("-" if c.library is None else count(c.library) for c in told)),
        Column("kvcalc", tuple("-" if c.kvcalc is None else count(c.kvcalc) for c in told)),
        Column("result", tuple(c.result for c in told), numeric=False),
        Column("the library's tensors", tuple(c.note for c in told), numeric=False, rank=2),
    )
    return Table(f"{verified.spec.name}: {verified.library}", columns)


def _cut(where: str) -> str:
    """The first of many layers; a record names them all."""
    return where if len(where) <= WHERE else f"{where[: WHERE - 3].rpartition(' ')[0]} ..."


def census_table(census: Census) -> Table:
    """One line a model type, what is not exact first."""
    from kvcalc.verify.census import STATUSES

    order = {status: at for at, status in enumerate(("different", "refused", "not built", "exact"))}
    types = sorted(census.types, key=lambda found: (order[found.status], found.model_type))
    numbers = ", ".join(f"{census.number(status)} {status}" for status in STATUSES)
    columns = (
        Column("model type", tuple(found.model_type for found in types), numeric=False),
        Column("result", tuple(found.status for found in types), numeric=False),
        Column("class", tuple(found.library for found in types), numeric=False, rank=1),
        Column("why, or what is not compared", tuple(found.why or found.left_out for found in types), numeric=False),
    )
    inside = f"Read where they stand in another's config: {' '.join(census.inside)}."
    title = f"{len(types)} model types of transformers {census.version}: {numbers}"
    return Table(title, columns, (inside,) if census.inside else ())
