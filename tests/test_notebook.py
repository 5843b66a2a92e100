"""A notebook shows a report as the table that the terminal shows, and no name in it is HTML."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import kvcalc
from builders import heads, model
from kvcalc.report.comparison import comparison_table


class Reading(HTMLParser):
    """What a browser makes of it: the tags, each cell with the side it stands on, the paragraphs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.sides: list[str] = []
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "br":
            self.texts[self._open][-1] += "\n"
            return
        self._open = tag
        self.texts.setdefault(tag, []).append("")
        if tag == "td":
            self.sides.append(str(dict(attrs)["style"]).removeprefix("text-align: "))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts[self._open][-1] += data


def compared(spec: kvcalc.ModelSpec, variants: str = "mqa", **options: str) -> kvcalc.Comparison:
    return kvcalc.compare([spec], kvcalc.parse_request(options), kvcalc.parse_variants(variants))


def test_it_is_the_table_of_the_terminal() -> None:
    comparison = compared(kvcalc.load("gemma-3-27b"), context="1m")
    table, read = comparison_table(comparison), Reading(comparison._repr_html_())
    assert read.texts["caption"] == [table.title]
    assert read.texts["th"] == [column.header for column in table.columns]
    assert read.texts["td"] == [column.cells[at] for at in range(2) for column in table.columns]
    assert read.sides == ["right" if column.numeric else "left" for column in table.columns] * 2
    assert read.texts["p"] == [*(f"warning: {one}" for one in comparison.warnings), f"note: {comparison.notes[0]}"]


def test_a_report_alone_is_a_table_of_one_row() -> None:
    comparison = compared(kvcalc.load("qwen3-8b"))
    for report in comparison.reports:
        read = Reading(report._repr_html_())
        assert read.tags.count("tr") == 2
        assert read.texts["td"][0] == report.variant
        assert f"{report.value('cache_bytes'):,}" in read.texts["td"]


def test_no_name_is_html() -> None:
    evil = "<script>alert('x')</script>&lt;\"'"
    spec = model(heads(8, 2, 8))._replace(name=evil, left_out="<img src=x>", max_position_embeddings=8)
    comparison = compared(spec, "none", context="16")
    both = kvcalc.Comparison(comparison.reports * 2, comparison.notes, comparison.warnings)
    for shown in (comparison, both, comparison.reports[0]):
        read = Reading(shown._repr_html_())
        assert set(read.tags) <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "br", "p"}
        assert evil in "".join(text for texts in read.texts.values() for text in texts)


def test_only_a_notebook_pays_for_it() -> None:
    program = (
        "import sys, kvcalc; kvcalc.analyze(kvcalc.load('gpt2'), kvcalc.Workload(8));"
        "print(*[name for name in sys.modules if name == 'html' or name.startswith('kvcalc.report')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"\n"
