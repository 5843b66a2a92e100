"""What a RoPE base supports, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.report.table import Column, Table
from kvcalc.report.units import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.rope import Bound, Support

ABOUT = "By sum of cos(m*b^(-2i/d)) >= 0 (arXiv:2405.14591): a heuristic that good models break."


def bound_table(found: Bound) -> Table:
    """One base and what it supports."""
    grid = f"grid of relative step {found.grid_step:g}" if found.grid_step else "as given"
    base = "none found" if found.rope_base is None else f"{found.rope_base:.10g}"
    rows = [("head_dim", str(found.head_dim)), ("base", base), ("which is", grid)]
    if found.rope_base is not None:
        rows.append(("supports tokens", reached(found.supported_tokens)))
    if found.context_tokens is not None:
        rows.append(("asked for", count(found.context_tokens)))
    columns = (
        Column("", tuple(name for name, _ in rows), numeric=False),
        Column("RoPE", tuple(told for _, told in rows)),
    )
    return Table("", columns, (ABOUT,))


def reached(tokens: int | None) -> str:
    """How far the bound holds."""
    return "1,048,576 or more" if tokens is None else count(tokens)


def support_table(supports: Sequence[Support]) -> Table:
    """What the base of each kind of layer supports."""
    broken = any(one.broken for one in supports)
    notes = (ABOUT, *(("The config claims more than its base supports by it.",) if broken else ()))
    columns = (
        Column("RoPE", tuple(one.part for one in supports), numeric=False),
        Column("base", tuple(f"{one.base:.10g}" for one in supports)),
        Column("rotated", tuple(f"{one.rotated} of {one.head_dim}" for one in supports), rank=2),
        Column("scaling", tuple(_scaling(one) for one in supports), numeric=False, rank=3),
        Column(
            "claims\ntokens", tuple(count(one.needs_tokens) if one.needs_tokens else "-" for one in supports), rank=1
        ),
        Column("supports\ntokens", tuple(_supports(one) for one in supports)),
    )
    return Table("", columns, notes)


def _supports(one: Support) -> str:
    if one.supported_tokens is None:
        return "any"
    return count(one.supported_tokens) + (" or more" if one.or_more else "")


def _scaling(one: Support) -> str:
    if not one.scaling:
        return "none"
    return one.scaling if one.followed else f"{one.scaling}, not taken into account"
