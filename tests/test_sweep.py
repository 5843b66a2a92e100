"""A sweep: every row is the row that `compare` prints, with arrays and without, in order and in bounded memory."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from builders import model
from kvcalc.attention.custom import Custom
from kvcalc.attention.reach import Window
from kvcalc.grid import parse_grid
from kvcalc.rows import blocks_of
from kvcalc.sweeping import _evaluate_arrays, evaluate_each
from screens import KVCALC, at_terminal, environment, peak_kib
from screens import kvcalc as run
from test_laws import MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from kvcalc.model import ModelSpec
    from kvcalc.rows import Row

needs_numpy = pytest.mark.skipif(_evaluate_arrays() is None, reason="numpy is not installed")
WITHOUT_NUMPY = "import sys; sys.modules['numpy'] = None; from kvcalc.cli.start import main; main()"
VARIED = [
    {},
    {"cached": "0,100", "context": "1k:8k:x2"},
    {"prompt": "1,500", "cached": "0,3k"},
    {"generate": "1,1000", "context": "4000:4200:100"},
    {"shared_prefix": "512", "batch": "1,3", "context": "600,5k"},
    {"shared_prefix": "100,900", "cached": "512", "context": "1k,5k", "batch": "2"},
    {"kv_cache": "on,off", "context": "100,4097"},
    {"dtype": "bf16,fp8,int3", "dtype_k": "int8", "weight_dtype": "int4,bf16", "context": "33"},
    {"mla_decode": "absorbed,naive", "mla_prefill": "naive,absorbed", "context": "100,1m"},
]
NAMES = [
    "llama-3.1-8b",
    "gemma-3-27b",
    "deepseek-v3",
    "llama-4-scout-17b-16e",
    "gpt-oss-20b",
    "gpt2",
    "mixtral-8x7b-v0.1",
]


def compared(specs: list[ModelSpec], grid: kvcalc.Grid, variants: str) -> list[Row]:
    """The same rows, one `compare` at a time, in the order of a sweep."""
    wanted = kvcalc.parse_variants(variants)
    at = [kvcalc.compare(specs, request, wanted).rows() for request in grid.requests()]
    return [rows[row] for row in range(len(at[0])) for rows in at]


def plain(sweep: kvcalc.Sweep, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Its rows without numpy."""
    with monkeypatch.context() as patch:
        patch.setattr("kvcalc.sweeping._evaluate_arrays", lambda: None)
        return list(sweep.rows())


@pytest.mark.parametrize("options", VARIED, ids=str)
@pytest.mark.parametrize("variants", ["none", "mqa,mla-64+16,swa-1024"])
def test_a_row_is_what_compare_prints(options: dict[str, str], variants: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = parse_grid(options)
    for name in NAMES:
        specs = [kvcalc.load(name)]
        sweep = kvcalc.sweep(specs, grid, kvcalc.parse_variants(variants))
        rows = list(sweep.rows())
        assert rows == compared(specs, grid, variants)
        assert len(rows) == sweep.length
        assert rows == plain(sweep, monkeypatch)
        assert [list(row) for row in rows] == [list(kvcalc.KEYS)] * len(rows)
        assert not [value for row in rows for value in row.values() if type(value) not in (int, float, str, type(None))]


@pytest.mark.parametrize("options", [{}, {"context": "1k,8k", "batch": "1,2"}], ids=str)
def test_ratios_among_several_models_are_to_the_first(options: dict[str, str]) -> None:
    specs = [kvcalc.load(name) for name in ("gpt2", "gemma-3-27b", "deepseek-v2")]
    grid = parse_grid(options)
    sweep = kvcalc.sweep(specs, grid, kvcalc.parse_variants("mqa"))
    rows = list(sweep.rows())
    assert rows == compared(specs, grid, "mqa")
    assert any("contexts differ" in note for note in sweep.notes) == (not options)


@needs_numpy
@settings(max_examples=150)
@given(
    MODELS,
    st.lists(st.one_of(st.integers(1, 300), st.integers(1, 10**12)), min_size=1, max_size=4),
    st.lists(st.one_of(st.integers(1, 9), st.integers(1, 10**9)), min_size=1, max_size=3),
    st.integers(0, 3),
    st.booleans(),
)
def test_arrays_give_the_integers_of_plain_python(
    spec: ModelSpec, contexts: list[int], batches: list[int], generate: int, cache: bool
) -> None:
    """Far beyond 64 bits as well."""
    workload = kvcalc.Workload(0, generate_tokens=generate, kv_cache=cache, dtype="int3")
    quantities = kvcalc.analysis.formulas(spec, workload)
    arrays = _evaluate_arrays()
    assert arrays is not None
    evaluate, _ = arrays
    scope = workload.scope()
    got, want = evaluate(quantities, scope, contexts, batches), evaluate_each(quantities, scope, contexts, batches)
    rows = len(contexts) * len(batches)

    def spread(told: int | list[int]) -> list[int]:
        return told if isinstance(told, list) else [told] * rows

    assert {key: spread(told) for key, told in got.items()} == {key: spread(told) for key, told in want.items()}
    assert all(type(number) is int for told in got.values() for number in spread(told))


@needs_numpy
def test_a_sum_of_known_numbers_beyond_64_bits() -> None:
    """2 * n_h * d_h pairs each way: 4 * 8 * 128 * n(n + 1)/2 a layer, for a batch of 10^9 at 10^12 tokens."""
    spec = model(kvcalc.load("llama-3.1-8b").groups[0].layer.branches[0])
    (row,) = kvcalc.sweep([spec], parse_grid({"context": "1000000000000", "batch": "1000000000"})).rows()
    n = 10**12
    assert row["prefill_core_flops"] == 10**9 * 4 * 32 * 128 * (n * (n + 1) // 2)


@needs_numpy
@given(st.integers(2, 2**40), st.integers(1, 50), st.integers(0, 2**20))
def test_a_custom_formula_as_well(n: int, r: int, d: int) -> None:
    memory = Custom("2*r*(d + n_h)", "isqrt(r**3)", "d % 7 + r", "ceil_div(d, r)", (("r", r), ("n_h", d)))
    spec = model(memory, reach=Window(r))
    grid = parse_grid({"context": f"1,{n}", "batch": "1,7"})
    assert list(kvcalc.sweep([spec], grid).rows()) == compared([spec], grid, "none")


def test_rows_come_in_the_order_of_models_variants_settings_contexts_and_batches() -> None:
    swept = run("sweep gpt2 opt-125m --variants mqa --dtype fp8,bf16 --context 8,4 --batch 2,1 -f csv -q").out
    rows = list(csv.DictReader(io.StringIO(swept)))
    told = [tuple(row[key] for key in ("model", "variant", "cache_dtype", "context_tokens", "batch")) for row in rows]
    assert told == [
        (name, variant, dtype, n, b)
        for name in ("gpt2", "opt-125m")
        for variant in ("configured", "mqa")
        for dtype in ("fp8", "bf16")
        for n in ("8", "4")
        for b in ("2", "1")
    ]


def test_no_variants_by_default_and_range_ends_included() -> None:
    rows = json.loads(run("sweep gpt2 --context 100:1000:x3 -f json").out)
    assert [row["context_tokens"] for row in rows] == [100, 300, 900, 1000]
    assert {row["variant"] for row in rows} == {"configured"}


def test_a_warning_once_a_model() -> None:
    told = run("sweep gpt2 mistral-7b-v0.1 --context 1k:1m:x2 --dtype bf16,fp8 -f csv").err.splitlines()
    assert [line for line in told if line.startswith("warning")] == [
        "warning: gpt2: 1,048,576 tokens are beyond its max_position_embeddings, 1,024",
        "warning: mistral-7b-v0.1: 1,048,576 tokens are beyond its max_position_embeddings, 32,768",
    ]


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv", "tsv"])
def test_every_format_has_the_rows_of_compare(format_: str) -> None:
    line = "llama-3.1-8b --variants mqa --context 4k -f"
    assert run(f"sweep {line} {format_}").out == run(f"compare {line} {format_}").out


def test_without_numpy_the_same_bytes_and_a_note_where_it_takes_long(tmp_path: Path) -> None:
    line = ["sweep", "gemma-3-27b", "deepseek-v3", "--context", "1k:256k:x2", "--batch", "1,1000000", "-f", "csv"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMPY, *line], capture_output=True, text=True, check=True)
    assert done.stdout == run(" ".join(line)).out
    assert "numpy" not in done.stderr
    long = kvcalc.sweep([kvcalc.load("gpt2")], parse_grid({"context": "1:30000:1"}))
    assert any("kvcalc[fast]" in note for note in long.notes) == (_evaluate_arrays() is None)


def test_rows_stream() -> None:
    """The first of a thousand million rows is there at once."""
    start = time.perf_counter()
    sweep = kvcalc.sweep([kvcalc.load("gpt2")], parse_grid({"context": "1:1000000:1", "batch": "1:1000:1"}))
    assert sweep.length == 10**9
    assert [row["batch"] for row in islice(sweep.rows(), 3)] == [1, 2, 3]
    assert time.perf_counter() - start < 60  # all of them would take an hour


@needs_numpy
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_hundred_thousand_rows_in_little_memory(tmp_path: Path) -> None:
    program = "from kvcalc.cli.app import run\ntry: run()\nexcept SystemExit: pass"
    line = ["sweep", "llama-3.1-8b", "--context", "1:100000:1", "-q", "-o", str(tmp_path / "rows.csv")]
    assert peak_kib(program, *line) < 300_000, "KiB at the peak; the file has 35 MB"
    with open(tmp_path / "rows.csv", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert last["context_tokens"] == "100000"
    assert int(last["cache_bytes"]) == 131072 * 100_000


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--context 8k:1k:x2", "ends before it starts"),
        ("--context 1k,8k --prompt 1k", "--context 8192 is not"),
        ("--context 1k --prompt 1k,2k", "--context 1024 is not --cached 0 + --prompt 2048 = 2048"),
        ("--context 1k,8k --cached 4k", "--cached 4096 leaves no new token in --context 1024"),
        ("--cached 4k", "--cached needs --prompt"),
        ("--context 1k,8k --shared-prefix 4k", "not shorter than the context, 1024"),
        ("--batch 0", "--batch: '0' is not a number of sequences from 1"),
        ("--batch 1:x2", "is no range"),
        ("--dtype bf16,fp17", "did you mean fp16"),
        ("--kv-cache on,of", "--kv-cache: unknown word 'of'"),
        ("--mla-decode both", "one of absorbed, naive"),
        ("--context 1:3000:1", "3,000 rows are too many for a table"),
        ("--context 1:1000000000:1", "more than 1,000,000 sizes"),
        (
            "--prompt 1k --cached 1:1000000:1 --generate 1:9:1",
            "--cached: the combinations of all options",
        ),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(line: str, told: str) -> None:
    result = run(f"sweep mistral-7b-v0.1 {line}")
    assert (result.code, result.out) == (2, "")
    assert told in result.err


def test_a_table_shows_what_varies_and_names_the_rest() -> None:
    line = "sweep llama-3.1-8b --context 1k,8k --dtype bf16,fp8 -q"
    title, *lines = at_terminal(line, 80, NO_COLOR="1").splitlines()
    assert title == "llama-3.1-8b, batch 1"
    assert lines[-5].split()[:3] == ["context", "cache", "dtype"]
    assert [cells.split()[:2] for cells in lines[-4:]] == [[n, d] for d in ("bf16", "fp8") for n in ("1,024", "8,192")]
    assert max(map(len, lines)) <= 80
    assert "FLOPs/B" in at_terminal(line, 200, NO_COLOR="1")


@pytest.mark.parametrize(
    "options, told",
    [
        ("--generate 1k --context 8k,16k", "llama-3.1-8b, answer 1,024 tokens, batch 1, cache bf16"),
        ("--generate 1k,2k --context 8k", "llama-3.1-8b, context 8,192 tokens, batch 1, cache bf16"),
        ("--cached 100 --prompt 1,2", "llama-3.1-8b, 100 cached, batch 1, cache bf16"),
        ("--shared-prefix 1k --batch 2,4", "context 32,768 tokens, cache bf16, shared prefix 1,024 tokens"),
        ("--kv-cache off --context 8k,16k", "llama-3.1-8b, batch 1, cache bf16, no KV cache"),
    ],
)
def test_a_table_hides_nothing_unusual_that_was_asked(options: str, told: str) -> None:
    assert at_terminal(f"sweep llama-3.1-8b {options}", 80, NO_COLOR="1").splitlines()[0].endswith(told)


def test_a_bar_on_a_terminal_alone(tmp_path: Path) -> None:
    """On stderr, where the rows go to a file; never where it would stand among them."""
    line = ["sweep", "gpt2", "--context", "1:1000:1", "--batch", "1:60:1", "-o", str(tmp_path / "rows.csv")]
    if _evaluate_arrays() is None:
        pytest.skip("numpy is not installed")
    assert "60000/60000" in _stderr_at_terminal(line)
    assert _stderr_at_terminal([*line, "--quiet"]) == ""
    piped = subprocess.run([*KVCALC, *line], capture_output=True, text=True, env=environment(), check=True)
    assert "60000" not in piped.stderr


def test_a_kill_leaves_nothing_half_written(tmp_path: Path) -> None:
    line = ["sweep", "gpt2", "--context", "1:1000000:1", "--batch", "1:10:1", "-q", "-o", str(tmp_path / "rows.csv")]
    process = subprocess.Popen([*KVCALC, *line], env=environment())
    while process.poll() is None and not os.listdir(tmp_path):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert os.listdir(tmp_path) == []


def _stderr_at_terminal(line: list[str]) -> str:
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen([*KVCALC, *line], stdout=subprocess.DEVNULL, stderr=follower, env=environment())
    os.close(follower)
    written = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(leader)
    assert process.wait(timeout=60) == 0
    return written.decode()


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES: st.SearchStrategy[Any] = st.one_of(
    TEXTS, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none()
)
RECORDS = st.lists(TEXTS, min_size=2, max_size=4, unique=True).flatmap(
    lambda keys: st.lists(
        st.tuples(*(VALUES for _ in keys)).map(lambda values: dict(zip(keys, values, strict=True))), min_size=1
    )
)


@given(RECORDS)
def test_writers_write_what_the_library_writes(records: list[dict[str, Any]]) -> None:
    from kvcalc.report.records import WRITERS

    blocks = blocks_of(records)
    assert "".join(WRITERS["jsonl"](blocks)) == "".join(json.dumps(record) + "\n" for record in records)
    assert json.loads("".join(WRITERS["json"](blocks))) == records
    for format_, delimiter in (("csv", ","), ("tsv", "\t")):
        told = "".join(WRITERS[format_](blocks))
        read = list(csv.reader(io.StringIO(told, newline=""), delimiter=delimiter))
        want = [["" if value is None else str(value) for value in record.values()] for record in records]
        assert read == [list(records[0]), *want]
