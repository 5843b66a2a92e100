"""Parquet and Excel files: numbers as numbers, integers exact, and memory that does not grow with the rows."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as files

from kvcalc.errors import KvcalcError
from kvcalc.glossary import MEANINGS
from kvcalc.report import parquet, spool, xlsx
from kvcalc.rows import KEYS, Block
from refusals import Result, assert_refused, quickly
from screens import COMMANDS, KVCALC, environment, kvcalc, peak_kib, piped, records

if TYPE_CHECKING:
    from pathlib import Path

    from kvcalc.rows import Value

BIG = "compare deepseek-v3 qwen3-8b --context 1m --batch 1024 --generate 4"
LINES = [*COMMANDS, BIG, "show deepseek-v3 --context 1m --batch 1024", "show gpt2 --provenance", "explain gpt2 -b 9"]
LINES += ["fit gpt2 --on H100", "rope --base 10000 --context 4k"]
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "007", "1-2", "2024-01-05", "1e5", "TRUE", "http://a.b", "_x0041_", "&amp;"]
MARKUP = ["<r><f>1+1</f></r>", "</t></is></c>", "<b>", '"', "a\nb", "\x1b[31m", " a ", "\u00e9\U0001f600"]


def parquet_of(*blocks: Block) -> pyarrow.Table:
    """What a reader sees of the file made from blocks."""
    file = io.BytesIO()
    assert parquet.write(iter(blocks), file) == []
    return files.read_table(io.BytesIO(file.getvalue()))


def same(read: Any, told: Value) -> bool:
    """Whether what was read is the value, to its last digit."""
    if isinstance(read, Decimal) and told is not None:
        return float(read) == told if isinstance(told, float) else read == told
    return type(read) is type(told) and read == told if not isinstance(read, float) else read == told


def block(**columns: Value | list[Value]) -> Block:
    """A block; its length is that of its lists."""
    return Block(max(len(told) for told in columns.values() if isinstance(told, list)), columns)


# ---------- Parquet


@pytest.mark.parametrize("line", LINES)
def test_parquet_holds_the_json_rows_exactly(line: str, tmp_path: Path) -> None:
    done = quickly(*line.split(), "-q", "-o", str(tmp_path / "rows.parquet"))
    assert done == (0, "", "")
    table = files.read_table(tmp_path / "rows.parquet")
    rows = json.loads(piped(f"{line} -q --format json"))
    assert table.column_names == list(rows[0])
    read = table.to_pylist()
    assert len(read) == len(rows)
    for found, row in zip(read, rows, strict=True):
        assert all(same(found[key], row[key]) for key in row), (found, row)
    assert os.listdir(tmp_path) == ["rows.parquet"]


def test_parquet_types_are_the_narrowest_that_hold_every_value(tmp_path: Path) -> None:
    kvcalc(BIG, "-q", "-o", str(tmp_path / "rows.parquet"))
    schema = files.read_schema(tmp_path / "rows.parquet")
    assert schema.field("cache_bytes").type == pyarrow.int64()
    assert schema.field("decode_core_flops").type == pyarrow.int64()
    assert schema.field("prefill_core_flops").type == pyarrow.decimal128(38, 0)
    assert schema.field("cache_ratio").type == schema.field("decode_intensity").type == pyarrow.float64()
    assert schema.field("receptive_field_tokens").type == pyarrow.int64(), "null alone"
    assert schema.field("model").type == pyarrow.string()
    assert {key: schema.field(key).metadata[b"description"].decode() for key in KEYS} == MEANINGS


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        ([1, 2], [None], pyarrow.int64()),
        ([None], [2**63 - 1, -(2**63) + 1], pyarrow.int64()),
        ([1, 2], [2**63], pyarrow.decimal128(38, 0)),
        ([1, 2], [10**38 - 1], pyarrow.decimal128(38, 0)),
        ([1, 2], [-(10**38)], pyarrow.decimal256(76, 0)),
        ([1, 2], [0.1], pyarrow.float64()),
        ([0.1], [2**53], pyarrow.float64()),
        ([0.125, 1e-5], [2**53 + 1], pyarrow.decimal128(38, 5)),
        ([1e30], [2**53 + 1, 0.1], pyarrow.decimal128(38, 1)),
        ([1, None], ["a"], pyarrow.string()),
        ([None], [True, False], pyarrow.bool_()),
    ],
)
def test_a_later_block_widens_the_type_of_the_whole_column(first: list[Value], last: list[Value], kind: Any) -> None:
    table = parquet_of(block(a=first), Block(0, {"a": "never seen"}), block(a=last))
    assert table.schema.field("a").type == kind
    if kind != pyarrow.string():
        read = table.column("a").to_pylist()
        assert all(same(found, told) for found, told in zip(read, [*first, *last], strict=True)), read


VALUES = st.one_of(
    st.none(),
    st.integers(-(10**40), 10**40),
    st.integers(-(2**65), 2**65),
    st.floats(1e-9, 1e12),
    st.sampled_from([0.0, 1 / 3, 2.0**53, 5e-324]),
)


@given(st.lists(st.lists(VALUES, min_size=1, max_size=4), min_size=1, max_size=4), VALUES)
def test_any_numbers_come_back_exactly_or_are_refused(parts: list[list[Value]], constant: Value) -> None:
    table, refused = None, ""
    try:
        table = parquet_of(*(block(a=values, b=constant) for values in parts))
    except KvcalcError as error:
        refused = str(error)
    if table is None:
        assert int(re.findall(r"numbers of (\d+) digits", refused)[0]) > 76
        return
    told = [value for values in parts for value in values]
    assert all(same(read, value) for read, value in zip(table.column("a").to_pylist(), told, strict=True))
    assert all(same(read, constant) for read in table.column("b").to_pylist())


def test_small_blocks_make_large_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_A_GROUP", 100)
    file = io.BytesIO()
    parquet.write((block(a=list(range(at, at + 30))) for at in range(0, 300, 30)), file)
    read = files.ParquetFile(io.BytesIO(file.getvalue()))
    assert [read.metadata.row_group(at).num_rows for at in range(read.num_row_groups)] == [90, 90, 90, 30]
    assert read.read().column("a").to_pylist() == list(range(300))


# ---------- Excel


def opened(data: bytes) -> dict[str, ElementTree.Element]:
    """The parts of a workbook, each parsed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return {
        name: ElementTree.fromstring(text)  # noqa: S314  # our own file
        for name, text in parts.items()
        if name.endswith((".xml", ".rels"))
    }


def cells(parts: dict[str, ElementTree.Element]) -> list[dict[str, str | float]]:
    """The rows of the sheet as they are stored: text, a number or a truth, by the letters of their column."""
    rows = []
    for row in parts["xl/worksheets/sheet1.xml"].iter(f"{MAIN}row"):
        found: dict[str, str | float] = {}
        for cell in row.iter(f"{MAIN}c"):
            text = "".join(cell.itertext())
            kind = cell.get("t")
            assert kind in (None, "inlineStr", "b")
            assert cell.find(f"{MAIN}f") is None
            found[str(cell.get("r")).rstrip("0123456789")] = text if kind == "inlineStr" else float(text)
        rows.append(found)
    return rows


def workbook(*blocks: Block) -> bytes:
    file = io.BytesIO()
    xlsx.write(iter(blocks), file)
    return file.getvalue()


@pytest.mark.parametrize("line", LINES)
def test_excel_holds_the_json_rows(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.xlsx"
    assert kvcalc(line, "-q", "-o", str(path)) == (0, "", "")
    rows = json.loads(piped(f"{line} -q --format json"))
    head, *body = cells(opened(path.read_bytes()))
    assert list(head.values()) == list(rows[0])
    assert len(body) == len(rows)
    for found, row in zip(body, rows, strict=True):
        for letters, key in head.items():
            told, read = row[str(key)], found.get(letters)
            if isinstance(told, int) and abs(told) <= 2**53:
                assert read == told
                assert int(read) == told
            else:
                assert read == (pytest.approx(told, rel=1e-15) if isinstance(told, (int, float)) else told)
    assert os.listdir(tmp_path) == ["rows.xlsx"]


def test_the_head_is_frozen_filtered_and_told(tmp_path: Path) -> None:
    kvcalc("compare gpt2 -o", str(tmp_path / "rows.xlsx"))
    parts = opened((tmp_path / "rows.xlsx").read_bytes())
    assert [sheet.get("name") for sheet in parts["xl/workbook.xml"].iter(f"{MAIN}sheet")] == ["kvcalc"]
    sheet = parts["xl/worksheets/sheet1.xml"]
    (pane,) = sheet.iter(f"{MAIN}pane")
    assert (pane.get("ySplit"), pane.get("xSplit"), pane.get("state")) == ("1", None, "frozen")
    (filtered,) = sheet.iter(f"{MAIN}autoFilter")
    rows = records("compare gpt2")
    tens, ones = divmod(len(KEYS) - 1, 26)
    last = chr(ord("A") + tens - 1) + chr(ord("A") + ones)
    assert filtered.get("ref") == f"A1:{last}{len(rows) + 1}"
    comments = {note.get("ref"): "".join(note.itertext()) for note in parts["xl/comments1.xml"].iter(f"{MAIN}comment")}
    head, *_ = cells(parts)
    assert [comments[f"{letters}1"] for letters in head] == [MEANINGS[str(key)] for key in head.values()]


def test_integers_show_every_digit_and_their_columns_have_the_room(tmp_path: Path) -> None:
    parts = opened(workbook(block(parameters=[2**53, None], cache_ratio=[0.25, 1.5], model="m" * 100)))
    styles = parts["xl/styles.xml"]
    codes = {style.get("numFmtId"): style.get("formatCode") for style in styles.iter(f"{MAIN}numFmt")}
    formats = [codes.get(style.get("numFmtId")) for style in styles.findall(f"{MAIN}cellXfs/{MAIN}xf")]
    cell = next(cell for cell in parts["xl/worksheets/sheet1.xml"].iter(f"{MAIN}c") if cell.get("r") == "A2")
    assert formats[int(str(cell.get("s")))] == "#,##0"
    widths = [float(str(column.get("width"))) for column in parts["xl/worksheets/sheet1.xml"].iter(f"{MAIN}col")]
    assert len("9,007,199,254,740,992") < widths[0] < 30
    assert len("cache_ratio") < widths[1] < 20
    assert 50 < widths[2] < 70


def test_no_text_becomes_a_formula_a_link_a_number_or_markup() -> None:
    texts: list[Value] = [*HOSTILE, *MARKUP]
    parts = opened(workbook(block(model=texts, source=texts[0])))
    _, *body = cells(parts)
    written = {"_x0041_": "_x005F_x0041_", "\x1b[31m": "_x001B_[31m", MARKUP[0]: f"{MARKUP[0]} "}  # as Excel reads it
    assert [row["A"] for row in body] == [written.get(str(text), text) for text in texts]
    assert {row["B"] for row in body} == {texts[0]}
    assert not any("hyperlink" in element.tag for element in parts["xl/worksheets/sheet1.xml"].iter())


def test_the_same_rows_are_the_same_file(tmp_path: Path) -> None:
    for name in ("one.xlsx", "two.xlsx"):
        kvcalc("compare gpt2 -o", str(tmp_path / name))
    assert (tmp_path / "one.xlsx").read_bytes() == (tmp_path / "two.xlsx").read_bytes()


def test_integers_that_a_cell_cannot_hold_are_warned_of_once(tmp_path: Path) -> None:
    done = kvcalc("compare llama-2-7b -c 4k -b 4m -o", str(tmp_path / "rows.xlsx"))
    assert done.code == 2, "batches end at 10^9, and are no sizes"
    done = kvcalc("compare llama-2-7b -c 4k -b 4194304 --variants none -o", str(tmp_path / "rows.xlsx"))
    assert (done.code, done.out) == (0, "")
    assert done.err.count("warning: a spreadsheet rounds integers beyond 2^53, in ") == 1
    assert "prefill_core_flops" in done.err
    assert "parameters" not in done.err
    quiet = kvcalc("compare llama-2-7b -c 4k -b 4194304 --variants none -q -o", str(tmp_path / "rows.xlsx"))
    assert quiet == (0, "", "")
    assert kvcalc("compare llama-2-7b -c 4k -o", str(tmp_path / "rows.xlsx")).err == ""


def test_more_rows_than_a_sheet_holds_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(KvcalcError, match=r"1,048,575 rows(.|\n)*use \.parquet or \.csv"):
        workbook(Block(1_048_575, {"a": 1}), Block(1, {"a": 1}))
    path = tmp_path / "rows.xlsx"
    path.write_text("as it was")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xlsx, "MAX_ROWS", 2)
        assert_refused(quickly("list", "-o", str(path)), "a sheet holds 2 rows", "use .parquet or .csv")
    assert os.listdir(tmp_path) == ["rows.xlsx"]
    assert path.read_text() == "as it was"


def test_a_text_longer_than_a_cell_is_refused_and_not_cut() -> None:
    with pytest.raises(KvcalcError, match="source: a text of 20,000 characters"):
        workbook(block(source=["a", "b" * 20_000]))


# ---------- both


@pytest.mark.parametrize("kind", ["parquet", "xlsx"])
def test_no_rows_are_an_empty_file_of_its_kind(kind: str) -> None:
    if kind == "parquet":
        assert parquet_of().num_rows == 0
    else:
        assert cells(opened(workbook())) == []


@pytest.mark.parametrize(
    ("suffix", "package", "extra"), [("parquet", "pyarrow", "parquet"), ("xlsx", "xlsxwriter", "excel")]
)
def test_a_package_that_is_absent_is_named(suffix: str, package: str, extra: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        done = quickly("list", "-o", str(tmp_path / f"rows.{suffix}"))
    assert_refused(done, f"writing .{suffix} needs {package}", f"pip install 'kvcalc[{extra}]'")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
def test_what_is_no_text_needs_a_file(suffix: str) -> None:
    for more in ([], ["-o", "-"]):
        assert_refused(quickly("list", "--format", suffix, *more), "it needs a file", f"-o rows.{suffix}")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
def test_a_full_disk_is_one_message(suffix: str) -> None:
    done = kvcalc(f"list --format {suffix} -o /dev/full")
    assert_refused(done, "/dev/full: cannot be written: No space left on device")


@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
@pytest.mark.parametrize("limit", [1024, 8192])
def test_a_disk_that_fills_up_leaves_nothing(suffix: str, limit: int, tmp_path: Path) -> None:
    command = [*KVCALC, *f"compare deepseek-v3 -q -o {tmp_path}/rows.{suffix}".split()]
    limited = f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    run = f"{limited} os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", run, *command], capture_output=True, text=True, check=False)
    assert_refused(Result(done.returncode, done.stdout, done.stderr), "cannot be written: File too large")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="there is no /dev/stdout")
@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
def test_a_pipe_takes_them_too(suffix: str) -> None:
    command = [*KVCALC, *f"list --format {suffix} -o /dev/stdout".split()]
    done = subprocess.run(command, capture_output=True, env=environment(), check=True)
    models = [row["model"] for row in records("list")]
    if suffix == "parquet":
        assert files.read_table(io.BytesIO(done.stdout)).column("model").to_pylist() == models
    else:
        assert [row["A"] for row in cells(opened(done.stdout))][1:] == models


def test_a_spool_gives_back_what_it_took() -> None:
    blocks = [block(a=[1, None, "x"], b=0.1), block(a=[2**200], b=None)]
    with spool.spooled(iter(blocks)) as kept:
        assert list(kept.blocks()) == list(kept.blocks()) == blocks
        assert (kept.length, list(kept.columns)) == (4, ["a", "b"])


PROGRAM = """
from kvcalc.report import {kind}
from kvcalc.rows import Block
def blocks():
    for at in range({rows} // 5000):
        start = at * 5000
        yield Block(5000, {{"model": "a", "none": None, **{{
            f"n{{i}}": [10**9 * (start + j) + i for j in range(5000)] for i in range(10)}}}})
with open({path!r}, "wb") as file:
    {kind}.write(blocks(), file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize(("kind", "rows"), [("parquet", 150_000), ("xlsx", 10_000)])
def test_memory_does_not_grow_with_the_rows(kind: str, rows: int, tmp_path: Path) -> None:
    few, many = (
        peak_kib(PROGRAM.format(kind=kind, rows=size, path=str(tmp_path / "rows"))) for size in (rows, 4 * rows)
    )
    held = 3 * rows * 10 * 8 // 1024  # eight bytes a number; as Python's integers it would be five times as much
    assert many - few < held, (few, many)
