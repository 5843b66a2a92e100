"""Options that every command shares, and where its result goes: stdout or a file, whole or not at all."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.rows import blocks_of
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import BinaryIO

    from kvcalc.report.table import Table
    from kvcalc.rows import Block, Record

Format = Literal["table", "json", "jsonl", "csv", "tsv", "markdown", "parquet", "xlsx"]
CiFormat = Literal["table", "json", "jsonl", "csv", "tsv", "markdown", "github", "sarif", "junit"]
SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".md": "markdown",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".sarif": "sarif",
    ".xml": "junit",
    ".svg": "svg",
    ".png": "png",
    ".html": "html",
}
PICTURES = ("svg", "png", "html", "json")  # json: its Vega-Lite
BINARY = {"parquet": "kvcalc.report.parquet", "xlsx": "kvcalc.report.xlsx"}  # each has write(blocks, file) -> warnings

FORMAT_HELP = "Default: what -o's suffix says, else the variable KVCALC_FORMAT, else table."
FormatOption = Annotated[Format | None, typer.Option("--format", "-f", help=FORMAT_HELP)]
CiFormatOption = Annotated[CiFormat | None, typer.Option("--format", "-f", help=FORMAT_HELP)]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, whole or not at all.")
]
PictureOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="FILE.svg, .png, .html (one page that needs nothing else), .json (its Vega-Lite) or .txt. Default: a plot "
        "in the terminal.",
    ),
]
ColorOption = Annotated[Literal["auto", "always", "never"], typer.Option("--color", help="Colours in the terminal.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No notes or warnings on stderr.")]


def complain(message: str) -> None:
    """Write a line on stderr, where there is one; what cannot be printed is escaped."""
    printable = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
    with suppress(OSError, AttributeError):  # a closed stderr is None
        sys.stderr.write(f"{printable}\n")
        sys.stderr.flush()


class Output(NamedTuple):
    """What the user asked for, and the formats that the command has."""

    format: str | None
    path: str | None
    color: str
    quiet: bool
    formats: tuple[str, ...] = get_args(Format)

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
        more: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        """Write the result in the format asked for, and make only what that needs.

        `text` stands for the table in a terminal; `more` are formats of the command's own.
        """
        self.stream(lambda: blocks_of(records()), tables, text, more)

    def stream(
        self,
        blocks: Callable[[], Iterable[Block]],
        tables: Callable[[], Sequence[Table]],
        text: Callable[[], str] | None = None,
        more: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        """Write rows as they come."""
        chosen = self.chosen()
        if more and chosen in more:
            self.put([more[chosen]()])
        elif chosen == "table":
            self.put([text() if text else self._table(tables())])
        elif chosen == "markdown":
            from kvcalc.report.table import to_markdown

            self.put([to_markdown(tables())])
        elif chosen in BINARY:
            self._put_binary(chosen, blocks())
        else:
            from kvcalc.report.records import WRITERS

            self.put(WRITERS[chosen](blocks()))

    def watched(self, blocks: Iterable[Block], rows: int) -> Iterable[Block]:
        """The blocks, with a bar on stderr where many rows go elsewhere than to the terminal that shows it."""
        from kvcalc.cli.progress import LEAST_ROWS, with_bar

        elsewhere = self.path not in (None, "-") or sys.stdout is None or not sys.stdout.isatty()
        seen = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        return with_bar(blocks, rows) if rows >= LEAST_ROWS and elsewhere and seen and not self.quiet else blocks

    def chosen(self) -> str:
        """The format asked for: by --format, by the suffix of -o, by the environment, or a table."""
        return self.format or self.format_of_path() or self._usual_format()

    def format_of_path(self) -> str | None:
        """What the suffix of -o says; None where it says nothing."""
        suffix = os.path.splitext(self.path or "")[1].lower()
        if suffix in ("", ".txt"):
            return None
        if SUFFIXES.get(suffix) not in self.formats:
            known = [known for known, format_ in SUFFIXES.items() if format_ in self.formats]
            also = "" if self.formats == PICTURES else ", or give --format"
            raise KvcalcError(f"-o {self.path}: no format is known by {suffix}", f"one of {' '.join(known)} .txt{also}")
        return SUFFIXES[suffix]

    def _usual_format(self) -> str:
        """The format that the environment asks for, or a table."""
        asked = os.environ.get("KVCALC_FORMAT") or "table"
        if asked in self.formats:
            return asked
        hint = did_you_mean(asked, self.formats) or f"one of {', '.join(self.formats)}"
        raise KvcalcError(f"the variable KVCALC_FORMAT: unknown format {asked!r}", hint)

    def put(self, pieces: Iterable[str]) -> None:
        """Write text to stdout or to the file, piece by piece."""
        if self.path not in (None, "-"):

            def fill(file: BinaryIO) -> None:
                for piece in pieces:
                    file.write(piece.encode())

            _replace(self.path, fill)
        elif sys.stdout is None:
            raise KvcalcError("stdout is closed: nowhere to write to")
        else:
            for piece in pieces:
                _print(piece)

    def draw(self, picture: Callable[[str], bytes], text: Callable[[int, int | None, bool, bool], str]) -> None:
        """Write a picture of the format that -o names; else its text, of a width, a height, in colour, in ASCII."""
        chosen = self.format_of_path()
        if chosen:
            drawn = picture(chosen)

            def fill(file: BinaryIO) -> None:
                file.write(drawn)

            _replace(str(self.path), fill)
            return
        columns, lines = _screen() if self.at_terminal() else (80, None)
        self.put([text(columns, lines, self.colored(), not _has_braille(self.path))])

    def at_terminal(self) -> bool:
        """Whether the result goes to a terminal."""
        return self.path in (None, "-") and sys.stdout is not None and sys.stdout.isatty()

    def width(self) -> int | None:
        """Characters of a line of the terminal; None where the result goes elsewhere."""
        return _screen()[0] if self.at_terminal() else None

    def colored(self) -> bool:
        """Whether the result has colours."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return self.color == "always" or (self.color == "auto" and self.at_terminal() and not plain)

    def _put_binary(self, chosen: str, blocks: Iterable[Block]) -> None:
        """Write a file of a library's making."""
        if self.path in (None, "-"):
            raise KvcalcError(f"--format {chosen} is no text: it needs a file", f"-o rows.{chosen}")
        write = import_module(BINARY[chosen]).write
        warnings: list[str] = []
        _replace(self.path, lambda file: warnings.extend(write(blocks, file)))
        self.tell((), warnings)

    def _table(self, tables: Sequence[Table]) -> str:
        from kvcalc.report.table import to_terminal

        return to_terminal(tables, self.width(), color=self.colored())


def make_output(
    *,
    format_: FormatOption = None,
    output: OutputOption = None,
    color: ColorOption = "auto",
    quiet: QuietOption = False,
) -> Output:
    """Read the options as typed. Raises KvcalcError where -o names no file or no format."""
    return _checked(Output(format_, output, color, quiet))


def make_ci_output(
    *,
    format_: CiFormatOption = None,
    output: OutputOption = None,
    color: ColorOption = "auto",
    quiet: QuietOption = False,
) -> Output:
    """Read the same options of a command that reports to a CI system."""
    return _checked(Output(format_, output, color, quiet, get_args(CiFormat)))


def make_picture(
    *,
    output: PictureOption = None,
    color: ColorOption = "auto",
    quiet: QuietOption = False,
) -> Output:
    """Read the options of a command that draws. Raises KvcalcError where -o names no file or no format."""
    return _checked(Output(None, output, color, quiet, PICTURES))


def _checked(out: Output) -> Output:
    if out.path == "":
        raise KvcalcError("-o: cannot be written: it names no file")
    if out.format is None:
        out.format_of_path()
    return out


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


def _screen() -> tuple[int, int]:
    """Columns and lines."""
    from shutil import get_terminal_size

    return get_terminal_size()


def _has_braille(path: str | None) -> bool:
    """Whether the characters of a plot can be written: in a file always, on a dumb terminal never."""
    if path not in (None, "-"):
        return True
    try:
        "\u28ff".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return os.environ.get("TERM") != "dumb"


def _mode(path: str) -> int:
    """The mode of a file that is there, else that of a new one."""
    if os.path.exists(path):
        return os.stat(path).st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _replace(path: str, fill: Callable[[BinaryIO], None]) -> None:
    """Write beside the file and rename, so that nobody ever sees half of it."""
    temporary = ""  # known before it is made: a signal may come in between
    target = os.path.realpath(path)  # a link is written through, and stays
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe cannot be renamed over
            with open(path, "wb") as file:
                fill(file)
            return
        temporary = os.path.join(os.path.dirname(target), f".kvcalc-{os.urandom(8).hex()}")
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            fill(file)
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except OSError as error:
        raise KvcalcError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        try:
            _remove(temporary)
        finally:  # where a signal came in the middle of that
            _remove(temporary)


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)
