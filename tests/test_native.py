"""Native YAML: what each field of the format means, and where its numbers come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import value
from kvcalc.attention.reach import Chunk, Window
from kvcalc.errors import ConfigError
from kvcalc.model import ModelSpec
from kvcalc.readers.load import load_all, read_source
from kvcalc.workload import Workload

BASE = """\
name: mine
hidden_size: 64
num_hidden_layers: 6
vocab_size: 100
tie_word_embeddings: true
norm: rmsnorm
norms_per_layer: 2
mlp: {kind: dense, intermediate_size: 128, gated: true}
"""
HEADS = "attention: {kind: heads, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16}\n"


def read(tmp_path: Path, *lines: str) -> ModelSpec:
    file = tmp_path / "model.yaml"
    file.write_text(BASE + "".join(lines))
    return load_all(str(file))[0]


def reaches(spec: ModelSpec) -> dict[int, object]:
    return {index: group.layer.branches[0].reach for group in spec.groups for index in group.indices}


def test_a_window_for_every_layer(tmp_path: Path) -> None:
    assert set(reaches(read(tmp_path, HEADS, "sliding_window: 8\n")).values()) == {Window(8)}


def test_a_dilated_window_spans_more_than_it_reads(tmp_path: Path) -> None:
    spec = read(tmp_path, HEADS, "sliding_window: 8\ndilation: 3\n")
    assert value(spec, "cache_elements", Workload(1000)) == 6 * 64 * (7 * 3 + 1)
    assert value(spec, "decode_cache_read_bytes", Workload(1000)) == 6 * 64 * 8 * 2


def test_a_repeating_pattern(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        HEADS,
        "layers:\n  local: {attention_chunk_size: 4}\n  global: {}\nlayer_pattern: [local x3, global]\n",
    )
    assert [isinstance(reach, Chunk) for _, reach in sorted(reaches(spec).items())] == [True] * 3 + [False] + [True] * 2


def test_an_exact_list_and_layers_of_their_own(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        HEADS,
        "layers:\n"
        "  dense: {}\n"
        "  moe: {mlp: {kind: moe, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 32, gated: true}}\n"
        "layer_types: [dense x2, moe x4]\n",
    )
    assert [group.indices for group in spec.groups] == [(0, 1), (2, 3, 4, 5)]
    idle = value(spec, "parameters", Workload(1)) - value(spec, "active_parameters", Workload(1))
    assert idle == 4 * 2 * 3 * 64 * 32


def test_a_kind_of_layer_undoes_the_window_above_it(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        HEADS,
        "sliding_window: 8\nlayers: {local: {}, global: {sliding_window: null}}\nlayer_pattern: [local, global]\n",
    )
    assert spec.attention == "GQA-2 (3 SWA-8 + 3 full)"


def test_cross_layer_sharing(tmp_path: Path) -> None:
    """CLA-2: half the layers own, all read."""
    spec = read(tmp_path, HEADS, "layers:\n  own: {}\n  reuse: {shares_kv: true}\nlayer_pattern: [own, reuse]\n")
    assert value(spec, "cache_elements_per_token", Workload(1)) == 3 * 64
    assert value(spec, "decode_cache_read_bytes", Workload(10)) == 6 * 64 * 10 * 2
    assert spec.attention == "GQA-2 (3 full + 3 full shared)"


def test_a_shared_tail(tmp_path: Path) -> None:
    spec = read(tmp_path, HEADS, "num_kv_shared_layers: 4\n")
    assert value(spec, "cache_elements_per_token", Workload(1)) == 2 * 64


def test_a_sliding_window_mla_needs_no_code_of_its_own(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "attention: {kind: mla, num_attention_heads: 4, kv_lora_rank: 32, qk_rope_head_dim: 8, qk_nope_head_dim: 16,"
        " v_head_dim: 16}\n",
        "sliding_window: 10\n",
    )
    assert spec.attention == "MLA-32+8 SWA-10"
    assert value(spec, "cache_elements", Workload(50)) == 6 * 40 * 10
    assert value(spec, "decode_core_flops", Workload(50)) == 6 * 10 * 2 * 4 * (40 + 32)
    naive = Workload(50, mla_decode="naive")
    extra = value(spec, "decode_projection_flops", naive) - value(spec, "decode_projection_flops", Workload(50))
    assert extra == 6 * (10 * 2 * 32 * 4 * 32 - 2 * 4 * 32 * 32)


def test_k_and_v_head_dims_may_differ(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "attention: {kind: heads, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 24, v_head_dim: 16,"
        " bias: [q, o], qk_norm: per_head, output_gate: true, sinks: true}\n",
    )
    assert value(spec, "cache_elements_per_token", Workload(1)) == 6 * 2 * 40
    weights = 64 * 4 * 24 + 64 * 2 * 24 + 64 * 2 * 16 + 4 * 16 * 64 + 64 * 4 * 16  # q k v o and the gate
    extras = 4 * 24 + 64 + 2 * 24 + 4  # biases of q and o, norms of q and k, sinks
    rest = 6 * (3 * 64 * 128 + 2 * 64) + 64 + 100 * 64
    assert value(spec, "parameters", Workload(1)) == 6 * (weights + extras) + rest


CUSTOM = """\
attention:
  kind: custom
  name: tpa
  symbols: {n_h: 4, d_h: 16, r: 3}
  elements_per_token: 2*r*(n_h + d_h)
  work_per_pair: 4*n_h*d_h
  work_per_token: 2*d*n_h*d_h + 2*d*2*r*(n_h + d_h)
  parameters: d*(n_h*d_h + 2*r*(n_h + d_h))
  source: a paper of ours
"""


def test_a_variant_of_ones_own(tmp_path: Path) -> None:
    """Formulas in the config, under any reach, by the same engine."""
    spec = read(tmp_path, CUSTOM, "sliding_window: 5\n")
    assert spec.attention == "tpa SWA-5"
    assert value(spec, "cache_elements", Workload(100)) == 6 * 2 * 3 * 20 * 5
    assert value(spec, "decode_core_flops", Workload(100)) == 6 * 4 * 4 * 16 * 5
    assert value(spec, "prefill_projection_flops", Workload(100)) == 6 * 100 * (2 * 64 * 64 + 2 * 64 * 120)


def test_provenance_names_the_line_of_every_number(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(BASE + HEADS)
    origins = {origin.field: origin for origin in read_source(str(file))[0].origins}
    assert origins["hidden_size"].origin == "line 2"
    assert origins["attention.head_dim"].origin == "line 9"


def test_provenance_tells_keys_from_assumed_defaults(tmp_path: Path) -> None:
    """Gemma-3's config carries no sliding_window_pattern: the class default of 6 is assumed, and said."""
    file = tmp_path / "config.json"
    file.write_text('{"model_type": "gemma3_text",\n "hidden_size": 64,\n "num_hidden_layers": 12}')
    spec, _, _, origins = read_source(str(file))[0]
    found = {origin.field: origin.origin for origin in origins}
    assert found["hidden_size"] == "hidden_size: 64, line 2"
    assert found["attention.head_dim"].startswith("head_dim absent: 256, the default of Gemma3TextConfig")
    assert "sliding_window_pattern" in found["layer_pattern"]
    assert spec.attention == "GQA-4 (10 SWA-4096 + 2 full)"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (HEADS + "layers: {a: {}}\n", "without their order"),
        (HEADS + "layers: {a: {}}\nlayer_types: [a x5]\n", "lists 5 layers"),
        (HEADS + "layers: {a: {}}\nlayer_pattern: [a x7]\n", "lists 7 layers"),
        (HEADS + "layers: {local: {}}\nlayer_pattern: [locl]\n", "did you mean local"),
        (HEADS + "layers: {a: {}}\nlayer_pattern: [a]\nlayer_types: [a x6]\n", "exclude"),
        (HEADS + "shares_kv: true\n", "no earlier layer"),
        (HEADS + "layers: {a: {}, b: {}}\nlayer_pattern: [a]\n", "no layer is of the kind 'b'"),
        (HEADS + "layers: {a: {}}\nlayer_pattern: [a]\nshares_kv: true\n", "not above them all"),
        (HEADS + "num_kv_shared_layers: 6\n", "6 layers"),
        (HEADS + "dilation: 2\n", "without a sliding_window"),
        (HEADS + "sliding_window: 2\nattention_chunk_size: 4\n", "exclude"),
        ("", "missing field 'attention'"),
        (CUSTOM.replace("2*r*(n_h + d_h)\n  work_per_pair", "2*q\n  work_per_pair"), "unknown symbol 'q'"),
        (CUSTOM.replace("r: 3", "d: 3"), "is taken"),
    ],
)
def test_what_makes_no_model_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(tmp_path, lines)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith(f"{tmp_path}/model.yaml:")
