"""The path of a finding as a repository knows it, and the text of one as any system can print it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.findings import Finding


def in_repository(path: str) -> str:
    """Return the path with forward slashes, relative to a GitHub runner's workspace, else to where we stand.

    A step may stand in a folder of the workspace, and an annotation is shown at a path from the workspace. A path
    outside of both stays as it is.
    """
    for root in (os.environ.get("GITHUB_WORKSPACE"), os.curdir):
        inside = os.path.relpath(path, root) if path and root else os.pardir
        if inside.split(os.sep)[0] != os.pardir:
            return inside.replace(os.sep, "/")
    return os.path.normpath(path).replace(os.sep, "/") if path else ""


def place(finding: Finding) -> str:
    """'file:line:column', as far as they are known; no path begins a line as a workflow command does."""
    path = printable(finding.path)
    path = f"./{path}" if path.startswith(":") else path
    known = [str(at) for at in (finding.line, finding.column) if at] if finding.line else []
    return ":".join([path, *known])


def printable(text: str) -> str:
    """Return the text with what cannot be printed escaped, line ends too; half a character from a file name as '?'."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole if whole.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in whole)
