"""Gated DeltaNet: linear attention that first reads what it is about to overwrite."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.mamba import SOURCE_CONV
from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Gated Delta Networks (arXiv:2412.06464) sec. 3.1: read S k, write the difference, read S q"
CHANNELS = "(2*n_kh*d_k + n_vh*d_v)"


class GatedDelta(NamedTuple):
    """Gated DeltaNet: n_vh heads of d_k by d_v, n_kh heads of queries and keys, convolutions on q, k and v.

    Shapes: state [n_vh, d_k, d_v], conv [2*n_kh*d_k + n_vh*d_v, K_c - 1].
    """

    num_key_heads: Annotated[int, "heads n_kh of queries and keys"]
    num_value_heads: Annotated[int, "heads n_vh of values, each with a state"]
    key_head_dim: Annotated[int, "d_k, elements of a head's key"]
    value_head_dim: Annotated[int, "d_v, elements of a head's value"]
    conv_kernel: Annotated[int, "columns K_c of the convolution"]
    kind: str = "gated_deltanet"

    @property
    def label(self) -> str:
        """GDN-d_k."""
        return f"GDN-{self.key_head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_kh, n_vh, d_k, d_v and K_c."""
        return {
            "n_kh": self.num_key_heads,
            "n_vh": self.num_value_heads,
            "d_k": self.key_head_dim,
            "d_v": self.value_head_dim,
            "K_c": self.conv_kernel,
        }

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """A matrix a head, and the convolution's last columns."""
        return (
            State("state", "n_vh*d_k*d_v", "state", SOURCE),
            State("conv", f"(K_c - 1)*{CHANNELS}", "conv", SOURCE_CONV, library=f"K_c*{CHANNELS}"),
        )

    def work(self, mode: str) -> tuple[Work, ...]:
        """Three products with the state; the chunkwise form does the same by larger matmuls."""
        return (
            Work("state read", "token", "2*n_vh*d_k*d_v", SOURCE, mixes=True, runs="chunks, elementwise"),
            Work("state update", "token", "2*n_vh*d_k*d_v", SOURCE, mixes=True, runs="chunks, elementwise"),
            Work("state read-out", "token", "2*n_vh*d_k*d_v", SOURCE, mixes=True, runs="chunks, elementwise"),
            Work("q, k, v", "token", "2*d*(2*n_kh*d_k + n_vh*d_v)", SOURCE),
            Work("output gate", "token", "2*d*n_vh*d_v", SOURCE),
            Work("decay and beta", "token", "2*d*2*n_vh", SOURCE),
            Work("conv", "token", f"2*K_c*{CHANNELS}", SOURCE, runs="padded"),
            Work("o", "token", "2*n_vh*d_v*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, convolution, a decay and a time step's bias a head, the norm of a head's output."""
        return (
            Weights("q, k, v", "d*(2*n_kh*d_k + n_vh*d_v)"),
            Weights("output gate", "d*n_vh*d_v"),
            Weights("decay and beta", "d*2*n_vh"),
            Weights("conv", f"K_c*{CHANNELS}"),
            Weights("A_log and dt bias", "2*n_vh"),
            Weights("output norm", "d_v"),
            Weights("o", "n_vh*d_v*d"),
        )
