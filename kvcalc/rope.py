"""How long a context a RoPE base supports, and the least base for a context.

The bound: B(m) = sum over pairs of cos(m*theta_i) >= 0 at every distance m up to the context, where
theta_i = b^(-2i/r) for r rotated elements and a pair that is not rotated adds 1. Beyond it, a like token scores less
than a random one. Sources: "Base of RoPE Bounds Context Length" (arXiv:2405.14591) eq. 10-11; kexue.fm/archives/10122.

The bases that support a context are no interval: 15,000 supports more than 20,000 does in places. So nothing here
bisects. A least base is that of a geometric grid, whose step belongs to the answer.
"""

from __future__ import annotations

from math import ceil, floor, isfinite, log, pi
from typing import TYPE_CHECKING

from kvcalc.breaches import first_breach
from kvcalc.errors import KvcalcError
from kvcalc.least_base import DEFAULT_STEP, least_base
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.attention.reach import Reach
    from kvcalc.model import Branch, ModelSpec
    from kvcalc.rotary import Rope, Scaling

MOST_TOKENS = 1 << 20  # how far a base is followed: what holds so far is told as 'or more'
SOURCE = "Base of RoPE Bounds Context Length (arXiv:2405.14591) eq. 10-11"


class Support(NamedTuple):
    """What the base of one kind of layer supports.

    `needs_tokens` is the context, or the window where that is smaller; 0: none is stated. `supported_tokens` None: the
    bound holds at every distance; `or_more`: it was followed no further.
    """

    part: str
    base: float
    rotated: int
    head_dim: int
    needs_tokens: int
    supported_tokens: int | None
    or_more: bool
    scaling: str
    followed: bool

    @property
    def broken(self) -> bool:
        """Whether more is claimed than the bound allows."""
        return self.supported_tokens is not None and not self.or_more and self.supported_tokens < self.needs_tokens


def frequencies(base: float, rotated: int) -> list[float]:
    """theta_i = b^(-2i/r), one a pair of rotated elements."""
    return [base ** (-2 * i / rotated) for i in range(rotated // 2)]


def supported_tokens(thetas: Sequence[float], still: float = 0, most: int = MOST_TOKENS) -> int | None:
    """The largest L at which B(m) >= 0 for every m up to it; None where that is so up to `most`.

    `still` is how many pairs are not rotated. `thetas` fall; no m is left out.
    """
    first = first_breach(thetas, 0, most, still)
    return None if first is None else first - 1


class Bound(NamedTuple):
    """What `kvcalc rope` says: a base with the context it supports, or a context with its least base.

    `supported_tokens` None: more than MOST_TOKENS. `grid_step` None: the base was given, not looked for.
    """

    head_dim: int
    context_tokens: int | None
    rope_base: float | None
    supported_tokens: int | None
    grid_step: float | None

    @property
    def holds(self) -> bool | None:
        """Whether the base supports the context that was asked for."""
        if self.context_tokens is None:
            return None
        return self.rope_base is not None and (self.supported_tokens or MOST_TOKENS) >= self.context_tokens


def rope_bound(
    *,
    head_dim: int,
    context: int | None = None,
    base: float | None = None,
    step: float = DEFAULT_STEP,
    told: Callable[[float], None] = lambda _: None,
) -> Bound:
    """The context that a base supports, or the least base for a context. Raises KvcalcError where neither is asked."""
    if head_dim < 2 or head_dim % 2 or head_dim > 4096:
        raise KvcalcError(f"head_dim {head_dim}: RoPE rotates pairs of elements", "an even number up to 4096")
    if context is None and base is None:
        raise KvcalcError(
            "a context or a base is needed", "--context 32k gives the least base, --base 500000 a context"
        )
    if context is not None and not 2 <= context <= MOST_TOKENS:
        raise KvcalcError(f"a context of {context:,} tokens", f"from 2 to {MOST_TOKENS:,}")
    if base is not None and not 1 < base < 1e30:
        raise KvcalcError(f"a base of {base:g}", "more than 1")
    if not 1e-7 <= step <= 0.1:
        raise KvcalcError(f"a step of {step:g}", "from 1e-7 to 0.1")
    found = base if base is not None or context is None else least_base(context, head_dim, step, told)
    reached = None if found is None else supported_tokens(frequencies(found, head_dim))
    return Bound(head_dim, context, found, reached, None if base is not None else step)


def supports(spec: ModelSpec) -> list[Support]:
    """What the base supports, for every kind of layer that has RoPE and attends to tokens."""
    rope = spec.rope
    found: dict[tuple[tuple[int, int], Reach], Branch] = {}
    if rope is None:
        return []
    for _, branch in spec.branches():
        widths = _widths(branch, rope)
        if widths is None or branch.reach.kind == "encoder" or (branch.reach.kind == "full" and not rope.full_layers):
            continue
        found.setdefault((widths, branch.reach), branch)
    return [_support(spec, rope, branch, widths) for (widths, _), branch in found.items()]


def _widths(branch: Branch, rope: Rope) -> tuple[int, int] | None:
    """Rotated elements of a head, and all of them; None where the memory has no such heads."""
    told = branch.memory._asdict()
    if "qk_rope_head_dim" in told:
        rotated, rest = told["qk_rope_head_dim"], told["qk_nope_head_dim"]
        return (rotated, rotated + rest) if rotated else None
    if told["kind"] != "heads":
        return None
    width = told["head_dim"]
    return (int(width * rope.partial_rotary_factor) // 2 * 2, width)


def _support(spec: ModelSpec, rope: Rope, branch: Branch, widths: tuple[int, int]) -> Support:
    rotated, width = widths
    span = _span(branch)
    local = bool(span and rope.local_base)
    base, scaling = (rope.local_base, None) if local else (rope.base, rope.scaling)
    still = (width - rotated) / 2
    needs = min(filter(None, (span, spec.max_position_embeddings)), default=0)
    thetas = scaled(frequencies(base, rotated), base, rotated, scaling)
    holds = 2 * rotated <= width or not rotated
    most = min(max(MOST_TOKENS, needs), 8 * MOST_TOKENS)
    supported = None if holds else supported_tokens(thetas, still, most)
    return Support(
        branch.label,
        base,
        rotated,
        width,
        needs,
        most if supported is None and not holds else supported,
        supported is None and not holds,
        scaling.kind if scaling else "",
        scaling.followed if scaling else True,
    )


def _span(branch: Branch) -> int:
    """The farthest that a layer looks back, itself included; 0: to the beginning."""
    told = branch.reach._asdict()
    window = told.get("sliding_window")
    return int((window - 1) * told.get("dilation", 1) + 1 if window else told.get("attention_chunk_size", 0))


def scaled(thetas: list[float], base: float, rotated: int, scaling: Scaling | None) -> list[float]:
    """The frequencies that a scaling makes of these; unchanged where it is not one that the bound follows."""
    if scaling is None or not scaling.followed:
        return thetas
    if scaling.kind == "linear":
        return [theta / scaling.factor for theta in thetas]
    return _yarn(thetas, base, rotated, scaling) if scaling.kind == "yarn" else _llama3(thetas, scaling)


def _yarn(thetas: list[float], base: float, rotated: int, scaling: Scaling) -> list[float]:
    """YaRN (arXiv:2309.00071) sec. 3.2: slow pairs interpolated, fast ones left, a ramp between."""
    original = scaling.original_max_position_embeddings

    def pair(rotations: float) -> float:
        return rotated * log(original / (rotations * 2 * pi)) / (2 * log(base))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, rotated - 1)
    width = max(high - low, 0.001)
    ramp = [min(1.0, max(0.0, (i - low) / width)) for i in range(len(thetas))]
    return [theta / scaling.factor * part + theta * (1 - part) for theta, part in zip(thetas, ramp, strict=True)]


def _llama3(thetas: list[float], scaling: Scaling) -> list[float]:
    """Llama 3.1: by wavelength, transformers modeling_rope_utils.py."""
    original, low, high = scaling.original_max_position_embeddings, scaling.low_freq_factor, scaling.high_freq_factor
    found = []
    for theta in thetas:
        turns = original * theta / (2 * pi)  # over the original context
        ramp = (turns - low) / (high - low) if high > low else float(turns >= high)
        smooth = min(1.0, max(0.0, ramp))
        found.append((1 - smooth) * theta / scaling.factor + smooth * theta)
    return found


def usable(rope: Rope) -> bool:
    """Whether the numbers make frequencies at all."""
    scaling = rope.scaling
    numbers = [rope.base, rope.partial_rotary_factor, rope.local_base, *(scaling[1:7] if scaling else ())]
    if not all(isfinite(number) for number in numbers) or rope.base <= 1 or not 0 < rope.partial_rotary_factor <= 1:
        return False
    if scaling is None or not scaling.followed:
        return True
    if scaling.kind != "linear" and not scaling.original_max_position_embeddings:
        return False
    return scaling.factor > 0 and scaling.beta_fast > 0 and scaling.beta_slow > 0
