"""Real tools read what kvcalc writes, and nothing needs cleaning. A tool that is not there is skipped by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from kvcalc.glossary import MEANINGS
from screens import FRACTIONS, NATIVE, TEXTS, kvcalc, records, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.outside

LINE = "sweep llama-3.1-8b gemma-3-27b deepseek-v3 --context 1k:256k:x2 --batch 1,16 --dtype bf16,fp8 -q"
ODD = [
    "1-2",
    "2024-01-05",
    "007",
    "TRUE",
    "1e5",
    "1/2",
    "3.14",
]  # what a name may be, and what a spreadsheet makes of it


def run(program: str, package: str, *arguments: str, stdin: str = "", folder: Path | None = None) -> str:
    """What a program prints; skipped where it is not installed."""
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{package} is not installed")
    done = subprocess.run(
        [found, *arguments], input=stdin, capture_output=True, text=True, check=False, cwd=folder, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def module(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name.partition('.')[0]} is not installed")


def written(folder: Path, line: str, suffix: str) -> str:
    """The file that a command writes."""
    path = str(folder / f"rows.{suffix}")
    assert kvcalc(line, "-q", "-o", path) == (0, "", "")
    return path


# ---------- jq


def test_jq_selects_and_computes() -> None:
    rows = records(LINE)
    large = [row["model"] for row in rows if row["cache_bytes"] > 40 * 2**30]
    text = kvcalc(LINE, "-f", "json").out
    program = ".[] | select(.cache_bytes > 40*1024*1024*1024) | .model"
    assert run("jq", "jq", "-r", program, stdin=text).split() == large
    assert int(run("jq", "jq", "map(.cache_bytes) | add", stdin=text)) == sum(row["cache_bytes"] for row in rows)
    assert int(run("jq", "jq", "map(select(.receptive_field_tokens == null)) | length", stdin=text)) == len(rows)


def test_jq_reads_json_lines_one_at_a_time() -> None:
    line = "show gemma-3-27b -f jsonl"
    facts = records("show gemma-3-27b")
    program = 'select(.section == "parameters") | .value'
    told = run("jq", "jq", program, stdin=kvcalc(line).out).split()
    assert list(map(int, told)) == [fact["value"] for fact in facts if fact["section"] == "parameters"]


# ---------- sqlite3


def test_sqlite_sums_a_column_of_the_csv(tmp_path: Path) -> None:
    written(tmp_path, LINE, "csv")
    rows = records(LINE)
    query = "select typeof(sum(cache_bytes)), sum(cache_bytes), max(cast(prefill_core_flops as integer)) from sweep;"
    count = "select count(*) from sweep where model = 'gemma-3-27b';"
    commands = f".mode csv\n.import rows.csv sweep\n.mode list\n{query}\n{count}\n"
    told = run("sqlite3", "sqlite3", stdin=commands, folder=tmp_path).split()
    cache, prefill = sum(row["cache_bytes"] for row in rows), max(row["prefill_core_flops"] for row in rows)
    assert told == [f"integer|{cache}|{prefill}", str(len(rows) // 3)]
    assert prefill > 2**53


# ---------- LibreOffice

TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
CALC = "{urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0}"
PARAGRAPH = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}p"


def in_libreoffice(folder: Path, *paths: str) -> list[list[list[str | float | None]]]:
    """The cells of each file as LibreOffice has them when it has opened it: numbers, texts, None; no formula."""
    profile = f"-env:UserInstallation=file://{folder}/profile"
    run(
        "soffice",
        "LibreOffice",
        profile,
        "--headless",
        "--convert-to",
        "fods",
        "--outdir",
        str(folder / "opened"),
        *paths,
    )
    sheets = []
    for path in paths:
        name = os.path.splitext(os.path.basename(path))[0]
        tree = ElementTree.parse(folder / "opened" / f"{name}.fods")  # noqa: S314  # our own file
        (sheet,) = tree.getroot().iter(f"{TABLE}table")
        rows = [_cells(row) for row in sheet.iter(f"{TABLE}table-row")]
        sheets.append([row for row in rows if any(cell is not None for cell in row)])
    return sheets


def _cells(row: ElementTree.Element) -> list[str | float | None]:
    found: list[str | float | None] = []
    for cell in row.iter(f"{TABLE}table-cell"):
        assert cell.get(f"{TABLE}formula") is None
        kind = cell.get(f"{OFFICE}value-type")
        value: str | float | None = None
        if kind == "float":
            value = float(str(cell.get(f"{OFFICE}value")))
        elif kind is not None:
            value = "".join(text for part in cell.findall(PARAGRAPH) for text in part.itertext())
            value = value if kind == "string" else f"a {kind}: {value}"
        found += [value] * min(int(cell.get(f"{TABLE}number-columns-repeated") or 1), 100)
    return found


def test_libreoffice_opens_csv_and_excel_and_every_number_is_one(tmp_path: Path) -> None:
    rows = records(LINE)
    (tmp_path / "files").mkdir()
    paths = []
    for suffix in ("csv", "xlsx"):
        paths.append(str(tmp_path / "files" / f"{suffix}.{suffix}"))
        kvcalc(LINE, "-o", paths[-1])
    for sheet in in_libreoffice(tmp_path, *paths):
        head, *body = sheet
        keys = head[: len(rows[0])]
        assert keys == list(rows[0])
        assert len(body) == len(rows)
        for found, row in zip(body, rows, strict=True):
            for key, cell in zip(keys, found, strict=False):
                told = row[str(key)]
                if isinstance(told, int) and told <= 2**53:
                    assert (cell, type(cell)) == (told, float), key
                elif isinstance(told, (int, float)):
                    assert cell == pytest.approx(told, rel=1e-14), key
                else:
                    assert cell == told, key


@pytest.mark.parametrize("line", ["show deepseek-v3", "explain gemma-3-27b", "list", "show gpt2 --provenance"])
def test_libreoffice_starts_no_formula_in_any_command(line: str, tmp_path: Path) -> None:
    rows = records(line)
    for sheet in in_libreoffice(tmp_path, written(tmp_path, line, "csv")):
        assert len(sheet) == len(rows) + 1


def test_libreoffice_leaves_odd_names_alone_in_excel_files(tmp_path: Path) -> None:
    config = "---\n".join(NATIVE.replace("name: mine", f"name: '{name}'") for name in ODD)
    source = write(tmp_path, "odd.yaml", config)
    (sheet,) = in_libreoffice(tmp_path, written(tmp_path, f"compare {source}", "xlsx"))
    assert [row[0] for row in sheet[1:]] == ODD


def test_libreoffice_takes_no_bundled_name_for_a_date_or_a_number(tmp_path: Path) -> None:
    rows = records("list")
    (sheet,) = in_libreoffice(tmp_path, written(tmp_path, "list", "csv"))
    assert [row[:3] for row in sheet[1:]] == [[row["model"], row["attention"], row["layers"]] for row in rows]


# ---------- pandas


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet", "xlsx"])
def test_pandas_needs_no_cleaning(suffix: str, tmp_path: Path) -> None:
    pandas = module("pandas")
    if suffix == "xlsx":
        module("openpyxl")
    path = written(tmp_path, LINE, suffix)
    frame = {
        "csv": pandas.read_csv,
        "json": pandas.read_json,
        "jsonl": lambda path: pandas.read_json(path, lines=True),
        "parquet": pandas.read_parquet,
        "xlsx": pandas.read_excel,
    }[suffix](path)
    rows = records(LINE)
    assert list(frame.columns) == list(rows[0])
    for key in frame.columns:
        told = [row[key] for row in rows]
        if not any(value is not None for value in told):
            assert frame[key].isna().all(), key
        elif key in TEXTS:
            assert [
                None if missing else value for value, missing in zip(frame[key], frame[key].isna(), strict=True)
            ] == told
        elif key in FRACTIONS:
            assert pandas.api.types.is_numeric_dtype(frame[key]), key  # 1.0 throughout is read as whole numbers
            assert list(frame[key]) == pytest.approx(told, rel=1e-15), key
        elif suffix != "xlsx" or max(told) <= 2**53:
            assert pandas.api.types.is_integer_dtype(frame[key]), key
            assert list(frame[key]) == told, key


def test_pandas_adds_what_python_adds(tmp_path: Path) -> None:
    pandas = module("pandas")
    frame = pandas.read_parquet(written(tmp_path, LINE, "parquet"))
    told = frame.groupby("model")["cache_bytes"].sum().to_dict()
    rows = records(LINE)
    models = {row["model"] for row in rows}
    assert told == {model: sum(row["cache_bytes"] for row in rows if row["model"] == model) for model in models}


def test_pandas_adds_integers_beyond_64_bits(tmp_path: Path) -> None:
    pandas = module("pandas")
    line = "compare deepseek-v3 qwen3-8b -c 1m -b 1024"
    frame = pandas.read_parquet(written(tmp_path, line, "parquet"))
    total = sum(row["prefill_core_flops"] for row in records(line, "-q"))
    assert total > 2**63
    assert frame["prefill_core_flops"].sum() == total


# ---------- openpyxl


def test_openpyxl_sees_numbers_panes_and_comments(tmp_path: Path) -> None:
    openpyxl = module("openpyxl")
    book = openpyxl.load_workbook(written(tmp_path, "compare deepseek-v3", "xlsx"))
    assert book.sheetnames == ["kvcalc"]
    sheet = book["kvcalc"]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == sheet.dimensions
    rows = records("compare deepseek-v3")
    head, *body = sheet.iter_rows()
    assert {cell.value: cell.comment.text for cell in head} == MEANINGS
    for cells, row in zip(body, rows, strict=True):
        for cell, (key, told) in zip(cells, row.items(), strict=True):
            kind = "n" if told is None or key not in TEXTS else "inlineStr"
            assert cell.data_type in (kind, "s" if kind == "inlineStr" else kind)
            if isinstance(told, int) and told <= 2**53:
                assert (cell.value, type(cell.value), cell.number_format) == (told, int, "#,##0")


# ---------- a notebook


def test_a_notebook_shows_a_table() -> None:
    formatters = module("IPython.core.formatters")
    import kvcalc as api

    comparison = api.compare([api.load("qwen3-8b")], api.parse_request({"context": "128k"}), api.parse_variants("mqa"))
    for shown in (comparison, comparison.reports[1]):
        data, _ = formatters.DisplayFormatter().format(shown)
        assert data["text/html"].startswith("<table>")
        assert ">2.250 GiB</td>" in data["text/html"]
    json.dumps(data)
