"""Compressed convolutional attention (CCA): heads whose queries and keys two short convolutions mix over time."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Compressed Convolutional Attention (arXiv:2510.04476) sec. 3"
CHANNELS = "(n_h + n_kv)*d_h"


class Cca(NamedTuple):
    """n_h query heads over n_kv heads of K and V, a depthwise and a grouped convolution before q and k.

    Shapes: K and V [n_kv, d_h] a token; conv [(n_h + n_kv)*d_h, K_1 + K_2 - 2]; the last token's half of V.
    """

    num_attention_heads: Annotated[int, "query heads n_h"]
    num_key_value_heads: Annotated[int, "heads n_kv of K and V"]
    head_dim: Annotated[int, "d_h, elements of a head"]
    depthwise_kernel: Annotated[int, "columns K_1 of the depthwise convolution"]
    grouped_kernel: Annotated[int, "columns K_2 of the convolution within each head"]
    bias: Annotated[bool, "biases on q, k, v and o"] = False
    kind: str = "cca"

    @property
    def label(self) -> str:
        """CCA-n_kv."""
        return f"CCA-{self.num_key_value_heads}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """2*n_kv*d_h, as heads."""
        return "2*n_kv*d_h"

    def symbols(self) -> dict[str, int]:
        """n_h, n_kv, d_h, K_1 and K_2."""
        return {
            "n_h": self.num_attention_heads,
            "n_kv": self.num_key_value_heads,
            "d_h": self.head_dim,
            "K_1": self.depthwise_kernel,
            "K_2": self.grouped_kernel,
        }

    def stores(self) -> tuple[Store, ...]:
        """K and V."""
        return (Store("K", "n_kv*d_h", "k", SOURCE), Store("V", "n_kv*d_h", "v", SOURCE))

    def states(self) -> tuple[State, ...]:
        """The convolutions' last columns, and the half of V that a token takes from the one before."""
        return (
            State("conv", f"(K_1 + K_2 - 2)*{CHANNELS}", "conv", SOURCE),
            State("delayed value", "n_kv*d_h//2", "conv", SOURCE),
        )

    def work(self, mode: str) -> tuple[Work, ...]:
        """Attention as of heads, and the convolutions."""
        return (
            Work("scores", "pair", "2*n_h*d_h", SOURCE),
            Work("values", "pair", "2*n_h*d_h", SOURCE),
            Work("q", "token", "2*d*n_h*d_h", SOURCE),
            Work("k", "token", "2*d*n_kv*d_h", SOURCE, writes=True),
            Work("v", "token", "2*d*(n_kv*d_h//2)", SOURCE, writes=True),
            Work("delayed v", "token", "2*d*(n_kv*d_h//2)", SOURCE, writes=True, runs="one more"),
            Work("o", "token", "2*n_h*d_h*d", SOURCE),
            Work("conv", "token", f"2*K_1*{CHANNELS}", SOURCE, runs="ahead"),
            Work("grouped conv", "token", f"2*K_2*d_h*{CHANNELS}", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, convolutions with their biases, a temperature a head of K."""
        parts = (
            Weights("q", "d*n_h*d_h"),
            Weights("k", "d*n_kv*d_h", writes=True),
            Weights("v", "d*n_kv*d_h", writes=True),
            Weights("o", "n_h*d_h*d"),
            Weights("conv", f"(K_1 + 1)*{CHANNELS}"),
            Weights("grouped conv", f"(K_2*d_h + 1)*{CHANNELS}"),
            Weights("temperatures", "n_kv"),
        )
        if not self.bias:
            return parts
        return (*parts, Weights("q and o bias", "n_h*d_h + d"), Weights("k and v bias", "2*n_kv*d_h", writes=True))
