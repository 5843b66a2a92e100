"""Real models, to the element: the cache, the parameters and the FLOPs of the live Transformers code."""

from __future__ import annotations

from typing import Any

import pytest

from builders import from_config, records
from kvcalc.analysis import analyze
from kvcalc.attention.reach import Chunk, Window
from kvcalc.model import ModelSpec
from kvcalc.workload import Workload


def identifier(record: dict[str, Any]) -> str:
    return str(record.get("name") or record["id"])


MODELS = records("models.jsonl")
VARIANTS = records("config_variants.jsonl")
RUN = [record for record in VARIANTS if "refused" not in record]
# Broadcast to all heads before caching: not the architecture's cache (Falcon-40B: GQA-8 stores 61,440 elements).
BROADCAST = {"falcon-40b"}
# The library builds its cache from these keys alone, though the model's mask does not know them, or runs every expert.
QUIRKS = ("stray", "/layer-types", "mistral/window-1")
NOT_READ = {
    "gemma3_text/bidirectional": "use_bidirectional_attention",
    "gemma3/text-absent-vision": "text_config",
    "falcon/legacy-n-layer-n-head": "num_hidden_layers",
    "deepseek_v2/moe-freq-2": "moe_layer_freq",
    "deepseek_v3/moe-freq-2": "moe_layer_freq",
}
ALL_EXPERTS = ("llama4", "llama4_text")


def kept_by_transformers(spec: ModelSpec, n: int) -> int | None:
    """Elements that Transformers holds between steps: W-1 tokens of a window, C-1 of a chunk."""
    return analyze(spec, Workload(n, engine="transformers")).value("cache_elements")


@pytest.mark.parametrize("record", MODELS, ids=identifier)
def test_cache_of_real_models(record: dict[str, Any]) -> None:
    """min(n, W) tokens of a window, the current block of a chunk, all n elsewhere."""
    spec = from_config(record["config"])
    for length, truth in record["cache"].items():
        n = int(length)
        elements = analyze(spec, Workload(n)).value("cache_elements")
        chunked = any(isinstance(b.reach, Chunk) for g in spec.groups for b in g.layer.branches)
        if record["name"] in BROADCAST:
            assert elements == 61440 * n
        elif chunked:
            local = 36 * 2048 * ((n - 1) % 8192 + 1)
            assert elements == truth["window_elements"] - 36 * 2048 * min(n, 8192) + local
        else:
            assert elements == truth["window_elements"]


@pytest.mark.parametrize("record", MODELS, ids=identifier)
def test_parameters_of_real_models(record: dict[str, Any]) -> None:
    report = analyze(from_config(record["config"]), Workload(1))
    assert report.value("parameters") == record["parameters"]
    if record["active_parameters"] is not None:
        # The record infers visited experts from matmuls, which do not show the biases of gpt-oss's experts.
        unseen = 24 * 4 * 3 * 2880 if record["name"] == "gpt-oss-20b" else 0
        assert report.value("active_parameters") == record["active_parameters"] + unseen


@pytest.mark.parametrize("record", MODELS, ids=identifier)
def test_decode_flops_of_real_models(record: dict[str, Any]) -> None:
    """The step of token 2049: attention core and projections, and the rest of the model."""
    check_decode(from_config(record["config"]), 2049, record["flops"]["decode"], record["config"]["model_type"])


@pytest.mark.parametrize("record", MODELS, ids=identifier)
def test_prefill_flops_of_real_models(record: dict[str, Any]) -> None:
    """Exact causal pairs are (n + 1)/2n of the rectangle the counter sees; logits of one token, not of all."""
    n, roles = 2048, record["flops"]["prefill"]
    report = analyze(from_config(record["config"]), Workload(n))
    windows = [b.reach for g in report.spec.groups for b in g.layer.branches if isinstance(b.reach, Window)]
    if all(window.sliding_window >= n for window in windows):
        assert (report.value("prefill_core_flops") or 0) * 2 * n == roles["attn_core"] * (n + 1)
    projections = roles["attn_proj"] + roles.get("mla_kv_expand", 0)
    assert report.value("prefill_projection_flops") == projections
    if record["config"]["model_type"] not in ALL_EXPERTS:
        rest = sum(roles.get(role, 0) for role in ("mlp", "moe_router", "moe_experts", "moe_shared"))
        logits = roles["lm_head"] // n
        core = report.value("prefill_core_flops") or 0
        assert report.value("prefill_model_flops") == core + projections + rest + logits


def check_decode(spec: ModelSpec, n: int, roles: dict[str, int], model_type: str) -> None:
    report = analyze(spec, Workload(n, mla_decode="naive"))  # the library re-expands its cached latents
    core = report.value("decode_core_flops") or 0
    projection = report.value("decode_projection_flops") or 0
    if not any(isinstance(b.reach, Chunk) for g in spec.groups for b in g.layer.branches):
        assert core == roles["attn_core"]
    assert projection == roles["attn_proj"] + roles.get("mla_kv_expand", 0)
    if model_type not in ALL_EXPERTS:
        rest = ("mlp", "moe_router", "moe_experts", "moe_shared", "lm_head", "other")
        assert (report.value("decode_model_flops") or 0) - core - projection == sum(roles.get(r, 0) for r in rest)


@pytest.mark.parametrize(
    "record", [r for r in RUN if not r["id"].endswith("/bare") and r["id"] not in NOT_READ], ids=identifier
)
def test_every_field_varied(record: dict[str, Any]) -> None:
    """Small configs of every model type, each field varied or absent, against the live code."""
    from kvcalc.errors import KvcalcError

    try:
        spec = from_config(record["config"])
    except KvcalcError:
        assert "forward_error" in record, "the library runs it"
        return
    report = analyze(spec, Workload(1))
    assert report.value("parameters") == record["parameters"]
    if record["active_parameters"] is not None:
        assert report.value("active_parameters") == record["active_parameters"]
    if any(quirk in record["id"] for quirk in QUIRKS):
        return
    for length, truth in record.get("cache", {}).items():
        assert kept_by_transformers(spec, int(length)) == truth["transformers_elements"]
    if "decode" in record.get("flops", {}):
        check_decode(spec, 41, record["flops"]["decode"], record["config"]["model_type"])


@pytest.mark.parametrize(("name", "field"), NOT_READ.items())
def test_what_is_not_understood_is_refused_by_name(name: str, field: str) -> None:
    from kvcalc.errors import ConfigError

    record = next(record for record in VARIANTS if record["id"] == name)
    with pytest.raises(ConfigError, match=field):
        from_config(record["config"])


@pytest.mark.parametrize("record", [r for r in RUN if r["id"].endswith("/bare")], ids=identifier)
def test_a_config_without_its_size_is_refused(record: dict[str, Any]) -> None:
    from kvcalc.errors import ConfigError

    with pytest.raises(ConfigError, match=r"num_hidden_layers|text_config"):
        from_config(record["config"])
