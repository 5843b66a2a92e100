"""Laws of engines: nothing is under-counted, more is never less, waste adds up; and the command line that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from builders import heads, mla, model
from kvcalc.analysis import analyze
from kvcalc.attention.delta import GatedDelta
from kvcalc.attention.encoder import Encoder
from kvcalc.attention.index import Index
from kvcalc.attention.kda import Kda
from kvcalc.attention.mamba import Mamba1, Mamba2
from kvcalc.attention.reach import Chunk, Full, Window
from kvcalc.attention.rwkv import Rwkv4
from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError
from kvcalc.fitting import Place, fit
from kvcalc.model import Branch, ModelSpec
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from screens import at_terminal, piped, records

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = [engine for engine in ENGINES if engine not in ("paper", "transformers")]
OLD = ("vllm@0.20.0", "vllm@0.11.0")
HEADS = st.tuples(st.sampled_from((1, 2, 4, 8, 16)), st.sampled_from((64, 128))).map(lambda told: heads(16, *told))
SPANS = st.sampled_from((1, 7, 128, 1000, 4096))
REACHES = st.one_of(st.just(Full()), SPANS.map(Window), SPANS.map(Chunk))
ATTENDING = st.tuples(HEADS, REACHES).map(lambda told: Branch(*told))
LATENTS = st.just(Branch(mla(16, 512, 64, 128, 128), Full()))
STATES = st.sampled_from(
    (
        Branch(GatedDelta(8, 16, 64, 64, 4), Full()),
        Branch(Mamba2(16, 64, 128, 1, 4), Full()),
        Branch(Kda(16, 64, 4, 64), Full()),
    )
)
STORING = st.lists(ATTENDING, min_size=1, max_size=8) | st.lists(LATENTS, min_size=1, max_size=4)
MODELS = STORING.map(lambda branches: model(*branches))
HYBRIDS = st.tuples(HEADS.map(lambda memory: Branch(memory, Full())), STATES, STATES).map(lambda told: model(*told))
TOKENS = st.integers(1, 300_000)
BATCHES = st.integers(1, 9)
RANKS = st.sampled_from((1, 2, 4, 8))


def asked(engine: str, n: int, batch: int = 1, tp: int = 1) -> Workload:
    name, _, version = engine.partition("@")
    ranks = 1 if name in ("llamacpp", "transformers") else tp
    return Workload(n, engine=name, engine_version=version, batch=batch, tensor_parallel=ranks)


def number(spec: ModelSpec, load: Workload, key: str = "reserved_bytes") -> int:
    found = analyze(spec, load).value(key)
    assert found is not None
    return found


@pytest.mark.parametrize("engine", [*SERVERS, *OLD])
@given(spec=MODELS, n=TOKENS, batch=BATCHES, tp=RANKS)
@settings(max_examples=40)
def test_no_engine_reserves_less_than_the_paper_needs(
    engine: str, spec: ModelSpec, n: int, batch: int, tp: int
) -> None:
    """Of heads and latents in the paper's dtype, whatever their windows."""
    report = analyze(spec, asked(engine, n, batch, tp))
    told = [report.value(key) for key in ("paper_bytes", "held_bytes", "reserved_bytes")]
    paper, held, reserved = (value or 0 for value in told)
    assert paper <= held <= reserved
    ratio = report.ratio("waste_ratio")
    assert ratio is not None
    assert ratio >= 1


@pytest.mark.parametrize("engine", [*SERVERS, *OLD])
@given(spec=MODELS | HYBRIDS, n=TOKENS, more=TOKENS, batch=BATCHES, tp=RANKS)
@settings(max_examples=40)
def test_more_tokens_and_more_sequences_are_never_less(
    engine: str, spec: ModelSpec, n: int, more: int, batch: int, tp: int
) -> None:
    if engine == "vllm@0.11.0" and any(branch.label.startswith("KDA") for _, branch in spec.branches()):
        return  # refused: below
    few, longer = (number(spec, asked(engine, tokens, batch, tp)) for tokens in (n, n + more))
    wider = number(spec, asked(engine, n, batch + 1, tp))
    assert 0 < few <= longer
    assert few < wider


@pytest.mark.parametrize("engine", SERVERS)
@given(spec=MODELS | HYBRIDS, n=TOKENS, batch=BATCHES, tp=RANKS)
@settings(max_examples=40)
def test_waste_is_what_is_reserved_beyond_the_need(engine: str, spec: ModelSpec, n: int, batch: int, tp: int) -> None:
    report = analyze(spec, asked(engine, n, batch, tp))
    reserved, paper = (report.value(key) or 0 for key in ("reserved_bytes", "paper_bytes"))
    assert report.value("waste_bytes") == reserved - paper


@given(spec=MODELS, n=TOKENS, batch=BATCHES)
@settings(max_examples=40)
def test_a_batch_is_so_many_requests(spec: ModelSpec, n: int, batch: int) -> None:
    for engine in ("vllm", "sglang", "tensorrt-llm"):
        assert number(spec, asked(engine, n, batch)) == batch * number(spec, asked(engine, n))


def test_where_less_is_stored_than_the_paper_counts() -> None:
    """States in the model's bf16, index keys in fp8, an encoder's output in place of its keys and values."""
    hybrid = model(heads(16, 2, 128), GatedDelta(16, 32, 128, 128, 4), GatedDelta(16, 32, 128, 128, 4))
    loads = [Workload(1, engine="vllm", engine_options=(("enable_prefix_caching", word),)) for word in ("off", "on")]
    assert analyze(hybrid, loads[0]).value("waste_bytes") != analyze(hybrid, loads[1]).value("waste_bytes")
    indexed = model(Branch(mla(16, 512, 64, 128, 128), Full()), Branch(Index(4, 128), Full()))
    for engine in ("vllm", "sglang", "tensorrt-llm"):
        assert number(indexed, asked(engine, 64)) == 64 * (1152 + 132)
        assert number(indexed, asked(engine, 64), "paper_bytes") == 64 * (1152 + 256)
    assert number(indexed, asked("llamacpp", 256)) == 256 * (1152 + 256)
    crossed = model(heads(16, 16, 64), Branch(heads(16, 16, 64), Encoder()))
    load = asked("llamacpp", 256)._replace(encoder_tokens=100)
    assert number(crossed, load) < number(crossed, load, "paper_bytes")


@pytest.mark.parametrize("engine", SERVERS)
def test_layers_that_an_engine_has_not_are_refused_by_name(engine: str) -> None:
    for branch, told in (
        (Branch(Rwkv4(64, "relu"), Full()), "RWKV-4"),
        (Branch(heads(16, 2, 64), Window(8, dilation=2)), "GQA-2 SWA-8/2"),
        (Branch(Index(4, 128), Full()), "index-128"),
    ):
        with pytest.raises(KvcalcError, match=f"{engine}: how it stores {told} layers is not modelled"):
            analyze(model(heads(16, 2, 64), branch), Workload(9, engine=engine))


def test_old_versions_refuse_what_they_have_not() -> None:
    kda = model(heads(16, 2, 64), Kda(16, 64, 4, 64))
    with pytest.raises(KvcalcError, match=r"vllm@0.11.0: how it stores KDA-64 layers is not modelled"):
        analyze(kda, asked("vllm@0.11.0", 9))
    assert number(kda, asked("vllm@0.20.0", 9)) <= number(kda, asked("vllm", 9))
    cached = asked("vllm@0.20.0", 9)._replace(engine_options=(("enable_prefix_caching", "on"),))
    with pytest.raises(KvcalcError, match="with enable_prefix_caching: how it stores KDA-64 layers"):
        analyze(kda, cached)


def test_states_of_old_versions_derived_by_reading() -> None:
    """One block a request: 0.20 has no prefix cache for such models unless asked, and 0.11 none."""
    qwen, load = kvcalc.load("qwen3-next-80b-a3b"), asked("vllm@0.20.0", 32768)
    off = asked("vllm", 32768)._replace(engine_options=(("enable_prefix_caching", "off"),))
    assert number(qwen, load) == number(qwen, off) == number(qwen, asked("vllm@0.11.0", 32768))
    page = 544 * 2 * 2 * 256 * 2  # the least block of 16 tokens and more that a state fits into
    assert number(qwen, load) == 12 * page * (3 + -(-32768 // 544))
    drafted = load._replace(engine_options=(("num_speculative_tokens", "2"),))
    assert number(qwen, drafted) > number(qwen, load)
    alone = model(Mamba1(64, 16, 4, 4))
    (row,) = (one.row() for one in fit(alone, asked("vllm@0.20.0", 500), Place(budget=1 << 20), 500, 1))
    assert row["pool_tokens"] == 500 * int(str(row["num_blocks"]))


def test_index_keys_and_encoders_of_old_versions_derived_by_reading() -> None:
    """0.11 lays out latents beside an index as fp8_ds_mla unless told otherwise; an encoder's room is as of today."""
    sparse = kvcalc.load("deepseek-v3.2")
    assert number(sparse, asked("vllm@0.20.0", 32768)) == 61 * 32768 * (1152 + 132)
    assert number(sparse, asked("vllm@0.11.0", 32768)) == 61 * 32768 * (656 + 132)
    whisper = kvcalc.load("whisper-large-v3")
    for engine in ("vllm", *OLD):
        assert number(whisper, asked(engine, 448)) == (28 + 512) * 2621440
    long = asked("vllm", 448)._replace(encoder_tokens=10_000)
    assert number(whisper, long) == (28 + 625) * 2621440  # longer than a step: never under-counted


# ---------------------------------------------------------------- as a user


def test_the_table_of_the_readme_is_one_command() -> None:
    told = records("compare gemma-3-27b --engine paper,llamacpp,vllm@0.11,vllm@0.20,vllm,sglang --context 32k")
    assert [(row["engine"], row["engine_version"], row["reserved_bytes"], row["held_bytes"]) for row in told] == [
        ("paper", None, 3120562176, 3120562176),
        ("llamacpp", "0c1e57098", 3338665984, 3338665984),
        ("vllm", "0.11.0", 7222067200, 3195535360),
        ("vllm", "0.20.0", 7222067200, 3195535360),
        ("vllm", "0.33.0", 11248599040, 3195535360),
        ("sglang", "0.5.23", 16642998272, 16642998272),
    ]
    assert [row["variant"] for row in told] == ["configured"] * 6
    assert len({row["cache_bytes"] for row in told}) == 1


@pytest.mark.parametrize("width", [80, 200])
def test_engines_stand_side_by_side(width: int) -> None:
    text = at_terminal("compare gemma-3-27b --engine paper,vllm,sglang --context 32k", width)
    assert ("vllm 0.33.0" in text, "reserved" in text, "10.48 GiB" in text) == (True, True, True)


def test_options_that_mattered_are_named() -> None:
    err = quickly("compare", "gemma-3-27b", "--engine", "vllm,llamacpp", "--engine-option", "n_ubatch=1024").err
    assert "vllm 0.33.0 with block_size=16, max_num_batched_tokens=8192, async_scheduling=on" in err
    assert "llamacpp 0c1e57098 with n_ubatch=1024, swa_full=off" in err
    assert "by reading only" in quickly("compare", "gpt2", "--engine", "tensorrt-llm", "--variants", "none").err


def test_waste_is_explained_by_name() -> None:
    text = piped("explain gemma-3-27b reserved_bytes --engine vllm --context 32k --quiet")
    assert "reserved_bytes = 6 x group of GQA-16 SWA-1024 layers + group of GQA-16 layers" in text
    assert "waste_bytes = window in flight + rounding + padding = 6978895872 + 7241728 + 1141899264" in text
    ranks = piped("explain deepseek-v3 reserved_bytes --engine vllm --tp 8 --context 32k --quiet")
    assert "waste_bytes = repeated on ranks" in ranks
    (line, *_) = records("explain deepseek-v3 waste_ratio --engine vllm --tp 8 --context 32k --quiet")
    assert (line["quantity"], line["result"]) == ("waste_ratio", 8.0)


def test_block_types_of_llamacpp_are_dtypes_of_the_cache() -> None:
    (row,) = records("compare llama-3-8b --variants none --engine llamacpp --dtype q8_0 --dtype-v q4_0 -c 32k --quiet")
    assert row["cache_dtype"] == "q8_0/q4_0"
    assert row["reserved_bytes"] == row["cache_bytes"] == 32 * 32768 * 1024 * (34 + 18) // 32
    assert_refused(quickly("compare", "llama-3-8b", "--engine", "vllm", "--dtype", "q8_0"), "no cache of plain q8_0")
    assert_refused(quickly("compare", "gpt2", "--weight-dtype", "iq4_nl", "--state-dtype", "q8_0"), "q8_0")


def test_sweep_has_the_rows_of_compare() -> None:
    line = "gemma-3-27b --engine vllm,sglang,llamacpp --engine-option n_ubatch=256 --variants none --quiet"
    swept = records(f"sweep {line} --context 999,32k --batch 3 --tp 1")
    compared = [row for n in ("999", "32k") for row in records(f"compare {line} --context {n} --batch 3")]
    for key in ("reserved_bytes", "held_bytes", "waste_ratio", "engine_version", "tensor_parallel"):
        told = {(row["engine"], row["context_tokens"]): row[key] for row in swept}
        assert told == {(row["engine"], row["context_tokens"]): row[key] for row in compared}, key


def test_a_variant_that_an_engine_has_not_is_left_out_and_said() -> None:
    result = quickly("compare", "gemma-3-27b", "--engine", "vllm", "--variants", "mla,mqa", "-f", "json")
    assert result.code == 0
    assert "mla is left out: vllm: how it stores MLA-512+64 SWA-1024 layers is not modelled" in result.err
    assert kvcalc.load("gemma-3-27b").attention in result.out


def test_a_version_that_is_not_modelled_is_refused_in_python_too() -> None:
    with pytest.raises(KvcalcError, match=r"vllm of version '0.1' is not modelled"):
        analyze(kvcalc.load("gpt2"), Workload(1, engine="vllm", engine_version="0.1"))
    with pytest.raises(KvcalcError, match="tensor_parallel: 0 is not a whole number from 1"):
        analyze(kvcalc.load("gpt2"), Workload(1, tensor_parallel=0))


def test_rows_of_an_engine_are_a_baseline(tmp_path: Path) -> None:
    """A row says all that was asked of it: engine, version, devices and options."""
    path = str(tmp_path / "rows.json")
    options = ["--engine-option", "max_num_batched_tokens=2048", "--engine-option", "block_size=32"]
    result = quickly("compare", "gemma-3-27b", "--engine", "vllm@0.20,vllm", "--tp", "2", *options, "-o", path, "-q")
    assert (result.code, result.err) == (0, "")
    (row, _) = records("compare gemma-3-27b --engine vllm@0.20,vllm --tp 2 --quiet", *options)
    assert row["engine_options"] == "max_num_batched_tokens=2048,block_size=32"
    assert records(f"diff --baseline {path}") == []


# ---------------------------------------------------------------- other memories that an engine has


def test_memories_of_few_engines_derived_by_reading() -> None:
    """Blocks that an index selects are stored whole, its keys in bf16; RWKV's states are llama.cpp's alone."""
    n, m3 = 4096, kvcalc.load("minimax-m3")
    assert number(m3, asked("vllm", n)) == n * (60 * 4 * 256 * 2 + 57 * 128 * 2)
    assert number(m3, asked("vllm", n, tp=8)) == n * (60 * 256 * 2 + 57 * 128 * 2)  # one head, and every key
    assert number(m3, asked("llamacpp", n)) == n * (60 * 4 * 256 * 2 + 57 * 2 * 128 * 2)  # V beside the keys
    assert number(m3, asked("vllm", 129)) == number(m3, asked("vllm", 256))
    rwkv = kvcalc.load("rwkv-7-world-1.5b")
    assert number(rwkv, asked("llamacpp", n, 3)) == 3 * 24 * (2048 * 64 + 2 * 2048) * 4
    linear = kvcalc.load("minimax-text-01")
    state = 64 * 128 * 128 * 2  # in the model's bf16
    assert number(linear, asked("vllm@0.20.0", n)) == 10 * state * (7 + n // 512)
    with pytest.raises(KvcalcError, match="Linear-128 layers is not modelled"):
        analyze(linear, asked("vllm", n))


def test_states_that_sglang_serves_derived_by_reading() -> None:
    """Short convolutions beside attention; Mamba 1 where there is nothing else."""
    lfm = kvcalc.load("lfm2-1.2b")
    assert number(lfm, asked("sglang", 1000)) == 1000 * 6 * 8 * 128 * 2 + 10 * 2048 * 2 * 2
    alone = model(Mamba1(64, 16, 4, 4), Mamba1(64, 16, 4, 4))
    assert number(alone, asked("sglang", 1000)) == 2 * (64 * 3 * 2 + 64 * 16 * 4)
    assert number(alone, asked("sglang", 1, tp=2)) == 2 * (32 * 3 * 2 + 32 * 16 * 4)
    with pytest.raises(KvcalcError, match="Mamba-16 layers is not modelled"):
        analyze(model(heads(16, 2, 64), Mamba1(64, 16, 4, 4)), asked("sglang", 9))


def test_sglang_holds_the_window_and_what_is_not_freed_yet() -> None:
    """gpt-oss: W + 128 + two pages of a window in decode, 0.8 of the tokens reserved; Gemma 3 keeps every token."""
    n, oss = 32768, kvcalc.load("gpt-oss-20b")
    full, each = 12 * n * 2048, 12 * 2048
    assert number(oss, asked("sglang", n), "held_bytes") == full + each * (128 + 128 + 2)
    assert number(oss, asked("sglang", n)) == full + each * n * 8 // 10
    paged = asked("sglang", n)._replace(engine_options=(("page_size", "64"),))
    assert number(oss, paged, "held_bytes") == full + each * (128 + 128 + 2 * 64)
    for words in ((), (("hybrid_swa", "off"),)):
        load = asked("sglang", n)._replace(engine_options=words)
        kept = number(kvcalc.load("gemma-3-27b"), load, "held_bytes")
        assert kept == number(kvcalc.load("gemma-3-27b"), load) == 62 * n * 8192


def test_the_architecture_alone_decides_whose_windows_are_honoured() -> None:
    oss = kvcalc.load("gpt-oss-20b")
    other = oss._replace(architecture="Gemma3ForCausalLM", name="gpt-oss-20b")
    assert number(other, asked("sglang", 4096)) == 24 * 4096 * 2048
    listed = kvcalc.load("gemma-3-27b")._replace(architecture="MellumForCausalLM")
    assert number(listed, asked("sglang", 32768)) < 62 * 32768 * 8192
    assert number(listed._replace(architecture="InklingForConditionalGeneration"), asked("sglang", 32768)) < number(
        listed, asked("sglang", 32768)
    )
