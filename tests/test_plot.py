"""`kvcalc plot`: files that say the same twice and to everybody, any terminal, and the committed pictures."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.cli.app import app
from kvcalc.figures.figure import Axis
from kvcalc.report.figure import alt_text
from kvcalc.report.lettering import words_of
from kvcalc.report.picture import to_picture
from kvcalc.report.terminal import LETTERS, to_text
from kvcalc.report.ticks import tick_label, ticks
from screens import at_terminal, environment
from screens import kvcalc as run

if TYPE_CHECKING:
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCS = os.path.join(ROOT, "docs")
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</script><img src=x onerror=alert(1)>&\"' \x1b[31m\u202e@ROWS@"
WITHOUT = "import sys; sys.modules[{name!r}] = None; from kvcalc.cli.start import main; main()"
needs_vl_convert = pytest.mark.skipif(find_spec("vl_convert") is None, reason="vl-convert-python is not installed")
needs_plotille = pytest.mark.skipif(find_spec("plotille") is None, reason="plotille is not installed")


def figure(*names: str, **options: str) -> kvcalc.Figure:
    grid = kvcalc.parse_grid({"on": "8xH200", **options})
    return kvcalc.plot([kvcalc.load(name) for name in names], grid)


def hostile() -> kvcalc.Figure:
    specs = [kvcalc.load("gpt2")._replace(name=HOSTILE), kvcalc.load("opt-125m")]
    return kvcalc.plot(specs, kvcalc.parse_grid({"on": "H100"}))


@needs_vl_convert
@pytest.mark.parametrize("suffix", ["svg", "json"])
def test_a_file_is_the_same_twice(suffix: str, tmp_path: Path) -> None:
    made = []
    for at in (1, 2):
        path = tmp_path / f"{at}.{suffix}"
        assert run(f"plot deepseek-v2 --on 8xH200 -o {path}").out == ""
        made.append(path.read_bytes())
    assert made[0] == made[1]
    assert sorted(os.listdir(tmp_path)) == [f"1.{suffix}", f"2.{suffix}"]


@needs_vl_convert
def test_an_svg_says_what_it_shows_and_has_no_name_as_markup() -> None:
    for one in (figure("deepseek-v2"), hostile()):
        drawn = to_picture(one, "svg")
        root = ElementTree.fromstring(drawn)  # noqa: S314  # our own
        told = root.attrib["aria-label"]
        assert root.attrib["role"] == "img"
        assert root.findtext(f"{SVG}desc") == told
        assert str(root.findtext(f"{SVG}title")) in told
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            *("svg", "title", "desc", "g", "rect", "path", "line", "text", "defs", "clipPath", "tspan"),
        }
        words = {element.text for element in root.iter(f"{SVG}text")}
        assert {series.label for series in one.series if len(series.label) < 20} <= words
        assert "1 GiB" in words


def test_what_it_shows_is_said_in_words() -> None:
    told = alt_text(figure("deepseek-v2"))
    assert "configured: MLA-512+64: 67.50 MiB at 1k tokens to 10.55 GiB at 160k tokens." in told
    assert "left for the cache: 662.6 GiB" in told


@needs_vl_convert
def test_a_page_needs_nothing_but_itself() -> None:
    page = to_picture(hostile(), "html").decode()
    assert page == to_picture(hostile(), "html").decode()
    assert "default-src 'none'" in page
    assert page.count("</script>") == 2
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"<(?:link|img|iframe|script)\b|url\(", outside)
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "@ROWS@</td>" in page  # a name is no place to fill in


@needs_vl_convert
@pytest.mark.outside
def test_a_page_draws_itself_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium")
    (tmp_path / "page.html").write_bytes(to_picture(hostile(), "html"))
    line = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
    line += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*line, f"file://{tmp_path / 'page.html'}"], capture_output=True, text=True, check=True, timeout=120
    )
    assert "CONSOLE" not in done.stderr
    assert '<svg xmlns="http://www.w3.org/2000/svg"' in done.stdout
    assert 'aria-label="Save the picture"' in done.stdout
    assert "opt-125m" in re.findall(r"<text[^>]*>([^<]*)</text>", done.stdout)


@needs_vl_convert
def test_a_png_is_one_and_the_same_twice() -> None:
    drawn = to_picture(figure("gpt2"), "png", dark=True)
    assert drawn.startswith(b"\x89PNG\r\n")
    assert drawn == to_picture(figure("gpt2"), "png", dark=True)


def test_its_vega_lite_needs_no_library(tmp_path: Path) -> None:
    path = str(tmp_path / "x.json")
    line = [sys.executable, "-c", WITHOUT.format(name="vl_convert"), "plot", "gpt2", "-o", path]
    subprocess.run(line, check=True, env=environment())
    with open(path, encoding="utf-8") as file:
        spec = json.load(file)
    (want,) = {row["y"] for row in spec["data"]["values"] if row["series"].startswith("configured") and row["x"] == 512}
    assert (want == run("sweep gpt2 -c 512 -f json").out and 0) or want == 2 * 12 * 2 * 768 * 512


@pytest.mark.parametrize(
    "name, output", [("vl_convert", "x.svg"), ("vl_convert", "x.png"), ("vl_convert", "x.html"), ("plotille", "x.txt")]
)
def test_what_is_absent_is_named_with_the_command(name: str, output: str, tmp_path: Path) -> None:
    line = [sys.executable, "-c", WITHOUT.format(name=name), "plot", "gpt2", "-o", str(tmp_path / output)]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'kvcalc[plot]'" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "line, told",
    [
        ("gpt2 -o x.gif", "one of .json .svg .png .html .txt"),
        ("gpt2 -o x.csv", "no format is known by .csv"),
        ("gpt2 --roofline", "--roofline needs --on"),
        ("gpt2 --roofline --on H100 --y cache_bytes", "leave --x, --y,"),
        ("gpt2 --y cache", "did you mean"),
        ("gpt2 --y decode_bound_by --on H100", "--y: unknown key"),
        ("gpt2 --y decode_least_seconds", "it needs --on"),
        ("gpt2 --roofline --on H100 --reserve 1GiB", "leave --x, --y, --reserve and --utilization out"),
        ("gpt2 --on H1000", "unknown accelerator"),
        ("gpt2 --x tokens", "'tokens' is not one of 'context', 'batch', 'tp'"),
    ],
)
def test_what_makes_no_sense_is_refused(line: str, told: str, tmp_path: Path) -> None:
    result = run(f"plot {line}".replace("x.", f"{tmp_path}/x."))
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert os.listdir(tmp_path) == []


@needs_plotille
@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_of_any_width_shows_every_series(width: int) -> None:
    for one in (figure("deepseek-v2"), figure("gemma-3-27b", dtype="bf16,fp8", batch="1:64:x2")):
        lines = to_text(one, width).splitlines()
        drawn = [line.partition("|")[2] for line in lines if "|" in line]
        assert max(map(len, lines[3 : 3 + len(drawn) + 2])) <= width
        legend = lines[next(at for at, line in enumerate(lines) if line.startswith("a  ")) :]
        for letter, series, line in zip(LETTERS, one.series, legend, strict=False):
            assert line.startswith(f"{letter}  ")
            assert line.endswith(f"  {series.label}")


@needs_plotille
def test_a_letter_stands_where_its_number_is() -> None:
    """At the right end of the axis the letters stand in the order of the numbers."""
    one = kvcalc.plot([kvcalc.load("deepseek-v2")], kvcalc.parse_grid({"context": "1k:128k:x2"}))
    rows = [line.partition("|")[2].ljust(80) for line in to_text(one, 80).splitlines() if "|" in line]
    last = max(len(row.rstrip()) for row in rows) - 1
    letters = [row[last] for row in rows if row[last].isalpha()]
    ranked = sorted(zip(LETTERS, one.series, strict=False), key=lambda pair: -pair[1].points[-1].y)
    assert letters == [letter for letter, _ in ranked]


@needs_plotille
def test_a_pipe_and_a_dumb_terminal_get_plain_text() -> None:
    line = "plot llama-3.1-8b -q"
    piped = run(line)
    assert piped.code == 0
    assert "\x1b" not in piped.out
    assert "\x1b" in run(f"{line} --color always").out
    assert "\x1b" in at_terminal(line, 80)
    assert "\x1b" not in at_terminal(line, 80, NO_COLOR="1")
    assert at_terminal(line, 80, TERM="dumb").isascii()
    assert run(line, PYTHONIOENCODING="ascii").out.isascii()
    assert run(line, KVCALC_FORMAT="csv").out == piped.out
    assert "\x1b" not in to_text(hostile(), 80)


@needs_plotille
def test_notes_are_told_on_stderr() -> None:
    told = run("plot llama-3.1-8b --on 8xH100")
    assert "activations, CUDA graphs and fragmentation are not counted" in told.err
    assert "gqa-8 has the numbers of configured: GQA-8, and lies on it" in told.err
    assert run("plot llama-3.1-8b --on 8xH100 -q").err == ""


@given(st.sampled_from([2, 10]), st.floats(1, 1e15), st.floats(1, 1e9), st.integers(2, 12))
def test_ticks_are_powers_within_the_range(base: int, low: float, wide: float, most: int) -> None:
    found = ticks(Axis("cache_bytes", "cache", "bytes", base), low, low * wide, most)
    assert all(low * (1 - 1e-6) <= value <= low * wide * (1 + 1e-6) for value in found)
    assert found == sorted(set(found))
    assert len(found) <= max(most, 7)  # 1, 2 and 5 within two decades


@given(st.integers(1, 10**15), st.integers(2, 12))
def test_steps_of_bytes_are_powers_of_two(high: int, most: int) -> None:
    found = ticks(Axis("cache_bytes", "cache", "bytes", 0), 0, high, most)
    assert found[0] == 0
    assert len(found) <= most
    assert len(found) == 1 or (int(found[1]) & (int(found[1]) - 1)) == 0


@pytest.mark.parametrize(
    "key, unit, value, told",
    [
        ("batch", "sequences", 32768, "32,768"),
        ("context_tokens", "tokens", 32768, "32k"),
        ("cache_bytes", "bytes", 32768, "32 KiB"),
        ("decode_core_flops", "FLOPs", 20000, "20 kFLOPs"),
        ("decode_least_seconds", "seconds", 0.002, "2 ms"),
        ("cache_ratio", "", 0.25, "0.25"),
    ],
)
def test_a_tick_is_written_in_the_units_of_its_axis(key: str, unit: str, value: float, told: str) -> None:
    assert tick_label(Axis(key, "", unit, 2), value) == told


def test_no_words_stand_on_others() -> None:
    one = figure("gpt2", "llama-3.1-8b", "gemma-3-27b", "llama-3.1-70b", "deepseek-v3")
    assert len(one.bands) == 5
    spots = [(words.align, words.above, round(words.y)) for words in words_of(one, 560, 360)]
    assert len(set(spots)) == len(spots) >= 4


def commands(path: str) -> list[str]:
    """What a document says to type."""
    with open(path, encoding="utf-8") as file:
        return re.findall(r"^\$ kvcalc (plot .*)$", file.read(), flags=re.MULTILINE)


@needs_vl_convert
@needs_plotille
def test_the_gallery_is_drawn_by_the_commands_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same words, and mark for mark; all in one process, for what draws is slow to start."""
    os.mkdir(tmp_path / "plots")
    monkeypatch.chdir(tmp_path)
    with open(os.path.join(DOCS, "gallery.md"), encoding="utf-8") as file:
        text = file.read()
    for line in commands(os.path.join(DOCS, "gallery.md")):
        typer.main.get_command(app).main(shlex.split(line), prog_name="kvcalc", standalone_mode=False)
        assert f"$ kvcalc {line}\n{capsys.readouterr().out}" in text
    assert sorted(os.listdir(tmp_path / "plots")) == sorted(os.listdir(os.path.join(DOCS, "plots")))
    for name in os.listdir(tmp_path / "plots"):
        made, kept = (ElementTree.parse(os.path.join(folder, "plots", name)) for folder in (str(tmp_path), DOCS))  # noqa: S314  # our own pictures
        assert [element.text for element in made.iter(f"{SVG}text")] == [
            element.text for element in kept.iter(f"{SVG}text")
        ]
        assert [element.tag for element in made.iter()] == [element.tag for element in kept.iter()]
        assert os.path.getsize(os.path.join(DOCS, "plots", name)) < 150_000


def test_the_picture_of_the_readme_is_the_gallerys() -> None:
    (line,) = commands(os.path.join(ROOT, "README.md"))
    assert line.replace("cache.svg", "plots/cache.svg") in commands(os.path.join(DOCS, "gallery.md"))
