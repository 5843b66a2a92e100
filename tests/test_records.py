"""The contract of the records: keys, integers, nulls, the same in every format; nothing a spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from kvcalc.rows import KEYS

if TYPE_CHECKING:
    pass
from screens import COMMANDS, CONTRACT, FRACTIONS, NATIVE, TEXTS, kvcalc, piped, records

# ---------- records


def test_json_is_an_array_of_flat_objects_with_the_contracts_keys_first() -> None:
    rows = records("compare deepseek-v2")
    assert list(KEYS[: len(CONTRACT)]) == CONTRACT
    assert len(rows) > 4
    for row in rows:
        assert list(row) == list(KEYS)
        assert all(not isinstance(value, list | dict) for value in row.values())


@pytest.mark.parametrize("model", ["deepseek-v2", "mistral-7b-v0.1", "bloom"])
def test_integers_are_integers_and_missing_is_null(model: str) -> None:
    for row in records(f"compare {model}"):
        for key, value in row.items():
            wanted: type = str if key in TEXTS else float if key in FRACTIONS else int
            assert value is None or type(value) is wanted, f"{key} = {value!r}"
        assert row["variant"] != "configured" or row["cache_ratio"] == 1
    assert row["answer_model_flops"] is None


def test_null_is_no_zero() -> None:
    by_variant = {row["variant"]: row for row in records("compare llama-2-7b --variants swa-1024")}
    assert by_variant["configured"]["receptive_field_tokens"] is None
    assert by_variant["swa-1024"]["receptive_field_tokens"] == 1024 * 32
    assert by_variant["configured"]["state_elements"] == 0


def test_every_number_is_exact_above_two_to_the_53() -> None:
    row = records("compare llama-2-7b --variants none --context 1m --batch 1024")[0]
    assert row["cache_bytes"] == 2 * 2 * 4096 * 32 * 2**20 * 2**10
    assert row["prefill_core_flops"] == 4 * 4096 * 32 * (2**20 * (2**20 + 1) // 2) * 2**10
    assert row["prefill_core_flops"] > 2**53


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("format_, delimiter", [("csv", ","), ("tsv", "\t")])
def test_csv_and_tsv_are_the_json_rows_in_the_same_order(line: str, format_: str, delimiter: str) -> None:
    rows = json.loads(piped(f"{line} --format json"))
    text = piped(f"{line} --format {format_}")
    header, *cells = csv.reader(io.StringIO(text), delimiter=delimiter)
    assert header == list(rows[0])
    assert cells == [["" if value is None else str(value) for value in row.values()] for row in rows]
    assert "\r" not in text
    assert text.isascii()


@pytest.mark.parametrize("line", COMMANDS)
def test_jsonl_is_the_json_rows_one_a_line(line: str) -> None:
    lines = piped(f"{line} --format jsonl").splitlines()
    assert [json.loads(one) for one in lines] == json.loads(piped(f"{line} --format json"))
    assert len({tuple(json.loads(one)) for one in lines}) == 1


EVIL = NATIVE + 'source: "=HYPERLINK(1)"\nleft_out: "@SUM(A1)"\n'
EVIL_CUSTOM = NATIVE.replace(
    "attention: {kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}",
    "attention: {kind: custom, name: own, symbols: {d_h: 8}, elements_per_token: '-d_h + 3*d_h', work_per_pair: "
    "'-d_h + 5*d_h', work_per_token: '0', parameters: '-0', source: '=1+1'}",
)


@pytest.mark.parametrize("line", [*COMMANDS, "show gemma-3-27b --provenance"])
@pytest.mark.parametrize("format_", ["csv", "tsv"])
def test_no_cell_is_a_formula_for_a_spreadsheet(line: str, format_: str) -> None:
    assert_no_formula(piped(f"{line} --format {format_}"), format_)


@pytest.mark.parametrize("line", ["compare -", "show -", "show - --provenance", "explain -"])
@pytest.mark.parametrize("config", [EVIL, EVIL_CUSTOM], ids=["source", "custom"])
def test_no_text_of_a_config_becomes_a_formula_for_a_spreadsheet(line: str, config: str) -> None:
    result = kvcalc(line, "--format", "csv", stdin=config)
    assert result.code in (0, 2)
    assert_no_formula(result.out, "csv")


def assert_no_formula(text: str, format_: str) -> None:
    for cells in csv.reader(io.StringIO(text), delimiter="\t" if format_ == "tsv" else ","):
        for cell in cells:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell


@pytest.mark.parametrize("line", ["show -", "show - --provenance", "explain -", "compare -"])
def test_no_text_of_a_config_steers_the_terminal(line: str) -> None:
    config = f'{NATIVE}source: "a\\e[31mred\\u009b5m\\a"\nleft_out: "b\\e[5m\\r\\nc"\n'
    result = kvcalc(line, stdin=config)
    assert result.code in (0, 2)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.out + result.err)


# ---------- markdown


def row_cells(line: str) -> list[str]:
    """Return the cells of a GitHub table's row."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])]


@pytest.mark.parametrize("line", [*COMMANDS, "show llama-4-scout-17b-16e --provenance", "compare bloom gpt2"])
def test_markdown_is_well_formed_github_tables(line: str) -> None:
    blocks = [block.splitlines() for block in piped(f"{line} --format markdown").strip("\n").split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert tables
    for head, rule, *body in tables:
        width = len(row_cells(head))
        assert all(re.fullmatch(r":---|---:", cell) for cell in row_cells(rule))
        assert body
        assert [len(row_cells(one)) for one in (rule, *body)] == [width] * (len(body) + 1)
    assert all(len(block) == 1 or block[0].startswith(("|", "Source")) for block in blocks), "one line of prose"


def test_markdown_numbers_are_on_the_right() -> None:
    head, rule, configured, *_ = [one for one in piped("compare deepseek-v2 -f markdown").splitlines() if "|" in one]
    sides = dict(zip(row_cells(head), row_cells(rule), strict=True))
    cells = dict(zip(row_cells(head), row_cells(configured), strict=True))
    assert (sides["variant"], sides["elements a token"]) == (":---", "---:")
    assert (cells["variant"], cells["elements a token"]) == ("configured", "34,560")
