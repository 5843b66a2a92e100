"""The README is true: every example prints what it shows, on a terminal of 80 columns, and every option exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvcalc.cli.app import COMMANDS

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as _file:
    README = _file.read()
BLOCKS = re.findall(r"```(\w+)\n(.*?)\n```", README, flags=re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Every command of a console block with the output printed under it."""
    found = []
    for language, body in BLOCKS:
        if language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output.rstrip("\n")))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README shows, each named in its first line."""
    made = tmp_path_factory.mktemp("readme")
    for language, body in BLOCKS:
        if language == "yaml" and (name := re.match(r"# (\S+\.yaml)\n", body)):
            (made / name[1]).write_text(body + "\n")
    return made


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="needs bash and a pseudo-terminal")
@pytest.mark.parametrize(("command", "printed"), examples(), ids=lambda text: text[:70])
def test_an_example_prints_what_it_shows(folder: Path, command: str, printed: str) -> None:
    assert _on_a_terminal(command, folder) == printed


def _on_a_terminal(command: str, folder: Path) -> str:
    """Run a command as typed at 80 columns."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 80, 0, 0))
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "TERM": "xterm"}
    for name in ("COLUMNS", "KVCALC_FORMAT"):
        environment.pop(name, None)
    process = subprocess.Popen(
        ["bash", "-c", command], stdout=follower, stderr=follower, stdin=subprocess.DEVNULL, cwd=folder, env=environment
    )
    os.close(follower)
    written = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        written += piece
    os.close(leader)
    process.wait()
    return written.decode().replace("\r\n", "\n").rstrip("\n")


def test_every_command_and_shared_convention_is_in_the_help() -> None:
    def text(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "kvcalc", *arguments], capture_output=True, text=True, check=True)
        return " ".join(done.stdout.split())

    told = text("--help")
    assert "1 multiply-add = 2 FLOPs" in told
    assert "min(n, W)" in told
    options = " ".join([told, *(text(command, "--help") for command in COMMANDS)])
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)):
        assert option in options, option


def test_a_llama_is_as_long_as_it_says() -> None:
    body = next(body for language, body in BLOCKS if language == "yaml" and "my-llama" in body)
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    assert len(lines) == 10
