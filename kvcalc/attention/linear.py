"""Linear attention: a matrix a head in place of a cache, whatever decays it.

Plain linear attention, RetNet, lightning attention (MiniMax), simple and gated linear attention differ in the decay
alone: none, a constant a head, or one that a small projection makes of the token.
"""

from __future__ import annotations

from typing import Annotated, Literal

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Transformers are RNNs (arXiv:2006.16236) sec. 3.4: S + k v^T, then q S; a decay is elementwise, not counted"
SOURCE_GATE = "Gated linear attention (arXiv:2312.06635) sec. 4.4"


class Linear(NamedTuple):
    """Linear attention: n_h heads, each with a state of d_k by d_v.

    Shape of the state: [n_h, d_k, d_v]. `norm`: one weight vector of d_v for all heads, or one over all of them.
    """

    num_heads: Annotated[int, "heads n_h"]
    key_head_dim: Annotated[int, "d_k, elements of a head's key"]
    value_head_dim: Annotated[int, "d_v, elements of a head's value"]
    decay_rank: Annotated[int, "rank R of the projection that makes the decay of a token; 0: it makes none"] = 0
    output_gate: Annotated[bool, "a matrix whose result gates the output"] = False
    norm: Annotated[Literal["", "per_head", "full"], "weights of the norm before the output: d_v, or n_h*d_v"] = ""
    bias: Annotated[bool, "biases on q, k, v and the output"] = False
    kind: str = "linear"

    @property
    def label(self) -> str:
        """Linear-d_k."""
        return f"Linear-{self.key_head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_h, d_k, d_v, and R with a decay of the token."""
        rank = {"R": self.decay_rank} if self.decay_rank else {}
        return {"n_h": self.num_heads, "d_k": self.key_head_dim, "d_v": self.value_head_dim, **rank}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """A matrix a head."""
        return (State("state", "n_h*d_k*d_v", "state", SOURCE),)

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence: an outer product into the state, a product out of it."""
        parts = [
            Work("state update", "token", "2*n_h*d_k*d_v", SOURCE, mixes=True, runs="chunks"),
            Work("state read-out", "token", "2*n_h*d_k*d_v", SOURCE, mixes=True, runs="chunks"),
            Work("q", "token", "2*d*n_h*d_k", SOURCE),
            Work("k", "token", "2*d*n_h*d_k", SOURCE),
            Work("v", "token", "2*d*n_h*d_v", SOURCE),
            Work("o", "token", "2*n_h*d_v*d", SOURCE),
        ]
        if self.decay_rank:
            parts.append(Work("decay", "token", "2*R*(d + n_h*d_k)", SOURCE_GATE))
        if self.output_gate:
            parts.append(Work("output gate", "token", "2*d*n_h*d_v", SOURCE_GATE))
        return tuple(parts)

    def weights(self) -> tuple[Weights, ...]:
        """Projections, and what gates and norms there are."""
        parts = [
            Weights("q", "d*n_h*d_k"),
            Weights("k", "d*n_h*d_k"),
            Weights("v", "d*n_h*d_v"),
            Weights("o", "n_h*d_v*d"),
        ]
        if self.decay_rank:
            parts.append(Weights("decay", "R*(d + n_h*d_k) + n_h*d_k"))
        if self.output_gate:
            parts.append(Weights("output gate", "d*n_h*d_v"))
        if self.norm:
            parts.append(Weights("output norm", "d_v" if self.norm == "per_head" else "n_h*d_v"))
        if self.bias:
            parts.append(Weights("biases", "n_h*(2*d_k + d_v) + d"))
        return tuple(parts)
