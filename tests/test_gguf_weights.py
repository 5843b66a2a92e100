"""What a GGUF file's tensors hold: the bytes of its weights, whatever mixture of types they are in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kvcalc
from builders import value
from headers import LLAMA_KEYS, llama_shapes, write_gguf
from kvcalc.memory_budget import weights_on_a_device
from kvcalc.weight_formats import FORMATS, GGUF_BLOCKS
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from screens import records
from test_gguf import FILES

gguf = pytest.importorskip("gguf")
Q4_K_M, WIDE = 15, 256  # LlamaFileType.MOSTLY_Q4_K_M; a row of k-quants is whole blocks of 256
SIZES = {kind.name: size for kind, size in gguf.GGML_QUANT_SIZES.items()}


def q4_k_m(shapes: dict[str, tuple[int, ...]], layers: int) -> dict[str, str]:
    """llama-quantize's own mixture: Q6_K for lm_head, and for V and the down projection of half of the layers."""
    types = {}
    for name, shape in shapes.items():
        types[name] = "F32" if len(shape) == 1 else "Q4_K"
        if name.startswith("blk.") and name.endswith(("attn_v.weight", "ffn_down.weight")):
            at = int(name.split(".")[1])
            if at < layers // 8 or at >= 7 * layers // 8 or (at - layers // 8) % 3 == 2:
                types[name] = "Q6_K"
    return {**types, "output.weight": "Q6_K"}


@pytest.fixture(scope="module")
def llama_8b(tmp_path_factory: pytest.TempPathFactory) -> str:
    architecture, keys, shapes = FILES["llama-3.1-8b"]
    path = tmp_path_factory.mktemp("gguf") / "llama-3.1-8b-q4_k_m.gguf"
    return write_gguf(path, architecture, {**keys, "general.file_type": Q4_K_M}, shapes, q4_k_m(shapes, 32))


def test_llama_3_1_8b_in_q4_k_m_is_as_large_as_llama_cpp_says(llama_8b: str) -> None:
    """llama.cpp prints of this file: 'model size = 4.58 GiB (4.89 BPW)', 'model params = 8.03 B'."""
    spec = kvcalc.load(llama_8b)
    size, parameters = value(spec, "weight_bytes", Workload(1)), value(spec, "parameters", Workload(1))
    assert (round(size / 2**30, 2), round(8 * size / parameters, 2), parameters) == (4.58, 4.89, 8_030_261_248)
    assert f"{size / parameters * 8:.4f}" != "4.5000", "not one block type for all"


def test_every_command_counts_what_the_tensors_hold(llama_8b: str) -> None:
    size = value(kvcalc.load(llama_8b), "weight_bytes", Workload(1))
    (row,) = records(f"compare {llama_8b} -v none")
    assert (row["weight_bytes"], row["weight_dtype"]) == (size, "q4_k_m")
    (fit,) = records(f"fit {llama_8b} --on l40s --context 8k --batch 1")
    assert (fit["weight_bytes"], fit["weight_dtype"]) == (size, "q4_k_m")
    shown = quickly("show", llama_8b).out
    assert "q6_k" in shown
    assert f"{size:,}" in shown
    assert "64 elements of its tensors are tables, no parameters" in shown
    assert f"= {size:,}" in quickly("explain", llama_8b).out


def test_another_dtype_is_counted_where_it_is_asked_for(llama_8b: str) -> None:
    spec, config = kvcalc.load(llama_8b), kvcalc.load("llama-3.1-8b")
    for name in ("bf16", "q4_k", "int4_g128", "f16"):
        asked = kvcalc.parse_request({"weight_dtype": name})
        found = [kvcalc.compare([one], asked, []).reports[0].value("weight_bytes") for one in (spec, config)]
        assert found[0] == found[1], name
    (row,) = records(f"compare {llama_8b} -v none --weight-dtype Q4_K_M")
    assert row["weight_bytes"] == value(spec, "weight_bytes", Workload(1)), "a row can be asked again"


def test_a_mixture_belongs_to_its_file(llama_8b: str) -> None:
    assert_refused(quickly("compare", "gpt2", "--weight-dtype", "q4_k_m"), "a mixture of block types")
    assert_refused(quickly("compare", llama_8b, "--weight-dtype", "q5_k_m"), "a mixture of block types")


def test_a_converted_file_gives_the_same_numbers(llama_8b: str, tmp_path: Path) -> None:
    path = tmp_path / "again.yaml"
    assert quickly("convert", llama_8b, "-o", str(path)).code == 0
    assert kvcalc.load(str(path)) == kvcalc.load(llama_8b)


@pytest.mark.parametrize("tensor_parallel", [2, 8])
def test_devices_hold_what_is_split_and_what_is_not(llama_8b: str, tensor_parallel: int) -> None:
    spec = kvcalc.load(llama_8b)
    whole = value(spec, "weight_bytes", Workload(1))
    each = weights_on_a_device(spec, Workload(1, tensor_parallel=tensor_parallel))
    norms = 4 * (65 * 4096 + 64)  # fp32, and the table of rope_freqs
    assert whole <= tensor_parallel * each <= whole + (tensor_parallel - 1) * (norms + 16)


TYPES = sorted(name for name, (block, _) in SIZES.items() if WIDE % block == 0)


def wide(layers: int = 2) -> dict[str, tuple[int, ...]]:
    """A small Llama whose rows all blocks divide."""
    return {name: tuple(WIDE if size in (64, 128) else size for size in shape) for name, shape in _shapes(layers)}


def _shapes(layers: int) -> list[tuple[str, tuple[int, ...]]]:
    return list(llama_shapes(layers).items())


WIDE_KEYS: dict[str, Any] = {**LLAMA_KEYS, "embedding_length": WIDE, "attention.key_length": 32}
WIDE_SHAPES = {
    name: (64, WIDE) if name.endswith(("attn_k.weight", "attn_v.weight")) else shape for name, shape in wide().items()
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(kinds=st.lists(st.sampled_from(TYPES), min_size=len(WIDE_SHAPES), max_size=len(WIDE_SHAPES)))
def test_any_mixture_of_types_is_the_sum_of_its_tensors(kinds: list[str], tmp_path: Path) -> None:
    """The package's own reader says what each tensor takes."""
    types = dict(zip(WIDE_SHAPES, kinds, strict=True))
    path = write_gguf(tmp_path / "m.gguf", "llama", WIDE_KEYS, WIDE_SHAPES, types)
    with Path(path).open("ab") as file:
        file.truncate(1 << 24)
    tensors = gguf.GGUFReader(path).tensors
    spec = kvcalc.load(path)
    assert value(spec, "weight_bytes", Workload(1)) == sum(tensor.n_bytes for tensor in tensors)
    assert value(spec, "parameters", Workload(1)) == sum(tensor.n_elements for tensor in tensors)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_every_type_of_ggml_is_a_weight_dtype_or_holds_no_weights(name: str) -> None:
    block, size = SIZES[name]
    if name in ("I16", "I32", "I64"):
        return
    stored = kvcalc.parse_weight_dtype(name, "--weight-dtype")
    if stored in FORMATS:
        assert FORMATS[stored].bits * block == 8 * size * FORMATS[stored].block
        assert FORMATS[stored].source
    else:
        assert value(kvcalc.load("gpt2"), "weight_bytes", Workload(1, weight_dtype=stored)) == 124_439_808 * size
    assert name.lower() in GGUF_BLOCKS or name in ("F16", "BF16", "F32", "F64", "I8", "MXFP4", "NVFP4")


def test_without_a_file_type_it_is_called_by_the_type_of_most_weights(tmp_path: Path) -> None:
    types = {name: "F32" if len(shape) == 1 else "Q5_K" for name, shape in WIDE_SHAPES.items()}
    path = write_gguf(tmp_path / "m.gguf", "llama", WIDE_KEYS, WIDE_SHAPES, types)
    assert records(f"compare {path} -v none")[0]["weight_dtype"] == "q5_k"
    for told in (1 << 20, "Q9"):
        path = write_gguf(tmp_path / "m.gguf", "llama", {**WIDE_KEYS, "general.file_type": told}, WIDE_SHAPES, types)
        assert records(f"compare {path} -v none")[0]["weight_dtype"] == "q5_k"


def test_weights_that_are_not_read_are_told(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", "llama", LLAMA_KEYS, {**llama_shapes(), "blk.0.ffn_strange.weight": (8, 64)})
    told = quickly("compare", path, "--weight-dtype", "bf16").err
    parameters = value(kvcalc.load(path), "parameters", Workload(1))
    assert f"hold {parameters + 512:,} weights, and kvcalc reads {parameters:,} parameters" in told
    assert value(kvcalc.load(path), "weight_bytes", Workload(1)) == 2 * (parameters + 512), "the file's bytes"


def test_scales_of_a_tensor_are_bytes_and_no_parameters(tmp_path: Path) -> None:
    """NVFP4 as the converter writes it: a scale of each tensor beside it."""
    scales: dict[str, tuple[int, ...]] = {"blk.0.attn_q.scale": (1,), "blk.1.ffn_up.input_scale": (1,)}
    types = dict.fromkeys(scales, "F32")
    alone = kvcalc.load(write_gguf(tmp_path / "m.gguf", "llama", LLAMA_KEYS, llama_shapes()))
    spec = kvcalc.load(write_gguf(tmp_path / "m.gguf", "llama", LLAMA_KEYS, {**llama_shapes(), **scales}, types))
    assert value(spec, "weight_bytes", Workload(1)) == value(alone, "weight_bytes", Workload(1)) + 8
    assert spec.quantization is not None
    assert spec.quantization.note == ""


def test_prediction_layers_stand_apart(tmp_path: Path) -> None:
    """The last block predicts: neither its cache nor its weights are counted until it runs."""
    alone = kvcalc.load(write_gguf(tmp_path / "m.gguf", "llama", LLAMA_KEYS, llama_shapes()))
    told, more = {**LLAMA_KEYS, "block_count": 3, "nextn_predict_layers": 1}, {"blk.2.nextn.eh_proj.weight": (64, 128)}
    spec = kvcalc.load(write_gguf(tmp_path / "m.gguf", "llama", told, {**llama_shapes(3), **more}))
    for key in ("weight_bytes", "parameters", "cache_bytes"):
        assert value(spec, key, Workload(10)) == value(alone, key, Workload(10))
    assert value(spec, "cache_bytes", Workload(10, mtp="on")) == 3 * value(alone, "cache_bytes", Workload(10)) // 2


def test_the_package_is_asked_for_only_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "m.gguf", "llama", LLAMA_KEYS, llama_shapes())
    for name in [name for name in sys.modules if name.startswith("kvcalc.readers.gguf_walk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert_refused(quickly("compare", path), "m.gguf needs the gguf package", "pip install 'kvcalc[gguf]'")
    assert quickly("compare", "gpt2").code == 0
    (tmp_path / "no.gguf").write_bytes(b"PK" + bytes(40))
    assert_refused(quickly("compare", str(tmp_path / "no.gguf")), "not a GGUF file")


def test_the_other_byte_order_is_read_too(tmp_path: Path) -> None:
    little = kvcalc.load(write_gguf(tmp_path / "m.gguf", "llama", LLAMA_KEYS, llama_shapes()))
    assert kvcalc.load(write_gguf(tmp_path / "m.gguf", "llama", LLAMA_KEYS, llama_shapes(), big_endian=True)) == little


def test_a_header_alone_is_enough_and_a_vocabulary_costs_little(tmp_path: Path) -> None:
    """What a range request brings. 150,000 tokens and 280,000 merges, of which the package's reader makes 700 MB."""
    from time import process_time
    from tracemalloc import get_traced_memory, start, stop

    words = {
        "tokenizer.ggml.tokens": [f"token{at}" for at in range(150_000)],
        "tokenizer.ggml.merges": [f"a{at} b{at}" for at in range(280_000)],
        "tokenizer.ggml.token_type": [1] * 150_000,
    }
    path = write_gguf(tmp_path / "m.gguf", "llama", {**LLAMA_KEYS, **words}, llama_shapes())
    kvcalc.load(path)
    begun = process_time()
    kvcalc.load(path)
    assert process_time() - begun < 2
    start()
    kvcalc.load(path)
    assert get_traced_memory()[1] < 5 << 20
    stop()
