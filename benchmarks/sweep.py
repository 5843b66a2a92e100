"""Rows a second: `kvcalc sweep` to CSV beside a loop that asks `compare` for each row; and the sweep's peak memory.

    python benchmarks/sweep.py [MODEL]

One core is enough: nothing runs side by side. The loop does a part of the rows, for it would take an hour.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time

import kvcalc
from kvcalc.rows import KEYS

ROWS = 1_000_000
LOOPED_ROWS = 1_000
MEASURED = """
import resource, sys, time
from kvcalc.cli.app import run
start = time.perf_counter()
try:
    run()
except SystemExit:
    pass
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(time.perf_counter() - start, peak, file=sys.stderr)
"""


def swept(model: str, path: str, *options: str) -> tuple[float, float]:
    """Rows a second of the whole command, start-up included, and its peak memory in MB (10^6 bytes)."""
    command = [sys.executable, "-c", MEASURED, "sweep", model, *options, "--quiet", "-o", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = done.stderr.split()[-2:]
    return ROWS / float(seconds), int(peak) / 10**6


def looped(model: str, path: str) -> float:
    """Rows a second of the same rows, one `compare` each."""
    spec = kvcalc.load(model)
    start = time.perf_counter()
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, KEYS)
        writer.writeheader()
        for n in range(1024, 1024 * (LOOPED_ROWS + 1), 1024):
            request = kvcalc.Request(kvcalc.Workload(0), n)
            writer.writerows(kvcalc.compare([spec], request, []).rows())
    return LOOPED_ROWS / (time.perf_counter() - start)


def main() -> None:
    """Print one line a way of doing it."""
    model = sys.argv[1] if len(sys.argv) > 1 else "llama-3.1-8b"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.csv")
        loop = looped(model, path)
        print(f"{model}: a loop over compare       {loop:10,.0f} rows/s")
        for name, options in (
            ("1,000,000 contexts", ("--context", "1:1000000:1")),
            ("1,000 contexts x 1,000 batches", ("--context", "1024:1024000:1024", "--batch", "1:1000:1")),
        ):
            speed, peak = swept(model, path, *options)
            size = os.path.getsize(path) / 10**6
            print(
                f"{model}: sweep, {name:30} {speed:10,.0f} rows/s = {speed / loop:,.0f} x the loop, "
                f"peak {peak:,.0f} MB for a file of {size:,.0f} MB"
            )


if __name__ == "__main__":
    main()
