"""Draw every picture of docs/gallery.md again, by the commands that it names, and print its terminal plots in place."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")
BLOCK = re.compile(r"```console\n(.*?)\n```", re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The commands of all console blocks, as words after `kvcalc`."""
    lines = [line for block in BLOCK.findall(text) for line in block.split("\n")]
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ kvcalc ")]


def run(words: list[str], folder: str) -> str:
    """Run one in a folder, into a pipe."""
    done = subprocess.run(  # noqa: S603  # the words are the document's
        [sys.executable, "-m", "kvcalc", *words], cwd=folder, check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout.rstrip("\n")


def filled(text: str, folder: str) -> str:
    """The document with what its commands print."""

    def block(found: re.Match[str]) -> str:
        lines = []
        for line in found[1].split("\n"):
            if line.startswith("$ "):
                printed = run(shlex.split(line)[2:], folder)
                lines += [line, *([printed] if printed else [])]
        return "\n".join(["```console", *lines, "```"])

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    path = os.path.join(DOCS, "gallery.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    made = filled(text, DOCS)
    with open(path, "w", encoding="utf-8") as file:
        file.write(made)
