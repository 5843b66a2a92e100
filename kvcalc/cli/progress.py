"""A bar on stderr while many rows are written to somewhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.rows import Block

LEAST_ROWS = 50_000


def with_bar(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """Pass blocks on and show how many of the rows have passed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("rows", total=rows)
        for block in blocks:
            yield block
            progress.advance(task, block.length)
