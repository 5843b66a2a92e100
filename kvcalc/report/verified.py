"""What `verify` compared, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.table import Column, Table
from kvcalc.report.units import count

if TYPE_CHECKING:
    from kvcalc.verify.run import Verified


def verified_table(verified: Verified) -> Table:
    """One line a number: the library's, kvcalc's, and whether they agree."""
    told = verified.compared
    columns = (
        Column("", tuple(c.what for c in told), numeric=False),
        Column("where", tuple(c.where for c in told), numeric=False, rank=2),
        Column("library", tuple("-" if c.library is None else count(c.library) for c in told)),
        Column("kvcalc", tuple("-" if c.kvcalc is None else count(c.kvcalc) for c in told)),
        Column("", tuple(c.result for c in told), numeric=False),
        Column("held", tuple(c.note for c in told), numeric=False, rank=3),
    )
    return Table(f"{verified.spec.name}: {verified.library}", columns)
