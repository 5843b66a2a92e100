"""Headers that llama.cpp's own converter made of small models, against the config.json of the same models.

Recorded by scripts/gguf_truth.py: llama.cpp's convert_hf_to_gguf.py of 11 April 2026, Transformers 5.23.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import kvcalc
from builders import TRUTH, from_config, value
from headers import Shapes, write_gguf
from kvcalc.readers.llama_cpp.architectures import ARCHITECTURES, REFUSED
from kvcalc.readers.llama_cpp.likeness import MODEL_TYPES
from kvcalc.workload import Workload
from refusals import assert_refused, quickly
from test_gguf import experts, four_norms, gated, heads, keys, latent, linear, model, norm, per_head, shared, two_norms

gguf = pytest.importorskip("gguf")
with open(os.path.join(TRUTH, "gguf.jsonl"), encoding="utf-8") as file:
    RECORDS: dict[str, dict[str, Any]] = {told["id"]: told for told in map(json.loads, file)}
SAME = (
    "parameters", "active_parameters", "cache_elements_per_token", "cache_bytes", "state_bytes",
    "prefill_model_flops", "decode_model_flops", "prefill_attention_flops",
)  # fmt: skip
UNSAID = {  # what a header does not say, or says otherwise, and by how much
    "apertus": {"parameters": -8, "active_parameters": -8},  # xIELU's alphas are keys, no tensors
}
OF_THE_CONVERTER = ("bloom", "glm", "granitehybrid", "granitehybrid-dense", "mamba", "mamba2", "nemotron_h")
SCALED = ("apertus", "gpt-oss")  # factors in a tensor's data; a ramp that is not truncated
HALF = ("mimo2",)  # the config's own share of rotated elements, which its saved form does not have
LISTS = ("hunyuanmoe",)  # its config counts experts layer by layer, which is not read


def written(record: dict[str, Any], folder: Path) -> str:
    shapes: Shapes = {name: tuple(reversed(told[1:])) for name, told in record["tensors"].items()}
    types = {name: told[0].upper() for name, told in record["tensors"].items()}
    return write_gguf(folder / f"{record['id']}.gguf", record["architecture"], record["keys"], shapes, types)


@pytest.mark.parametrize("name", [name for name in RECORDS if name not in LISTS])
def test_a_converted_model_is_its_config(name: str, tmp_path: Path) -> None:
    record = RECORDS[name]
    read, config = kvcalc.load(written(record, tmp_path)), from_config(record["saved"])
    for tokens in (50, 300):
        for key in SAME:
            expected = value(config, key, Workload(tokens))
            more = UNSAID.get(name, {}).get(key, 0)
            assert value(read, key, Workload(tokens)) == expected + more, (key, tokens)
    assert read.quantization is not None
    assert read.quantization.note == "", "the tensors hold as many parameters as are read"
    if name not in (*SCALED, *HALF):
        assert read.rope == config.rope
    if name not in OF_THE_CONVERTER:
        assert read.max_position_embeddings == config.max_position_embeddings


@pytest.mark.parametrize("name", LISTS)
def test_what_a_config_says_by_layer_a_header_says_too(name: str, tmp_path: Path) -> None:
    assert (
        value(kvcalc.load(written(RECORDS[name], tmp_path)), "cache_elements_per_token", Workload(9)) == 4 * 2 * 2 * 8
    )


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_it_is_converted_to_native_and_back(name: str, tmp_path: Path) -> None:
    read = kvcalc.load(written(RECORDS[name], tmp_path))
    path = tmp_path / "again.yaml"
    path.write_text(kvcalc.to_yaml([read]))
    assert kvcalc.load(str(path)) == read


def test_every_architecture_of_the_package_is_read_or_refused_with_its_reason(tmp_path: Path) -> None:
    """What it knows and kvcalc does not is a failure: of a newer package, a chance to read more."""
    known = set(gguf.MODEL_ARCH_NAMES.values())
    ours = {*ARCHITECTURES, *MODEL_TYPES}
    assert not ours & set(REFUSED)
    assert known <= ours | set(REFUSED), sorted(known - ours - set(REFUSED))
    assert ours | set(REFUSED) <= known
    for name, reason in REFUSED.items():
        path = write_gguf(tmp_path / "m.gguf", name, {"block_count": 1}, {"token_embd.weight": (8, 8)})
        assert_refused(quickly("compare", path), f"general.architecture '{name}': {reason}", "native YAML")


def test_the_documentation_names_them_all() -> None:
    with open(os.path.join(os.path.dirname(os.path.dirname(TRUTH)), "docs", "sources.md"), encoding="utf-8") as page:
        told = page.read()
    for name in (*ARCHITECTURES, *MODEL_TYPES, *REFUSED):
        assert f"`{name}`" in told
    assert all(reason in told for reason in REFUSED.values())
    assert f"{len(RECORDS)} small models" in told


def test_every_key_that_is_read_is_one_of_the_package() -> None:
    """Names in the code are names of gguf.Keys; a typo would read as 'the file does not say'."""
    known = {told for room in vars(gguf.Keys).values() if isinstance(room, type) for told in named(room)}
    folder = os.path.join(os.path.dirname(kvcalc.__file__), "readers", "llama_cpp")
    found = set()
    for room in os.listdir(folder):
        if room.endswith(".py"):
            with open(os.path.join(folder, room), encoding="utf-8") as source:
                found |= set(re.findall(r'keys\.(?:number|each|decimal|given|raw)\("([a-z0-9_.]+)"', source.read()))
    assert len(found) > 30
    assert not found - known


def named(room: type) -> set[str]:
    inner = {told for one in vars(room).values() if isinstance(one, type) for told in named(one)}
    return inner | {told.removeprefix("{arch}.") for told in vars(room).values() if isinstance(told, str)}


def kda(d: int, n_h: int, d_h: int) -> Shapes:
    wide = n_h * d_h
    convolutions = {f"ssm_conv1d_{one}.weight": (wide, 1, 4) for one in "qkv"}
    return {
        **convolutions,
        **{f"attn_{one}.weight": (wide, d) for one in "qkv"},
        **linear("ssm_f_a", d_h, d),
        **linear("ssm_f_b", wide, d_h),
        **linear("ssm_g_a", d_h, d),
        **linear("ssm_g_b", wide, d_h),
        **linear("ssm_beta", n_h, d),
        "ssm_a": (n_h, 1),
        "ssm_dt.bias": (wide,),
        **norm("ssm_norm", d_h),
        **linear("attn_output", d, wide),
    }


def gemma4(d: int, width: int, n_kv: int, *, keys_alone: bool) -> Shapes:
    projections = heads(d, 16 * width, n_kv * width)
    if keys_alone:
        del projections["attn_v.weight"]
    router = {"ffn_gate_inp.weight": (128, d), "ffn_gate_inp.scale": (d,), "ffn_down_exps.scale": (128,)}
    routed = {"ffn_gate_up_exps.weight": (128, 2 * 704, d), "ffn_down_exps.weight": (128, d, 704)}
    more = {f"{name}.weight": (d,) for name in ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2")}
    plain = {**four_norms(d), **projections, **per_head(width), **gated(d, 2112)}
    return {**plain, **router, **routed, **more, "layer_output_scale.weight": (1,)}


def rwkv(d: int, width: int, ranks: dict[str, int], more: Shapes) -> Shapes:
    """Both norms with biases, projections, low ranks of a pair of matrices each, and the MLP."""
    pairs = {
        f"time_mix_{name}{at}.weight": (rank, d) if at == 1 else (d, rank)
        for name, rank in ranks.items()
        for at in (1, 2)
    }
    projections = {f"time_mix_{name}.weight": (d, d) for name in ("key", "value", "receptance", "output")}
    mlp = {**linear("channel_mix_key", width, d), **linear("channel_mix_value", d, width)}
    norms = {
        **norm("attn_norm", d, bias=True),
        **norm("attn_norm_2", d, bias=True),
        **norm("time_mix_ln", d, bias=True),
    }
    return {**norms, **pairs, **projections, **mlp, "channel_mix_lerp_k.weight": (1, 1, d), **more}


RWKV_6 = rwkv(
    2048, 7168, {"decay_w": 64},
    {
        "time_mix_w1.weight": (5 * 32, 2048), "time_mix_w2.weight": (5, 2048, 32),
        "time_mix_lerp_x.weight": (1, 1, 2048), "time_mix_lerp_fused.weight": (5, 1, 1, 2048),
        "time_mix_first.weight": (32, 64), "time_mix_decay.weight": (2048,),
        "time_mix_gate.weight": (2048, 2048), "channel_mix_lerp_r.weight": (1, 1, 2048),
        "channel_mix_receptance.weight": (2048, 2048),
    },
)  # fmt: skip
RWKV_7 = rwkv(
    2048, 8192, {"w": 96, "a": 96, "v": 64, "g": 256},
    {f"time_mix_{name}.weight": (2048,) for name in ("w0", "a0", "v0", "k_k", "k_a", "r_k")}
    | {"time_mix_lerp_fused.weight": (6, 1, 1, 2048)},
)  # fmt: skip
EMBEDDED = norm("token_embd_norm", 2048, bias=True)
MLA = latent(2304, 32, 512, 128, 64, 128, 0)
KIMI = [kda(2304, 32, 128) if at + 1 not in (4, 8, 12, 16, 20, 24, 27) else MLA for at in range(27)]
KIMI_MLP = [gated(2304, 9216), *[experts(2304, 256, 1024) | shared(2304, 1024) | {"exp_probs_b.bias": (256,)}] * 26]
SLIDES = [(at + 1) % 6 != 0 for at in range(30)]
BY_HAND: dict[str, tuple[str, dict[str, Any], Shapes]] = {  # as llama.cpp's src/llama-model.cpp says
    "rwkv-6-world-1.6b": (
        "rwkv6", keys(2048, 24, 0, 0, 1048576, wkv__head_size=64),
        model(65536, 2048, [RWKV_6] * 24, bias=True) | EMBEDDED,
    ),
    "rwkv-7-world-1.5b": (
        "rwkv7", keys(2048, 24, 0, 0, 1048576, wkv__head_size=64, feed_forward_length=8192),
        model(65536, 2048, [RWKV_7] * 24, bias=True) | EMBEDDED,
    ),
    "kimi-linear-48b-a3b": (
        "kimi-linear",
        keys(
            2304, 27, 32, [0 if "ssm_beta.weight" in one else 1 for one in KIMI], 1048576,
            kda__head_dim=128, ssm__conv_kernel=4, attention__kv_lora_rank=512, rope__dimension_count=64,
            expert_count=256, expert_used_count=8,
        ),
        model(163840, 2304, [two_norms(2304) | a | b for a, b in zip(KIMI, KIMI_MLP, strict=True)]),
    ),
    "gemma-4-26b-a4b": (
        "gemma4",
        keys(
            2816, 30, 16, [8 if one else 2 for one in SLIDES], 262144,
            attention__key_length=512, attention__key_length_swa=256, attention__sliding_window=1024,
            attention__sliding_window_pattern=SLIDES, feed_forward_length=2112, expert_count=128, expert_used_count=8,
            expert_feed_forward_length=704, embedding_length_per_layer_input=0,
        ),
        model(
            262144, 2816,
            [gemma4(2816, *((256, 8) if one else (512, 2)), keys_alone=not one) for one in SLIDES],
            tied=True,
        ) | {"rope_freqs.weight": (256,)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_a_real_models_shapes_give_what_its_config_gives(name: str, tmp_path: Path) -> None:
    read, bundled = kvcalc.load(write_gguf(tmp_path / f"{name}.gguf", *BY_HAND[name])), kvcalc.load(name)
    assert read.attention == bundled.attention
    assert read.quantization is not None
    idle = "its tensors hold 1,527,668,736 weights" if name == "rwkv-7-world-1.5b" else ""  # of a first layer's mix
    assert read.quantization.note.startswith(idle) if idle else not read.quantization.note
    for key in SAME:
        assert value(read, key, Workload(5000)) == value(bundled, key, Workload(5000)), key


def test_a_shared_layers_own_keys_and_values_are_told_and_not_counted(tmp_path: Path) -> None:
    """Gemma's checkpoints hold k_proj and v_proj of layers that read another's cache; so do files of them."""
    record = RECORDS["gemma3n"]
    alone = kvcalc.load(written(record, tmp_path))
    more = {f"blk.{at}.attn_{one}.weight": ["f16", 64, 32] for at in (4, 5) for one in "kv"}
    spec = kvcalc.load(written({**record, "tensors": {**record["tensors"], **more}}, tmp_path))
    assert spec._replace(quantization=None) == alone._replace(quantization=None)
    assert spec.quantization is not None
    assert "kvcalc reads" in spec.quantization.note
