"""Layers that keep a fixed state: real models and small ones against live code, laws, the file format, the output."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import from_config, heads, model, records, value
from kvcalc.analysis import analyze
from kvcalc.attention.cca import Cca
from kvcalc.attention.delta import GatedDelta
from kvcalc.attention.gau import Gau
from kvcalc.attention.kda import Kda
from kvcalc.attention.kinds import MEMORIES, class_of
from kvcalc.attention.linear import Linear
from kvcalc.attention.mamba import Mamba1, Mamba2
from kvcalc.attention.memory import Memory
from kvcalc.attention.reach import Full, Window
from kvcalc.attention.rg_lru import RgLru
from kvcalc.attention.rwkv import Rwkv4, Rwkv6
from kvcalc.attention.rwkv7 import Rwkv7
from kvcalc.attention.s4 import S4
from kvcalc.attention.short_conv import Conv, ShortConv
from kvcalc.attention.xlstm import Mlstm
from kvcalc.comparison import compare
from kvcalc.detail import facts
from kvcalc.errors import ConfigError, NotUnderstoodError
from kvcalc.model import Branch, ModelSpec
from kvcalc.quantity import Quantity
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.report.comparison import cache_formula
from kvcalc.report.detail import detail_tables
from kvcalc.request import Request
from kvcalc.variants import NotRebuiltError, Variant, rebuild
from kvcalc.verify.expect import Run
from kvcalc.verify.expect import counted as expected
from kvcalc.workload import Workload

MODELS = records("state_models.jsonl")
SMALL = records("states.jsonl")


def identifier(record: dict[str, Any]) -> str:
    return str(record.get("name") or record["id"])


def counted(spec: ModelSpec, n: int) -> int:
    """FLOPs of the step of token n as the library runs it, and torch's counter counts it."""
    return expected(spec, Run(1, n - 1, 0, False))


@pytest.mark.parametrize("record", MODELS, ids=identifier)
def test_real_models(record: dict[str, Any]) -> None:
    """Elements under both conventions, the fixed state apart, parameters, and the FLOPs of a step."""
    spec = from_config(record["config"])
    assert value(spec, "parameters", Workload(1)) == record["parameters"]
    for length, truth in record["cache"].items():
        n = int(length)
        library, paper = Workload(n, engine="transformers"), Workload(n)
        assert value(spec, "cache_elements", library) == truth["transformers_elements"]
        assert value(spec, "state_elements", library) == truth["state_elements"]
        assert value(spec, "cache_elements", paper) == truth["window_elements"] - record["conv_channels"]
    assert counted(spec, 2049) == sum(record["decode"].values())


@pytest.mark.parametrize("record", [record for record in MODELS if "active" in record], ids=identifier)
def test_active_parameters_of_real_models(record: dict[str, Any]) -> None:
    assert value(from_config(record["config"]), "active_parameters", Workload(1)) == record["active"]


@pytest.mark.parametrize("record", SMALL, ids=identifier)
def test_every_field_varied(record: dict[str, Any]) -> None:
    """Small configs of every model type with a state, against the live code."""
    if record["id"] == "nemotron_h/moe-bias":
        spec = from_config({**record["config"], "moe_latent_size": None})
    else:
        spec = from_config(record["config"])
    assert value(spec, "parameters", Workload(1)) == record["parameters"]
    for length, truth in record.get("cache", {}).items():
        found = value(spec, "cache_elements", Workload(int(length), engine="transformers"))
        assert found == truth["transformers_elements"]
    for length, truth in record.get("flops", {}).get("decode", {}).items():
        assert counted(spec, int(length)) == truth


def test_every_type_is_held_by_a_record() -> None:
    from kvcalc.readers.families import convolved, hybrids, linears, recurrent

    described = {name for room in (convolved, hybrids, linears, recurrent) for name in room.FAMILIES}
    assert described - {record["config"]["model_type"] for record in SMALL} == set()


SIZE = st.integers(1, 9)
STATES: st.SearchStrategy[Memory] = st.one_of(
    st.builds(Mamba1, SIZE, SIZE, SIZE, SIZE, st.booleans(), st.booleans(), st.booleans()),
    st.builds(Mamba2, SIZE, SIZE, SIZE, SIZE, SIZE),
    st.builds(Linear, SIZE, SIZE, SIZE, st.integers(0, 3), st.booleans(), st.sampled_from(["", "full", "per_head"])),
    st.builds(GatedDelta, SIZE, SIZE, SIZE, SIZE, SIZE),
    st.builds(Kda, SIZE, SIZE, SIZE, st.integers(0, 3)),
    st.builds(Rwkv4, SIZE),
    st.builds(Rwkv6, SIZE, SIZE, st.integers(0, 3), st.integers(0, 3)),
    st.builds(Rwkv7, SIZE, SIZE, SIZE, SIZE, SIZE, st.integers(0, 3)),
    st.builds(lambda blocks, width, columns: RgLru(blocks * width, blocks, columns), SIZE, SIZE, SIZE),
    st.builds(ShortConv, SIZE, st.booleans()),
    st.builds(Conv, SIZE, SIZE, st.booleans(), st.integers(0, 3)),
    st.builds(S4, SIZE, st.integers(0, 3)),
    st.builds(Mlstm, SIZE, SIZE, SIZE, st.booleans()),
)
TOKENS = st.integers(1, 200)


@given(STATES, TOKENS, st.integers(1, 200), st.integers(1, 5))
def test_a_state_does_not_grow(memory: Memory, n: int, more: int, batch: int) -> None:
    """Neither what is kept, nor what is read, nor what a step costs."""
    spec = model(memory, memory)
    for key in ("cache_elements", "cache_bytes", "decode_cache_read_bytes", "decode_model_flops"):
        assert value(spec, key, Workload(n, batch=batch)) == value(spec, key, Workload(n + more, batch=batch))
    assert value(spec, "cache_elements_per_token", Workload(n)) == 0
    state = value(spec, "state_elements", Workload(n, batch=batch))
    assert state == value(spec, "cache_elements", Workload(n, batch=batch))
    assert state == batch * value(spec, "state_elements", Workload(1))


@given(STATES, st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_chunks_add_up(memory: Memory, chunks: list[int]) -> None:
    """A recurrence costs as much in any chunks as in one, and as token by token."""
    spec = model(memory)
    total = sum(chunks)
    for part in ("core", "projection", "attention"):
        done, parts = 0, 0
        for chunk in chunks:
            done += chunk
            parts += value(spec, f"prefill_{part}_flops", Workload(done, cached_tokens=done - chunk))
        assert parts == value(spec, f"prefill_{part}_flops", Workload(total))
        assert parts == total * value(spec, f"decode_{part}_flops", Workload(total))


@given(STATES, TOKENS)
def test_the_library_keeps_no_less(memory: Memory, n: int) -> None:
    spec = model(memory)
    assert value(spec, "state_elements", Workload(n, engine="transformers")) >= value(
        spec, "state_elements", Workload(n)
    )


@given(STATES, st.sampled_from(["fp32", "bf16"]), st.sampled_from(["bf16", "fp8"]))
def test_each_state_has_its_dtype(memory: Memory, recurrent: str, cached: str) -> None:
    """Recurrent states are fp32 unless told otherwise; a convolution's columns are in the cache's dtype."""
    bits = {"fp32": 32, "bf16": 16, "fp8": 8}
    symbols = {**memory.symbols(), "d": 64}
    wanted = sum(
        bits[recurrent if state.role == "state" else cached] * Quantity("", state.formula, symbols).evaluate({})
        for state in memory.states()
    )
    spec = model(memory)
    assert value(spec, "state_bytes", Workload(9, dtype=cached, state_dtype=recurrent)) == wanted // 8


@given(st.integers(1, 9), st.integers(1, 9), TOKENS)
def test_a_gated_unit_is_one_head(expanded: int, key: int, n: int) -> None:
    """Its cache is z + e a token, its scores and values those of one head."""
    spec = model(Gau(expanded, key))
    assert value(spec, "cache_elements", Workload(n)) == n * (expanded + key)
    assert value(spec, "decode_core_flops", Workload(n)) == 2 * n * (expanded + key)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), TOKENS)
def test_convolved_heads_attend_as_heads(groups: int, n_kv: int, half: int, n: int) -> None:
    """Compressed convolutional attention stores and scores what its heads do, and keeps columns beside."""
    memory = Cca(groups * n_kv, n_kv, 2 * half, 2, 2)
    plain = model(heads(groups * n_kv, n_kv, 2 * half))
    spec = model(memory)
    assert value(spec, "decode_core_flops", Workload(n)) == value(plain, "decode_core_flops", Workload(n))
    kept = value(spec, "cache_elements", Workload(n)) - value(plain, "cache_elements", Workload(n))
    assert kept == 2 * (groups + 1) * n_kv * 2 * half + n_kv * half


def of_layers(spec: ModelSpec) -> int:
    """Parameters of its attention alone."""
    bare = spec._replace(groups=(spec.groups[0]._replace(layer=spec.groups[0].layer._replace(branches=())),))
    return value(spec, "parameters", Workload(1)) - value(bare, "parameters", Workload(1))


def test_linear_attention_as_papers_count_it() -> None:
    """RetNet has 8*d^2 parameters a layer, gated linear attention 4*d^2 and a gate of rank 16."""
    d = 512
    assert of_layers(model(Linear(4, d // 4, 2 * d // 4, output_gate=True), hidden_size=d)) == 8 * d * d
    gated = Linear(4, d // 2 // 4, d // 4, decay_rank=16, output_gate=True)
    assert of_layers(model(gated, hidden_size=d)) == 4 * d * d + 16 * (d + d // 2) + d // 2


def test_s4d_takes_seven_flops_an_element() -> None:
    spec = model(S4(64), hidden_size=16)
    assert value(spec, "decode_core_flops", Workload(1)) == 7 * 16 * 64
    assert value(spec, "state_elements", Workload(1)) == 16 * 64


NATIVE = {
    "name": "m",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "vocab_size": 10,
    "tie_word_embeddings": True,
    "norm": "rmsnorm",
    "norms_per_layer": 1,
    "mlp": None,
}


@pytest.mark.parametrize(
    "memory",
    [
        Linear(2, 4, 3, 2, output_gate=True, norm="full"),
        GatedDelta(1, 2, 3, 4, 4),
        Kda(2, 4, 4, 4),
        Rwkv4(8),
        Rwkv6(2, 4, 32, 64),
        Rwkv7(2, 4, 3, 3, 3),
        RgLru(8, 2, 4),
        ShortConv(3, bias=True),
        Conv(5, 4),
        S4(6),
        Gau(6, 3),
        Mlstm(2, 4, 4),
        Cca(4, 2, 4, 2, 2),
        Mamba1(16, 4, 1, 4, inner_norms=True),
    ],
    ids=lambda memory: memory.kind,
)
def test_the_native_format_says_it(memory: Any) -> None:
    """A kind and its fields are the memory; a field that it has not is refused by name."""
    assert class_of(MEMORIES, memory.kind) is type(memory)
    document = Document("m.yaml", {**NATIVE, "attention": memory._asdict()}, dict)
    spec = read_native(document)
    assert spec.branches() == [(2, Branch(memory, Full()))]
    with pytest.raises(ConfigError, match="unheard_of"):
        read_native(Document("m.yaml", {**NATIVE, "attention": {**memory._asdict(), "unheard_of": 1}}, dict))


def test_a_block_run_again_has_no_weights_of_its_own() -> None:
    """As Zamba's: weights once, cache and FLOPs a call."""
    attention = {"kind": "heads", "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4}
    mlp = {"kind": "dense", "intermediate_size": 16, "gated": True}
    kinds = {
        "first": {"attention": attention, "mlp": mlp},
        "again": {"attention": {**attention, "shares_weights": True}, "mlp": {**mlp, "shares_weights": True}},
    }
    told = {**NATIVE, "layers": kinds}
    shared = read_native(Document("m.yaml", {**told, "layer_types": ["first", "again"]}, dict))
    apart = read_native(
        Document("m.yaml", {**told, "layers": {"first": kinds["first"]}, "layer_types": ["first x2"]}, dict)
    )
    for key in ("cache_elements", "decode_model_flops", "prefill_model_flops"):
        assert value(shared, key, Workload(50)) == value(apart, key, Workload(50))
    weights = 4 * 8 * 8 + 3 * 8 * 16
    assert value(shared, "parameters", Workload(1)) == value(apart, "parameters", Workload(1)) - weights


HYBRID = model(Mamba1(16, 4, 1, 4), heads(4, 2, 8), Mamba1(16, 4, 1, 4))


def test_variants_rebuild_only_what_stores_tokens() -> None:
    rebuilt, _ = rebuild(HYBRID, Variant("mha"))
    assert rebuilt.attention == "2 Mamba-4 + 1 MHA"
    assert value(rebuilt, "state_elements", Workload(1)) == value(HYBRID, "state_elements", Workload(1))
    windowed, _ = rebuild(HYBRID, Variant("swa", sliding_window=16))
    assert [branch.reach.label for _, branch in windowed.branches()] == [Full().label, Window(16).label]
    told = compare([HYBRID], Request(Workload(64)), None)
    assert any("its 2 Mamba-4 layers stay as they are" in note for note in told.notes)
    with pytest.raises(NotRebuiltError, match="no layer stores tokens"):
        rebuild(model(Rwkv4(8)), Variant("mha"))


def test_the_formula_of_a_hybrid_names_its_attention_alone() -> None:
    assert cache_formula(analyze(HYBRID, Workload(64))) == "1*2*n_kv*d_h"
    assert cache_formula(analyze(model(Rwkv4(8)), Workload(64))) == "0"
    two = model(Branch(heads(8, 2, 8), Full()), Branch(heads(8, 4, 8), Window(16)), Branch(heads(16, 4, 8), Window(16)))
    assert cache_formula(analyze(two, Workload(64))) == "1*2*2*d_h + 2*2*4*d_h"


def test_show_says_what_a_state_is_and_no_tokens() -> None:
    report = analyze(HYBRID, Workload(64))
    told = facts(report)
    by_part = {(fact.part.partition(" / ")[0], fact.quantity): fact.value for fact in told if fact.section == "layers"}
    assert by_part["Mamba-4", "kept_tokens"] is None
    assert by_part["Mamba-4", "state_elements_per_layer"] == 16 * 4 + 3 * 16
    assert by_part["Mamba-4", "state_bytes_per_layer"] == 4 * 16 * 4 + 2 * 3 * 16
    assert by_part["GQA-2", "kept_tokens"] == 64
    kept = [fact.value for fact in told if fact.quantity == "cache_elements_per_sequence"]
    assert sum(int(number or 0) for number in kept) == report.value("cache_elements")
    headers = [column.header for column in detail_tables(report, told)[0].columns]
    assert "state\nelements" in headers
    plain = analyze(model(heads(4, 2, 8)), Workload(64))
    assert "state\nelements" not in [column.header for column in detail_tables(plain, facts(plain))[0].columns]


NEMOTRON = {
    "model_type": "nemotron_h",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "vocab_size": 100,
    "hybrid_override_pattern": "M-*E",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hybrid_override_pattern": "M-X"}, "hybrid_override_pattern.*letters"),
        ({"hybrid_override_pattern": None}, "layers_block_type.*not assumed"),
        ({"layers_block_type": ["mamba", "recurrent"]}, "'recurrent' is not understood"),
        ({"moe_latent_size": 16, "mlp_bias": True}, "mlp_bias"),
        ({"mamba_ssm_cache_dtype": "float8"}, "mamba_ssm_cache_dtype.*dtype of a state"),
        ({"mamba_ssm_cache_dtype": ["float32"]}, "mamba_ssm_cache_dtype.*dtype of a state"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, NotUnderstoodError), match=message):
        from_config({**NEMOTRON, **change})


def test_the_config_says_the_dtype_of_states() -> None:
    assert from_config(NEMOTRON).state_dtype == "fp32"
    half = from_config({**NEMOTRON, "mamba_ssm_cache_dtype": "bfloat16"})
    assert half.state_dtype == "bf16"
    assert 2 * value(half, "state_bytes", Workload(1)) < 2 * value(from_config(NEMOTRON), "state_bytes", Workload(1))


def test_layers_may_be_counted_by_their_list() -> None:
    spec = from_config({key: told for key, told in NEMOTRON.items() if key != "num_hidden_layers"})
    assert spec.layers == 4


ZAMBA = {"model_type": "zamba2", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100, "num_attention_heads": 4}
ZAMBA_LAYERS = {**ZAMBA, "layers_block_type": ["mamba", "hybrid"]}
GRIFFIN = {"model_type": "recurrent_gemma", "hidden_size": 64, "num_hidden_layers": 3, "vocab_size": 100}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ZAMBA, "layers_block_type: missing.*54 kinds are not 2"),
        ({**ZAMBA_LAYERS, "tie_word_embeddings": False}, "tie_word_embeddings.*shares no blocks"),
        ({**ZAMBA_LAYERS, "n_mamba_heads": 7}, "n_mamba_heads: 7 heads do not divide 128"),
        ({**GRIFFIN, "num_attention_heads": 5}, "num_attention_heads: 5 blocks do not divide 64"),
        ({**GRIFFIN, "num_attention_heads": 4, "block_types": ["recurrent", "x"]}, "block_types"),
    ],
)
def test_what_the_class_does_otherwise_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, NotUnderstoodError), match=message):
        from_config(config)


def test_a_formula_without_a_whole_result_is_refused_at_the_door() -> None:
    told = {**NATIVE, "attention": {"kind": "rg_lru", "lru_width": 10, "num_blocks": 3, "conv_kernel": 4}}
    with pytest.raises(ConfigError, match=r"rg_lru: .*10 is not divisible by 3"):
        read_native(Document("m.yaml", told, dict))
