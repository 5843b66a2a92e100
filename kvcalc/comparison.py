"""Models side by side: each as configured and, where asked, rebuilt with other attentions, as flat rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.analysis import Report, analyze, stored_roles
from kvcalc.rows import row
from kvcalc.variants import NotRebuiltError, default_variants, rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.model import ModelSpec
    from kvcalc.request import Request
    from kvcalc.rows import Row
    from kvcalc.variants import Variant


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
