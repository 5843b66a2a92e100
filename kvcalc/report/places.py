"""The path of a finding as a repository knows it, and the text of one as any system can print it."""

from __future__ import annotations

import os


def in_repository(path: str) -> str:
    """Return the path with forward slashes, and relative to where we stand when it is inside of that."""
    if os.path.isabs(path):
        inside = os.path.relpath(path)
        path = path if inside.split(os.sep)[0] == os.pardir else inside
    return os.path.normpath(path).replace(os.sep, "/") if path else ""


def printable(text: str) -> str:
    """Return the text with what cannot be printed escaped, line ends too; half a character from a file name as '?'."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole if whole.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in whole)
