"""The released contract of the output: one flat row a report. Keys only ever grow at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.engines.settings import version_of
from kvcalc.model import predicting
from kvcalc.tuples import NamedTuple
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import TypeAlias

    from kvcalc.analysis import Report
    from kvcalc.model import ModelSpec
    from kvcalc.workload import Workload

    Value: TypeAlias = "str | int | float | None"
    Column: TypeAlias = Value | list[Any]
    Record: TypeAlias = Mapping[str, Value]

Row = dict[str, "str | int | float | None"]


class Block(NamedTuple):
    """A run of rows by column: one value that all of them have, or a list of one value a row."""

    length: int
    columns: Mapping[str, Column]

    def rows(self) -> Iterator[Row]:
        """Each row as a record of its own."""
        for at in range(self.length):
            yield {key: told[at] if isinstance(told, list) else told for key, told in self.columns.items()}


def blocks_of(records: Iterable[Record]) -> list[Block]:
    """Records that have the same keys as one block; none as none."""
    listed = list(records)
    return [Block(len(listed), {key: [record[key] for record in listed] for key in listed[0]})] if listed else []


def row(report: Report, reference: Report) -> Row:
    """One flat record: raw exact integers, null where a number does not apply. The ratio is to `reference`."""
    cache, base = report.value("cache_bytes"), reference.value("cache_bytes")
    told = {
        **asked(report.spec, report.variant, report.workload),
        "cache_ratio": cache / base if cache is not None and base else None,
        **{key: report.ratio(key) for key in RATIOS},
        **report.reals,
        **{f"{phase}_bound_by": bound_by(report.reals, phase) for phase in PHASES},
    }
    return {key: told[key] if key in told else report.value(key) for key in KEYS}


def bound_by(reals: Mapping[str, float], phase: str) -> str | None:
    """What takes longer at the least, 'compute' or 'memory'; None without a machine."""
    if not reals:
        return None
    return longer(reals[f"{phase}_compute_seconds"], reals[f"{phase}_memory_seconds"])


def longer(compute_seconds: float, memory_seconds: float) -> str:
    """What bounds a phase."""
    return "compute" if compute_seconds > memory_seconds else "memory"


def asked(spec: ModelSpec, variant: str, workload: Workload) -> Row:
    """What a row is about, and what was asked of it."""
    spec = predicting(spec, workload.mtp)
    return {
        "model": spec.name,
        "variant": variant,
        "attention": spec.attention,
        "layers": spec.layers,
        "context_tokens": workload.context_tokens,
        "batch": workload.batch,
        "cache_dtype": cache_dtype(spec, workload),
        "prompt_tokens": workload.prompt_tokens,
        "cached_tokens": workload.cached_tokens,
        "kv_cache": "on" if workload.kv_cache else "off",
        "weight_dtype": weight_dtype(spec, workload),
        "shared_prefix_tokens": workload.shared_prefix_tokens,
        "generate_tokens": workload.generate_tokens,
        "mla_decode": workload.mla_decode,
        "mla_prefill": workload.mla_prefill,
        "state_dtype": state_dtype(spec, workload) if has_states(spec) else None,
        "engine": workload.engine,
        "mtp": "on" if spec.predicted > 1 else "off" if spec.mtp else None,
        "engine_version": version_of(workload.engine, workload.engine_version) or None,
        **{key: getattr(workload, key) for key in PARALLEL},
        "engine_options": ",".join(f"{name}={value}" for name, value in workload.engine_options) or None,
        "on": workload.machine.label if workload.machine else None,
    }


def cache_dtype(spec: ModelSpec, workload: Workload) -> str:
    """The dtypes of what is stored: 'bf16', 'int8/int4' for K and V; a latent is neither and takes --dtype."""
    return "/".join(dict.fromkeys(workload.dtype_of(role) for role in stored_roles(spec) or ("kv",)))


def state_dtype(spec: ModelSpec, workload: Workload) -> str:
    """The dtype of recurrent states: as asked, else the config's, else fp32; convolutions keep the cache's."""
    return workload.state_dtype or spec.state_dtype or "fp32"


def weight_dtype(spec: ModelSpec, workload: Workload) -> str:
    """The format of the weights: as asked, else the config's, else bf16."""
    own = spec.quantization.format if spec.quantization else ""
    return workload.weight_dtype or own or "bf16"


def has_states(spec: ModelSpec) -> bool:
    """Whether a layer keeps a fixed state."""
    return any(branch.memory.states() for _, branch in spec.branches(owners=True))


def stored_roles(spec: ModelSpec) -> tuple[str, ...]:
    """Which of 'k', 'v' and 'kv' the model's layers store."""
    memories = (branch.memory for _, branch in spec.branches(owners=True))
    return tuple(dict.fromkeys(store.role for memory in memories for store in memory.stores()))


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
    "state_dtype",
    "state_bytes",
    "encoder_tokens",
    "engine",
    "mtp",
    "engine_version",
    "tensor_parallel",
    "reserved_bytes",
    "held_bytes",
    "waste_ratio",
    "engine_options",
    "on",
    "decode_least_seconds",
    "decode_bound_by",
    "decode_tokens_per_second_at_most",
    "prefill_least_seconds",
    "prefill_bound_by",
    "prefill_tokens_per_second_at_most",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "context_parallel",
    "reserved_bytes_total",
    "weight_bytes_per_device",
    "weight_bytes_total",
)

# What a row is about, what was asked of it, and what came out: every key is one of the three.
LABELS = ("model", "variant", "attention", "layers")
ASKED = (
    "context_tokens",
    "batch",
    "cache_dtype",
    "prompt_tokens",
    "cached_tokens",
    "kv_cache",
    "weight_dtype",
    "mla_decode",
    "mla_prefill",
    "shared_prefix_tokens",
    "generate_tokens",
    "state_dtype",
    "encoder_tokens",
    "engine",
    "mtp",
    "engine_version",
    "tensor_parallel",
    "engine_options",
    "on",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "context_parallel",
)
RESULTS = tuple(key for key in KEYS if key not in LABELS and key not in ASKED)
RATIOS = {  # one result over another
    "decode_intensity": ("decode_core_flops", "decode_cache_read_bytes"),
    "waste_ratio": ("reserved_bytes", "paper_bytes"),
}
PHASES = ("decode", "prefill")  # of the roofline
REALS = tuple(f"{phase}_{what}" for phase in PHASES for what in ("least_seconds", "tokens_per_second_at_most"))
FRACTIONS = ("cache_ratio", *RATIOS, *REALS)  # the results that are no integers
TEXTS = tuple(f"{phase}_bound_by" for phase in PHASES)  # the results that are no numbers
