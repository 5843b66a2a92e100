"""GGUF headers: files of the gguf package's own writer, with the shapes that llama.cpp gives real models."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import pytest

import kvcalc
from builders import value
from headers import LLAMA_KEYS, Shapes, llama_shapes, write_gguf
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from refusals import kvcalc as limited

pytest.importorskip("gguf")
SAME = ("cache_bytes", "cache_elements_per_token", "decode_model_flops", "prefill_attention_flops", "parameters")


def norm(name: str, width: int, *, bias: bool = False) -> Shapes:
    return {f"{name}.weight": (width,), **({f"{name}.bias": (width,)} if bias else {})}


def linear(name: str, out: int, into: int, *, bias: bool = False) -> Shapes:
    return {f"{name}.weight": (out, into), **({f"{name}.bias": (out,)} if bias else {})}


def heads(d: int, q: int, kv: int, *, bias: str = "") -> Shapes:
    return {
        **linear("attn_q", q, d, bias="q" in bias),
        **linear("attn_k", kv, d, bias="k" in bias),
        **linear("attn_v", kv, d, bias="v" in bias),
        **linear("attn_output", d, q, bias="o" in bias),
    }


def gated(d: int, width: int) -> Shapes:
    return {**linear("ffn_gate", width, d), **linear("ffn_up", width, d), **linear("ffn_down", d, width)}


def experts(d: int, number: int, width: int, *, bias: bool = False) -> Shapes:
    shapes: Shapes = {**linear("ffn_gate_inp", number, d, bias=bias)}
    for name, one in (("gate", (width, d)), ("up", (width, d)), ("down", (d, width))):
        shapes[f"ffn_{name}_exps.weight"] = (number, *one)
        if bias:
            shapes[f"ffn_{name}_exps.bias"] = (number, one[0])
    return shapes


def shared(d: int, width: int) -> Shapes:
    return {
        **linear("ffn_gate_shexp", width, d),
        **linear("ffn_up_shexp", width, d),
        **linear("ffn_down_shexp", d, width),
    }


def latent(d: int, n_h: int, d_c: int, nope: int, rope: int, v: int, q_rank: int) -> Shapes:
    wide = nope + rope
    queries = (
        {
            **linear("attn_q_a", q_rank, d),
            **norm("attn_q_a_norm", q_rank),
            **linear("attn_q_b", n_h * (nope + rope), q_rank),
        }
        if q_rank
        else linear("attn_q", n_h * wide, d)
    )
    return {
        **queries,
        **linear("attn_kv_a_mqa", d_c + rope, d),
        **norm("attn_kv_a_norm", d_c),
        "attn_k_b.weight": (n_h, d_c, nope),
        "attn_v_b.weight": (n_h, v, d_c),
        **linear("attn_output", d, n_h * v),
    }


def model(vocabulary: int, d: int, layers: list[Shapes], *, tied: bool = False, bias: bool = False) -> Shapes:
    top = {**linear("token_embd", vocabulary, d), **norm("output_norm", d, bias=bias)}
    if not tied:
        top.update(linear("output", vocabulary, d))
    return {**top, **{f"blk.{at}.{name}": shape for at, layer in enumerate(layers) for name, shape in layer.items()}}


def keys(d: int, layers: int, n_h: int, n_kv: int | list[int], context: int, **more: Any) -> dict[str, Any]:
    named = {name.replace("__", "."): told for name, told in more.items()}
    return {
        "block_count": layers,
        "context_length": context,
        "embedding_length": d,
        "attention.head_count": n_h,
        "attention.head_count_kv": n_kv,
        **named,
    }


def two_norms(d: int, *, bias: bool = False) -> Shapes:
    return {**norm("attn_norm", d, bias=bias), **norm("ffn_norm", d, bias=bias)}


def four_norms(d: int) -> Shapes:
    return {**two_norms(d), **norm("post_attention_norm", d), **norm("post_ffw_norm", d)}


def per_head(width: int) -> Shapes:
    return {**norm("attn_q_norm", width), **norm("attn_k_norm", width)}


DEEPSEEK_V3 = two_norms(7168) | latent(7168, 128, 512, 128, 64, 128, 1536)
LITE = two_norms(2048) | latent(2048, 16, 512, 128, 64, 128, 0)
GEMMA_3 = four_norms(5376) | heads(5376, 4096, 2048) | per_head(128)
FALCON = norm("attn_norm", 4544, bias=True) | linear("attn_qkv", 73 * 64, 4544) | linear("attn_output", 4544, 4544)
GPT2 = two_norms(768, bias=True) | linear("attn_qkv", 2304, 768, bias=True) | linear("attn_output", 768, 768, bias=True)
STARCODER = two_norms(4608, bias=True) | heads(4608, 4608, 512, bias="qkvo")
FILES: dict[str, tuple[str, dict[str, Any], Shapes]] = {
    "llama-3.1-8b": (
        "llama",
        keys(4096, 32, 32, 8, 131072, feed_forward_length=14336, vocab_size=128256),
        model(128256, 4096, [two_norms(4096) | heads(4096, 4096, 1024) | gated(4096, 14336)] * 32)
        | {"rope_freqs.weight": (64,)},
    ),
    "qwen2.5-7b": (
        "qwen2",
        keys(3584, 28, 28, 4, 131072),
        model(152064, 3584, [two_norms(3584) | heads(3584, 3584, 512, bias="qkv") | gated(3584, 18944)] * 28),
    ),
    "qwen3-8b": (
        "qwen3",
        keys(4096, 36, 32, 8, 40960, attention__key_length=128, attention__value_length=128),
        model(151936, 4096, [two_norms(4096) | heads(4096, 4096, 1024) | per_head(128) | gated(4096, 12288)] * 36),
    ),
    "qwen3-30b-a3b": (
        "qwen3moe",
        keys(2048, 48, 32, 4, 40960, attention__key_length=128, expert_count=128, expert_used_count=8),
        model(151936, 2048, [two_norms(2048) | heads(2048, 4096, 512) | per_head(128) | experts(2048, 128, 768)] * 48),
    ),
    "qwen1.5-moe-a2.7b": (
        "qwen2moe",
        keys(2048, 24, 16, 16, 8192, expert_count=60, expert_used_count=4),
        model(
            151936,
            2048,
            [
                two_norms(2048)
                | heads(2048, 2048, 2048, bias="qkv")
                | experts(2048, 60, 1408)
                | shared(2048, 5632)
                | {"ffn_gate_inp_shexp.weight": (2048,)}
            ]
            * 24,
        ),
    ),
    "mixtral-8x7b-v0.1": (
        "llama",
        keys(4096, 32, 32, 8, 32768, expert_count=8, expert_used_count=2),
        model(32000, 4096, [two_norms(4096) | heads(4096, 4096, 1024) | experts(4096, 8, 14336)] * 32),
    ),
    "gemma-2-9b": (
        "gemma2",
        keys(3584, 42, 16, 8, 8192, attention__key_length=256, attention__sliding_window=4096),
        model(256000, 3584, [four_norms(3584) | heads(3584, 4096, 2048) | gated(3584, 14336)] * 42, tied=True),
    ),
    "gemma-3-27b": (
        "gemma3",
        keys(5376, 62, 32, 16, 131072, attention__key_length=128, attention__sliding_window=1024),
        model(262208, 5376, [GEMMA_3 | gated(5376, 21504)] * 62, tied=True),
    ),
    "gpt-oss-20b": (
        "gpt-oss",
        keys(
            2880, 24, 64, 8, 131072,
            attention__key_length=64, attention__sliding_window=128, expert_count=32, expert_used_count=4,
        ),
        model(
            201088,
            2880,
            [
                norm("attn_norm", 2880)
                | norm("post_attention_norm", 2880)
                | heads(2880, 4096, 512, bias="qkvo")
                | {"attn_sinks.weight": (64,)}
                | experts(2880, 32, 2880, bias=True)
            ]
            * 24,
        ),
    ),
    "deepseek-v2-lite": (
        "deepseek2",
        keys(
            2048, 27, 16, 16, 163840,
            attention__kv_lora_rank=512, attention__key_length=192, attention__value_length=128,
            rope__dimension_count=64, expert_count=64, expert_used_count=6,
        ),
        model(
            102400,
            2048,
            [LITE | gated(2048, 10944), *[LITE | experts(2048, 64, 1408) | shared(2048, 2816)] * 26],
        ),
    ),
    "deepseek-v3": (
        "deepseek2",
        keys(
            7168, 61, 128, 1, 163840,
            attention__kv_lora_rank=512, attention__q_lora_rank=1536, attention__key_length=576,
            attention__value_length=512, attention__key_length_mla=192, attention__value_length_mla=128,
            rope__dimension_count=64, expert_count=256, expert_used_count=8,
        ),
        model(
            129280,
            7168,
            [
                *[DEEPSEEK_V3 | gated(7168, 18432)] * 3,
                *[DEEPSEEK_V3 | experts(7168, 256, 2048) | shared(7168, 2048) | {"exp_probs_b.bias": (256,)}] * 58,
            ],
        ),
    ),
    "phi-3-mini-4k": (
        "phi3",
        keys(3072, 32, 32, 32, 4096, feed_forward_length=8192, attention__sliding_window=2047),
        model(
            32064,
            3072,
            [
                two_norms(3072)
                | linear("attn_qkv", 3 * 3072, 3072)
                | linear("attn_output", 3072, 3072)
                | linear("ffn_up", 2 * 8192, 3072)
                | linear("ffn_down", 3072, 8192)
            ]
            * 32,
        ),
    ),
    "falcon-7b": (
        "falcon",
        keys(4544, 32, 71, 1, 2048, feed_forward_length=18176),
        model(
            65024,
            4544,
            [FALCON | linear("ffn_up", 18176, 4544) | linear("ffn_down", 4544, 18176)] * 32,
            tied=True,
            bias=True,
        ),
    ),
    "gpt2": (
        "gpt2",
        keys(768, 12, 12, 12, 1024, feed_forward_length=3072),
        model(
            50257,
            768,
            [GPT2 | linear("ffn_up", 3072, 768, bias=True) | linear("ffn_down", 768, 3072, bias=True)] * 12,
            tied=True,
            bias=True,
        )
        | {"position_embd.weight": (1024, 768)},
    ),
    "starcoder2-7b": (
        "starcoder2",
        keys(4608, 32, 36, 4, 16384, feed_forward_length=18432, attention__sliding_window=4096),
        model(
            49152,
            4608,
            [STARCODER | linear("ffn_up", 18432, 4608, bias=True) | linear("ffn_down", 4608, 18432, bias=True)] * 32,
            tied=True,
            bias=True,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_real_models_header_gives_what_its_config_gives(name: str, tmp_path: Path) -> None:
    read, bundled = kvcalc.load(write_gguf(tmp_path / f"{name}.gguf", *FILES[name])), kvcalc.load(name)
    assert (read.name, read.attention) == (name, bundled.attention)
    for key in SAME:
        assert value(read, key, Workload(5000)) == value(bundled, key, Workload(5000)), key


def llama(folder: Path, name: str = "m.gguf", *, shapes: Shapes | None = None, **more: Any) -> str:
    changed = {key.replace("__", "."): told for key, told in more.items()}
    return write_gguf(folder / name, "llama", {**LLAMA_KEYS, **changed}, shapes or llama_shapes())


def test_layers_without_attention_have_none(tmp_path: Path) -> None:
    """Nemotron-NAS, deci: heads a layer, some of none."""
    shapes = {name: shape for name, shape in llama_shapes(3).items() if not name.startswith("blk.1.attn")}
    told = {**LLAMA_KEYS, "block_count": 3, "attention.head_count": [8, 0, 8], "attention.head_count_kv": [2, 0, 2]}
    spec = kvcalc.load(write_gguf(tmp_path / "m.gguf", "deci", told, shapes))
    assert value(spec, "cache_elements_per_token", Workload(10)) == 2 * 2 * 2 * 8


def test_a_state_space_model(tmp_path: Path) -> None:
    d, inner, state, rank, kernel = 64, 128, 16, 4, 4
    block: Shapes = {
        "attn_norm.weight": (d,),
        "ssm_in.weight": (2 * inner, d),
        "ssm_conv1d.weight": (inner, kernel),
        "ssm_conv1d.bias": (inner,),
        "ssm_x.weight": (rank + 2 * state, inner),
        "ssm_dt.weight": (inner, rank),
        "ssm_dt.bias": (inner,),
        "ssm_a": (inner, state),
        "ssm_d": (inner,),
        "ssm_out.weight": (d, inner),
    }
    told = {
        "block_count": 2, "context_length": 1 << 20, "embedding_length": d, "attention.head_count": 0,
        "ssm.inner_size": inner, "ssm.state_size": state, "ssm.time_step_rank": rank, "ssm.conv_kernel": kernel,
    }  # fmt: skip
    spec = kvcalc.load(write_gguf(tmp_path / "m.gguf", "mamba", told, model(100, d, [block] * 2, tied=True)))
    assert value(spec, "cache_elements", Workload(1000)) == 2 * (inner * state + (kernel - 1) * inner)


def test_parts_are_read_as_one(tmp_path: Path) -> None:
    """Keys stand in the first part, tensors in all; any of them names the model."""
    shapes, half = llama_shapes(), 9
    parts = [dict(list(shapes.items())[:half]), dict(list(shapes.items())[half:])]
    for at, part in enumerate(parts):
        split = {"split.no": at, "split.count": 2, "split.tensors.count": len(shapes)}
        write_gguf(
            tmp_path / f"m-0000{at + 1}-of-00002.gguf", "llama", {**(LLAMA_KEYS if not at else {}), **split}, part
        )
    whole = kvcalc.load(llama(tmp_path))
    for at in (1, 2):
        assert kvcalc.load(str(tmp_path / f"m-0000{at}-of-00002.gguf"))._replace(source="") == whole._replace(source="")
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    assert_refused(quickly("compare", str(tmp_path / "m-00001-of-00002.gguf")), "one of 2 parts", "m-00002-of-00002")


def test_rotary_positions_are_read(tmp_path: Path) -> None:
    spec = kvcalc.load(llama(tmp_path, rope__dimension_count=4))
    assert spec.rope is not None
    assert (spec.rope.base, spec.rope.partial_rotary_factor) == (500000, 0.5)


def test_every_number_names_its_key_or_the_tensors(tmp_path: Path) -> None:
    told = quickly("show", llama(tmp_path), "--provenance").out
    assert "llama.attention.head_count_kv: 2" in told
    assert "its tensors' shapes" in told


def test_a_vocabulary_may_be_long(tmp_path: Path) -> None:
    path = llama(tmp_path, tokenizer__ggml__tokens=[f"t{at}" for at in range(20_000)])
    assert kvcalc.load(path).vocab_size == 100


def without(name: str) -> Shapes:
    return {key: shape for key, shape in llama_shapes().items() if key != name}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"shapes": {**llama_shapes(), "blk.0.attn_strange.weight": (8, 64)}},
            ["tensors of its attention hold", "describe it in native"],
        ),
        ({"attention__sliding_window": 512}, ["which layers slide?"]),
        ({"attention__head_count_kv": 0}, ["0 key-value heads"]),
        ({"attention__head_count_kv": [2]}, ["1 numbers for 2 layers"]),
        ({"attention__head_count": "eight"}, ["not a whole number"]),
        ({"shapes": {"token_embd.weight": (100, 64)}}, ["blk.0 has no tensors"]),
        ({"shapes": {"other": (1, 1)}}, ["no tensors of a model"]),
        ({"shapes": without("blk.0.attn_k.weight")}, ["attention without keys"]),
        ({"block_count": 3}, ["blk.2 has no tensors"]),
        ({"block_count": 1}, ["tensors of its attention hold"]),
        ({"nextn_predict_layers": 2}, ["no layer is left"]),
        ({"general__alignment": 0}, ["general.alignment 0 is no power of two"]),
        ({"general__alignment": 24}, ["general.alignment 24 is no power of two"]),
    ],
    ids=[
        "more tensors",
        "window",
        "no heads",
        "short list",
        "text",
        "no layers",
        "no model",
        "no keys",
        "layers",
        "fewer layers",
        "mtp",
        "alignment 0",
        "alignment",
    ],
)
def test_what_is_not_understood_is_refused(changes: dict[str, Any], parts: list[str], tmp_path: Path) -> None:
    assert_refused(quickly("compare", llama(tmp_path, **changes)), "m.gguf", *parts)


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", "qwen4", LLAMA_KEYS, llama_shapes())
    assert_refused(quickly("compare", path), "'qwen4' is not understood", "did you mean qwen")


def key_of(name: bytes, kind: int, payload: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + payload


def header(tensors: int, keys: int, *pieces: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(pieces)


def tensor_of(name: bytes, shape: tuple[int, ...], kind: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return struct.pack("<Q", len(name)) + name + sizes + struct.pack("<IQ", kind, 0)


BOMBS = {
    "empty": (b"", "too short"),
    "magic": (b"PK\3\4" + bytes(60), "it begins with"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 1 << 40), "it claims"),
    "version 0": (header(0, 0, version=0), "version 0"),
    "version": (header(0, 0, version=1), "version 1"),
    "keys": (header(0, 1 << 60), "it claims"),
    "tensors": (header(1 << 62, 0), "it claims"),
    "list": (header(0, 1, key_of(b"a", 9, struct.pack("<IQ", 8, 1 << 61)), bytes(100)), "'a' claims"),
    "numbers": (header(0, 1, key_of(b"a", 9, struct.pack("<IQ", 10, 3_900_000)), bytes(100)), "ends within"),
    "text": (header(0, 1, key_of(b"a", 8, struct.pack("<Q", 1 << 63))), "ends within"),
    "name": (header(0, 1, struct.pack("<Q", 1 << 40)), "a name of"),
    "lists of lists": (header(0, 1, key_of(b"a", 9, struct.pack("<IQ", 9, 1)), bytes(100)), "no list can hold"),
    "type": (header(0, 1, key_of(b"a", 77, bytes(8))), "no type 77"),
    "twice": (header(0, 2, key_of(b"a", 4, bytes(4)), key_of(b"a", 4, bytes(4))), "twice"),
    "dimensions": (header(1, 0, struct.pack("<Q", 1), b"t", struct.pack("<I", 1 << 31)), "dimensions"),
    "zeros": (header(0, 1, key_of(b"a", 9, struct.pack("<IQ", 8, 1_900_000))) + bytes(1 << 23), "ends within"),
    "type of a tensor": (header(1, 0, tensor_of(b"t", (32,), 99)), "the type 99, which the gguf package"),
    "half a block": (header(1, 0, tensor_of(b"t", (100, 3), 12)), "no whole blocks of Q4_K"),
    "two tensors": (header(2, 0, tensor_of(b"t", (32,), 0), tensor_of(b"t", (32,), 0)), "twice"),
    "large sizes": (header(1, 0, tensor_of(b"t", (1 << 63,) * 4, 0)), "'' is not understood"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_broken_file_is_one_message_at_once(name: str, tmp_path: Path) -> None:
    data, said = BOMBS[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    start = time.monotonic()
    assert_refused(quickly("compare", str(path)), "m.gguf", said)
    assert time.monotonic() - start < 2, "half a second where nothing else runs"


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = Path(llama(tmp_path)).read_bytes()
    path = tmp_path / "cut.gguf"
    ends = [*range(0, 400, 7), *range(400, len(whole) - 100, 97)]
    for end in ends:
        path.write_bytes(whole[:end])
        with pytest.raises(kvcalc.ConfigError):
            kvcalc.load(str(path))


def test_a_large_file_costs_little_memory(tmp_path: Path) -> None:
    """The data of 40 GiB of tensors, a hole on disk, is neither mapped nor read: the process may hold 1 GiB."""
    path = Path(llama(tmp_path))
    with path.open("r+b") as file:
        file.truncate(40 << 30)
    assert limited("compare", str(path), "--format", "csv").code == 0


HEAVY = {  # small files that would be large if all they hold were kept
    "lists": header(
        0, 9000, *[key_of(b"k%d" % at, 9, struct.pack("<IQ", 0, 2000) + bytes(2000)) for at in range(9000)]
    ),
    "texts": header(0, 900, *[key_of(b"k%d" % at, 8, struct.pack("<Q", 20000) + b"\xff" * 20000) for at in range(900)]),
    "tensors": header(9_999, 0, *[tensor_of(b"blk.0.%d" % at, (1 << 60, 1 << 60), 0) for at in range(9_999)]),
}


@pytest.mark.parametrize("name", HEAVY)
def test_what_is_not_needed_is_not_kept(name: str, tmp_path: Path) -> None:
    from tracemalloc import get_traced_memory, start, stop

    path = tmp_path / "m.gguf"
    path.write_bytes(HEAVY[name])
    with pytest.raises(kvcalc.ConfigError, match=r"general\.architecture"):
        kvcalc.load(str(path))
    start()
    with pytest.raises(kvcalc.ConfigError):
        kvcalc.load(str(path))
    assert get_traced_memory()[1] < 40 << 20
    stop()


def test_every_layer_may_differ(tmp_path: Path) -> None:
    """As many as llama.cpp runs, 512, here of 256 widths: what may differ in all is bounded; one more is refused."""
    shapes = llama_shapes(512)
    for at in range(512):
        width = at % 256 + 1
        shapes.update({f"blk.{at}.ffn_{one}.weight": (width, 64) for one in ("up", "gate")})
        shapes[f"blk.{at}.ffn_down.weight"] = (64, width)
    start = time.process_time()
    assert len(kvcalc.load(llama(tmp_path, shapes=shapes, block_count=512)).groups) == 256
    assert time.process_time() - start < 5
    assert_refused(quickly("compare", llama(tmp_path, block_count=513)), "not a whole number up to 512")


def test_it_is_known_by_its_first_bytes_too(tmp_path: Path) -> None:
    path = Path(llama(tmp_path)).rename(tmp_path / "blob")
    assert kvcalc.load(str(path)).name == "blob"
