"""Rows as an Excel workbook: one sheet, numbers as numbers, a frozen header whose comments tell each unit.

A cell holds a double: integers are exact up to 2^53, and fractions are written with 16 digits.
"""

from __future__ import annotations

import os
from datetime import datetime
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.glossary import MEANINGS
from kvcalc.report.spool import spooled

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from kvcalc.report.spool import Seen, Spool
    from kvcalc.rows import Block

MAX_ROWS = (1 << 20) - 1  # below the header
MAX_CHARACTERS = 32_767 // 2  # of a cell, which counts some characters twice
MAX_WIDTH = 60


def write(blocks: Iterable[Block], file: BinaryIO) -> list[str]:
    """Write the rows as they come; return the warnings due.

    Raises KvcalcError where xlsxwriter is absent, and where the rows are more than a sheet holds.
    """
    try:
        from xlsxwriter import Workbook
        from xlsxwriter.exceptions import FileCreateError
    except ImportError:
        raise KvcalcError("writing .xlsx needs xlsxwriter", "pip install 'kvcalc[excel]'") from None
    with spooled(blocks, _check) as spool, TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.xlsx")  # a library that fails in the middle would not let go of `file`
        try:
            with Workbook(path, {"constant_memory": True, "tmpdir": folder}) as book:
                book.use_zip64()
                book.set_properties({"created": datetime(2000, 1, 1)})  # the same rows are the same file
                _fill(book, spool)
        except FileCreateError as error:
            raise OSError(*error.args[0].args) from None
        with open(path, "rb") as made:
            copyfileobj(made, file)
        rounded = [key for key, seen in spool.columns.items() if not seen.within(1 << 53)]
    if not rounded:
        return []
    return [f"a spreadsheet rounds integers beyond 2^53, in {', '.join(rounded)}: .csv and .parquet are exact"]


def _check(spool: Spool) -> None:
    """Refuse what a sheet does not hold, before any of it is written."""
    if spool.length > MAX_ROWS:
        raise KvcalcError(f"a sheet holds {MAX_ROWS:,} rows below its header: these are more", "use .parquet or .csv")
    for key, seen in spool.columns.items():
        if seen.longest > MAX_CHARACTERS:
            raise KvcalcError(
                f"{key}: a text of {seen.longest:,} characters is more than a cell holds", "use .parquet or .csv"
            )


def _fill(book: Any, spool: Spool) -> None:
    """Write the one sheet, top down: what is written is no longer in memory."""
    sheet = book.add_worksheet("kvcalc")
    head, whole = book.add_format({"bold": True}), book.add_format({"num_format": "#,##0"})
    sheet.freeze_panes(1, 0)
    for at, (key, seen) in enumerate(spool.columns.items()):
        sheet.write_string(0, at, key, head)
        if meaning := MEANINGS.get(key):
            sheet.write_comment(0, at, meaning, {"width": 280, "height": 60})
        sheet.set_column(at, at, _width(key, seen))
    row = 0
    for block in spool.blocks():
        columns = [told if isinstance(told, list) else [told] * block.length for told in block.columns.values()]
        for values in zip(*columns, strict=True):
            row += 1
            for at, value in enumerate(values):
                if isinstance(value, bool):
                    sheet.write_boolean(row, at, value)
                elif isinstance(value, int):
                    sheet.write_number(row, at, value, whole)
                elif isinstance(value, float):
                    sheet.write_number(row, at, value)
                elif value is not None:
                    sheet.write_string(row, at, _plain(value))
    if spool.columns:
        sheet.autofilter(0, 0, row, len(spool.columns) - 1)


def _plain(text: str) -> str:
    """A text that the library takes for no markup: it would copy <r>...</r> into the file as it stands."""
    return f"{text} " if text.startswith("<r>") else text


def _width(key: str, seen: Seen) -> int:
    """Characters of the widest cell; the header has a button beside it."""
    numbers = max(len(f"{seen.least:,}"), len(f"{seen.most:,}"))
    return min(MAX_WIDTH, max(len(key) + 3, numbers, seen.longest) + 1)
