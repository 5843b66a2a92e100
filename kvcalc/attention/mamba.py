"""State-space layers, Mamba-1 and Mamba-2: a token leaves nothing, a state and a convolution's last columns stay."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE_1 = "Mamba (arXiv:2312.00752) sec. 3.4, algorithm 2"
SOURCE_2 = "Mamba-2 (arXiv:2405.21060) sec. 6, 7.1"
SOURCE_CONV = "a causal depthwise convolution of K columns needs the last K - 1 inputs"


class Mamba1(NamedTuple):
    """A selective state space: d_in channels, each with a state of N. Shapes: state [d_in, N], conv [d_in, K - 1]."""

    intermediate_size: Annotated[int, "channels d_in"]
    state_size: Annotated[int, "N, elements of state a channel"]
    time_step_rank: Annotated[int, "rank R of the time step's projection"]
    conv_kernel: Annotated[int, "columns K of the convolution"]
    use_bias: Annotated[bool, "biases on the input and output projections"] = False
    use_conv_bias: Annotated[bool, "a bias in the convolution"] = False
    inner_norms: Annotated[bool, "norms with weights on the time step, B and C"] = False
    kind: str = "mamba1"

    @property
    def label(self) -> str:
        """Mamba-N."""
        return f"Mamba-{self.state_size}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_1

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """d_in, N, R and K."""
        return {
            "d_in": self.intermediate_size,
            "N": self.state_size,
            "R": self.time_step_rank,
            "K_c": self.conv_kernel,
        }

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """The state and the convolution's last columns."""
        return (
            State("state", "d_in*N", "state", SOURCE_1),
            State("conv", "(K_c - 1)*d_in", "conv", SOURCE_CONV, library="K_c*d_in"),
        )

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence: one multiply-add into each element of the state, and one out of it."""
        return (
            Work("state update", "token", "2*d_in*N", SOURCE_1, mixes=True, runs="elementwise"),
            Work("state read-out", "token", "2*d_in*N", SOURCE_1, mixes=True),
            Work("in", "token", "2*d*2*d_in", SOURCE_1),
            Work("conv", "token", "2*K_c*d_in", SOURCE_1, runs="padded"),
            Work("x", "token", "2*d_in*(R + 2*N)", SOURCE_1),
            Work("dt", "token", "2*R*d_in", SOURCE_1),
            Work("out", "token", "2*d_in*d", SOURCE_1),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, convolution, A_log, D and the time step's bias."""
        parts = [
            Weights("in", "2*d*d_in"),
            Weights("conv", "K_c*d_in"),
            Weights("x", "d_in*(R + 2*N)"),
            Weights("dt", "R*d_in + d_in"),
            Weights("A_log and D", "d_in*N + d_in"),
            Weights("out", "d_in*d"),
        ]
        if self.inner_norms:
            parts.append(Weights("inner norms", "R + 2*N"))
        if self.use_conv_bias:
            parts.append(Weights("conv bias", "d_in"))
        if self.use_bias:
            parts.append(Weights("in and out bias", "2*d_in + d"))
        return tuple(parts)


class Mamba2(NamedTuple):
    """State-space duality: n_h heads of P channels (d_in = n_h*P), G groups of B and C.

    Shapes: state [n_h, P, N], conv [d_in + 2*G*N, K - 1].
    """

    num_heads: Annotated[int, "heads n_h"]
    head_dim: Annotated[int, "channels P of one head"]
    state_size: Annotated[int, "N, elements of state a channel"]
    n_groups: Annotated[int, "groups G that share B and C"]
    conv_kernel: Annotated[int, "columns K of the convolution"]
    use_bias: Annotated[bool, "biases on the input and output projections"] = False
    use_conv_bias: Annotated[bool, "a bias in the convolution"] = False
    gated_norm: Annotated[bool, "a norm of d_in before the output projection"] = False
    kind: str = "mamba2"

    @property
    def label(self) -> str:
        """Mamba2-N."""
        return f"Mamba2-{self.state_size}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_2

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_h, P, N, G and K."""
        return {
            "n_h": self.num_heads,
            "P": self.head_dim,
            "N": self.state_size,
            "G": self.n_groups,
            "K_c": self.conv_kernel,
        }

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """The state and the convolution's last columns."""
        return (
            State("state", "n_h*P*N", "state", SOURCE_2),
            State("conv", "(K_c - 1)*(n_h*P + 2*G*N)", "conv", SOURCE_CONV, library="K_c*(n_h*P + 2*G*N)"),
        )

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence; the chunkwise form does the same by larger matmuls."""
        return (
            Work("state update", "token", "2*n_h*P*N", SOURCE_2, mixes=True, runs="elementwise"),
            Work("state read-out", "token", "2*n_h*P*N", SOURCE_2, mixes=True, runs="chunks"),
            Work("in", "token", "2*d*(2*n_h*P + 2*G*N + n_h)", SOURCE_2),
            Work("conv", "token", "2*K_c*(n_h*P + 2*G*N)", SOURCE_2, runs="padded"),
            Work("out", "token", "2*n_h*P*d", SOURCE_2),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, convolution; A_log, D and the time step's bias a head; the norm."""
        parts = [
            Weights("in", "d*(2*n_h*P + 2*G*N + n_h)"),
            Weights("conv", "K_c*(n_h*P + 2*G*N)"),
            Weights("A_log, D and dt bias", "3*n_h"),
            Weights("out", "n_h*P*d"),
        ]
        if self.gated_norm:
            parts.append(Weights("gated norm", "n_h*P"))
        if self.use_conv_bias:
            parts.append(Weights("conv bias", "n_h*P + 2*G*N"))
        if self.use_bias:
            parts.append(Weights("in and out bias", "2*n_h*P + 2*G*N + n_h + d"))
        return tuple(parts)
