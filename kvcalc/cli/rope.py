"""`kvcalc rope`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import kvcalc
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.progress import share_of

if TYPE_CHECKING:
    from kvcalc.report.table import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)

HeadDimOption = Annotated[int, typer.Option("--head-dim", metavar="N", help="Rotated elements of a head.")]
ContextOption = Annotated[
    str | None, typer.Option("--context", "-c", metavar="TOKENS", help="What the least base is wanted for: 32k, 1m.")
]
BaseOption = Annotated[float | None, typer.Option("--base", metavar="B", help="rope_theta: what does it support?")]
StepOption = Annotated[float, typer.Option("--step", metavar="S", help="Of the grid of bases, relative.")]


@app.command()
@with_options
def rope(
    out: Output,
    head_dim: HeadDimOption = 128,
    context: ContextOption = None,
    base: BaseOption = None,
    step: StepOption = 1e-4,
) -> None:
    """Bound a context by its RoPE base: sum of cos(m*b^(-2i/d)) >= 0 at every distance m up to it.

    kvcalc rope --base 500000 --head-dim 128

    kvcalc rope --context 128k --head-dim 128

    A heuristic that good models break (arXiv:2405.14591). The bases that support a context are no interval: rounding
    the least one can lose the context, and a finer grid can find a smaller one.
    """
    tokens = None if context is None else kvcalc.parse_tokens(context, "--context")
    with share_of("bases", quiet=out.quiet) as told:
        found = kvcalc.rope_bound(head_dim=head_dim, context=tokens, base=base, step=step, told=told)
    if found.rope_base is None:
        out.tell((), (f"no base of the grid up to 1000 x the context supports {tokens:,} tokens",))

    def tables() -> list[Table]:
        from kvcalc.report.rope import bound_table

        return [bound_table(found)]

    out.write(lambda: [{**found._asdict(), "holds": found.holds}], tables)
