"""The gated attention unit (GAU): one narrow head that stands for attention and MLP together."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Transformer Quality in Linear Time (arXiv:2202.10447) sec. 3.1"


class Gau(NamedTuple):
    """Gated attention unit: one shared key of d_z, from which Q and K are scaled and shifted, and a value of d_u.

    Shapes per token: Z [d_z], V [d_u]. It replaces attention and MLP: a layer of it has `mlp: null`.
    """

    expanded_size: Annotated[int, "d_u, elements of the value and the gate"]
    key_size: Annotated[int, "d_z, elements of the shared key"]
    kind: str = "gau"

    @property
    def label(self) -> str:
        """GAU-d_z."""
        return f"GAU-{self.key_size}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """d_z + d_u: K follows from Z, so Z is stored."""
        return "d_z + d_u"

    def symbols(self) -> dict[str, int]:
        """d_u and d_z."""
        return {"d_u": self.expanded_size, "d_z": self.key_size}

    def stores(self) -> tuple[Store, ...]:
        """Z and V."""
        return (Store("Z", "d_z", "k", SOURCE), Store("V", "d_u", "v", SOURCE))

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """One head, and the gate U."""
        return (
            Work("scores", "pair", "2*d_z", SOURCE),
            Work("values", "pair", "2*d_u", SOURCE),
            Work("u", "token", "2*d*d_u", SOURCE),
            Work("v", "token", "2*d*d_u", SOURCE, writes=True),
            Work("z", "token", "2*d*d_z", SOURCE, writes=True),
            Work("o", "token", "2*d_u*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections; scale and shift of Q and of K."""
        return (
            Weights("u", "d*d_u"),
            Weights("v", "d*d_u", writes=True),
            Weights("z", "d*d_z", writes=True),
            Weights("scales and shifts", "4*d_z"),
            Weights("o", "d_u*d"),
        )
