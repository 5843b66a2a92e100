"""Native sparse attention: three branches of one query, compressed, selected and window, mixed by gates.

Each is a branch of a layer with K and V of its own; one of them, the window, carries what all three share.
"""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "NSA (arXiv:2502.11089) sec. 3.2, eq. 5: three branches, a gate each"


class NsaBranch(NamedTuple):
    """K and V heads of one branch: n_h query heads over n_kv. Shapes per token or row: K [n_kv, d_k], V [n_kv, d_v].

    Rows of the compressed branch are means of their block: a learned compression counts as an extra. The scores of
    compressed rows choose the selected blocks, so that the choice costs no matmul.
    """

    num_attention_heads: Annotated[int, "query heads n_h"]
    num_key_value_heads: Annotated[int, "K and V heads n_kv"]
    head_dim: Annotated[int, "elements d_k of a key"]
    v_head_dim: Annotated[int, "elements d_v of a value"]
    carries_query: Annotated[bool, "the branch that counts q, o and the three gates of each head"] = False
    kind: str = "nsa"

    @property
    def label(self) -> str:
        """NSA-n_kv."""
        return f"NSA-{self.num_key_value_heads}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """K and V of one branch."""
        return "n_kv*(d_k + d_v)"

    def symbols(self) -> dict[str, int]:
        """n_h, n_kv, d_k and d_v."""
        return {
            "n_h": self.num_attention_heads,
            "n_kv": self.num_key_value_heads,
            "d_k": self.head_dim,
            "d_v": self.v_head_dim,
        }

    def stores(self) -> tuple[Store, ...]:
        """K and V."""
        return (Store("K", "n_kv*d_k", "k", SOURCE), Store("V", "n_kv*d_v", "v", SOURCE))

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Scores and values of the branch; q, o and gates once."""
        carried = (
            Work("q", "token", "2*d*n_h*d_k", SOURCE),
            Work("gates of three branches", "token", "2*d*3*n_h", SOURCE),
            Work("o", "token", "2*n_h*d_v*d", SOURCE),
        )
        return (
            Work("scores", "pair", "2*n_h*d_k", SOURCE),
            Work("values", "pair", "2*n_h*d_v", SOURCE),
            Work("k", "token", "2*d*n_kv*d_k", SOURCE, writes=True),
            Work("v", "token", "2*d*n_kv*d_v", SOURCE, writes=True),
            *(carried if self.carries_query else ()),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Matrices of the branch; q, o and gates once."""
        carried = (Weights("q", "d*n_h*d_k"), Weights("gates", "d*3*n_h"), Weights("o", "n_h*d_v*d"))
        return (
            Weights("k", "d*n_kv*d_k", writes=True),
            Weights("v", "d*n_kv*d_v", writes=True),
            *(carried if self.carries_query else ()),
        )
