"""The command line in a process that has its imports behind it: forked from one that waits, in a tenth of a start.

In all else it is a process of its own: descriptors, environment, folder, memory limit, exit code. Only what the start
of Python itself reads (PYTHON*, LANG) is not read again: where that is changed, or nothing can fork, it is started.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_AT_THE_START = ("PYTHON", "LANG", "LC_")
LEFT_OUT = ("kvcalc.__main__", "kvcalc.arrays", "kvcalc.readers.gguf_walk")  # they run, or import what is optional
SERVER = """
import gc, json, os, pkgutil, sys
from importlib import import_module
import kvcalc, pydantic, rich.console, rich.table, rich.text, yaml
asked, told, left_out = os.fdopen(int(sys.argv[1])), int(sys.argv[2]), sys.argv[3:]
for module in pkgutil.walk_packages(kvcalc.__path__, "kvcalc."):
    if module.name not in left_out:
        import_module(module.name)
assert not {"numpy", "gguf"} & set(sys.modules)
gc.freeze()
for line in asked:
    if not os.fork():
        break
    os.write(told, b"%d\\n" % os.waitstatus_to_exitcode(os.wait()[1]))
else:
    os._exit(0)
call = json.loads(line)
asked.close()
os.close(told)
for handle, path, flags in zip(range(3), call["files"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
    opened = os.open(path, flags)
    os.dup2(opened, handle)
    os.close(opened)
os.environ.clear()
os.environ.update(call["environment"])
os.chdir(call["folder"])
if call["memory"] and sys.platform == "linux":  # elsewhere nothing heeds it
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (call["memory"],) * 2)
sys.argv = ["kvcalc", *call["arguments"]]
from kvcalc.cli.start import main
main()
"""
KVCALC = (sys.executable, "-m", "kvcalc")


class Server:
    """The process that waits, and the two pipes to it."""

    def __init__(self) -> None:
        theirs, self.asked = os.pipe()
        self.told, answers = os.pipe()
        command = [sys.executable, "-c", SERVER, str(theirs), str(answers), *LEFT_OUT]
        self.process = subprocess.Popen(command, pass_fds=(theirs, answers), start_new_session=True)
        os.close(theirs)
        os.close(answers)

    def call(self, timeout: float, **what: object) -> int:
        """Have it fork, and return the exit code."""
        os.write(self.asked, json.dumps(what).encode() + b"\n")
        if not select.select([self.told], [], [], timeout)[0]:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(str(what["arguments"]), timeout)
        return int(os.read(self.told, 16))

    def close(self) -> None:
        """End it: it reads no more."""
        os.close(self.asked)
        os.close(self.told)
        self.process.wait()


_servers: list[Server] = []


def _server() -> Server:
    if not _servers or _servers[-1].process.poll() is not None:
        _servers.append(Server())
        atexit.register(_servers[-1].close)
    return _servers[-1]


def run(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] = ".",
    stdin: bytes = b"",
    memory: int = 0,
    timeout: float = 60,
) -> tuple[int, bytes, bytes]:
    """Run `kvcalc ARGUMENTS` and return its exit code, stdout and stderr."""
    environment = dict(os.environ if environment is None else environment)
    names = {name for name, _ in {*environment.items()} ^ {*os.environ.items()}}
    if not hasattr(os, "fork") or any(name.startswith(READ_AT_THE_START) for name in names):
        done = subprocess.run(
            [*KVCALC, *arguments],
            env=environment,
            cwd=folder,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr
    with contextlib.ExitStack() as opened:
        given, out, err = (opened.enter_context(tempfile.NamedTemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.flush()
        files = [given.name, out.name, err.name]
        where = os.path.abspath(folder)
        code = _server().call(
            timeout, arguments=arguments, files=files, environment=environment, folder=where, memory=memory
        )
        return code, out.read(), err.read()
