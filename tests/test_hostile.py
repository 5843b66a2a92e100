"""Hostile text: every string that a file can carry, in every output; none says more than itself.

A new field that takes text, a new format or a new command fails here until it stands in the tables below.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import zipfile
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, get_args
from xml.etree import ElementTree

import pytest
import yaml  # noqa: TID253  # a test, not a start

from headers import LLAMA_KEYS, llama_shapes, write_gguf
from kvcalc.attention.kinds import MEMORIES, REACHES
from kvcalc.cli.app import COMMANDS
from kvcalc.cli.output import BINARY, PICTURES, CiFormat, Format
from kvcalc.readers import budget, hardware, schema
from kvcalc.readers.attention import attention_format, reach_format
from kvcalc.readers.strict import Strict
from refusals import LLAMA, NATIVE, Result, quickly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# What may stand in a file and must not act: markup, links, mentions, placeholders, ends of blocks, a shell's and a
# workflow's commands.
MARKUP = "<img src=x onerror=a()>&lt;|`c`[d](http://e.example)](x)*f*_g_{0}@octocat #1 '\"\\ ]]> --> ::error::h $(i)"
HOSTILE = {
    "markup": MARKUP,
    "escape": "a\x1b[31mb",
    "bell": "a\x07b",
    "c1": "a\x9b31mb",
    "newline": "a\n::error::b",
    "return": "a\r=1+1",
    "separator": "a\u2028::error::b",
    "turned": "a\u202eb\u2066c",
    "mark": "a\u200fb",
    "unseen": "a\u200bb\ufeff",
    "tag": "a\U000e0041b",
    "half": "a\ud800b",
    **{f"formula {text[0]!r}": text for text in ("=1+1", "+1+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "\t=1+1", "|a")},
}
MARK = "mark"

# ---------- every string that a file can carry

CUSTOM = {
    "kind": "custom",
    "name": "mine",
    "symbols": {"two": 2},
    "elements_per_token": "two",
    "state_elements": "0",
    "work_per_pair": "two",
    "work_per_token": "two",
    "parameters": "two",
    "source": "somewhere",
}
EXTRA = {
    "name": "more",
    "symbols": {"three": 3},
    "parameters": "three",
    "work_per_token": "three",
    "source": "somewhere",
    "library_once": "3",
    "library_parameters": "3",
}
MODEL = {
    **yaml.safe_load(NATIVE),
    "name": "mine",
    "source": "somewhere",
    "left_out": "a tower",
    "architecture": "MineForCausalLM",
    "attention": CUSTOM,
    "extras": [EXTRA],
    "layers": {"other": {}, "one": {}},
    "layer_types": ["one", "other", "one", "other"],
    "quantization": {"format": "int4_g128", "method": "some", "note": "noted"},
    "rope": {"base": 1e4, "scaling": {"kind": "linear", "factor": 2.0}},
    "mtp": {"num_layers": 1, "layer": "one"},
}
PATTERN = {"layer_pattern": ["one", "other"]}
STORED = {"quantization": {"format": "q4_k", "stored": [{"kind": "mlp", "type": "q4_k", "weights": 9, "bytes": 9}]}}
BUDGET: dict[str, list[dict[str, Any]]] = {
    "budgets": [
        {
            "model": "*",
            "metric": "cache_bytes",
            "max": "1 B",
            "min": "0 B",
            "name": "small",
            "reason": "why",
            "workload": {},
        }
    ],
    "ignore": [{"code": "KV105", "model": "*", "reason": "why"}],
}
MACHINE = {
    "name": "card",
    "vendor": "who",
    "memory": "80 GiB",
    "bandwidth": "1 TB/s",
    "peaks": {"bf16": "100 TFLOPS"},
    "interconnect": {"name": "wire", "bandwidth": "1 GB/s"},
    "source": "somewhere",
    "note": "noted",
}
Where = tuple[str | int, ...]
FIELDS: dict[str, tuple[str, Where]] = {  # of the formats' classes: the file, and where in it; KEY: the name of a key
    **{f"ModelFile.{key}": ("model", (key,)) for key in ("name", "source", "left_out", "architecture")},
    "ModelFile.layers": ("model", ("layers", "KEY")),
    "ModelFile.layer_types": ("model", ("layer_types", 0)),
    "ModelFile.layer_pattern": ("pattern", ("layer_pattern", 0)),
    "MtpFile.layer": ("model", ("mtp", "layer")),
    "ScalingFile.kind": ("model", ("rope", "scaling", "kind")),
    "StoredFile.type": ("stored", ("quantization", "stored", 0, "type")),
    **{f"QuantizationFile.{key}": ("model", ("quantization", key)) for key in ("format", "method", "note", "experts")},
    **{f"CustomFile.{key}": ("model", ("attention", key)) for key in CUSTOM if key not in ("kind", "symbols")},
    "CustomFile.symbols": ("model", ("attention", "symbols", "KEY")),
    **{f"ExtraFile.{key}": ("model", ("extras", 0, key)) for key in EXTRA if key != "symbols"},
    "ExtraFile.symbols": ("model", ("extras", 0, "symbols", "KEY")),
    **{
        f"BudgetEntry.{key}": ("budget", ("budgets", 0, key))
        for key in (*BUDGET["budgets"][0], "max_increase")
        if key != "workload"
    },
    **{f"IgnoreEntry.{key}": ("budget", ("ignore", 0, key)) for key in ("code", "model", "reason")},
    **{f"WorkloadFile.{key}": ("budget", ("budgets", 0, "workload", key)) for key in budget.WorkloadFile.model_fields},
    **{f"AcceleratorFile.{key}": ("machine", (key,)) for key in MACHINE if key not in ("peaks", "interconnect")},
    "AcceleratorFile.peaks": ("machine", ("peaks", "KEY")),
    "AcceleratorFile.peaks value": ("machine", ("peaks", "bf16")),
    **{f"InterconnectFile.{key}": ("machine", ("interconnect", key)) for key in ("name", "bandwidth")},
    "a key that nobody knows": ("model", ("KEY",)),
    "a key of a budget": ("budget", ("budgets", 0, "KEY")),
    "a key of hardware": ("machine", ("KEY",)),
    **{f"config.json {key}": ("config", (key,)) for key in ("name", "model_type", "torch_dtype", "hidden_act")},
    "config.json architectures": ("config", ("architectures", 0)),
    "config.json layer_types": ("config", ("layer_types", 0)),
    "config.json quant_method": ("config", ("quantization_config", "quant_method")),
    "config.json rope_scaling": ("config", ("rope_scaling", "rope_type")),
    "config.json key": ("config", ("KEY",)),
    **{
        f"row {key}": ("rows", (0, key))
        for key in ("model", "variant", "attention", "cache_dtype", "kv_cache", "engine", "engine_version", "mtp")
    },
    **{f"row {key}": ("rows", (0, key)) for key in ("engine_options", "on", "weight_dtype", "mla_decode", "KEY")},
    **{f"gguf {key}": ("gguf", (key,)) for key in ("general.name", "general.architecture", "tokenizer.ggml.model")},
    "gguf key": ("gguf", ("KEY",)),
}
SAME = {"EncoderStackFile": "ModelFile", "StackFile": "ModelFile"}  # a class that holds another's fields


def subclasses(of: type[Strict]) -> Iterator[type[Strict]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def takes_text(told: dict[str, Any]) -> bool:
    """Whether a field takes text of one's own, or keys."""
    if "enum" in told or "const" in told or "$ref" in told:
        return False
    kinds = told.get("type", ())
    if "string" in ([kinds] if isinstance(kinds, str) else kinds) or (kinds == "object" and "properties" not in told):
        return True
    inner = [*told.get("anyOf", ()), *told.get("oneOf", ()), *([told["items"]] if "items" in told else [])]
    return any(map(takes_text, inner))


def test_every_field_that_takes_text_is_tried() -> None:
    assert {schema.ModelFile, hardware.AcceleratorFile} <= set(subclasses(Strict))
    for kind in MEMORIES:
        attention_format(kind)
    for kind in REACHES:
        reach_format(kind)
    found = {
        f"{SAME.get(one.__name__, one.__name__)}.{field}"
        for one in subclasses(Strict)
        if one.__module__.startswith("kvcalc.")
        for field, told in one.model_json_schema().get("properties", {}).items()
        if takes_text(told)
    }
    assert found <= set(FIELDS)


def planted(document: Any, where: Where, text: str) -> Any:
    """The document with a text in one place."""
    made = copy.deepcopy(document)
    parent = made
    for step in where[:-1]:
        parent = parent[step]
    if where[-1] == "KEY":
        parent[text] = parent.pop(next(iter(parent))) if len(where) > 1 and where[0] != "budgets" else 1
    else:
        parent[where[-1]] = text
    return made


@cache
def benign() -> dict[str, Any]:
    rows = json.loads(quickly("compare", "gpt2", "--variants", "none", "-f", "json").out)
    config = {**LLAMA, "architectures": ["LlamaForCausalLM"], "layer_types": ["full_attention"] * 4}
    pattern = {key: value for key, value in MODEL.items() if key != "layer_types"}
    return {
        "model": MODEL,
        "pattern": {**pattern, **PATTERN},
        "stored": {**MODEL, **STORED},
        "budget": BUDGET,
        "machine": MACHINE,
        "config": {**config, "quantization_config": {}, "rope_scaling": {"factor": 2.0}},
        "rows": rows,
        "gguf": {},
    }


def written(folder: Path, file: str, where: Where, text: str) -> str:
    """The file with a text in one place."""
    if file == "gguf":
        key = "x" if where[0] == "KEY" else str(where[0])
        architecture = text if key == "general.architecture" else "llama"
        keys = {**LLAMA_KEYS, **({text: 1} if key == "x" else {key: text} if architecture == "llama" else {})}
        return write_gguf(folder / "mine.gguf", architecture, keys, llama_shapes())
    path = folder / f"{file}.{'json' if file in ('config', 'rows') else 'yaml'}"
    path.write_text(json.dumps(planted(benign()[file], where, text)), encoding="utf-8")
    return str(path)


# ---------- what an output must be


def seen(text: str) -> None:
    """Every character can be seen, and no line ends but where we end it."""
    assert not [c for c in text if not (c.isprintable() or c == "\n")], ascii(text)


def as_table(text: str) -> None:
    seen(text)
    assert not re.search(r"^\s*::", text, re.MULTILINE), "a log may be read for commands"


def as_separated(delimiter: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        seen(text.replace(delimiter, " "))
        head, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        assert all(len(row) == len(head) for row in rows)
        for cell in (cell for row in rows for cell in row):
            assert cell[:1] not in tuple("=+-@\t\r") or re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", cell), cell
            assert "\n" not in cell

    return check


def as_json(text: str) -> None:
    seen(text)
    assert text.isascii()
    json.loads(text)


def as_jsonl(text: str) -> None:
    for line in text.splitlines():
        as_json(line)


OURS = r"</?(?:details|summary|code|br|b|sub|strong|em)>|<!-- (?:kvcalc \w+)? ?-->"


def as_markdown(text: str) -> None:
    seen(text)
    bare = re.sub(r"<code>.*?</code>|`[^`\n]*`", "", text)  # where nothing is meant
    inside = "".join(re.findall(r"<code>(.*?)</code>", text))
    assert "<" not in inside
    assert "<" not in re.sub(OURS, "", bare)
    assert not re.search(r"(?<!\\)\]\(", bare), "a link"
    assert not re.search(r"(?<![A-Za-z0-9])@[A-Za-z0-9]|#[0-9]", bare), "a person or an issue"
    assert not re.search(r"&lt;img.*(?<!&amp;)(?<!&#38;)(?<!\\&)&lt;\\\|", bare), "an entity of the file's own"
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def as_github(text: str) -> None:
    seen(text)
    for line in text.splitlines():
        assert re.fullmatch(
            r"::(error|warning|notice) (file=[^:,]*,)?(line=\d+,)?(col=\d+,)?title=kvcalc KV\d+::.*", line
        )


def as_xml(text: str) -> None:
    as_table(text)
    ElementTree.fromstring(text)  # noqa: S314  # our own


class Tags(HTMLParser):
    """What a browser makes of a page: elements and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[f"{tag} {' '.join(sorted(name for name, _ in attrs))}"] += 1
        for name, value in attrs:
            assert name not in ("src", "srcdoc") or tag != "img"
            assert not (value or "").lower().lstrip().startswith(("javascript:", "data:text"))


def as_html(text: str) -> None:
    seen(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert not [tag for tag in Tags(text).found if re.search(r"^img|onerror", tag)]


def as_svg(text: str) -> None:
    seen(text)
    names = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()}  # noqa: S314  # our own output
    assert names <= {"svg", "g", "path", "text", "title", "desc", "defs", "clipPath", "rect", "line", "style", "tspan"}


def as_yaml(text: str) -> None:
    seen(text)
    assert yaml.safe_load(text)


def as_xlsx(raw: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "<hyperlink" not in sheet
    seen("".join(ElementTree.fromstring(sheet).itertext()))  # noqa: S314  # our own output


def as_parquet(raw: bytes) -> None:
    from pyarrow import parquet

    assert parquet.read_table(io.BytesIO(raw)).num_rows


def as_png(raw: bytes) -> None:
    assert raw.startswith(b"\x89PNG"), "it has no text"


CHECKS: dict[str, Callable[[Any], None]] = {
    "table": as_table,
    "json": as_json,
    "jsonl": as_jsonl,
    "csv": as_separated(","),
    "tsv": as_separated("\t"),
    "markdown": as_markdown,
    "github": as_github,
    "sarif": as_json,
    "junit": as_xml,
    "svg": as_svg,
    "html": as_html,
    "yaml": as_yaml,
    "xlsx": as_xlsx,
    "parquet": as_parquet,
    "png": as_png,
}
ROWS, FOUND = get_args(Format), get_args(CiFormat)
LINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # a command that reads files, and its formats
    "compare": (("compare {model} --on {machine}",), ROWS),
    "show": (("show {model} --on {machine}", "show {model} --provenance"), ROWS),
    "explain": (("explain {model}",), ROWS),
    "fit": (("fit {model} --on {machine}",), ROWS),
    "sweep": (("sweep {model} --on {machine} --context 1k,2k",), ROWS),
    "diff": (("diff {old} {model}", "diff --baseline {rows} {model}"), FOUND),
    "check": (("check {model} --budget {budget}", "check {bad}"), FOUND),
    "plot": (("plot {model} --on {machine}",), PICTURES),
    "report": (("report {model} --on {machine} --variants none",), ("html",)),
    "convert": (("convert {model}",), ("yaml",)),
}
READ_NO_FILE = {"list", "rope", "schema"}  # nor does verify, but for a config.json, of which it tells numbers


def test_every_command_and_format_is_tried() -> None:
    assert set(LINES) | READ_NO_FILE | {"verify"} == set(COMMANDS)
    assert {*ROWS, *FOUND, *PICTURES, "yaml"} == set(CHECKS)
    assert set(BINARY) <= set(CHECKS)


@pytest.fixture(scope="module")
def infested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files with markup in every place that takes it; the names of the fields are beside them."""
    folder = tmp_path_factory.mktemp("infested")
    documents = copy.deepcopy({name: benign()[name] for name in ("model", "budget", "machine", "rows")})
    taken = []
    for field, (file, where) in FIELDS.items():
        if file in documents and isinstance(where[-1], str) and where[-1] != "KEY":
            path = written(folder, file, where, f"{MARKUP} {field}")
            if not refused(next(answers(file, path))[1]):
                documents[file] = planted(documents[file], where, f"{MARKUP} {field}")
                taken.append(field)
    paths = {name: written(folder, name, ("note",), MARKUP) for name in ("machine",)}
    for name, document in documents.items():
        whole = folder / f"{name}.{'json' if name == 'rows' else 'yaml'}"
        whole.write_text(json.dumps(document), encoding="utf-8")
        paths[name] = str(whole)
    for name, made in (("old", MODEL), ("bad", {**MODEL, MARKUP: 1})):
        (folder / f"{name}.yaml").write_text(json.dumps(made), encoding="utf-8")
        paths[name] = str(folder / f"{name}.yaml")
    return {**paths, "taken": " ".join(taken)}


def answers(file: str, path: str) -> Iterator[tuple[str, Result]]:
    """What the commands that read such a file say, by format; no more than that where it is refused."""
    first: dict[str, tuple[str, tuple[str, ...]]] = {
        "budget": ("github", ("check", "gpt2", "--budget", path)),
        "machine": ("markdown", ("fit", "gpt2", "--on", path)),
        "rows": ("csv", ("diff", "--baseline", path, "gpt2")),
    }
    format_, words = first.get(file, ("github", ("check", path)))
    yield format_, (answer := quickly(*words, "-f", format_))
    if file not in first and not refused(answer):
        for format_ in ("csv", "markdown"):
            yield format_, quickly("show", path, "--provenance", "-f", format_)


def refused(answer: Result) -> bool:
    return answer.code > 1 or "KV00" in answer.out


def test_text_that_may_be_anything_is_all_tried_at_once(infested: dict[str, str]) -> None:
    """Or else the outputs below would prove little."""
    told = {"ModelFile.source", "ModelFile.left_out", "CustomFile.source", "ExtraFile.source", "AcceleratorFile.note"}
    told |= {"QuantizationFile.method", "QuantizationFile.note", "BudgetEntry.name", "BudgetEntry.reason"}
    told |= {"AcceleratorFile.source", "AcceleratorFile.vendor", "InterconnectFile.name", "IgnoreEntry.reason"}
    assert told <= set(re.findall(r"\w+\.\w+", infested["taken"]))


@pytest.mark.parametrize("command", LINES)
def test_no_output_is_steered(command: str, infested: dict[str, str], tmp_path: Path) -> None:
    lines, formats = LINES[command]
    for line in lines:
        words = [word.format(**infested) for word in line.split()]
        for format_ in formats:
            if (
                format_ in ("svg", "html", "png", "parquet", "xlsx", "json") and command in ("plot", "report")
            ) or format_ in BINARY:
                path = tmp_path / f"out.{format_}"
                done = quickly(*words, "-o", str(path))
                assert done.code < 2, done
                raw = path.read_bytes()
                out: Any = raw if format_ in BINARY or format_ == "png" else raw.decode()
            else:
                done = quickly(*words, *(() if format_ == "yaml" else ("-f", format_)))
                assert done.code < 2 or "{bad}" in line, done
                out = done.out
            as_table(done.err)
            assert out or format_ == "github", (line, format_)
            if not (command == "plot" and format_ == "json"):  # Vega-Lite, whose reader is no terminal
                CHECKS[format_](out)


@pytest.mark.parametrize("field", FIELDS)
def test_no_text_of_a_field_steers_what_is_said_of_it(field: str, tmp_path: Path) -> None:
    """Taken or refused: in annotations, a spreadsheet, Markdown and on stderr."""
    file, where = FIELDS[field]
    if file == "gguf":
        pytest.importorskip("gguf")
    for name, text in HOSTILE.items():
        if file == "gguf" and name == "half":
            continue  # its writer writes none
        for format_, answer in answers(file, written(tmp_path, file, where, text)):
            assert "Traceback" not in answer.err
            as_table(answer.err)
            assert answer.out or answer.code or format_ == "github"
            if answer.out:
                CHECKS[format_](answer.out)


# ---------- the command line and the names of files

WORDS = (
    "compare {}",
    "compare hf:{}",
    "compare hf:org/name@{}",
    "compare gpt2 --engine {}",
    "compare gpt2 --engine vllm --engine-option {}",
    "compare gpt2 --engine vllm --engine-option block_size={}",
    "compare gpt2 --on {}",
    "compare gpt2 --variants {}",
    "compare gpt2 --dtype {}",
    "compare gpt2 --context {}",
    "compare gpt2 --weight-dtype {}",
    "compare gpt2 -f {}",
    "compare gpt2 -o {}/no.csv",
    "compare gpt2 -o x.{}",
    "plot gpt2 --y {}",
    "explain gpt2 {}",
    "diff {} gpt2",
    "diff --base {}",
    "diff --baseline {}",
    "check gpt2 --budget {}",
    "check gpt2 --ignore {}",
    "schema {}",
    "schema config {}",
    "-{}",
    "compare gpt2 -q{}",
    "{}",
    "--{}",
)


@pytest.mark.parametrize("line", WORDS)
def test_no_word_of_the_command_line_steers_what_is_said_of_it(line: str) -> None:
    for text in ("a\x1b[31m", "a\r::error::b", "a\u202eb", "a\nb", "a\u2028b", "a\udcffb"):
        done = quickly(*(word.format(text) for word in line.split()))
        assert done.code == 2
        assert "Traceback" not in done.err
        assert not [c for c in done.err + done.out if not (c.isprintable() or c == "\n")], ascii(done.err)


@pytest.mark.parametrize("name", ["=1+1 @octocat #1 <img src=x> `a`|b", "a\x1b[31m\n::error::b\u202e", "a\udcff\udcfe"])
def test_no_name_of_a_file_steers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    good, bad = f"{name}.yaml", f"{name} bad.yaml"
    for path, text in ((good, NATIVE), (bad, f"{NATIVE}more: 1\n")):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    for format_ in FOUND:
        for words in (("check", good, bad), ("diff", "gpt2", good)):
            done = quickly(*words, "-f", format_)
            assert done.code < 2, done
            CHECKS[format_](done.out)
            as_table(done.err)
    for command, path in (("report", good), ("convert", good), ("compare", bad)):
        done = quickly(command, path)
        as_table(done.err)
        if done.out:
            CHECKS["html" if command == "report" else "yaml"](done.out)
