"""Mixture of attention heads: experts of query and output projections over K and V that all of them read."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "JetMoE (arXiv:2404.07413) sec. 2; Mixture of Attention Heads (arXiv:2210.05144)"


class Moa(NamedTuple):
    """K and V of n_kv heads; a token visits k of E experts, each with n_kv query heads and an output projection.

    Shapes per token: K and V [n_kv, d_h]; queries [k, n_kv, d_h]. `bias`: one vector on the sum of the outputs.
    """

    num_key_value_heads: Annotated[int, "K and V heads, and the query heads of one expert"]
    head_dim: Annotated[int, "elements of one head"]
    num_experts: Annotated[int, "experts, each of a query and an output projection"]
    num_experts_per_tok: Annotated[int, "experts that a token visits"]
    bias: Annotated[bool, "one bias on the sum of the outputs"] = False
    kind: str = "moa"

    @property
    def label(self) -> str:
        """MoA-16 2 of 8: the cached heads, and the experts."""
        return f"MoA-{self.num_key_value_heads} {self.num_experts_per_tok} of {self.num_experts}"

    @property
    def source(self) -> str:
        """The papers."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """2*n_kv*d_h: the experts share what is cached."""
        return "2*n_kv*d_h"

    def symbols(self) -> dict[str, int]:
        """n_kv, d_h, E and k."""
        experts = {"E": self.num_experts, "k": self.num_experts_per_tok}
        return {"n_kv": self.num_key_value_heads, "d_h": self.head_dim, **experts}

    def stores(self) -> tuple[Store, ...]:
        """K and V."""
        return tuple(Store(name, "n_kv*d_h", name.lower(), SOURCE) for name in "KV")

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Every expert that a token visits attends with n_kv heads."""
        return (
            Work("scores", "pair", "2*k*n_kv*d_h", SOURCE),
            Work("values", "pair", "2*k*n_kv*d_h", SOURCE),
            Work("q", "token", "2*d*k*n_kv*d_h", SOURCE),
            Work("k", "token", "2*d*n_kv*d_h", SOURCE, writes=True),
            Work("v", "token", "2*d*n_kv*d_h", SOURCE, writes=True),
            Work("o", "token", "2*k*n_kv*d_h*d", SOURCE),
            Work("attention router", "token", "2*d*E", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """All experts, of which a token leaves E - k idle, and a router of their own."""
        return (
            Weights("q of the experts", "E*d*n_kv*d_h", idle="(E - k)*d*n_kv*d_h"),
            Weights("k", "d*n_kv*d_h", writes=True),
            Weights("v", "d*n_kv*d_h", writes=True),
            Weights("o of the experts", "E*n_kv*d_h*d", idle="(E - k)*n_kv*d_h*d"),
            Weights("attention router", "d*E"),
            *((Weights("o bias", "d"),) * self.bias),
        )
