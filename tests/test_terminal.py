"""At a terminal: no digit cut at any width, colours where they belong."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
from screens import WIDTHS, at_terminal, kvcalc, piped

# ---------- widths

TABLES = (
    "compare deepseek-v2",
    "compare llama-3.1-405b --context 1m --batch 1024 --generate 4k",
    "compare gpt2 llama-4-maverick-17b-128e gemma-3-27b",
    "show gemma-3-27b",
)


def cells(line: str) -> list[str]:
    """Return the cells of a line: two blanks or more part them."""
    return re.split(r" {2,}", line.strip())


def is_part(some: list[str], whole: list[str]) -> bool:
    """Tell whether some cells are cells of a whole line, in its order."""
    rest = iter(whole)
    return all(cell in rest for cell in some)


@cache
def drawn(line: str, width: int) -> list[str]:
    """Return the lines of a table at a terminal of this width."""
    return at_terminal(f"{line} --color never", width).splitlines()


@pytest.mark.parametrize("line", TABLES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_digit_is_cut_at_any_width(line: str, width: int) -> None:
    """Every line of a narrow table is whole cells of a line of the wide one, in its order, or words of its title."""
    lines = piped(f"{line} --color never").splitlines()
    wide = [cells(one) for one in lines]
    for one in drawn(line, width):
        folded = any(f" {one.strip()} " in f" {whole} " for whole in lines if len(cells(whole)) == 1)
        assert folded or any(is_part(cells(one), whole) for whole in wide), one
    assert len(drawn(line, width)) >= len(wide) - 2, "headers may need fewer lines, but no row is left out"


@pytest.mark.parametrize("line", TABLES)
def test_a_wider_terminal_shows_more_columns_and_a_pipe_all(line: str) -> None:
    shown = [sum(len(cells(one)) for one in drawn(line, width)) for width in WIDTHS]
    assert shown == sorted(shown)
    assert shown[0] < shown[-1]
    assert piped(f"{line} --color never").splitlines() == drawn(line, 1000)


@pytest.mark.parametrize("line", TABLES)
@pytest.mark.parametrize("width", WIDTHS[1:])
def test_a_table_is_no_wider_than_the_terminal_but_for_what_every_width_shows(line: str, width: int) -> None:
    for one in drawn(line, width):
        if len(cells(one)) > 1 and one not in drawn(line, WIDTHS[0]):
            assert len(one) <= width, one


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "glm-5.3-flash", "mistral-large-4", "gemma-3n-e4b"])
def test_a_long_title_is_folded_between_its_parts(model: str) -> None:
    whole = piped(f"show {model} --color never").splitlines()[0]
    title = drawn(f"show {model}", 80)[:2]
    assert all(len(one) <= 80 for one in title)
    assert f"{title[0]} {title[1].strip()}" == whole
    assert title[0].endswith((",", "+"))


def test_a_list_is_no_wider_than_the_terminal_and_says_the_same() -> None:
    shown = drawn("list", 80)
    assert all(len(one) <= 80 for one in shown)
    assert "\n".join(shown).split() == piped("list").split()
    assert drawn("list", 200) == piped("list").splitlines()


@pytest.mark.parametrize("line", ["explain deepseek-v2"])
def test_plain_text_is_the_same_at_every_width(line: str) -> None:
    for width in (20, 200):
        assert at_terminal(line, width) == piped(line)


# ---------- colours


@pytest.mark.parametrize(
    "option, changes, colored",
    [
        ("", {}, True),
        ("--color auto", {}, True),
        ("--color always", {}, True),
        ("--color never", {}, False),
        ("", {"NO_COLOR": "1"}, False),
        ("", {"NO_COLOR": ""}, True),
        ("--color always", {"NO_COLOR": "1"}, True),
        ("", {"TERM": "dumb"}, False),
        ("--color always", {"TERM": "dumb"}, True),
    ],
)
def test_colours_at_a_terminal(option: str, changes: dict[str, str], colored: bool) -> None:
    """no-color.org: NO_COLOR counts when present and not empty; an option of the command line wins."""
    assert ("\x1b[" in at_terminal(f"compare gpt2 {option}", 80, **changes)) is colored


@pytest.mark.parametrize("option, colored", [("", False), ("--color never", False), ("--color always", True)])
def test_colours_in_a_pipe(option: str, colored: bool) -> None:
    assert ("\x1b[" in piped(f"compare gpt2 {option}")) is colored


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv", "tsv", "markdown"])
def test_no_colours_in_what_machines_read(format_: str) -> None:
    assert "\x1b" not in piped(f"compare gpt2 --format {format_} --color always")


def test_colours_change_no_character(tmp_path: Path) -> None:
    colored = re.sub(r"\x1b\[[0-9;]*m", "", piped("compare deepseek-v2 --color always"))
    assert [one.rstrip() for one in colored.splitlines()] == piped("compare deepseek-v2 --color never").splitlines()
    kvcalc("compare deepseek-v2 -o", str(tmp_path / "table.txt"))
    assert (tmp_path / "table.txt").read_text() == piped("compare deepseek-v2 --color never")
