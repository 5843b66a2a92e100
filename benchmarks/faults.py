"""Faults against the real command line: whatever happens to it, one message, the right exit code, and no half file.

    python benchmarks/faults.py [--every] [--kills N] [--seed S] [--real] [NAME...]

Each fault (a NAME, see FAULTS) is done to every command, which writes a file of one of its formats, by --every of each.
A process is made by a fork of one that has kvcalc's modules in memory, which costs a tenth; --real starts every one
anew, so that a signal may also meet the start. Prints a line a fault, and every breach with what makes it again; exit 1
where there is one. Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib import import_module
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINES = {  # of every command one whose result goes to stdout, all in few lines
    "compare": "compare gpt2",
    "show": "show gpt2 --recompute",
    "explain": "explain gpt2 cache_bytes",
    "fit": "fit gpt2 --on H100",
    "diff": "diff gpt2 opt-125m",
    "check": "check gpt2",
    "sweep": "sweep gpt2 --context 1:2000:1 -f csv",
    "plot": "plot gpt2",
    "verify": "verify nowhere.json",
    "list": "list",
    "report": "report gpt2",
    "rope": "rope --base 10000",
    "convert": "convert gpt2",
    "schema": "schema",
}
TABLES = ("json", "jsonl", "csv", "tsv", "md", "txt", "parquet", "xlsx")
FOUND = ("json", "jsonl", "csv", "tsv", "md", "txt", "sarif", "xml")
SUFFIXES = {  # of -o
    **dict.fromkeys(("compare", "show", "explain", "fit", "sweep", "list", "rope"), TABLES),
    **dict.fromkeys(("diff", "check"), FOUND),
    "plot": ("svg", "png", "html", "json", "txt"),
    "report": ("html",),
    "convert": ("yaml",),
    "schema": ("json",),
}
KVCALC = [sys.executable, "-m", "kvcalc"]
MODULES = (
    *("kvcalc.cli.app", "rich.console", "rich.table", "rich.progress", "pydantic", "yaml", "json", "tempfile"),
    *("kvcalc.cli.compare", "kvcalc.cli.show", "kvcalc.cli.check", "kvcalc.cli.diff", "kvcalc.cli.plot", "numpy"),
    *("kvcalc.readers.load", "kvcalc.readers.native", "kvcalc.schemas", "kvcalc.report.page.document"),
    *("pyarrow.parquet", "xlsxwriter", "vl_convert", "kvcalc.report.picture", "kvcalc.report.sarif"),
)
OLD = b"what was there before\n"
WORDS_OF_A_CRASH = (b"Traceback", b"Exception ignored", b"Fatal Python", b"Error:", b"Warning:")
MOST_SECONDS = 60


class Case(NamedTuple):
    """A command line with the streams and limits that it is to live with."""

    line: str
    stdin: int | None = None  # None: closed
    stdout: int | None = None
    stderr: int | None = None
    prepare: Callable[[], None] | None = None
    environment: dict[str, str] | None = None


class Bench:
    """Where processes are made, and what they may write into."""

    def __init__(self, *, real: bool, every: bool, kills: int, seed: int) -> None:
        self.real, self.every, self.kills, self.random = real, every, kills, random.Random(seed)  # noqa: S311  # no secret
        self.folder = tempfile.mkdtemp(prefix="kvcalc-faults-")
        self.scratch = self.sub("scratch")  # where a library puts what it needs meanwhile
        os.environ["TMPDIR"] = self.scratch
        tempfile.tempdir = None
        self.null = os.open(os.devnull, os.O_RDWR)
        self.breaches: list[str] = []
        self.done: Counter[str] = Counter()
        self.fault = ""

    def sub(self, name: str) -> str:
        """A folder of its own."""
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def start(self, case: Case) -> int:
        """Start a process; its id."""
        if case.environment is not None or self.real:
            return self._anew(case)
        process = os.fork()
        if not process:
            try:
                become(case)
            finally:  # what called this is not unwound
                os._exit(99)
        return process

    def _anew(self, case: Case) -> int:
        process = os.fork()
        if not process:
            streams(case)
            os.environ.update(case.environment or {})
            for name in [key for key, value in (case.environment or {}).items() if not value]:
                del os.environ[name]
            if case.prepare:
                case.prepare()
            os.execv(sys.executable, [*KVCALC, *case.line.split()])  # noqa: S606  # ourselves
        return process

    def run(self, line: str, **how: object) -> tuple[int, bytes, bytes]:
        """Exit code (minus a signal's number), what stands on stdout and on stderr; streams that are given, empty."""
        reader, writer = os.pipe()  # no file: a limit of files is none of its matter
        with tempfile.TemporaryFile(dir=self.folder) as out, open(reader, "rb") as err:
            given = {"stdin": self.null, "stdout": out.fileno(), "stderr": writer, **how}
            process = self.start(Case(line, **given))  # type: ignore[arg-type]  # given is a case's fields
            os.close(writer)
            code = ended(process)
            out.seek(0)
            return code, out.read(), err.read()

    def judge(self, what: str, fine: bool, told: bytes | str = "") -> None:
        """Count, and keep a breach."""
        self.done[self.fault] += 1
        crashed = isinstance(told, bytes) and any(word in told for word in WORDS_OF_A_CRASH)
        if not fine or crashed:
            self.breaches.append(f"{self.fault}: {what}: {told[-1500:]!r}")

    def left(self) -> list[str]:
        """What stands in the scratch folder though nobody works any more."""
        return os.listdir(self.scratch)


def streams(case: Case) -> None:
    """Take the case's streams as 0, 1 and 2."""
    if case.environment is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until kvcalc takes it
    given = (case.stdin, case.stdout, case.stderr)
    kept = [os.dup(number) if number is not None else None for number in given]
    for at, number in enumerate(kept):
        if number is None:
            with contextlib.suppress(OSError):
                os.close(at)
        else:
            os.dup2(number, at)
            os.set_inheritable(at, True)
    os.closerange(3, 256)


def become(case: Case) -> None:
    """Be the command line of the case, and end as the interpreter would: what called this is not unwound."""
    streams(case)
    sys.stdin, sys.stdout, sys.stderr = (  # as an interpreter makes them at its start
        None
        if number is None
        else TextIOWrapper(
            BufferedWriter(FileIO(at, mode)) if at else BufferedReader(FileIO(at)),
            "utf-8",
            errors,
            line_buffering=at == 2,
        )
        for at, number, mode, errors in (
            (0, case.stdin, "r", "strict"),
            (1, case.stdout, "w", "strict"),
            (2, case.stderr, "w", "backslashreplace"),
        )
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]  # they are final to a checker
    if case.prepare:
        case.prepare()
    sys.argv = ["kvcalc", *case.line.split()]
    code: object = 0
    try:
        from kvcalc.cli.start import main

        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # what the interpreter does with it
        sys.excepthook(*sys.exc_info())
        code = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.write(2, f"Exception ignored: {error}".encode())
        code = 120
    os._exit(code if isinstance(code, int) else int(code is not None))


def ended(process: int) -> int:
    """Wait for it."""
    until = time.monotonic() + MOST_SECONDS
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return -signal.SIGKILL
        time.sleep(0.002)


def writing(bench: Bench) -> Iterator[tuple[str, str]]:
    """A line of each writing command with the suffix of its file: with all of them, or another each time."""
    for command, suffixes in SUFFIXES.items():
        line = LINES[command].replace(" -f csv", "")
        if command == "sweep":
            line = line.replace("2000", "20000")
        for suffix in suffixes if bench.every else [bench.random.choice(suffixes)]:
            if suffix in ("json", "txt", "md") or command != "sweep":
                yield line.replace("20000", "2000"), suffix
            else:
                yield line, suffix


# ---------- streams


def closed(bench: Bench) -> None:
    """Stdin, stdout or stderr is closed, or all of them."""
    for command, line in LINES.items():
        wanted, out, _ = bench.run(line)
        code, _, err = bench.run(line, stdout=None)
        bench.judge(f"{line} >&-", code == 2, err)
        code, found, _ = bench.run(line, stderr=None)
        bench.judge(f"{line} 2>&-", (code, found) == (wanted, out))
        code, found, err = bench.run(line, stdin=None)
        bench.judge(f"{line} <&-", (code, found) == (wanted, out), err)
        bench.judge(f"{line} <&- >&- 2>&-", bench.run(line, stdin=None, stdout=None, stderr=None)[0] == 2)
        if command in ("compare", "show", "explain", "convert", "report", "plot", "check", "fit", "sweep"):
            code, found, err = bench.run(line.replace("gpt2", "-"), stdin=None)
            bench.judge(f"{line} of a closed stdin", code in (1, 2) and b"closed" in found + err, err)


def full(bench: Bench) -> None:
    """Stdout or stderr is a full disk."""
    device = os.open("/dev/full", os.O_WRONLY)
    for line in LINES.values():
        wanted, out, told = bench.run(line)
        code, _, err = bench.run(line, stdout=device)
        bench.judge(f"{line} >/dev/full", code == 2 and (b"No space left on device" in err or not out), err)
        code, found, _ = bench.run(line, stderr=device)
        bench.judge(f"{line} 2>/dev/full", (code, found) == (wanted, out), told)
    os.close(device)


def pipe(bench: Bench) -> None:
    """Nobody reads, or somebody stops reading."""
    for line in (*LINES.values(), "--help", "compare --help"):
        reader, writer = os.pipe()
        os.close(reader)
        code, _, err = bench.run(line, stdout=writer)
        os.close(writer)
        bench.judge(f"{line} | true", code in (-signal.SIGPIPE, 0, 1, 2) and (code == 2 or b"kvcalc:" not in err), err)
        reader, writer = os.pipe()
        process = bench.start(Case(line, bench.null, writer, bench.null))
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        code = ended(process)
        bench.judge(f"{line} | head -c 1", code in (-signal.SIGPIPE, 0, 1, 2))


# ---------- files


def _written(bench: Bench, name: str, suffix: str, line: str, **how: object) -> tuple[int, bytes, str]:
    folder = bench.sub(name)
    path = os.path.join(folder, f"out.{suffix}")
    with open(path, "wb") as file:
        file.write(OLD)
    code, _, err = bench.run(
        f"{line} -q -o {path}" if "schema" not in line and "convert" not in line else f"{line} -o {path}", **how
    )
    return code, err, path


def _refused(bench: Bench, what: str, code: int, err: bytes, path: str, most: int) -> None:
    with open(path, "rb") as file:
        kept = file.read() == OLD
    beside = [name for name in os.listdir(os.path.dirname(path)) if name != os.path.basename(path)]
    one = err.startswith(b"kvcalc: ") and err.count(b"\n") == 1 and b"cannot be written" in err
    fits = code in (0, 1) and os.path.getsize(path) <= most and not err
    bench.judge(what, (fits or (code == 2 and one and kept)) and not beside and not bench.left(), err)
    os.unlink(path)


def limit(bench: Bench) -> None:
    """The disk is full after some bytes, in the file, or in what a library writes before."""
    for most in (0, 100):

        def prepare(most: int = most) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        for line, suffix in writing(bench):
            code, err, path = _written(bench, "limit", suffix, line, prepare=prepare)
            _refused(bench, f"{line} -o .{suffix} with room for {most} bytes", code, err, path, most)


def small(bench: Bench) -> None:
    """A real file system of 16 KiB; left out where none may be mounted."""
    folder = bench.sub("small")
    if _mounted(folder, "size=16k"):
        for line, suffix in writing(bench):
            path = os.path.join(folder, f"out.{suffix}")
            with open(path, "wb") as file:
                file.write(OLD)
            code, _, err = bench.run(f"{line} -o {path}")
            right = os.path.exists(path) and (code in (0, 1) or (code == 2 and b"No space left on device" in err))
            bench.judge(f"{line} -o .{suffix} on 16 KiB: {code}", right and len(os.listdir(folder)) == 1, err)
            _remove(path)
        subprocess.run(["umount", folder], check=True)


def read_only(bench: Bench) -> None:
    """The folder may not be written to; root, who may write everywhere, needs a file system that is read-only."""
    folder, root = bench.sub("read_only"), not os.geteuid()
    if root and not _mounted(folder, "size=1m"):
        return
    for suffix in {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}:
        with open(os.path.join(folder, f"out.{suffix}"), "wb") as file:
            file.write(OLD)
    before = sorted(os.listdir(folder))
    if root:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        os.chmod(folder, 0o555)  # noqa: S103  # the fault is the folder's rights
    for line, suffix in writing(bench):
        path = os.path.join(folder, f"out.{suffix}")
        code, _, err = bench.run(f"{line} -o {path}")
        with open(path, "rb") as file:
            kept = file.read() == OLD and sorted(os.listdir(folder)) == before
        right = code == 2 and b"cannot be written: " in err and kept and not bench.left()
        bench.judge(f"{line} -o .{suffix} in a folder that is read-only", right, err)
    if root:
        subprocess.run(["umount", folder], check=True)
    else:
        os.chmod(folder, 0o755)  # noqa: S103  # the fault is the folder's rights


def _mounted(folder: str, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "kvcalc", folder]
    return (
        shutil.which("mount") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )


# ---------- signals


def kill(bench: Bench) -> None:
    """SIGINT and SIGTERM at any moment of every writing command: the whole file or none of it."""
    folder = bench.sub("kill")
    cases = list(writing(bench))
    whole: dict[tuple[str, str], tuple[bytes, float]] = {}
    for at in range(bench.kills):
        line, suffix = case = cases[at % len(cases)]
        path = os.path.join(folder, f"out.{suffix}")
        asked = f"{line} -o {path}"
        if case not in whole:
            start = time.monotonic()
            bench.run(asked)
            spent = time.monotonic() - start
            with open(path, "rb") as file:
                whole[case] = file.read(), spent
            os.unlink(path)
        made, spent = whole[case]
        before = bench.random.choice((None, OLD))
        if before is not None:
            with open(path, "wb") as file:
                file.write(before)
        number = bench.random.choice((signal.SIGINT, signal.SIGTERM))
        delay = bench.random.uniform(0, 1.05 * spent)
        with tempfile.TemporaryFile(dir=bench.folder) as err:
            process = bench.start(Case(asked, bench.null, bench.null, err.fileno()))
            time.sleep(delay)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
            code = ended(process)
            err.seek(0)
            told = err.read()
        found = None
        if os.path.exists(path):
            with open(path, "rb") as file:
                found = file.read()
            os.unlink(path)
        beside = [*os.listdir(folder), *bench.left()]
        for name in beside:
            _remove(os.path.join(folder, name), os.path.join(bench.scratch, name))
        early = code == -number  # before kvcalc's first line, or after its last
        right = code in (128 + number, 0, 1) or early
        complete = found in (before, made) and (found == made or code not in (0, 1))
        what = f"{asked} got {number.name} after {delay * 1000:.1f} ms of {spent * 1000:.0f}: exit {code}"
        bench.judge(f"{what}, beside it {beside}", right and complete and not beside, told)
        bench.done[f"{bench.fault}: ended by it"] += code == 128 + number
        bench.done[f"{bench.fault}: outside of it"] += early


def _remove(*paths: str) -> None:
    for path in paths:
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.unlink(path)


def two(bench: Bench) -> None:
    """Two processes write one file, and a third looks: it is one's or the other's, whole."""
    folder = bench.sub("two")
    for suffix in TABLES if bench.every else bench.random.sample(TABLES, 2):
        path = os.path.join(folder, f"out.{suffix}")
        lines = [
            f"sweep {name} --context 1:{rows}:1 -q -o {path}" for name, rows in (("gpt2", 1500), ("opt-125m", 900))
        ]
        made = []
        for line in lines:
            bench.run(line)
            with open(path, "rb") as file:
                made.append(file.read())
        seen = set()
        for _ in range(3):
            working = [bench.start(Case(line, bench.null, bench.null, bench.null)) for line in lines]
            while working:
                with open(path, "rb") as file:
                    seen.add(file.read())
                for process in list(working):
                    found, status = os.waitpid(process, os.WNOHANG)
                    if found:
                        working.remove(process)
                        bench.judge(f"{lines} at once", os.waitstatus_to_exitcode(status) == 0)
        bench.judge(f"{lines} at once: a reader", seen <= set(made))
        bench.judge(f"{lines} at once: what is left", os.listdir(folder) == [f"out.{suffix}"])
        os.unlink(path)


# ---------- surroundings


def poor(bench: Bench) -> None:
    """No HOME, the C locale, a dumb terminal, 20 columns, bytes that are no text in the names of files."""
    bare = {"HOME": "", "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb"}
    bare |= {"COLUMNS": "20", "USER": "", "LOGNAME": "", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    folder = bench.sub("poor")
    model = os.path.join(folder, os.fsdecode(b"m\xff\xfe.yaml"))
    bench.run(f"convert gpt2 -o {model}")
    bench.judge("a model whose name is no text", os.path.exists(model))
    writes = SUFFIXES if bench.every else bench.random.sample(sorted(SUFFIXES), 3)
    for command, line in LINES.items():
        line = line.replace("gpt2", model)
        wanted = bench.run(LINES[command])[0]
        code, out, err = bench.run(line, environment=bare)
        bench.judge(line, code == wanted and out.isascii() and err.isascii(), err)
        if command in writes:
            suffix = bench.random.choice(SUFFIXES[command])
            path = os.path.join(folder, os.fsdecode(b"o\xff." + suffix.encode()))
            code, _, err = bench.run(f"{line.replace(' -f csv', '')} -o {path}", environment=bare)
            bench.judge(f"{line} -o {path!a}", code == wanted and os.path.getsize(path) > 0, err)
            code, _, err = bench.run(f"{line} -o {path}/no", environment=bare)
            bench.judge(f"{line} -o {path!a}/no", code == 2, err)


def narrow(bench: Bench) -> None:
    """A terminal of 20 columns, dumb or not, and of one."""
    import fcntl
    import pty
    import struct
    import termios

    for line in LINES.values():
        for width in (20, 1):
            leader, follower = pty.openpty()
            fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
            with tempfile.TemporaryFile(dir=bench.folder) as err:
                process = bench.start(Case(line, follower, follower, err.fileno()))
                os.close(follower)
                with contextlib.suppress(OSError):  # Linux's way to say that the other side is gone
                    while os.read(leader, 65536):
                        pass
                code = ended(process)
                os.close(leader)
                err.seek(0)
                bench.judge(
                    f"{line} at {width} columns",
                    code in (0, 2) and (code == 0 or line.startswith(("verify", "report"))),
                    err.read(),
                )


def clock(bench: Bench) -> None:
    """The clock jumps to and fro by hours at every look, while a bar is shown: the same file."""
    import pty

    def prepare() -> None:
        jumps = random.Random(1)  # noqa: S311  # no secret
        now = time.time()

        def jumping() -> float:
            return now + jumps.uniform(-1e5, 1e5)

        for name in ("time", "monotonic", "perf_counter"):
            setattr(time, name, jumping)
        for module in list(sys.modules.values()):
            for name in ("monotonic", "perf_counter"):
                if getattr(module, name, None) in _CLOCKS:
                    setattr(module, name, jumping)

    folder = bench.sub("clock")
    lines = [f"sweep gpt2 --context 1:60000:1 -o {folder}/out.{suffix}" for suffix in ("csv", "parquet")]
    lines += ["rope --context 4k --head-dim 128 -f json", f"plot gpt2 -o {folder}/out.json", "report gpt2"]
    for line in lines:
        found = []
        for how in (None, prepare):
            leader, follower = pty.openpty()
            with tempfile.TemporaryFile(dir=bench.folder) as out:
                process = bench.start(Case(line, bench.null, out.fileno(), follower, how))
                os.close(follower)
                told = b""
                with contextlib.suppress(OSError):
                    while piece := os.read(leader, 65536):
                        told += piece
                code = ended(process)
                os.close(leader)
                out.seek(0)
                made = [out.read()]
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "rb") as file:
                    made.append(file.read())
                os.unlink(os.path.join(folder, name))
            found.append((code, made))
        bench.judge(
            f"{line} while the clock jumps", found[0] == found[1] and found[0][0] == 0, told.replace(b"\r", b"")
        )


_CLOCKS = (time.monotonic, time.perf_counter)
FAULTS: dict[str, Callable[[Bench], None]] = {
    fault.__name__: fault for fault in (closed, full, pipe, limit, small, read_only, kill, two, poor, narrow, clock)
}


def main() -> int:
    """Do them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="NAME", help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--kills", type=int, default=100, help="signals sent in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="every format of every command")
    parser.add_argument("--real", action="store_true", help="start every process anew")
    asked = parser.parse_args()
    for name in MODULES:
        with contextlib.suppress(ImportError):
            import_module(name)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever a shell's & made of it
    bench = Bench(real=asked.real, every=asked.every, kills=asked.kills, seed=asked.seed)
    for name in asked.faults or FAULTS:
        bench.fault, start = name, time.monotonic()
        FAULTS[name](bench)
        more = "".join(
            f", {count} {key.partition(': ')[2]}" for key, count in bench.done.items() if key.startswith(f"{name}: ")
        )
        print(f"{name}: {bench.done[name]} checks{more}, {time.monotonic() - start:.1f} s", flush=True)
    shutil.rmtree(bench.folder)
    print("\n".join(bench.breaches) or "no breach")
    return bool(bench.breaches)


if __name__ == "__main__":
    sys.exit(main())
