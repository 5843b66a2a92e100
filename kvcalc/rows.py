"""The released contract of the output: one flat row a report. Keys only ever grow at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.analysis import Report

Row = dict[str, "str | int | float | None"]


def row(report: Report, reference: Report) -> Row:
    """One flat record: raw exact integers, null where a number does not apply. The ratio is to `reference`."""
    spec, workload = report.spec, report.workload
    cache, base = report.value("cache_bytes"), reference.value("cache_bytes")
    told: Row = {
        "model": spec.name,
        "variant": report.variant,
        "attention": spec.attention,
        "layers": spec.layers,
        "context_tokens": workload.context_tokens,
        "batch": workload.batch,
        "cache_dtype": report.cache_dtype,
        "cache_ratio": cache / base if cache is not None and base else None,
        "decode_intensity": report.decode_intensity,
        "prompt_tokens": workload.prompt_tokens,
        "cached_tokens": workload.cached_tokens,
        "kv_cache": "on" if workload.kv_cache else "off",
        "weight_dtype": workload.weight_dtype,
        "shared_prefix_tokens": workload.shared_prefix_tokens,
        "generate_tokens": workload.generate_tokens,
        "mla_decode": workload.mla_decode,
        "mla_prefill": workload.mla_prefill,
    }
    return {key: told[key] if key in told else report.value(key) for key in KEYS}


KEYS = (
    "model",
    "variant",
    "attention",
    "layers",
    "context_tokens",
    "batch",
    "cache_dtype",
    "cache_elements_per_token",
    "cache_bytes_per_token",
    "state_elements",
    "cache_elements",
    "cache_bytes",
    "cache_ratio",
    "decode_core_flops",
    "decode_projection_flops",
    "decode_model_flops",
    "prefill_core_flops",
    "prefill_projection_flops",
    "prefill_model_flops",
    "decode_cache_read_bytes",
    "decode_intensity",
    "parameters",
    "active_parameters",
    "weight_bytes",
    "receptive_field_tokens",
    "prompt_tokens",
    "cached_tokens",
    "kv_cache",
    "weight_dtype",
    "mla_decode",
    "mla_prefill",
    "shared_prefix_tokens",
    "generate_tokens",
    "answer_cache_bytes",
    "last_step_core_flops",
    "last_step_projection_flops",
    "last_step_model_flops",
    "answer_core_flops",
    "answer_projection_flops",
    "answer_model_flops",
    "decode_attention_flops",
    "prefill_attention_flops",
    "last_step_attention_flops",
    "answer_attention_flops",
)
