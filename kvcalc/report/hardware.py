"""Accelerators as a table and as flat records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.hardware.accelerator import PEAK_BITS
from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, decimal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.hardware.accelerator import Accelerator
    from kvcalc.rows import Record

SHOWN = ("bf16", "fp16", "fp8", "int8", "fp4")
QUANTITIES = ("memory", "bandwidth", "peaks", "interconnect")


def hardware_records(found: Sequence[Accelerator]) -> list[Record]:
    """One flat record an accelerator: every number, where each came from, and which nobody checked."""
    return [
        {
            "hardware": one.name,
            "vendor": one.vendor,
            "memory_bytes": one.memory_bytes,
            "bandwidth_bytes_per_second": one.bandwidth_bytes_per_second,
            **{f"{dtype}_flops_per_second": dict(one.peaks).get(dtype) for dtype in PEAK_BITS},
            "interconnect": one.interconnect or None,
            "interconnect_bytes_per_second": one.interconnect_bytes_per_second or None,
            "unverified": ", ".join(one.unverified),
            **{f"{what}_source": dict(one.sources).get(what) for what in QUANTITIES},
            "note": one.note,
            "gpu_class": one.gpu_class or None,
        }
        for one in found
    ]


def hardware_table(found: Sequence[Accelerator]) -> Table:
    """What people compare; a ? stands after what nobody checked."""

    def marked(one: Accelerator, what: str, text: str) -> str:
        return f"{text} ?" if what in one.unverified and text != "-" else text

    def peak(one: Accelerator, dtype: str) -> str:
        return marked(one, "peaks", decimal(dict(one.peaks).get(dtype)))

    def link(one: Accelerator) -> str:
        return marked(one, "interconnect", decimal(one.interconnect_bytes_per_second or None))

    columns = (
        Column("hardware", tuple(one.name for one in found), numeric=False),
        Column("memory", tuple(marked(one, "memory", bytes_binary(one.memory_bytes)) for one in found)),
        Column(
            "bandwidth\nB/s",
            tuple(marked(one, "bandwidth", decimal(one.bandwidth_bytes_per_second)) for one in found),
            rank=1,
        ),
        *(
            Column(f"{dtype}\nFLOPs/s", tuple(peak(one, dtype) for one in found), rank=rank)
            for rank, dtype in enumerate(SHOWN, 2)
        ),
        Column("link\nB/s", tuple(link(one) for one in found), rank=8),
        Column("interconnect", tuple(one.interconnect for one in found), numeric=False, rank=9),
        Column("note", tuple(one.note for one in found), numeric=False, rank=10),
    )
    footer = (
        "Peaks are dense, fp32 accumulation; int8 in operations. The link is one direction of one device.",
        "?: unverified. --format json has the sources.",
    )
    return Table("", columns, footer)
