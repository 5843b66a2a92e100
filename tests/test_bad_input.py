"""Bad input: one clear message with its place, exit code 2, nothing on stdout, no file touched, never a traceback.

A file in bad/ says in its first line what is expected of it, `# expect: LINE:COLUMN part of the message`, and may say
in its second what the message must call right, `# right: part of the hint`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml  # noqa: TID253  # a test, not a start
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvcalc.cli.app import run as run_command_line
from kvcalc.errors import ConfigError, KvcalcError
from kvcalc.model import ModelSpec
from kvcalc.readers import bundle
from kvcalc.readers.families import FAMILIES
from kvcalc.readers.huggingface import library_facts, to_native
from kvcalc.readers.load import load
from kvcalc.readers.native import read_native
from kvcalc.readers.text import MAX_BYTES, Document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BAD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bad")
MEMORY = 1 << 30
LIMITED = (
    f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}));"
    "from kvcalc.cli.start import main; main()"
)
UNTOUCHED = "as it was\n"
NATIVE = """name: bad
vocab_size: 100
hidden_size: 64
num_hidden_layers: 4
tie_word_embeddings: false
norm: rmsnorm
norms_per_layer: 2
attention: {kind: heads, num_attention_heads: 8, num_key_value_heads: 2, head_dim: 8}
mlp: {kind: dense, intermediate_size: 128, gated: true}
"""
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 128,
}


class Result(NamedTuple):
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str


def kvcalc(*arguments: str, stdin: bytes = b"", timeout: float = 20) -> Result:
    """Run the real command line in a process of its own, with little memory."""
    command = [sys.executable, "-c", LIMITED, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def quickly(*arguments: str) -> Result:
    """Run the command line in this process."""
    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGPIPE)
    argv, sys.argv, code = sys.argv, ["kvcalc", *arguments], 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run_command_line()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.argv = argv
        signal.signal(signal.SIGPIPE, before)
    return Result(code, out.getvalue(), err.getvalue())


def assert_refused(result: Result, *parts: str) -> None:
    """One message on stderr with all these parts, and nothing else."""
    assert result.code == 2, result
    assert result.out == ""
    assert "Traceback" not in result.err
    first, *others = result.err.splitlines()
    assert first.startswith("kvcalc: ")
    assert all(line.startswith("  ") for line in others), "one message, its hint set in"
    for part in parts:
        assert part in result.err, result.err


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


# ------------------------------------------------------------------- bad/*.yaml


def expectation(path: str) -> tuple[str, str, str]:
    """Return place, part of the message and part of the hint from a file's first lines."""
    with open(path, encoding="utf-8") as file:
        first, second = file.readline().rstrip("\n"), file.readline().rstrip("\n")
    match = re.fullmatch(r"# expect: ([0-9]+:[0-9]+) (.+)", first)
    assert match, f"{path} does not say what to expect"
    return match[1], match[2], second.removeprefix("# right: ") if second.startswith("# right: ") else ""


@pytest.mark.parametrize("name", sorted(os.listdir(BAD)))
def test_bad_file_gets_one_message_with_its_place_and_touches_nothing(name: str, tmp_path: Path) -> None:
    path = os.path.join(BAD, name)
    place, part, right = expectation(path)
    output = write(tmp_path, "out.json", UNTOUCHED)
    result = quickly("compare", path, "-o", output)
    assert_refused(result, f"kvcalc: {path}:{place}: ", part, right)
    assert (tmp_path / "out.json").read_text() == UNTOUCHED
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("command", ["compare", "show", "explain"])
@pytest.mark.parametrize("name", ["unknown_field.yaml", "hf_typo.yaml"])
def test_every_command_refuses_alike_in_a_real_process(command: str, name: str, tmp_path: Path) -> None:
    path, output = os.path.join(BAD, name), str(tmp_path / "out.json")
    place, part, right = expectation(path)
    assert_refused(kvcalc(command, path, "-o", output), f"kvcalc: {path}:{place}: ", part, right)
    assert os.listdir(tmp_path) == []


def test_a_good_model_beside_a_bad_one_is_not_written(tmp_path: Path) -> None:
    result = quickly("compare", "gpt2", os.path.join(BAD, "size_zero.yaml"), "-o", str(tmp_path / "out.json"))
    assert_refused(result, "size_zero.yaml:5:1", "hidden_size: 0 is too small")
    assert os.listdir(tmp_path) == []


def test_show_provenance_refuses_too() -> None:
    path = os.path.join(BAD, "hf_null.yaml")
    assert_refused(quickly("show", path, "--provenance"), f"{path}:3:1: ", "vocab_size: null")


# ----------------------------------------------------------- files that are none


def changed(old: str, new: str) -> str:
    assert NATIVE.count(old) == 1
    return NATIVE.replace(old, new)


FILES: dict[str, tuple[str | bytes, str, str]] = {
    "empty.yaml": ("", ":1:1: ", "an empty file"),
    "blank.yaml": ("\n \n\n", ":1:1: ", "an empty file"),
    "no_document.yaml": ("---\n...\n", ":1:1: ", "an empty file"),
    "zero_byte.yaml": (b"name: bad\nsource: a\0b\n", ":2:10: ", "a binary file"),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(200), ":1:8: ", "a binary file"),
    "latin_1.yaml": (b"name: bad\nsource: caf\xe9\n", ":2:12: ", "not UTF-8"),
    "utf_16.yaml": (NATIVE.encode("utf-16"), ":1:1: ", "not UTF-8"),
    "picture.yaml": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ":1:1: ", "not UTF-8"),
    "control.yaml": (changed("name: bad", "name: bad\x07"), ":1:10: ", "not YAML: "),
    "huge.yaml": ("# much\n" * (MAX_BYTES // 7 + 1), ": ", f"larger than {MAX_BYTES:,} bytes"),
    "nested.yaml": ("[" * 100_000, ":1:21: ", "nested more than 20 levels deep"),
    "nested_maps.yaml": ("{a: " * 100_000, ":1:", "nested more than 20 levels deep"),
    "nested_blocks.yaml": ("- " * 100_000, ":1:41: ", "nested more than 20 levels deep"),
    "nested_value.yaml": (changed("64", "[" * 100_000), ":3:", "nested more than 20 levels deep"),
    "nested.json": ("[" * 100_000, ":1:21: ", "nested more than 20 levels deep"),
    "nested_maps.json": ('{"a":' * 90_000, ":1:", "nested more than 20 levels deep"),
    "nested_closed.json": ('{"hidden_size":' + "[" * 900 + "]" * 900 + "}", ":1:", "nested more than 20 levels deep"),
    "values.yaml": (f"name: bad\nsource: [{'1, ' * 60_000}]\n", ": ", "more than 50,000 values"),
    "array.json": ('[{"model_type": "llama"}]', ":1:1: ", "not a mapping of field names to values"),
    "number.json": ("4096", ":1:1: ", "not a mapping of field names to values"),
    "no_colon.json": ('{"model_type": "llama",\n "hidden_size" 64}', ":2:16: ", "not JSON: "),
    "no_end.json": ('{"model_type": "llama",\n "hidden_size": 64', ":2:19: ", "not JSON: "),
    "no_value.json": ('{"model_type": "llama",\n "hidden_size": }', ":2:17: ", "not JSON: "),
    "single_quotes.json": ("{'model_type': 'llama'}", ":1:2: ", "not JSON: "),
    "twice.json": ('{"model_type": "llama",\n "hidden_size": 64, "hidden_size": 65}', ":2:21: ", "duplicate key"),
    "twice_inside.json": (
        '{"model_type": "gemma3", "text_config":\n {"hidden_size": 64, "hidden_size": 65}}',
        ":2:22: ",
        "duplicate key 'hidden_size'",
    ),
    "minified.json": (
        json.dumps({**LLAMA, "hidden_size": "wide"}, separators=(",", ":")),
        ":1:40: ",
        "hidden_size: 'wide' is not a whole number",
    ),
    "tabs.json": (
        json.dumps({**LLAMA, "hidden_size": "wide"}, indent="\t"),
        ":4:2: ",
        "hidden_size: 'wide' is not a whole number",
    ),
    "not_a_number.json": (
        json.dumps({**LLAMA, "hidden_size": float("nan")}, indent=1),
        ":4:2: ",
        "hidden_size: nan is not a whole number",
    ),
    "fraction.json": (
        json.dumps({**LLAMA, "hidden_size": 64.0}, indent=1),
        ":4:2: ",
        "hidden_size: 64.0 is not a whole number",
    ),
    "unknown_type.json": (
        json.dumps({**LLAMA, "model_type": "lama"}, indent=1),
        ":2:2: ",
        "model_type 'lama' is not understood",
    ),
    "emoji.json": (
        json.dumps({"_name_or_path": "\N{ROCKET}", **LLAMA, "hidden_size": "wide"}, indent=1),
        ":5:2: ",
        "hidden_size: 'wide' is not a whole number",
    ),
    "two_objects.json": (f"{json.dumps(LLAMA)}\n{json.dumps(LLAMA)}\n", ":2:1: ", ""),
    "trailing.json": (f"{json.dumps(LLAMA)}\nand more\n", ":2:1: ", ""),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config_is_refused_at_its_place(name: str, tmp_path: Path) -> None:
    content, place, part = FILES[name]
    path = write(tmp_path, name, content)
    assert_refused(quickly("compare", path), f"kvcalc: {path}{place}", part)


@pytest.mark.parametrize("name", ["nested.yaml", "nested_maps.json", "values.yaml"])
def test_a_bomb_is_refused_in_a_process_with_little_memory(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, FILES[name][0])
    assert_refused(kvcalc("compare", path), path, FILES[name][2])


def test_flow_documents_after_the_first_are_read_and_not_dropped(tmp_path: Path) -> None:
    flow = "{" + ", ".join(NATIVE.splitlines()) + "}\n"
    path = write(tmp_path, "two.yaml", f"{flow}---\n{flow.replace('name: bad', 'name: worse')}")
    result = quickly("compare", path, "--format", "json")
    assert [row["model"] for row in json.loads(result.out)] == ["bad", "worse"]


def test_a_run_of_layers_cannot_explode(tmp_path: Path) -> None:
    bomb = f"{NATIVE}layers: {{a: {{}}}}\nlayer_types: [{'a x99999, ' * 2000}]\n"
    path = write(tmp_path, "bomb.yaml", bomb)
    assert_refused(kvcalc("compare", path, timeout=5), f"{path}:11:")


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
@pytest.mark.parametrize("layers", [10_001, 10**9, 10**25])
def test_a_hugging_face_config_cannot_have_any_number_of_layers(model_type: str, layers: int, tmp_path: Path) -> None:
    config = {**LLAMA, "model_type": model_type, "num_hidden_layers": layers}
    path = write(tmp_path, "deep.json", json.dumps(config, indent=1))
    result = kvcalc("compare", path, timeout=5)
    assert_refused(result, f"{path}:5:2: num_hidden_layers: {layers} is too large", "at most 10000")


def test_many_unknown_fields_of_a_json_are_one_message_soon(tmp_path: Path) -> None:
    path = write(tmp_path, "many.json", json.dumps({**{f"key{i}": i for i in range(2000)}, "hidden_size": 64}))
    assert_refused(kvcalc("compare", path, timeout=5), f"{path}:1:2: ", "unknown field 'key0'")


def test_many_unknown_keys_of_a_hugging_face_config_cost_no_time(tmp_path: Path) -> None:
    path = write(tmp_path, "many.json", json.dumps({**LLAMA, **{f"k{i}": 1 for i in range(30_000)}}))
    assert kvcalc("compare", path, "--format", "json", timeout=5).code in (0, 2)


def test_a_long_quantisation_list_costs_no_time(tmp_path: Path) -> None:
    """Published configs list every module that is left alone; places are wanted for errors only."""
    ignored = {"ignore": [f"model.{i}" for i in range(30_000)]}
    path = write(tmp_path, "config.json", json.dumps({**LLAMA, "quantization_config": ignored}))
    assert kvcalc("compare", path, "--format", "json", timeout=5).code == 0


# ------------------------------------------------------------- names and paths


@pytest.mark.parametrize(
    "source, parts",
    [
        ("deepseek-v9", ("unknown model 'deepseek-v9'", "did you mean deepseek-v")),
        ("lama-3.1-8b", ("unknown model 'lama-3.1-8b'", "did you mean llama-3.1-8b")),
        ("qqqqqq", ("unknown model 'qqqqqq'", "kvcalc list")),
        ("", ("unknown model ''",)),
        ("nowhere.yaml", ("nowhere.yaml: ", "No such file")),
        ("./nowhere", ("./nowhere: ", "No such file")),
        ("x" * 300 + ".yaml", ("cannot be read: File name too long",)),
    ],
)
def test_an_unknown_model_is_answered_with_the_nearest_names(source: str, parts: tuple[str, ...]) -> None:
    assert_refused(quickly("compare", source), *parts)


@pytest.mark.parametrize("name", ["models", "models.yaml"])
def test_a_directory_is_no_config(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert_refused(quickly("compare", name), name, "directory")
    assert_refused(quickly("compare", str(tmp_path / name)), str(tmp_path / name), "directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, "secret.yaml", NATIVE)
    os.chmod(path, 0)
    assert_refused(quickly("compare", path), path, "Permission denied")


@pytest.mark.parametrize(
    "stdin, place, part",
    [
        (b"", "<stdin>:1:1: ", "an empty file"),
        (b"\xff\xfe", "<stdin>:1:1: ", "not UTF-8"),
        (b"name: \0", "<stdin>:1:7: ", "a binary file"),
        (b"# " * MAX_BYTES, "<stdin>: ", "larger than"),
        (NATIVE.replace("64", "0").encode(), "<stdin>:3:1: ", "hidden_size: 0 is too small"),
    ],
)
def test_bad_standard_input_is_called_stdin(stdin: bytes, place: str, part: str) -> None:
    assert_refused(kvcalc("compare", "-", stdin=stdin), place, part)


@pytest.mark.parametrize("command", ["compare", "show", "explain", "list"])
@pytest.mark.parametrize("target", ["missing/out.json", ".", "file.txt/out.json", ""])
def test_an_output_that_cannot_be_written(command: str, target: str, tmp_path: Path) -> None:
    write(tmp_path, "file.txt", UNTOUCHED)
    path = str(tmp_path / target) if target else ""
    model = [] if command == "list" else ["llama-2-7b"]
    assert_refused(quickly(command, *model, "-q", "-o", path), "cannot be written: ", path)
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_is_one_message() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kvcalc", "list"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert_refused(Result(done.returncode, "", done.stderr.decode()), "No space left on device")


# ----------------------------------------------------------------- the options

OPTIONS: list[tuple[str, tuple[str, ...]]] = [
    ("--context 0", ("--context: '0' is not a number of tokens", "32768, 32k")),
    ("--context -5", ("--context: '-5' is not a number of tokens",)),
    ("--context 1e6", ("--context: '1e6' is not a number of tokens",)),
    ("--context 32.5k", ("--context: '32.5k' is not a number of tokens",)),
    ("--context 32g", ("--context: '32g' is not a number of tokens",)),
    ("--context k", ("--context: 'k' is not a number of tokens",)),
    ("--context 9999999999999m", ("--context: ", "from 1 to 1,000,000,000,000")),
    ("--context=", ("--context: '' is not a number of tokens",)),
    ("--prompt=", ("--prompt: '' is not a number of tokens",)),
    ("--generate=", ("--generate: '' is not a number of tokens",)),
    ("--shared-prefix=", ("--shared-prefix: '' is not a number of tokens",)),
    ("--prompt 1k --cached=", ("--cached: '' is not a number of tokens",)),
    ("--dtype=", ("--dtype: unknown dtype ''",)),
    ("--dtype-k=", ("--dtype-k: unknown dtype ''",)),
    ("--dtype-v=", ("--dtype-v: unknown dtype ''",)),
    ("--prompt 0", ("--prompt: '0' is not a number of tokens",)),
    ("--generate 0", ("--generate: '0' is not a number of tokens",)),
    ("--context 2k --prompt 1k", ("--context 2048 is not --cached 0 + --prompt 1024 = 1024", "leave --context out")),
    ("--context 2k --prompt 1k --cached 2k", ("--context 2048 is not --cached 2048 + --prompt 1024 = 3072",)),
    ("--cached 1k", ("--cached needs --prompt",)),
    ("--cached 1k --context 1k", ("--cached 1024 leaves no new token in --context 1024",)),
    ("--cached 1k --prompt 1k --kv-cache off", ("--cached makes no sense with --kv-cache off",)),
    ("--shared-prefix 1k --context 1k", ("--shared-prefix 1024 is not shorter than the context, 1024 tokens",)),
    ("--shared-prefix 2k --context 1k", ("--shared-prefix 2048 is not shorter than the context, 1024 tokens",)),
    ("--shared-prefix 64k", ("--shared-prefix 65536 is not shorter than the context, 1024 tokens",)),
    ("--shared-prefix 512 --kv-cache off", ("--shared-prefix", "makes no sense with --kv-cache off")),
    ("--dtype fp17", ("--dtype: unknown dtype 'fp17'", "did you mean fp16")),
    ("--dtype q4_k", ("--dtype: unknown dtype 'q4_k'", "known: fp64 fp32")),
    ("--dtype-k itn8", ("--dtype-k: unknown dtype 'itn8'", "did you mean int8")),
    ("--dtype-v 8", ("--dtype-v: unknown dtype '8'",)),
    ("--weight-dtype bf17", ("--weight-dtype: unknown dtype 'bf17'", "did you mean bf16")),
    ("--variants=", ("--variants names no variant", "mha, gqa-8")),
    ("--variants ,", ("--variants names no variant",)),
    ("--variants gqa", ("--variants: unknown variant 'gqa'", "did you mean gqa-8")),
    ("--variants gqa-0", ("--variants: unknown variant 'gqa-0'",)),
    ("--variants gqa--4", ("--variants: unknown variant 'gqa--4'",)),
    ("--variants gqa-4\N{FULLWIDTH DIGIT SIX}", ("--variants: unknown variant",)),
    ("--variants mla-512", ("--variants: unknown variant 'mla-512'", "did you mean mla-512+64")),
    ("--variants swa-0", ("--variants: unknown variant 'swa-0'", "did you mean swa-4096")),
    ("--variants mha,gqx-4", ("--variants: unknown variant 'gqx-4'",)),
    ("--variants mha,none", ("--variants: ", "none")),
]


@pytest.mark.parametrize("options, parts", OPTIONS)
def test_options_that_make_no_sense(options: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    assert_refused(quickly("compare", "gpt2", "-o", str(tmp_path / "out.csv"), *options.split(" ")), *parts)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ("compare gpt2 --contxt 4k", ("No such option: --contxt", "--context")),
        ("compare gpt2 --qiet", ("No such option: --qiet", "--quiet")),
        ("compare gpt2 --batch 0", ("--batch", "0 is not in the range")),
        ("compare gpt2 --batch two", ("--batch", "'two' is not")),
        ("compare gpt2 --format xml", ("--format", "'xml' is not one of 'table', 'json'")),
        ("compare gpt2 --kv-cache maybe", ("--kv-cache", "'maybe' is not one of 'on', 'off'")),
        ("compare gpt2 --color red", ("--color", "'red' is not one of 'auto', 'always', 'never'")),
        ("compare gpt2 --context", ("--context", "requires an argument")),
        ("compare", ("Missing argument 'MODEL...'",)),
        ("show gpt2 llama-2-7b", ("unexpected extra argument",)),
        ("compar gpt2", ("No such command 'compar'", "Did you mean", "compare")),
        ("lst", ("No such command 'lst'", "Did you mean", "list")),
        ("--verson", ("No such option: --verson", "--version")),
    ],
)
def test_usage_errors_say_what_was_meant(arguments: str, parts: tuple[str, ...]) -> None:
    result = quickly(*arguments.split(" "))
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
    assert result.err.count("Error: ") == 1
    for part in parts:
        assert part in result.err


def test_an_unknown_quantity_is_answered_with_the_nearest() -> None:
    assert_refused(quickly("explain", "gpt2", "cache_byts", "-q"), "'cache_byts'", "did you mean cache_bytes")


# --------------------------------------------------------------- extreme, legal


@pytest.mark.parametrize("command", ["compare", "show", "explain"])
@pytest.mark.parametrize("bits", [60, 250, 500, 1000])
def test_huge_but_legal_formulas_are_answered_or_refused(command: str, bits: int, tmp_path: Path) -> None:
    attention = {
        "kind": "custom",
        "name": "mine",
        "symbols": {"two": 2},
        "elements_per_token": f"two**{bits // 2} * two**{bits // 2}",
        "work_per_pair": f"two**{bits // 2} * two**{bits // 2}",
        "work_per_token": "0",
        "parameters": "0",
    }
    path = write(tmp_path, "huge.yaml", yaml.safe_dump({**yaml.safe_load(NATIVE), "attention": attention}))
    models = ["gpt2", path] if command == "compare" else [path]
    for workload in ([], ["--context", "1000000000000", "--batch", "1000000000"]):
        result = quickly(command, *models, *workload)
        assert result.code in (0, 2)


def test_a_formula_of_nothing_is_answered(tmp_path: Path) -> None:
    attention = {"kind": "custom", "name": "none", "symbols": {}, "elements_per_token": "0", "work_per_pair": "0"}
    whole = {**yaml.safe_load(NATIVE), "attention": {**attention, "work_per_token": "0", "parameters": "0"}}
    row = json.loads(quickly("compare", write(tmp_path, "none.yaml", yaml.safe_dump(whole)), "-f", "json").out)[0]
    assert (row["cache_bytes"], row["cache_ratio"], row["decode_intensity"]) == (0, None, None)


# -------------------------------------------------------------------- any input

FUZZ = settings(
    derandomize=True, deadline=None, max_examples=250, database=None, suppress_health_check=[HealthCheck.too_slow]
)
WORDS = ["", "x", "1e6", "017", "yes", "=1", "full_attention", "sliding x3", "2**9", "dense", "mla", "\x07"]
SIZES = [0, 1, 2, 3, 7, -1, 10**4, 10**5, 1.5, float("inf"), float("nan"), None, True, False]
LISTS: list[Any] = [[], {}, [[]], [1], ["x"], [None], {"kind": "heads"}, {"x": 1}, [True] * 4, ["full_attention"] * 4]
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([*SIZES, *WORDS, *LISTS]), st.integers(-10, 300), st.text(max_size=8)
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "model.yaml"


def refusal(read: Callable[[], object]) -> Exception | None:
    """Return what reading raised, if it did."""
    try:
        read()
    except Exception as error:
        return error
    return None


def assert_read_or_refused(path: Path, content: bytes) -> None:
    """Either models or an error with its file; any other exception is a bug."""
    path.write_bytes(content)
    found: list[ModelSpec] = []
    error = refusal(lambda: found.extend(load(str(path))))
    if error is None:
        assert found
        assert all(isinstance(spec, ModelSpec) for spec in found)
    else:
        assert isinstance(error, KvcalcError), repr(error)
        assert str(error).startswith(f"{path}:")


@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode())))
@FUZZ
def test_arbitrary_bytes_are_read_or_refused(scratch: Path, content: bytes) -> None:
    assert_read_or_refused(scratch, content)


@given(text=st.text(alphabet="{}[]:,-&*!|>'\"%#?~<=.@ \n\tab01e_", max_size=60))
@FUZZ
def test_arbitrary_yaml_is_read_or_refused(scratch: Path, text: str) -> None:
    assert_read_or_refused(scratch, text.encode())
    assert_read_or_refused(scratch, f"{NATIVE}{text}".encode())


def places(data: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every key of a document."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in inner for found in ((*place, key), *places(value, (*place, key)))]


def mutated(data: Any, place: tuple[str | int, ...], change: str, junk: Any) -> Any:
    """Return a copy with one value or key replaced or deleted."""
    copy = json.loads(json.dumps(data))
    parent = copy
    for step in place[:-1]:
        parent = parent[step]
    last = place[-1]
    if change == "value" or (change == "key" and isinstance(parent, list)):
        parent[last] = junk
    elif change == "key":
        parent[f"{last}s" if junk is None else str(junk)] = parent.pop(last)
    else:
        del parent[last]
    return copy


def duplicated(lines: list[str], at: int) -> str:
    return "\n".join([*lines[: at + 1], *lines[at:]])


def assert_mutant_read_or_refused(scratch: Path, document: Any, data: st.DataObject, as_json: bool) -> None:
    dump: Callable[[Any], str] = (lambda value: json.dumps(value, indent=1)) if as_json else yaml.safe_dump
    change = data.draw(st.sampled_from(["value", "value", "key", "deletion", "duplicate"]))
    if change == "duplicate":
        lines = dump(document).splitlines()
        text = duplicated(lines, data.draw(st.integers(0, len(lines) - 1)))
    else:
        place = data.draw(st.sampled_from(places(document)))
        text = dump(mutated(document, place, change, data.draw(JUNK)))
    assert_read_or_refused(scratch, text.encode("utf-8", "surrogatepass"))


@cache
def bundled_config(name: str) -> Any:
    with open(bundle.config_path(name), encoding="utf-8") as file:
        return yaml.safe_load(file)


@given(name=st.sampled_from(bundle.names()), data=st.data(), as_json=st.booleans())
@FUZZ
def test_mutated_bundled_configs_are_read_or_refused(
    scratch: Path, name: str, data: st.DataObject, as_json: bool
) -> None:
    assert_mutant_read_or_refused(scratch, bundled_config(name), data, as_json)


def published(model_type: str) -> dict[str, Any]:
    """A Hugging Face config of this type in which every default is written out."""
    inner = FAMILIES[model_type].text_config
    if inner:
        return {"model_type": model_type, "tie_word_embeddings": True, "text_config": published(inner)}
    defaults = library_facts()["types"][model_type]["defaults"]
    return {"model_type": model_type, "quantization_config": {"bits": 4}, **defaults, "hidden_size": 64}


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_every_family_is_read_with_its_defaults_written_out_or_refused(scratch: Path, model_type: str) -> None:
    assert_read_or_refused(scratch, json.dumps(published(model_type)).encode())


NUMBERS: tuple[Any, ...] = (None, True, -1, 0, 3, 0.5, "x", [], [0], {}, 10**15, 10**25)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_any_key_of_a_family_may_hold_anything(model_type: str) -> None:
    """Each key alone gets each value; a refusal names the file and the place."""
    whole, wrong = published(model_type), []
    for place in places(whole):
        for value in NUMBERS[:-2] if place[-1] == "num_hidden_layers" else NUMBERS:
            document = Document("config.json", mutated(whole, place, "value", value), dict)
            error = refusal(partial(lambda given: read_native(to_native(given, "test")[0]), document))
            if error is not None and not isinstance(error, ConfigError):
                wrong.append(f"{place} = {value!r}: {error!r}")
    assert not wrong


@given(model_type=st.sampled_from(sorted(FAMILIES)), data=st.data(), as_json=st.booleans())
@FUZZ
def test_mutated_hugging_face_configs_are_read_or_refused(
    scratch: Path, model_type: str, data: st.DataObject, as_json: bool
) -> None:
    assert_mutant_read_or_refused(scratch, published(model_type), data, as_json)


@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    ascii_only=st.booleans(),
)
@FUZZ
def test_a_key_that_is_not_read_changes_no_hugging_face_model(scratch: Path, value: Any, ascii_only: bool) -> None:
    """Whatever a published config.json carries beside its shape: JSON is JSON."""
    scratch.write_text(json.dumps(LLAMA))
    plain = load(str(scratch))
    scratch.write_text(json.dumps({"zzzzzz": value, **LLAMA}, ensure_ascii=ascii_only), encoding="utf-8")
    assert load(str(scratch)) == plain
