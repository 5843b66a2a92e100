"""RWKV-4, 5 and 6: time mixing with a decay a channel, and the last token's input as a shift.

The channel mixing of the same layer keeps its last token too; it is an MLP and stands as one, its shift stands here.
"""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE_4 = "RWKV (arXiv:2305.13048) sec. 3, app. D: numerator, denominator and maximum a channel"
SOURCE_6 = "Eagle and Finch (arXiv:2404.05892) sec. 4: a matrix a head"
SOURCE_SHIFT = "RWKV (arXiv:2305.13048) sec. 3.1.1: token shift, in time mixing and in channel mixing"
SHIFTS = State("token shifts", "2*d", "conv", SOURCE_SHIFT)


class Rwkv4(NamedTuple):
    """RWKV-4: d_a channels, each with a numerator, a denominator and a maximum; two token shifts of hidden_size.

    Shapes: state [3, d_a], token shifts [2, d].
    """

    attention_hidden_size: Annotated[int, "channels d_a"]
    kind: str = "rwkv4"

    @property
    def label(self) -> str:
        """RWKV-4."""
        return "RWKV-4"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_4

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """d_a."""
        return {"d_a": self.attention_hidden_size}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """Three numbers a channel, and the last inputs of both mixings."""
        return (State("state", "3*d_a", "state", SOURCE_4), SHIFTS)

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence is elementwise: a multiply-add into each numerator and each denominator."""
        return (
            Work("state update", "token", "2*2*d_a", SOURCE_4, mixes=True, runs="elementwise"),
            Work("r, k, v", "token", "2*d*3*d_a", SOURCE_4),
            Work("o", "token", "2*d_a*d", SOURCE_4),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections; a decay and a bonus a channel; what mixes a token with the last."""
        return (
            Weights("r, k, v", "d*3*d_a"),
            Weights("o", "d_a*d"),
            Weights("decay and bonus", "2*d_a"),
            Weights("token shift", "3*d"),
        )


class Rwkv6(NamedTuple):
    """RWKV-5 and 6: n_h heads with a state of d_h by d_h; two token shifts of hidden_size.

    Shapes: state [n_h, d_h, d_h], token shifts [2, d]. Both ranks 0: RWKV-5, whose decay and shifts are constants.
    """

    num_heads: Annotated[int, "heads n_h"]
    head_dim: Annotated[int, "d_h, elements of a head"]
    shift_rank: Annotated[int, "rank R_s of each of five token shifts made of the token (RWKV-6); 0: constants"] = 0
    decay_rank: Annotated[int, "rank R_w of the decay made of the token (RWKV-6); 0: a constant"] = 0
    kind: str = "rwkv6"

    @property
    def label(self) -> str:
        """RWKV-5 or RWKV-6."""
        return "RWKV-6" if self.decay_rank else "RWKV-5"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_6

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_h, d_h, R_s and R_w."""
        ranks = {"R_s": self.shift_rank, "R_w": self.decay_rank}
        return {"n_h": self.num_heads, "d_h": self.head_dim, **{name: rank for name, rank in ranks.items() if rank}}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """A square matrix a head, and the last inputs of both mixings."""
        return (State("state", "n_h*d_h*d_h", "state", SOURCE_6), SHIFTS)

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence: k v^T into the state, r out of it; decay and bonus are elementwise and not counted."""
        parts = [
            Work("state update", "token", "2*n_h*d_h*d_h", SOURCE_6, mixes=True),
            Work("state read-out", "token", "2*n_h*d_h*d_h", SOURCE_6, mixes=True),
            Work("r, k, v, g", "token", "2*d*4*n_h*d_h", SOURCE_6),
            Work("o", "token", "2*n_h*d_h*d", SOURCE_6),
        ]
        if self.shift_rank:
            parts.append(Work("token shift", "token", "2*2*d*5*R_s", SOURCE_6))
        if self.decay_rank:
            parts.append(Work("decay", "token", "2*R_w*(d + n_h*d_h)", SOURCE_6))
        return tuple(parts)

    def weights(self) -> tuple[Weights, ...]:
        """Projections, decay, bonus, what mixes a token with the last, the norm of the heads' outputs."""
        shifts = "6*d + 2*d*5*R_s" if self.shift_rank else "4*d"
        return (
            Weights("r, k, v, g", "d*4*n_h*d_h"),
            Weights("o", "n_h*d_h*d"),
            Weights("decay", "n_h*d_h" + (" + R_w*(d + n_h*d_h)" if self.decay_rank else "")),
            Weights("bonus", "n_h*d_h"),
            Weights("token shift", shifts),
            Weights("output norm", "2*n_h*d_h"),
        )
