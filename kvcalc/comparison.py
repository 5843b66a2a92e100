"""Models side by side: each as configured and, where asked, rebuilt with other attentions, as flat rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.analysis import Report, analyze, stored_roles
from kvcalc.variants import NotRebuiltError, default_variants, rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.model import ModelSpec
    from kvcalc.variants import Variant
    from kvcalc.workload import Request

Row = dict[str, "str | int | float | None"]


class Comparison(NamedTuple):
    """Reports in the order of the output, and what the reader should know about them."""

    reports: tuple[Report, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def rows(self) -> list[Row]:
        """One flat row a report. The ratio is to the configured row, with several models to the first one's."""
        several = sum(report.variant == "configured" for report in self.reports) > 1
        rows = []
        reference = self.reports[0]
        for report in self.reports:
            if report.variant == "configured" and not several:
                reference = report
            rows.append(row(report, reference))
        return rows


def compare(specs: Sequence[ModelSpec], request: Request, variants: list[Variant] | None) -> Comparison:
    """Analyze each model; `variants` None: all that make sense beside a single model, none beside several."""
    reports: list[Report] = []
    notes: list[str] = []
    warnings: list[str] = []
    for spec in specs:
        workload = request.of(spec)
        reports.append(analyze(spec, workload))
        warnings += _warnings(reports[-1])
        if spec.left_out:
            notes.append(f"{spec.name}: the {spec.left_out} are left out; parameters are the language model's")
        wanted = (default_variants(spec) if len(specs) == 1 else []) if variants is None else variants
        for variant in wanted:
            try:
                rebuilt, name = rebuild(spec, variant)
            except NotRebuiltError as reason:
                notes.append(f"{spec.name}: {variant.name} is left out: {reason}")
            else:
                reports.append(analyze(rebuilt, workload, name))
    if len({report.workload.context_tokens for report in reports}) > 1:
        notes.append("the models' contexts differ, and so the ratios mix them: --context sets one for all")
    return Comparison(tuple(reports), tuple(notes), tuple(warnings))


def _warnings(report: Report) -> list[str]:
    spec, workload = report.spec, report.workload
    told = []
    if (workload.dtype_k or workload.dtype_v) and not {"k", "v"} & set(stored_roles(spec)):
        told.append(f"{spec.name}: it stores neither K nor V: --dtype-k and --dtype-v change nothing, --dtype does")
    last, limit = workload.context_tokens + workload.generate_tokens, spec.max_position_embeddings
    if 0 < limit < last:
        told.append(f"{spec.name}: {last:,} tokens are beyond its max_position_embeddings, {limit:,}")
    return told


def row(report: Report, reference: Report) -> Row:
    """One flat record: raw exact integers, null where a number does not apply. Keys only ever grow at the end."""
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
