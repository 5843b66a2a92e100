"""The entry point. A start allocates much and frees nothing: the garbage collector stands aside (-10 % of its time)."""

from __future__ import annotations

import gc
import os
import signal
import sys

_ended: list[int] = []  # the signals that came


def main() -> None:
    """Import the app, then run the command line."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `kvcalc list | head` ends as quietly as `cat` does
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and a shell's & have it
            signal.signal(number, _end)
    sys.unraisablehook = _swallowed
    gc.disable()
    from kvcalc.cli.app import run

    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # a long run still collects, but not at every import of pydantic's
    gc.enable()
    try:
        run()
    except Exception:  # a library may make one of its own of what a signal raised in it
        if not _ended:
            raise
    finally:
        gc.freeze()  # nor is there anything to look for at the exit
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) == _end:
                signal.signal(number, signal.SIG_DFL)  # all is written: the interpreter's own end has nothing to tell
        if _ended:
            sys.exit(128 + _ended[0])


def _end(number: int, _frame: object) -> None:
    """End at once, by way of every `finally`: what a half-written file has beside it goes with us."""
    _ended.append(number)
    sys.exit(128 + number)


def _swallowed(told: sys.UnraisableHookArgs) -> None:
    """A signal that came while a library called back from C, where no exception may pass, comes once more."""
    code = getattr(told.exc_value, "code", None)
    if not isinstance(told.exc_value, SystemExit):
        sys.__unraisablehook__(told)
    elif hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(code))
        signal.setitimer(signal.ITIMER_REAL, 0.001)
    else:
        os._exit(code if isinstance(code, int) else 1)
