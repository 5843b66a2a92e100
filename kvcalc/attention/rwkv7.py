"""RWKV-7: a state that a token rewrites by a generalised delta rule."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.attention.rwkv import SHIFTS
from kvcalc.tuples import NamedTuple

SOURCE = "RWKV-7 Goose (arXiv:2503.14456) sec. 4: S a, then b^T, then v k^T, read S r"


class Rwkv7(NamedTuple):
    """RWKV-7: n_h heads with a state of d_h by d_h; two token shifts of hidden_size.

    Shapes: state [n_h, d_h, d_h], token shifts [2, d]. A layer that mixes the first one's values has a `value_rank`.
    """

    num_heads: Annotated[int, "heads n_h"]
    head_dim: Annotated[int, "d_h, elements of a head"]
    decay_rank: Annotated[int, "rank R_w of the decay made of the token"]
    rate_rank: Annotated[int, "rank R_a of the in-context learning rate"]
    gate_rank: Annotated[int, "rank R_g of the output gate"]
    value_rank: Annotated[int, "rank R_v of the mix with the first layer's value; 0: the first layer itself"] = 0
    kind: str = "rwkv7"

    @property
    def label(self) -> str:
        """RWKV-7."""
        return "RWKV-7"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """n_h, d_h and the ranks."""
        return {
            "n_h": self.num_heads,
            "d_h": self.head_dim,
            "R_w": self.decay_rank,
            "R_a": self.rate_rank,
            "R_g": self.gate_rank,
            **({"R_v": self.value_rank} if self.value_rank else {}),
        }

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """A square matrix a head, and the last inputs of both mixings."""
        return (State("state", "n_h*d_h*d_h", "state", SOURCE), SHIFTS)

    @property
    def _ranks(self) -> str:
        return "R_w + R_a + R_g + R_v" if self.value_rank else "R_w + R_a + R_g"

    def work(self, mode: str) -> tuple[Work, ...]:
        """Four products with the state; the decay is elementwise and not counted."""
        return (
            Work("state read", "token", "2*n_h*d_h*d_h", SOURCE, mixes=True),
            Work("state removal", "token", "2*n_h*d_h*d_h", SOURCE, mixes=True),
            Work("state update", "token", "2*n_h*d_h*d_h", SOURCE, mixes=True),
            Work("state read-out", "token", "2*n_h*d_h*d_h", SOURCE, mixes=True),
            Work("r, k, v", "token", "2*d*3*n_h*d_h", SOURCE),
            Work("decay, rate, gate and value mix", "token", f"2*(d + n_h*d_h)*({self._ranks})", SOURCE),
            Work("o", "token", "2*n_h*d_h*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, low ranks with a bias each but the gate's, three vectors of keys, shifts, the norm."""
        return (
            Weights("r, k, v", "d*3*n_h*d_h"),
            Weights("o", "n_h*d_h*d"),
            Weights("decay, rate, gate and value mix", f"(d + n_h*d_h)*({self._ranks})"),
            Weights("their biases", "3*n_h*d_h" if self.value_rank else "2*n_h*d_h"),
            Weights("removal key, replacement and bonus", "3*n_h*d_h"),
            Weights("token shift", "6*d"),
            Weights("output norm", "2*n_h*d_h"),
        )
