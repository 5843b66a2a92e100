"""A dynamic mask: a score for every cached value, by which heads choose the tokens they read (Doge).

It stands as a branch beside the attention it chooses for. It stores nothing: what it scores is V.
"""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Doge, transformers modeling_doge.py, DogeAttention: the dynamic mask is made from the values"


class ValueMask(NamedTuple):
    """n_kv scores a token, made anew from the values of all n_kv heads at every step."""

    num_key_value_heads: Annotated[int, "heads of values n_kv, each of which gets a score"]
    head_dim: Annotated[int, "elements of one value"]
    bias: Annotated[bool, "a bias on the projection"] = False
    kind: str = "value_mask"

    @property
    def label(self) -> str:
        """As tables show it."""
        return "value mask"

    @property
    def source(self) -> str:
        """Where it is described."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """None of its own."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_kv and d_h."""
        return {"n_kv": self.num_key_value_heads, "d_h": self.head_dim}

    def stores(self) -> tuple[Store, ...]:
        """None."""
        return ()

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """One projection of each value that is cached."""
        return (Work("scores of values", "key", "2*n_kv*d_h*n_kv", SOURCE),)

    def weights(self) -> tuple[Weights, ...]:
        """The projection and a decay for each head."""
        parts = [Weights("value scores", "n_kv*d_h*n_kv"), Weights("decays", "n_kv")]
        return (*parts, Weights("value scores' bias", "n_kv")) if self.bias else tuple(parts)
