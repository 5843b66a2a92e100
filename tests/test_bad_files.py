"""Bad files: one message with its place, what is wrong and what would be right; nothing written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml  # noqa: TID253  # a test, not a start

from kvcalc.readers.text import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path
from refusals import BAD, LLAMA, NATIVE, UNTOUCHED, Result, assert_refused, kvcalc, quickly, write

# ---------- bad/*.yaml


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


# ---------- files that are none


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
    "nested.yaml": ("[" * 100_000, ":1:", "nested more than 20 levels deep"),
    "nested_maps.yaml": ("{a: " * 100_000, ":1:", "nested more than 20 levels deep"),
    "nested_blocks.yaml": ("- " * 100_000, ":1:41: ", "nested more than 20 levels deep"),
    "nested_value.yaml": (changed("64", "[" * 100_000), ":3:", "nested more than 20 levels deep"),
    "nested.json": ("[" * 100_000, ":1:", "nested more than 20 levels deep"),
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


# ---------- names and paths


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


# ---------- extreme, legal


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
