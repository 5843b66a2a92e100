"""Models side by side: each as configured and, where asked, rebuilt with other attentions, as flat rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.analysis import Report, analyze
from kvcalc.errors import KvcalcError
from kvcalc.report.units import bytes_binary
from kvcalc.reserving import engine_notes
from kvcalc.rows import row, stored_roles
from kvcalc.tuples import NamedTuple
from kvcalc.variants import NotRebuiltError, default_variants, rebuild

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.model import ModelSpec
    from kvcalc.request import Request
    from kvcalc.rows import Row
    from kvcalc.variants import Variant
    from kvcalc.workload import Workload


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

    def _repr_html_(self) -> str:
        """The table of the command line, for a notebook, with what else it says."""
        from kvcalc.report.comparison import comparison_table
        from kvcalc.report.html import to_html

        told = (*(f"warning: {line}" for line in self.warnings), *(f"note: {line}" for line in self.notes))
        return to_html(comparison_table(self)._replace(footer=told))


def compare(specs: Sequence[ModelSpec], request: Request, variants: list[Variant] | None) -> Comparison:
    """Analyze each model; `variants` None: all that make sense beside a single model, none beside several."""
    reports: list[Report] = []
    notes: list[str] = []
    warnings: list[str] = []
    for spec in specs:
        workloads, first = request.each(spec), len(reports)
        warnings += cautions(spec, workloads)
        alone = len(specs) == 1 and not request.beside
        wanted = (default_variants(spec) if alone else []) if variants is None else variants
        models, told = with_variants(spec, wanted)
        notes += told
        for model, name in models:
            for workload in workloads:
                try:
                    reports.append(analyze(model, workload, name))
                except KvcalcError as error:
                    if name == "configured":
                        raise
                    notes.append(f"{spec.name}: {name} is left out: {error.message}")
        told = [*engine_notes(spec, workloads), *machine_notes(spec, workloads)]
        told += [note for report in reports[first:] for note in _does_not_fit(report)]
        notes += [note for note in told if note not in notes]
    if len({report.workload.context_tokens for report in reports}) > 1:
        notes.append(CONTEXTS_DIFFER)
    return Comparison(tuple(reports), tuple(notes), tuple(warnings))


def machine_notes(spec: ModelSpec, workloads: Sequence[Workload]) -> list[str]:
    """What is to be said of the machines and of the least times on them, each once."""
    machines = [workload.machine for workload in workloads if workload.machine is not None]
    told = [caution for machine in machines for caution in machine.cautions]
    if machines and any(feedforward.kind == "moe" for _, feedforward in spec.feedforwards()):
        told.append(EXPERTS)
    return list(dict.fromkeys(told))


def _does_not_fit(report: Report) -> Iterator[str]:
    """That a machine has less memory than the weights and the cache of the model as configured."""
    machine, weights, cache = report.workload.machine, report.value("weight_bytes"), report.value("cache_bytes")
    from kvcalc.memory_budget import deal

    if machine is None or weights is None or cache is None or report.variant != "configured":
        return
    needed = weights * deal(report.workload, machine).replicas + cache
    memory = machine.devices * machine.accelerator.memory_bytes
    if needed > memory:
        beyond = (
            f"{bytes_binary(needed)} of weights and cache are more than the {bytes_binary(memory)} of {machine.label}"
        )
        yield f"{report.spec.name}: {beyond}; kvcalc fit solves for what fits"


EXPERTS = (
    "experts touched are those expected at routing at random: a batch that agrees touches fewer, and takes less time"
)
CONTEXTS_DIFFER = "the models' contexts differ, and so the ratios mix them: --context sets one for all"


def with_variants(spec: ModelSpec, variants: Sequence[Variant]) -> tuple[list[tuple[ModelSpec, str]], list[str]]:
    """The model as configured and rebuilt, each with its name, and notes on what is left out and why."""
    models = [(spec, "configured")]
    notes = []
    if spec.left_out:
        notes.append(f"{spec.name}: the {spec.left_out} are left out; parameters are the language model's")
    for variant in variants:
        try:
            models.append(rebuild(spec, variant))
        except NotRebuiltError as reason:
            notes.append(f"{spec.name}: {variant.name} is left out: {reason}")
    states = {branch.memory.label: layers for layers, branch in spec.branches() if not branch.memory.stores()}
    if len(models) > 1 and states:
        kept = " and ".join(f"{layers} {label}" for label, layers in states.items())
        notes.append(f"{spec.name}: variants rebuild the layers that store tokens; its {kept} layers stay as they are")
    return models, notes


def cautions(spec: ModelSpec, workloads: Sequence[Workload]) -> list[str]:
    """What to be warned of where a model is asked for these workloads, each once."""
    told = []
    if not {"k", "v"} & set(stored_roles(spec)) and any(asked.dtype_k or asked.dtype_v for asked in workloads):
        told.append(f"{spec.name}: it stores neither K nor V: --dtype-k and --dtype-v change nothing, --dtype does")
    own = spec.quantization
    if own and own.note and (own.stored or not all(asked.weight_dtype for asked in workloads)):
        told.append(f"{spec.name}: {own.note}")
    last, limit = max(asked.last_tokens for asked in workloads), spec.max_position_embeddings
    if 0 < limit < last:
        told.append(f"{spec.name}: {last:,} tokens are beyond its max_position_embeddings, {limit:,}")
    return told
