"""The doors of fuzz/ for a moment, the same bytes every time; and what must be refused at once, timed and weighed.

The long run is `python fuzz/run.py`: docs/reliability.md has its counts. What it found stands in FOUND.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # noqa: TID253  # a test, not a start
from doors import doors
from mutations import Mutator

from kvcalc.analysis import analyze
from kvcalc.errors import FormulaError, KvcalcError
from kvcalc.formula import MAX_BITS, parse
from kvcalc.grid import MAX_SETTINGS, MAX_SIZES, parse_grid
from kvcalc.readers.baseline import diff_baseline
from kvcalc.readers.load import load_all
from kvcalc.workload import Workload
from refusals import LLAMA, NATIVE, quickly
from strategies import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("gguf")
TIMES = {  # 4 seconds in all
    "yaml": 60,
    "config.json": 60,
    "gguf": 300,
    "budget": 150,
    "hardware": 150,
    "baseline": 40,
    "hub": 60,
    "formula": 2000,
    "sizes": 500,
    "grid": 500,
    "words": 1000,
    "command": 8,
    "valid": 20,
}


@pytest.mark.parametrize("name", TIMES)
def test_every_door_reads_or_refuses(name: str, tmp_path: Path) -> None:
    """Whatever else an error than KvcalcError is raised as fails here with its bytes."""
    door = doors(str(tmp_path))[name]
    mutator = Mutator(0, door.corpus(), door.words())
    for _ in range(TIMES[name]):
        door.enter(mutator.next())


# ---------- what was found: each hung, crashed, took gigabytes or wrote a message of half a megabyte

SECONDS = 1.0  # of the processor, which other work on the machine does not take
FP8 = {"quant_method": "fp8"}


def native(**more: Any) -> str:
    return json.dumps({**yaml.safe_load(NATIVE), **more})


def custom(formula: str) -> str:
    zero = dict.fromkeys(("work_per_pair", "work_per_token", "parameters"), "0")
    return native(attention={"kind": "custom", "name": "c", "symbols": {}, "elements_per_token": formula, **zero})


def kinds(number: int) -> str:
    names = [f"k{at}" for at in range(number)]
    return native(num_hidden_layers=number, layers={name: {} for name in names}, layer_types=names)


def differing(number: int) -> str:
    layers = {f"k{at}": {"sliding_window": at + 1} for at in range(number)}
    return native(num_hidden_layers=number, layers=layers, layer_types=list(layers))


def fp8(patterns: list[str], layers: int = 4) -> str:
    weights = {**FP8, "modules_to_not_convert": patterns}
    return json.dumps({**LLAMA, "num_hidden_layers": layers, "quantization_config": weights})


FOUND: dict[str, tuple[Callable[[], str], str]] = {  # the text of a file, and how it is refused; '' where it is read
    "blanks_in_a_kind": (lambda: native(layers={"a": {}}, layer_types=["a" + " " * 200_000 + "b"]), "unknown kind"),
    "squares_of_squares": (lambda: custom("b%7 where b = 9**99, " + ", ".join(["b = b*b"] * 80)), "too large a number"),
    "a_tower": (lambda: custom("2**2**2**99"), "too large a number"),
    "kinds_by_the_thousand": (lambda: kinds(8_000), ""),
    "layers_that_all_differ": (lambda: differing(2_000), "more than 600"),
    "extras_by_the_thousand": (lambda: native(extras=[{"name": "e", "parameters": "d"}] * 5_000), "more than 600"),
    "a_long_kind": (lambda: native(layers={"a": {}}, layer_types=["a" * 400_000]), "unknown kind"),
    "a_long_name": (lambda: native(name="a" * 400_000), "name: 'aaa"),
    "a_long_model_type": (lambda: json.dumps({**LLAMA, "model_type": "a" * 400_000}), "model_type 'aaa"),
    "a_long_text_for_a_number": (lambda: json.dumps({**LLAMA, "hidden_size": "a" * 400_000}), "hidden_size: 'aaa"),
    "lists_by_the_million": (
        lambda: '{"model_type": "llama", "x": [' + "[[[[]]]]," * 500_000 + "[]]}",
        "500,000 values",
    ),
    "documents_by_the_thousand": (lambda: f"---\n{NATIVE}" * 15_000, "50,000 values"),
    "patterns_by_the_thousand": (lambda: fp8([f"*a{at}*b*" for at in range(20_000)]), ""),
    "patterns_in_many_layers": (lambda: fp8([f"*a{at}*b*" for at in range(1_000)], 10_000), ""),
    "a_long_pattern": (lambda: fp8(["*a" * 100_000]), ""),
    "a_long_module": (lambda: fp8(["layers." * 200_000, "a" * 400_000]), ""),
    "an_integer_of_thousands_of_digits": (lambda: json.dumps({**LLAMA, "hidden_size": 10**4_000}), "too large"),
    "no_number": (lambda: json.dumps({**LLAMA, "hidden_size": float("nan"), "vocab_size": float("inf")}), "nan"),
    "anchors": (lambda: "a: &a [x, x]\nb: &b [*a, *a]\n", "an anchor is not allowed"),
    "depth": (lambda: "{a: " * 9_000, "levels deep"),
    "depth_in_json": (lambda: '{"a": ' * 100_000, "levels deep"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_read_or_refused_at_once(name: str, tmp_path: Path) -> None:
    made, part = FOUND[name]
    path = tmp_path / "model.yaml"
    path.write_text(made())
    start, refusal = time.process_time(), None
    try:
        load_all(str(path))
    except KvcalcError as error:
        refusal = error
    assert time.process_time() - start < SECONDS
    assert (refusal is not None) is bool(part)
    assert part in str(refusal)
    assert len(str(refusal)) < 10_000


def test_blanks_in_a_comment_are_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(f"{NATIVE}# kvcalc: ignore{' ' * 50_000}(x\n")
    start = time.process_time()
    assert quickly("check", str(path)).code in (1, 2)
    assert time.process_time() - start < SECONDS


def test_a_row_of_no_context_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"model": "gpt2", "context_tokens": null}]')
    with pytest.raises(KvcalcError, match="has no model and context_tokens"):
        diff_baseline(str(path))
    path.write_text(f"[{'[],' * 400_000}[]]")
    with pytest.raises(KvcalcError, match="values"):
        diff_baseline(str(path))


def test_vllm_caches_nothing_of_a_model_without_attention() -> None:
    spec = read({**yaml.safe_load(NATIVE), "attention": None})
    with pytest.raises(KvcalcError, match="no layer of this model caches anything"):
        analyze(spec, Workload(9, engine="vllm"))


# ---------- the limits themselves


@pytest.mark.parametrize(
    "text",
    [
        "2**2**2**99",
        "9**9**9**9",
        "(2**99)**99",
        "b*b where a = 2**1000, b = a*a",
        "c where " + ", ".join(["c = 2**30", *["c = c*c"] * 60]),
        "*".join(["2**900"] * 120),
        "isqrt(" * 39 + "9" + ")" * 39 + "**999999",
        "min(2**2**30, 1)",
        "1//0 + 0**-1",
        "-" * 999 + "1",
        "(" * 500 + "1" + ")" * 500,
        "9" * 1000,
        "1" + "+1" * 499 + "x",
        "a" * 1001,
        "n where " + "n = n, " * 99 + "n = n",
    ],
)
def test_a_formula_is_bounded_in_size_depth_and_magnitude(text: str) -> None:
    """Refused in a moment and in little memory, however its numbers would grow."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(FormulaError):
            parse(text).evaluate({"n": 1 << MAX_BITS})
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.process_time() - start < 0.2
    assert peak < 5_000_000


def test_a_grid_is_bounded_before_it_is_made() -> None:
    start = time.process_time()
    for options in (
        {"context": f"1:{MAX_SIZES + 1}:1"},
        {"context": "1:1000000000000:1", "batch": "1:1000000000000:1"},
        {"prompt": "1", "cached": "1:100000:1", "generate": f"1:{MAX_SETTINGS}:1"},
    ):
        with pytest.raises(KvcalcError, match="more than"):
            parse_grid(options)
    assert time.process_time() - start < SECONDS
