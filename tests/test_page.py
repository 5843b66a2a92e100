"""The page of `kvcalc report`, without a browser: its functions compute what kvcalc does, no text becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import re
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import kvcalc
from builders import each_kind_or_all
from kvcalc.explanation import MEANINGS
from kvcalc.formula import APPLY, parse
from kvcalc.report.page.mathml import mathml, symbol
from kvcalc.report.page.reals import Reals
from kvcalc.report.page.script import CALLS, Program
from screens import KVCALC, NATIVE, piped, records, write
from screens import kvcalc as typed

if TYPE_CHECKING:
    from pathlib import Path

WORKLOADS = [
    {},
    {"batch": 3, "cached_tokens": 100, "generate_tokens": 50},
    {"batch": 8, "shared_prefix_tokens": 300, "dtype": "q8_0", "dtype_v": "fp8"},
    {"kv_cache": False, "batch": 2},
    {"engine": "vllm", "batch": 5},
    {"engine": "transformers", "mtp": "on"},
    {"engine": "llamacpp", "batch": 2},
    {"engine": "sglang", "tensor_parallel": 4},
    {"machine": "8xH100", "tensor_parallel": 2, "dtype": "fp8"},
]
OTHERS = ((4097, 7), (10**6, 1000))
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "report deepseek-v2-lite gemma-3-1b --context 4k"


def run(program: Program, n: int, b: int) -> list[int]:
    """What the function returns: its lines are Python's too, but for the mark of whole numbers."""
    functions: dict[str, Any] = {CALLS.get(name, name): apply for name, apply in APPLY.items()}
    functions |= {"Number": float, "Math": SimpleNamespace(min=min, max=max)}
    functions["isqrt"] = lambda a, _=2: APPLY["isqrt"](a, 2)
    t: dict[int, int] = {}
    for line in program.lines:
        code = re.sub(r"\b([0-9]+)n\b", r"\1", line.partition(" // ")[0].rstrip(";"))
        exec(code, {"t": t, "n": n, "B": b, "__builtins__": {}, **functions})  # noqa: S102  # our own lines
    return [t[at] for at in range(len(program.lines))]


@pytest.mark.parametrize("options", WORKLOADS, ids=json.dumps)
@each_kind_or_all
def test_a_model_computes_the_same_in_the_page(names: list[str], options: dict[str, Any]) -> None:
    """Made at one context and batch, right at every other."""
    checked = 0
    if "machine" in options:
        options = {**options, "machine": kvcalc.parse_machine(options["machine"])}
    for name in names:
        spec = kvcalc.load(name)
        try:
            made = kvcalc.analyze(spec, kvcalc.Workload(context_tokens=8192, **options))
            others = [
                kvcalc.analyze(spec, kvcalc.Workload(**{**options, "context_tokens": n, "batch": b})) for n, b in OTHERS
            ]
        except kvcalc.KvcalcError:
            continue  # the engine has no such layers
        program = Program(made)
        numbers = {key: program.key(key) for key in made.quantities}
        reals = {key: Reals(program).key(key) for key in made.bounds}
        assert {key: number.value for key, number in reals.items() if number} == made.reals
        for report in others:
            t = run(program, report.workload.context_tokens, report.workload.batch)
            found = {
                key: None if number is None else number.value if number.at is None else t[number.at]
                for key, number in numbers.items()
            }
            assert found == {key: report.value(key) for key in made.quantities}, (name, report.workload)
            assert {key: t[number.at] for key, number in reals.items() if number and number.at} == report.reals
            checked += 1
    assert checked > len(names) // 4


class Tags(HTMLParser):
    """Every tag and attribute of a page, and that all are closed in their order."""

    VOID = ("meta", "input", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_is_well_formed_ascii_that_names_no_address_to_load() -> None:
    text = typed(PAGE, "-q").out
    assert text.isascii()
    tags = Tags(text)
    assert tags.open == []
    loading = [attributes for _, attributes in tags.seen if {"src", "srcset", "action", "style"} & set(attributes)]
    assert loading == []
    assert {tag for tag, _ in tags.seen} & {"link", "img", "iframe", "object", "base", "form"} == {"form"}
    assert not [name for _, attributes in tags.seen for name in attributes if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_forbids_all_but_the_scripts_of_the_page() -> None:
    text = typed(PAGE, "-q").out
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_the_same_command_writes_the_same_bytes(tmp_path: Path) -> None:
    pages = []
    for _ in range(2):
        path = tmp_path / "report.html"
        assert typed(PAGE, "-q", "-o", str(path)) == (0, "", "")
        pages.append(path.read_bytes())
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]
    assert len(pages[0]) < 1_000_000


@pytest.mark.parametrize("engine", ["paper", "vllm", "sglang"])
def test_what_a_machine_leaves_for_the_cache_is_what_fit_says(engine: str) -> None:
    """At any context and batch, so that the line across the figure stays where it is."""
    line = f"gemma-3-27b --on 2xH100 --engine {engine}"
    pools = {row["pool_bytes"] for more in ("1k", "64k") for row in records(f"fit {line} --context {more} --batch 2")}
    shown = re.findall(
        r'left for the cache on a device[^<]*</dt><dd><span data-v="=(-?[0-9]+)"', piped(f"report {line} -q")
    )
    assert [int(pool) for pool in shown] == [*pools]


@pytest.mark.parametrize("options", ["--on H100,H200", "--on 4xH100,4xH200 --engine sglang"])
def test_every_machine_has_its_room_in_one_figure(options: str) -> None:
    """That of the cache on one device, else of what a device reserves."""
    text = piped(f"report llama-3.1-8b --variants none {options} -q")
    (data,) = re.findall(r'id="data">(.*?)</script>', text)
    rooms = [{line["room"] for line in figure["lines"]} - {""} for figure in json.loads(data)["figures"]]
    pools = {str(row["pool_bytes"]) for row in records(f"fit llama-3.1-8b {options} --context 8k")}
    assert len(pools) == 2
    assert [room for room in rooms if room] == [pools]


def test_the_commands_of_the_docs_write_pages_of_less_than_a_megabyte(tmp_path: Path) -> None:
    with open(os.path.join(ROOT, "docs", "report.md"), encoding="utf-8") as file:
        lines = re.findall(r"^\$ kvcalc (report .*?) -o (\S+)$", file.read(), re.MULTILINE)
    assert len(lines) == 3
    for line, name in lines:
        assert typed(line, "-o", str(tmp_path / name)) == (0, "", "")
        assert 100_000 < (tmp_path / name).stat().st_size < 1_000_000


HOSTILE = "a</script><img src=x onerror=alert(1)>&\"'<!--"


def test_what_a_file_says_is_text_and_never_markup() -> None:
    spec = kvcalc.load("gemma-3-1b")._replace(name=HOSTILE, source=HOSTILE, left_out=HOSTILE)
    other = kvcalc.load("gpt2")._replace(name=f"{HOSTILE}\u2028*/", source='https://x/"><script>')
    from kvcalc.report.page.document import page

    comparison = kvcalc.compare([spec, other], kvcalc.parse_request({"context": "1k"}), None)
    text = page(comparison, HOSTILE, ["kvcalc", HOSTILE], [HOSTILE])
    tags = Tags(text)
    assert tags.open == []
    assert [tag for tag, _ in tags.seen if tag in ("script", "img")] == ["script", "script"]
    assert [attributes["href"] for tag, attributes in tags.seen if tag == "a"] == [
        "#main",
        *(f"#{name}" for name in ("headlines", "comparison", "figures", "layers", "formulas", "sources")),
        'https://x/"><script>',
    ]
    shown = "".join(tags.texts)
    assert shown.count(HOSTILE) > 10


def test_a_model_with_formulas_of_its_own(tmp_path: Path) -> None:
    """A formula may hold any blank; the comments of the script, and its lines, stay what they are."""
    attention = (
        '{kind: custom, name: mine, elements_per_token: "2*\\u2028a*\\nq_r", work_per_pair: "a**2 % 7 + isqrt(a)",\n'
        '  work_per_token: "ceil_div(a, 2)//2 - min(a, 1)", parameters: "a*d", symbols: {a: 3, q_r: 7}}'
    )
    own = NATIVE.replace("{kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}", attention)
    text = piped(f"report {write(tmp_path, 'own.yaml', own)} -q")
    assert Tags(text).open == []
    functions = text.rpartition("<script>")[2]
    assert "\u2028" not in functions
    assert functions.count("// ceil_div(bits, 8)") > 0


@pytest.mark.parametrize("output, told", [("", "names no file"), ("x.pdf", "a page is no '.pdf'\n  -o report.html")])
def test_a_page_is_a_page(output: str, told: str, tmp_path: Path) -> None:
    result = typed("report gpt2 -q -o", str(tmp_path / output) if output else "")
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert os.listdir(tmp_path) == []


def test_a_page_is_not_poured_into_a_terminal() -> None:
    assert piped("report gpt2 -q").startswith("<!doctype html>")
    leader, follower = pty.openpty()
    done = subprocess.run([*KVCALC, "report", "gpt2"], stdout=follower, stderr=subprocess.PIPE, text=True, check=False)
    os.close(follower)
    os.close(leader)
    assert done.returncode == 2
    assert done.stderr == "kvcalc: a page is nothing to read in a terminal\n  -o report.html, or a pipe\n"


@pytest.mark.parametrize("name", [*MEANINGS, "cache_bytes", "bytes_per_block", "isqrt"])
def test_every_symbol_has_a_form(name: str) -> None:
    written = symbol(name)
    Tags(f"<math>{written}</math>")
    plain = re.sub(r"<[^>]*>|&[a-z]+;", "", written)
    assert plain.replace("_", "") == re.sub(r"[_^']|delta|sigma", "", name)


@pytest.mark.parametrize(
    "formula, written",
    [
        ("a/b", "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>"),
        ("a - (b - c)", "a-(b-c)"),
        ("a - b - c", "a-b-c"),
        ("a*(b + c)*d", "a*(b+c)*d"),
        ("-a*b", "(-a)*b"),
        ("a*(b*c)", "a*(b*c)"),
        ("a + (b + c)", "a+b+c"),
        ("(a + b)**2", None),
        ("a % b", None),
        ("min(a, max(b, c))", "min(a,max(b,c))"),
        ("isqrt(a + b)", None),
        ("ceil_div(a, 8)", None),
        ("a//b", None),
    ],
)
def test_a_formula_is_written_as_it_binds(formula: str, written: str | None) -> None:
    told = mathml(parse(formula).body, symbol)
    assert Tags(f"<math>{told}</math>").open == []
    if written is not None and "<" not in written:
        told = re.sub(r"<[^>]*>", "", told.replace("&minus;", "-").replace("&sdot;", "*"))
        assert told == written
    elif written:
        assert told == written
