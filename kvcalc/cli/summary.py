"""The page that GitHub shows of a job: Markdown, appended to the file that the runner names."""

from __future__ import annotations

import os

from kvcalc.cli.output import complain

LIMIT_BYTES = 1 << 20  # of one step; more than that, and the runner drops all of it
CUT = "\n\n(cut here: a job summary holds 1 MiB)\n"


def append_summary(markdown: str) -> None:
    """Append to the file of GITHUB_STEP_SUMMARY, where that is set, as much as it may hold.

    A file that cannot be written is one warning on stderr: the result itself is on stdout.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "ab") as file:
            file.write(_fitting(markdown, LIMIT_BYTES - file.tell()))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        complain(f"warning: GITHUB_STEP_SUMMARY: {path}: cannot be written: {reason}")


def _fitting(markdown: str, room: int) -> bytes:
    """Cut after the last line that fits into `room` bytes."""
    whole = markdown.encode("utf-8", "replace")
    if len(whole) <= room:
        return whole
    end = whole.rfind(b"\n", 0, max(room - len(CUT), 0))
    return whole[:end] + CUT.encode() if end > 0 else b""
