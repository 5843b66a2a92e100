"""Short convolutions: a token's mixing with the few before it, alone as a layer or behind a projection."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.mamba import SOURCE_CONV
from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "LFM2 (arXiv:2511.23404) sec. 2: B and C gate a depthwise convolution"


class ShortConv(NamedTuple):
    """A gated short convolution over hidden_size: three projections in, one out (LFM2).

    Shape: conv [d, K_c - 1].
    """

    conv_kernel: Annotated[int, "columns K_c of the convolution"]
    bias: Annotated[bool, "biases on the convolution and the projections"] = False
    kind: str = "short_conv"

    @property
    def label(self) -> str:
        """Conv-K."""
        return f"Conv-{self.conv_kernel}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """K_c."""
        return {"K_c": self.conv_kernel}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """The convolution's last columns."""
        return (State("conv", "(K_c - 1)*d", "conv", SOURCE_CONV, library="K_c*d"),)

    def work(self, mode: str) -> tuple[Work, ...]:
        """Projections and convolution; the gates are elementwise and not counted."""
        return (
            Work("in", "token", "2*d*3*d", SOURCE),
            Work("conv", "token", "2*K_c*d", SOURCE, runs="padded"),
            Work("out", "token", "2*d*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, convolution, biases."""
        parts = (Weights("in", "d*3*d"), Weights("conv", "K_c*d"), Weights("out", "d*d"))
        return (*parts, Weights("biases", "5*d")) if self.bias else parts


class Conv(NamedTuple):
    """A depthwise causal convolution over c channels, and nothing else: behind k or v, or after a whole part.

    Shape: conv [c, K_c - 1].
    """

    channels: Annotated[int, "channels c"]
    conv_kernel: Annotated[int, "columns K_c of the convolution"]
    bias: Annotated[bool, "a bias in the convolution"] = False
    dynamic_heads: Annotated[int, "heads h whose columns a projection of the token adds to; 0: they are constants"] = 0
    kind: str = "conv"

    @property
    def label(self) -> str:
        """conv-K."""
        return f"conv-{self.conv_kernel}"

    @property
    def source(self) -> str:
        """What it needs."""
        return SOURCE_CONV

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """Channels c, columns K_c, and heads h where columns are made of the token."""
        dynamic = {"h": self.dynamic_heads} if self.dynamic_heads else {}
        return {"c": self.channels, "K_c": self.conv_kernel, **dynamic}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """The convolution's last columns."""
        return (State("conv", "(K_c - 1)*c", "conv", SOURCE_CONV, library="K_c*c"),)

    def work(self, mode: str) -> tuple[Work, ...]:
        """The convolution, and the projection that makes its columns."""
        if self.dynamic_heads:
            columns = Work("columns", "token", "2*d*h*K_c", SOURCE_CONV)
            return (Work("conv", "token", "2*K_c*c", SOURCE_CONV, runs="elementwise"), columns)
        return (Work("conv", "token", "2*K_c*c", SOURCE_CONV, runs="padded"),)

    def weights(self) -> tuple[Weights, ...]:
        """The convolution, its bias, the projection that makes its columns."""
        conv = Weights("conv", "K_c*c + c" if self.bias else "K_c*c")
        return (conv, Weights("columns", "d*h*K_c")) if self.dynamic_heads else (conv,)
