"""A bar on stderr while many rows are written to somewhere else."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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


@contextmanager
def share_of(what: str, *, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, where somebody sees it, by the share that is done: it comes after a second."""
    from time import monotonic

    seen = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet
    started, last = monotonic(), 0.0

    def told(share: float) -> None:
        nonlocal last
        now = monotonic()
        if seen and now - started > 1 and now - last > 0.2:
            last = now
            sys.stderr.write(f"\r{what}: {share:6.1%} ")
            sys.stderr.flush()

    yield told
    if last:
        sys.stderr.write("\r" + " " * (len(what) + 10) + "\r")
        sys.stderr.flush()
