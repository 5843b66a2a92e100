"""The entry point. A start allocates much and frees nothing: the garbage collector stands aside (-10 % of its time)."""

from __future__ import annotations

import gc
import signal
import sys


def main() -> None:
    """Import the app, then run the command line."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `kvcalc list | head` ends as quietly as `cat` does
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what a half-written file has beside it goes with us
    gc.disable()
    try:
        from kvcalc.cli.app import run
    except KeyboardInterrupt:
        sys.exit(130)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # a long run still collects, but not at every import of pydantic's
    gc.enable()
    try:
        run()
    finally:
        gc.freeze()  # nor is there anything to look for at the exit
