"""The real-gated linear recurrent unit (RG-LRU) of Griffin and RecurrentGemma: one number a channel."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.mamba import SOURCE_CONV
from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Griffin (arXiv:2402.19427) sec. 2.4"


class RgLru(NamedTuple):
    """A gated linear recurrence over d_r channels, its gates in n_b blocks, after a short convolution.

    Shapes: state [d_r], conv [d_r, K_c - 1].
    """

    lru_width: Annotated[int, "channels d_r"]
    num_blocks: Annotated[int, "blocks n_b on the diagonal of each gate"]
    conv_kernel: Annotated[int, "columns K_c of the convolution"]
    kind: str = "rg_lru"

    @property
    def label(self) -> str:
        """RG-LRU."""
        return "RG-LRU"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """d_r, n_b and K_c."""
        return {"d_r": self.lru_width, "n_b": self.num_blocks, "K_c": self.conv_kernel}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """One number a channel, and the convolution's last columns."""
        return (
            State("state", "d_r", "state", SOURCE),
            State("conv", "(K_c - 1)*d_r", "conv", SOURCE_CONV),
        )

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence is elementwise: a multiply-add into each channel, which is the output too."""
        return (
            Work("state update", "token", "2*d_r", SOURCE, mixes=True, runs="elementwise"),
            Work("x and y", "token", "2*d*2*d_r", SOURCE),
            Work("conv", "token", "2*K_c*d_r", SOURCE, runs="padded, elementwise"),
            Work("gates", "token", "2*2*d_r*(d_r/n_b)", SOURCE),
            Work("out", "token", "2*d_r*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections and convolution with biases, both gates with theirs, the decay a channel."""
        return (
            Weights("x and y", "2*(d*d_r + d_r)"),
            Weights("conv", "K_c*d_r + d_r"),
            Weights("gates", "2*(d_r*(d_r/n_b) + d_r)"),
            Weights("decay", "d_r"),
            Weights("out", "d_r*d + d"),
        )
