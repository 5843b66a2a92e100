"""Options that every command shares, and where its result goes: stdout or a file, whole or not at all."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, get_args

import typer

from kvcalc.errors import KvcalcError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.report.records import Record
    from kvcalc.report.table import Table

Format = Literal["table", "json", "jsonl", "csv", "tsv", "markdown"]
SUFFIXES: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".md": "markdown",
}

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Default: what -o's suffix says, else the variable KVCALC_FORMAT, else table."),
]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, whole or not at all.")
]
ColorOption = Annotated[Literal["auto", "always", "never"], typer.Option("--color", help="Colours in the table.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No notes or warnings on stderr.")]


def complain(message: str) -> None:
    """Write a line on stderr, where there is one; what cannot be printed is escaped."""
    printable = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
    with suppress(OSError, AttributeError):  # a closed stderr is None
        sys.stderr.write(f"{printable}\n")
        sys.stderr.flush()


class Output(NamedTuple):
    """What the user asked for."""

    format: Format | None
    path: str | None
    color: str
    quiet: bool

    def tell(self, notes: Sequence[str], warnings: Sequence[str] = ()) -> None:
        """Write notes and warnings on stderr."""
        if not self.quiet:
            for label, lines in (("warning", warnings), ("note", notes)):
                for line in lines:
                    complain(f"{label}: {line}")

    def write(
        self,
        records: Callable[[], Sequence[Record]],
        tables: Callable[[], Sequence[Table]],
        text: Callable[[], str] | None = None,
    ) -> None:
        """Write the result in the format asked for, and make only what that needs; `text` stands for its table."""
        chosen = self.format or self.format_of_path() or _usual_format()
        if chosen == "table":
            written = text() if text else self._table(tables())
        elif chosen == "markdown":
            from kvcalc.report.table import to_markdown

            written = to_markdown(tables())
        else:
            from kvcalc.report.records import WRITERS

            written = WRITERS[chosen](records())
        self.put(written)

    def format_of_path(self) -> Format | None:
        """What the suffix of -o says; None where it says nothing."""
        suffix = os.path.splitext(self.path or "")[1].lower()
        if suffix in ("", ".txt"):
            return None
        if suffix not in SUFFIXES:
            raise KvcalcError(
                f"-o {self.path}: no format is known by {suffix}", f"one of {' '.join(SUFFIXES)} .txt, or give --format"
            )
        return SUFFIXES[suffix]

    def put(self, text: str) -> None:
        """Write text to stdout or to the file."""
        if self.path not in (None, "-"):
            _replace(self.path, text)
        elif sys.stdout is None:
            raise KvcalcError("stdout is closed: nowhere to write to")
        else:
            _print(text)

    def _table(self, tables: Sequence[Table]) -> str:
        from kvcalc.report.table import to_terminal

        terminal = self.path in (None, "-") and sys.stdout is not None and sys.stdout.isatty()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        color = self.color == "always" or (self.color == "auto" and terminal and not plain)
        return to_terminal(tables, _width() if terminal else None, color=color)


def _usual_format() -> Format:
    """The format that the environment asks for, or a table."""
    asked = os.environ.get("KVCALC_FORMAT") or "table"
    for known in get_args(Format):
        if asked == known:
            return known  # type: ignore[no-any-return]  # one of the literals
    hint = did_you_mean(asked, get_args(Format)) or f"one of {', '.join(get_args(Format))}"
    raise KvcalcError(f"the variable KVCALC_FORMAT: unknown format {asked!r}", hint)


def make_output(
    *,
    format_: FormatOption = None,
    output: OutputOption = None,
    color: ColorOption = "auto",
    quiet: QuietOption = False,
) -> Output:
    """Read the options as typed. Raises KvcalcError where -o names no file or no format."""
    if output == "":
        raise KvcalcError("-o: cannot be written: it names no file")
    made = Output(format_, output, color, quiet)
    if format_ is None:
        made.format_of_path()
    return made


def _print(text: str) -> None:
    """Write to stdout; where its encoding lacks a character, that one is escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = None  # nothing is left to flush at the exit
        raise KvcalcError(f"stdout: cannot be written: {error.strerror}") from None


def _width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _mode(path: str) -> int:
    """The mode of a file that is there, else that of a new one."""
    if os.path.exists(path):
        return os.stat(path).st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _replace(path: str, text: str) -> None:
    """Write beside the file and rename, so that nobody ever sees half of it."""
    import tempfile

    temporary = ""
    target = os.path.realpath(path)  # a link is written through, and stays
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe cannot be renamed over
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            return
        handle, temporary = tempfile.mkstemp(prefix=".kvcalc-", dir=os.path.dirname(target))
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except OSError as error:
        raise KvcalcError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
