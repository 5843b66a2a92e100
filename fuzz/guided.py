"""The same doors by coverage: atheris sees which lines of kvcalc bytes reach, and keeps those that reach new ones."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import atheris  # type: ignore[import-untyped]  # from PyPI, by whom it is wanted
from mutations import Mutator

if TYPE_CHECKING:
    from run import Asked, Count, Meter

MOST_BYTES = 4096


def instrumented() -> AbstractContextManager[None]:
    """Within it, what is imported of kvcalc tells what is reached."""
    context: AbstractContextManager[None] = atheris.instrument_imports(include=["kvcalc"], enable_loader_override=False)
    return context


def fuzz(meter: Meter, asked: Asked, corpus: list[bytes], folder: str, scratch: str) -> Count:
    """Run until the executions or the seconds are over; the library's loop never returns, and is left by force."""
    words = meter.door.words()
    mutator = Mutator(asked.seed, corpus, words)
    ends = time.monotonic() + asked.seconds

    def once(content: bytes) -> None:
        meter.warm = meter.executions > 2 * len(corpus)
        meter.enter(content)
        if meter.executions >= asked.executions or time.monotonic() > ends:
            sys.stdout.write(json.dumps(meter.count()._asdict()) + "\n")
            sys.stdout.flush()
            for made in (first, scratch):
                shutil.rmtree(made, ignore_errors=True)
            os._exit(0)

    def changed(content: bytes, most: int, seed: int) -> bytes:
        mutator.random.seed(seed)
        if seed % 2:
            return mutator.mutated(content)[:most]
        return bytes(atheris.Mutate(content, most))

    with tempfile.TemporaryDirectory() as first:
        for at, content in enumerate(corpus):
            with open(os.path.join(first, str(at)), "wb") as file:
                file.write(content)
        options = [f"-max_len={MOST_BYTES}", "-rss_limit_mb=2000", "-timeout=60", "-verbosity=0", "-len_control=0"]
        settings: list[Any] = [sys.argv[0], *options, f"-seed={asked.seed + 1}", folder, first]
        atheris.Setup(settings, once, custom_mutator=changed, internal_libfuzzer=True)
        atheris.Fuzz()
    raise SystemExit("the fuzzer ended by itself")
