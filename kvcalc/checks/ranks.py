"""Lints of tensor parallelism: what the ranks asked for can and cannot share out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.checks.lint import Remark, lint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.checks.lint import Subject


@lint(
    "KV103",
    "heads that the ranks do not divide",
    "Tensor parallelism gives each rank the same number of query heads: engines refuse a remainder.",
)
def heads_not_divisible(subject: Subject) -> Iterator[Remark]:
    """KV103."""
    for place, attention in subject.described("attention"):
        n_h = attention.get("num_attention_heads", 0)
        if subject.tp and n_h % subject.tp:
            message = f"num_attention_heads {n_h} is not divisible by --tp {subject.tp}"
            yield Remark(subject.mark((*place, "num_attention_heads")), message, _divisors(n_h))


@lint(
    "KV104",
    "KV heads that cannot be shared out",
    "Ranks either hold the same number of KV heads, or the same number of ranks holds each head: neither is possible.",
)
def kv_heads_not_divisible(subject: Subject) -> Iterator[Remark]:
    """KV104."""
    for place, n_kv in _kv_heads(subject):
        if subject.tp and n_kv % subject.tp and subject.tp % n_kv:
            message = f"num_key_value_heads {n_kv} is neither divisible by --tp {subject.tp} nor a divisor of it"
            yield Remark(_kv_mark(subject, place), message, _divisors(n_kv))


@lint(
    "KV112",
    "a cache repeated on every rank",
    "What cannot be split is copied: from there on another rank saves no cache.",
    "note",
)
def repeated_cache(subject: Subject) -> Iterator[Remark]:
    """KV112."""
    for place, n_kv in _kv_heads(subject):
        if n_kv < subject.tp and subject.tp % n_kv == 0:
            copies = f"each of the {n_kv} KV heads" if n_kv > 1 else "the one KV head"
            message = f"--tp {subject.tp} keeps {copies} {subject.tp // n_kv} times"
            yield Remark(
                _kv_mark(subject, place), message, f"the cache of a rank shrinks up to --tp {n_kv}, no further"
            )
    for place, attention in subject.described("attention"):
        if attention["kind"] == "mla" and subject.tp > 1:
            message = f"--tp {subject.tp} keeps the latent on each of the {subject.tp} ranks: it has no heads to split"
            mark = subject.mark((*place, "kv_lora_rank"))
            yield Remark(mark, message, "data parallelism of the attention splits its cache")


@lint(
    "KV113",
    "an MLP that the ranks do not divide",
    "Tensor parallelism splits the width of the MLP, or of each expert: engines refuse a remainder.",
)
def mlp_not_divisible(subject: Subject) -> Iterator[Remark]:
    """KV113."""
    for place, mlp in subject.described("mlp"):
        for field in ("intermediate_size", "moe_intermediate_size", "shared_intermediate_size"):
            width = mlp.get(field) or 0
            if subject.tp and width % subject.tp:
                message = f"{field} {width:,} is not divisible by --tp {subject.tp}"
                yield Remark(subject.mark((*place, field)), message, _divisors(width))


def _kv_heads(subject: Subject) -> Iterator[tuple[tuple[str | int, ...], int]]:
    for place, attention in subject.described("attention"):
        if attention["kind"] == "heads":
            yield place, attention["num_key_value_heads"]


def _kv_mark(subject: Subject, place: tuple[str | int, ...]) -> tuple[int, int]:
    return subject.mark((*place, "num_key_value_heads"), (*place, "num_attention_heads"))


def _divisors(number: int) -> str:
    """The ranks up to 64 that share it out."""
    return f"--tp {', '.join(str(tp) for tp in range(1, 65) if number % tp == 0)} would"
