"""Feed every door of kvcalc what nobody meant to write, and count.

    python fuzz/run.py --executions 10000000
    python fuzz/run.py --executions 100000 --door yaml --door gguf
    python fuzz/run.py --executions 100000 --guided        with atheris: what reaches new code is kept

A door gets a process of its own, which lives through all its executions. What is raised, takes more than a second of
the processor or makes the process larger than 300 MB is a finding: its bytes are written into the folder, its traceback
to stderr, and the exit code is 1. What was new is kept in the folder, and begins the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [HERE, ROOT, os.path.join(ROOT, "tests")]

if TYPE_CHECKING:
    from doors import Door

SHARES = {  # of a hundred executions, by what one takes
    "yaml": 0.5,
    "config.json": 0.5,
    "gguf": 3,
    "budget": 0.8,
    "hardware": 0.8,
    "baseline": 0.3,
    "hub": 0.4,
    "valid": 0.1,
    "command": 0.03,
    "formula": 42,
    "sizes": 37.57,
    "grid": 6,
    "words": 8,
}
MOST_SECONDS = 1.0
MOST_BYTES = 300 << 20
HANGS_SECONDS = 10
KEPT = 3000  # of a corpus in a folder


class HangError(BaseException):
    """The same execution for too long. No Exception, which a reader might take for its own."""


class Count(NamedTuple):
    """What a door did."""

    door: str
    way: str
    executions: int
    read: int
    refused: int
    findings: int
    seconds: float
    peak_megabytes: int
    slowest_milliseconds: float
    slowest: str


class Meter:
    """Runs a door and counts."""

    def __init__(self, door: Door, folder: str, way: str) -> None:
        self.door, self.folder, self.way = door, folder, way
        self.executions = self.read = self.refused = 0
        self.findings: dict[str, None] = {}
        self.shapes: set[str] = set()
        self.slowest, self.slowest_bytes = 0.0, b""
        self.started = time.monotonic()
        self.warm = False
        self._last_tick = -1
        signal.signal(signal.SIGVTALRM, self._tick)
        signal.setitimer(signal.ITIMER_VIRTUAL, HANGS_SECONDS, HANGS_SECONDS)

    def _tick(self, *_: object) -> None:
        if self.executions == self._last_tick:
            raise HangError(f"more than {HANGS_SECONDS} seconds")
        self._last_tick = self.executions

    def enter(self, content: bytes) -> str:
        """Run it once: 'read', 'refused', or 'new' where nothing was refused by such an error before."""
        before = time.process_time()
        refusal = None
        try:
            refusal = self.door.enter(content)
            self.read += refusal is None
            self.refused += refusal is not None
        except (Exception, HangError) as error:
            self._found(error, content)
        took = time.process_time() - before
        self.executions += 1
        if took > self.slowest and self.warm:
            self.slowest, self.slowest_bytes = took, content
            if took > MOST_SECONDS:
                self._found(HangError(f"{took:.1f} seconds"), content)
        if peak_bytes() > MOST_BYTES and "memory" not in self.findings:
            self.findings["memory"] = None
            self._found(MemoryError("more than 300 MB"), content)
        if refusal is None:
            return "read"
        shape = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9]+", "", refusal.message)[:60]
        if shape in self.shapes:
            return "refused"
        self.shapes.add(shape)
        return "new"

    def _found(self, error: BaseException, content: bytes) -> None:
        """Each kind of mistake, at each place, once."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = f"{type(error).__name__} {last[0].filename}:{last[0].lineno}" if last else repr(error)[:60]
        if where in self.findings:
            return
        self.findings[where] = None
        name = f"{self.door.name}-{hashlib.sha256(content).hexdigest()[:12]}"
        path = os.path.join(self.folder, "found", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        told = "".join(traceback.format_exception(error, limit=-6))[-3000:]
        sys.stderr.write(f"\n{self.door.name}: {path}\n{content[:300]!r}\n{told}\n")

    def count(self) -> Count:
        """What it did."""
        return Count(
            self.door.name,
            self.way,
            self.executions,
            self.read,
            self.refused,
            len(self.findings),
            round(time.monotonic() - self.started, 1),
            peak_bytes() >> 20,
            round(1000 * self.slowest, 1),
            repr(self.slowest_bytes[:80]),
        )


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def refuse_network(*_: object) -> NoReturn:
    """No door needs a network."""
    raise AssertionError("a socket is opened")


class Asked(NamedTuple):
    """One door, how often, for how long, and from which seed."""

    door: str
    executions: int
    seconds: float
    seed: int
    folder: str
    guided: bool


def one_door(asked: Asked) -> Count:
    """Run one door in this process."""
    socket.socket.connect = refuse_network  # type: ignore[method-assign]  # so that nothing connects
    os.environ.update(HOME="/nonexistent", HF_HUB_OFFLINE="1", COLUMNS="80")
    corpus_folder = os.path.join(asked.folder, asked.door)
    os.makedirs(corpus_folder, exist_ok=True)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  # a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=memory) as scratch, ExitStack() as kept:
        if asked.guided:
            from guided import instrumented

            kept.enter_context(instrumented())
        from doors import doors

        door = doors(scratch)[asked.door]
        corpus = [*door.corpus(), *kept_bytes(corpus_folder)]
        meter = Meter(door, asked.folder, "guided" if asked.guided else "plain")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if asked.guided:
            from guided import fuzz

            return fuzz(meter, asked, corpus, corpus_folder, scratch)
        with suppress(KeyboardInterrupt):
            plainly(meter, asked, corpus, corpus_folder)
        return meter.count()


def plainly(meter: Meter, asked: Asked, corpus: list[bytes], folder: str) -> None:
    """Mutate what is known; an error of a new shape is known from then on."""
    from mutations import Mutator

    mutator = Mutator(asked.seed, corpus, meter.door.words())
    for content in list(corpus):
        if meter.enter(content) == "read":
            mutator.remember(content)
    meter.warm = True  # what is imported at a first time is no input's fault
    ends = time.monotonic() + asked.seconds
    while meter.executions < asked.executions and (meter.executions % 64 or time.monotonic() < ends):
        content = mutator.next()
        came = meter.enter(content)
        if came == "read":
            mutator.remember(content)
        elif came == "new":
            corpus.append(content)
            keep(folder, content)


def keep(folder: str, content: bytes) -> None:
    """Write bytes that did something new."""
    with open(os.path.join(folder, hashlib.sha256(content).hexdigest()[:16]), "wb") as file:
        file.write(content)


def kept_bytes(folder: str) -> list[bytes]:
    """What earlier runs kept."""
    found = []
    for name in sorted(os.listdir(folder))[:KEPT]:
        with open(os.path.join(folder, name), "rb") as file:
            found.append(file.read())
    return found


def told(counts: list[Count]) -> str:
    """The table of the counts."""
    names = ("door", "way", "executions", "read", "refused", "found", "seconds", "MB", "slowest ms")
    lines = ["{:12} {:7} {:>12} {:>11} {:>11} {:>5} {:>8} {:>5} {:>10}".format(*names)]
    lines += [
        f"{one.door:12} {one.way:7} {one.executions:12,} {one.read:11,} {one.refused:11,} {one.findings:5}"
        f" {one.seconds:8.1f} {one.peak_megabytes:5} {one.slowest_milliseconds:10.1f}"
        for one in counts
    ]
    executions, findings = (sum(one[at] for one in counts) for at in (2, 5))  # type: ignore[misc]  # two sums
    seconds = sum(one.seconds for one in counts)
    peak = max((one.peak_megabytes for one in counts), default=0)
    slowest = max((one.slowest_milliseconds for one in counts), default=0)
    lines.append(f"{'in all':20} {executions:12,} {'':23} {findings:5} {seconds:8.1f} {peak:5} {slowest:10.1f}")
    return "\n".join(lines)


def main() -> int:
    """Run the doors asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=100_000, help="of all doors together; of one, where one")
    parser.add_argument("--seconds", type=float, default=1e9, help="the most that a door may take")
    parser.add_argument("--door", action="append", choices=list(SHARES), help="repeatable; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    parser.add_argument("--folder", default=os.path.join(ROOT, "build", "fuzz"), help="what is kept and found")
    parser.add_argument("--sum", action="store_true", help="run nothing: add up the runs that the folder remembers")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    remembered = os.path.join(given.folder, "counts.jsonl")
    if given.sum:
        with open(remembered, encoding="utf-8") as file:
            counts = added([Count(**json.loads(line)) for line in file])
        sys.stdout.write(f"{told(counts)}\n")
        return 0
    names: list[str] = given.door or list(SHARES)
    share = sum(SHARES[name] for name in names)
    counts = []
    for name in names:
        executions = int(given.executions * SHARES[name] / share)
        asked = Asked(name, executions, given.seconds, given.seed, os.path.abspath(given.folder), given.guided)
        if given.alone:
            sys.stdout.write(json.dumps(one_door(asked)._asdict()) + "\n")
            return 0
        one = _in_a_process(asked)
        counts.append(one)
        with open(remembered, "a", encoding="utf-8") as file:
            file.write(json.dumps(one._asdict()) + "\n")
        sys.stdout.write(f"{told([one]).splitlines()[1]}\n")
        sys.stdout.flush()
    sys.stdout.write(f"\n{told(counts)}\n")
    return int(any(one.findings for one in counts))


def _in_a_process(asked: Asked) -> Count:
    more = ["--guided"] if asked.guided else []
    sizes = ["--executions", str(asked.executions), "--seconds", str(asked.seconds), "--seed", str(asked.seed)]
    command = [sys.executable, __file__, "--alone", "--door", asked.door, "--folder", asked.folder, *sizes, *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603  # ourselves
    try:
        told_last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise SystemExit(f"{asked.door}: the process ended with {done.returncode}, without a count") from None
    return Count(**told_last)


def added(counts: list[Count]) -> list[Count]:
    """The counts of several runs, one a door and way."""
    found: dict[tuple[str, str], Count] = {}
    for one in counts:
        key = one.door, one.way
        last = found.get(key)
        if last is None:
            found[key] = one
            continue
        sums = [a + b for a, b in zip(last[2:7], one[2:7], strict=True)]
        peak = max(last.peak_megabytes, one.peak_megabytes)
        slower = max(last, one, key=lambda count: count.slowest_milliseconds)
        found[key] = Count(*key, *sums, peak, slower.slowest_milliseconds, slower.slowest)  # type: ignore[call-arg,arg-type]
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
