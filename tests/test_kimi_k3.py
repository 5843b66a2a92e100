"""Kimi-K3: the config that is published, against what its maker and its checkpoint say, and its parts by hand.

Transformers 5.23 knows none of its fields beyond Kimi Linear's. Weights by name: vLLM 0.33, models/kimi_k3.
"""

from __future__ import annotations

from typing import Any

import pytest

from builders import from_config, records, value
from kvcalc.errors import NotUnderstoodError
from kvcalc.readers.huggingface import to_native
from kvcalc.readers.load import load_all
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.workload import Workload

(K3,) = (row["config"] for row in records("engines.jsonl") if row["of"] == "config" and "Kimi-K3" in row["model"])
FIELDS: dict[str, Any] = {
    "mla_use_output_gate": False,
    "latent_moe_use_norm": False,
    "attn_res_block_size": None,
    "routed_expert_hidden_size": None,
}


def parameters(**changed: Any) -> int:
    return value(from_config({**K3, **changed}), "parameters", Workload(1))


def test_it_has_the_parameters_that_its_report_prints() -> None:
    """Kimi K3 (arXiv:2607.24653) Table 1: 2.78T, with a vision tower of 0.4B; 104.2B a token, embeddings apart."""
    spec = from_config(K3)
    assert value(spec, "parameters", Workload(1)) == 2_779_484_393_568
    active = value(spec, "active_parameters", Workload(1))
    assert active == 105_363_935_328
    assert round((active - 163840 * 7168) / 1e9, 1) == 104.2


def test_each_field_adds_what_it_names() -> None:
    full = parameters()
    heads, d, latent = 96 * 128, 7168, 3584
    assert full - parameters(mla_use_output_gate=False) == 24 * d * heads
    assert full - parameters(latent_moe_use_norm=False) == 92 * latent
    assert full - parameters(attn_res_block_size=None) == 4 * 93 * d + 2 * d
    wide = 92 * (896 * 3 * (d - latent) * 3072 - 2 * d * latent - latent)
    assert parameters(routed_expert_hidden_size=None) - full == wide
    low_rank = {**K3["linear_attn_config"], "use_full_rank_gate": False}
    assert full - parameters(linear_attn_config=low_rank) == 69 * (d * heads - 128 * (d + heads))


def test_without_its_fields_it_is_a_kimi_linear() -> None:
    plain = {name: told for name, told in K3.items() if name not in FIELDS}
    assert parameters(**FIELDS) == value(from_config(plain), "parameters", Workload(1))


@pytest.mark.parametrize(("layers", "block"), [(93, 12), (12, 12), (13, 12), (5, 1), (7, 50), (1, 2)])
def test_attention_residuals_read_every_block_so_far(layers: int, block: int) -> None:
    """Step by step: what stands finished, and the sum that grows, before each mixer, each MLP and the head."""
    finished, read = 0, 0
    for layer in range(layers):
        read += finished + 1
        finished += layer % block == 0  # the sum before this layer is finished
        read += finished + 1
    read += finished + 1
    kinds = {"full_attn_layers": [], "kda_layers": [*range(1, layers + 1)]}
    config = {**K3, "num_hidden_layers": layers, "linear_attn_config": {**K3["linear_attn_config"], **kinds}}
    with_, without = ({**config, "attn_res_block_size": size} for size in (block, None))
    flops = [value(from_config(one), "decode_model_flops", Workload(64)) for one in (with_, without)]
    assert flops[0] - flops[1] == 4 * 7168 * read


def test_the_model_around_it_is_read_too() -> None:
    outer = {"model_type": "kimi_k3", "text_config": K3, "vision_config": {}}
    native, _ = to_native(Document("config.json", outer, dict), "kimi-k3")
    (bundled,) = load_all("kimi-k3")
    spec = read_native(native)
    assert spec._replace(source=bundled.source, quantization=bundled.quantization) == bundled
    other = {**outer, "text_config": {**K3, "model_type": "nothing"}}
    with pytest.raises(NotUnderstoodError, match="'nothing'"):
        to_native(Document("config.json", other, dict), "kimi-k3")
