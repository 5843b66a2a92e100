"""Kimi Delta Attention (KDA): a delta rule whose decay is a channel's own."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.mamba import SOURCE_CONV
from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Kimi Linear (arXiv:2510.26692) sec. 3, 4: read S k, write the difference, read S q"


class Kda(NamedTuple):
    """Kimi Delta Attention: n_h heads with a state of d_h by d_h, convolutions on q, k and v.

    Shapes: state [n_h, d_h, d_h], conv [3*n_h*d_h, K_c - 1].
    """

    num_heads: Annotated[int, "heads n_h"]
    head_dim: Annotated[int, "d_h, elements of a head"]
    conv_kernel: Annotated[int, "columns K_c of the convolution"]
    gate_rank: Annotated[int, "rank R of the decay's and the output gate's projections; 0: one matrix each"] = 0
    full_output_gate: Annotated[bool, "one matrix makes the output gate, whatever the decay's rank"] = False
    kind: str = "kda"

    @property
    def label(self) -> str:
        """KDA-d_h."""
        return f"KDA-{self.head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_h, d_h, K_c, and R where gates have one."""
        rank = {"R": self.gate_rank} if self.gate_rank else {}
        return {"n_h": self.num_heads, "d_h": self.head_dim, "K_c": self.conv_kernel, **rank}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """A square matrix a head, and the convolutions' last columns."""
        return (
            State("state", "n_h*d_h*d_h", "state", SOURCE),
            State("conv", "(K_c - 1)*3*n_h*d_h", "conv", SOURCE_CONV, library="K_c*3*n_h*d_h"),
        )

    @property
    def _decay(self) -> str:
        return "R*(d + n_h*d_h)" if self.gate_rank else "d*n_h*d_h"

    @property
    def _gate(self) -> str:
        return "d*n_h*d_h" if self.full_output_gate else self._decay

    def work(self, mode: str) -> tuple[Work, ...]:
        """Three products with the state; the chunkwise form does the same by larger matmuls."""
        return (
            Work("state read", "token", "2*n_h*d_h*d_h", SOURCE, mixes=True, runs="chunks, elementwise"),
            Work("state update", "token", "2*n_h*d_h*d_h", SOURCE, mixes=True, runs="chunks, elementwise"),
            Work("state read-out", "token", "2*n_h*d_h*d_h", SOURCE, mixes=True, runs="chunks, elementwise"),
            Work("q, k, v", "token", "2*d*3*n_h*d_h", SOURCE),
            Work("conv", "token", "2*K_c*3*n_h*d_h", SOURCE, runs="padded"),
            Work("decay", "token", f"2*{self._decay}", SOURCE),
            Work("beta", "token", "2*d*n_h", SOURCE),
            Work("output gate", "token", f"2*{self._gate}", SOURCE),
            Work("o", "token", "2*n_h*d_h*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, convolutions, A_log a head, the time step's bias a channel, the norm of a head's output."""
        return (
            Weights("q, k, v", "d*3*n_h*d_h"),
            Weights("conv", "K_c*3*n_h*d_h"),
            Weights("decay", f"{self._decay} + n_h*d_h + n_h"),
            Weights("beta", "d*n_h"),
            Weights("output gate", self._gate),
            Weights("output norm", "d_h"),
            Weights("o", "n_h*d_h*d"),
        )
