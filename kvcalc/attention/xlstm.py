"""The mLSTM of xLSTM: linear attention with a normaliser and gates of one number a head."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "xLSTM (arXiv:2405.04517) sec. 2.3; xLSTM-7B (arXiv:2503.13427) sec. 2"


class Mlstm(NamedTuple):
    """The matrix LSTM: n_h heads with a memory C of d_k by d_v, a normaliser of d_k and a maximum.

    Shapes: C [n_h, d_k, d_v], normaliser [n_h, d_k], maximum [n_h].
    """

    num_heads: Annotated[int, "heads n_h"]
    key_head_dim: Annotated[int, "d_k, elements of a head's query and key"]
    value_head_dim: Annotated[int, "d_v, elements of a head's value"]
    bias: Annotated[bool, "biases on the projections and the norm; the gates always have theirs"] = False
    kind: str = "mlstm"

    @property
    def label(self) -> str:
        """mLSTM-d_k."""
        return f"mLSTM-{self.key_head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_h, d_k and d_v."""
        return {"n_h": self.num_heads, "d_k": self.key_head_dim, "d_v": self.value_head_dim}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """A matrix, a vector and a number a head."""
        return (State("state", "n_h*(d_k*d_v + d_k + 1)", "state", SOURCE),)

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence: memory and normaliser written and read; gates are elementwise and not counted."""
        return (
            Work("state update", "token", "2*n_h*d_k*d_v", SOURCE, mixes=True, runs="chunks"),
            Work("normaliser update", "token", "2*n_h*d_k", SOURCE, mixes=True, runs="elementwise"),
            Work("state read-out", "token", "2*n_h*d_k*(d_v + 1)", SOURCE, mixes=True, runs="chunks"),
            Work("q, k, v", "token", "2*d*n_h*(2*d_k + d_v)", SOURCE),
            Work("output gate", "token", "2*d*n_h*d_v", SOURCE),
            Work("input and forget gates", "token", "2*d*2*n_h", SOURCE),
            Work("out", "token", "2*n_h*d_v*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, gates with biases, the norm over all heads, biases."""
        parts = (
            Weights("q, k, v", "d*n_h*(2*d_k + d_v)"),
            Weights("output gate", "d*n_h*d_v"),
            Weights("input and forget gates", "2*n_h*(d + 1)"),
            Weights("output norm", "n_h*d_v"),
            Weights("out", "n_h*d_v*d"),
        )
        return (*parts, Weights("biases", "n_h*(2*d_k + 3*d_v) + d")) if self.bias else parts
