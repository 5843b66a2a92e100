"""Lints of the whole: a cache beyond the weights, experts that do not choose, positions that end early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.amounts import in_full
from kvcalc.checks.lint import Remark, lint
from kvcalc.rows import weight_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.checks.lint import Subject


@lint(
    "KV108",
    "a cache larger than the weights",
    "One sequence at full context then needs more memory than the model itself: it is the cache, not the weights, that "
    "decides which device serves it.",
)
def cache_beyond_weights(subject: Subject) -> Iterator[Remark]:
    """KV108."""
    limit = subject.spec.max_position_embeddings
    cache, weights = subject.report.value("cache_bytes"), subject.report.value("weight_bytes")
    if limit and cache is not None and weights is not None and cache > weights:
        cached = f"{in_full('cache_bytes', cache)} of {subject.report.cache_dtype} cache"
        stored = f"{in_full('weight_bytes', weights)} of {weight_dtype(subject.spec, subject.report.workload)} weights"
        message = f"one sequence of {limit:,} tokens is {cached}, more than {stored}"
        yield Remark(subject.mark(("max_position_embeddings",)), message)


@lint(
    "KV111",
    "experts that all are visited",
    "With num_experts_per_tok equal to num_experts the router chooses nothing: it is a dense model that pays for a "
    "router.",
)
def dense_in_disguise(subject: Subject) -> Iterator[Remark]:
    """KV111."""
    for place, mlp in subject.described("mlp"):
        if mlp["kind"] == "moe" and mlp["num_experts_per_tok"] == mlp["num_experts"]:
            message = (
                f"num_experts_per_tok {mlp['num_experts_per_tok']} is num_experts: every token visits every expert"
            )
            yield Remark(subject.mark((*place, "num_experts_per_tok"), (*place, "num_experts")), message)


@lint(
    "KV114",
    "learned positions that end before the context does",
    "A position without a row in the table cannot be looked up: the model fails at the first token beyond it.",
)
def positions_end_early(subject: Subject) -> Iterator[Remark]:
    """KV114."""
    rows, limit = subject.spec.position_embeddings, subject.spec.max_position_embeddings
    if 0 < rows < limit:
        message = f"position_embeddings has {rows:,} rows, and max_position_embeddings is {limit:,}"
        yield Remark(subject.mark(("position_embeddings",)), message, f"at least {limit:,} rows")
