"""A lint of positions: a context beyond what the RoPE base supports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.checks.lint import Remark, lint
from kvcalc.rope import supports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.checks.lint import Subject


@lint(
    "KV115",
    "a context beyond what the RoPE base supports",
    "Beyond it a query scores a like token below a random one at some distance (arXiv:2405.14591). Good models break "
    "this bound, so it is a hint of where long contexts may suffer, no more.",
    "note",
)
def beyond_the_base(subject: Subject) -> Iterator[Remark]:
    """KV115."""
    for one in supports(subject.spec):
        if one.broken:
            scaled = f" with {one.scaling} scaling" if one.scaling and one.followed else ""
            apart = f"; {one.scaling} scaling is not taken into account" if not one.followed else ""
            message = (
                f"{one.part}: a RoPE base of {one.base:.10g} over {one.rotated} of {one.head_dim} elements{scaled} "
                f"supports {one.supported_tokens:,} tokens, and {one.needs_tokens:,} are claimed{apart}"
            )
            hint = f"kvcalc rope --context {one.needs_tokens} --head-dim {one.rotated} gives the least base"
            yield Remark(subject.mark(("rope", "base"), ("max_position_embeddings",)), message, hint)
