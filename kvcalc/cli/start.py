"""The entry point. Imports run without the garbage collector: they allocate much and free nothing (-8 % of a start)."""

from __future__ import annotations

import gc


def main() -> None:
    """Import the app, then run the command line."""
    gc.disable()
    from kvcalc.cli.app import run

    gc.freeze()
    gc.enable()
    run()
