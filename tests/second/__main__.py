"""`PYTHONPATH=tests python -m second 100000`: so many random models; prints counts, and every model that differs."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

from second import compare, models, served, slots
from second.totals import Model, shown

SERVED, SWEPT = 5, 20  # one of so many models is a server's, one goes through numpy too


class Run:
    """Counts of a run."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.memories: Counter[str] = Counter()
        self.reaches: Counter[str] = Counter()

    def one(self, seed: int) -> dict[str, Any]:
        """What differs for the model of one seed."""
        rng = Random(seed)  # noqa: S311  # any seed will do
        self.counts["models"] += 1
        if seed % SERVED == 0:
            made, ask = served.document(rng), served.ask(rng)
            ours = slots.numbers(made, ask)
            self.counts[f"of {ask.engine}"] += 1
            self.counts["refused by both"] += ours is None
            self.counts["numbers"] += len(ours or ())
            return self._told(made, ask, compare.of_an_engine(made, ask, ours))
        made = models.document(rng)
        load = models.load(rng, made)
        self._kinds(made)
        self.counts["of any kind"] += 1
        numbers = Model(made, load).numbers()
        self.counts["numbers"] += len(numbers)
        found = compare.differences(made, load, numbers)
        if seed % SWEPT == 1:
            self.counts["workloads by numpy"] += 8
            found = found or compare.of_arrays(made, load)
        return self._told(made, load, found)

    def _told(self, made: dict[str, Any], asked: Any, found: dict[str, Any]) -> dict[str, Any]:
        self.counts["models that differ"] += bool(found)
        return {"asked": asked, "model": shown(made), "differs": found} if found else {}

    def _kinds(self, made: Any) -> None:
        """Count memories and reaches that the document names."""
        if isinstance(made, dict):
            if "kind" in made:
                of = self.reaches if made["kind"] in (*models.REACHES, *models.BOTH_WAYS, "encoder") else self.memories
                of[made["kind"]] += 1
            for inner in made.values():
                self._kinds(inner)
        elif isinstance(made, list):
            for inner in made:
                self._kinds(inner)


def main(many: int, first: int = 0) -> int:
    """Compare, and tell."""
    run, start, told = Run(), time.monotonic(), sys.stdout.write
    with suppress(KeyboardInterrupt):  # a run that is stopped tells how far it came
        for seed in range(first, first + many):
            for name, what in run.one(seed).items():
                told(f"seed {seed}: {name}: {what}\n")
    for counts in (run.counts, run.memories, run.reaches):
        told("  ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) + "\n")
    told(f"{run.counts['models']:,} models, {run.counts['models that differ']} differ, ")
    told(f"{time.monotonic() - start:,.0f} s\n")
    return 1 if run.counts["models that differ"] else 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
