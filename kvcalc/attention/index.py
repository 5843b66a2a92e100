"""An index: a small key a token, scored by every query to choose what attention reads (DeepSeek sparse attention).

It stands as a branch beside the attention it chooses for: its own reach is full, its scores are quadratic.
"""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "DeepSeek-V3.2-Exp sec. 2.1, eq. 1: the lightning indexer"


class Index(NamedTuple):
    """n_I query heads over one index key of d_I a token, all of it cached. Shape per token: [d_I].

    Queries come from the query latent of d_c', or from the hidden state where `q_lora_rank` is 0.
    """

    index_n_heads: Annotated[int, "query heads n_I"]
    index_head_dim: Annotated[int, "elements d_I of the index key"]
    q_lora_rank: Annotated[int, "the query latent that index queries are made from; 0: the hidden state"] = 0
    head_weights: Annotated[bool, "scores of the heads are weighted, by weights made from the hidden state"] = False
    head_scaling: Annotated[bool, "a scale and a bias of each head's scores"] = False
    gated_pool: Annotated[int, "keys are pooled by gates, so many tokens a pool; 0: a key a token"] = 0
    input_norm: Annotated[bool, "a norm of hidden_size with biases on what queries are made from"] = False
    kind: str = "index"

    @property
    def label(self) -> str:
        """index-d_I."""
        return f"index-{self.index_head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """One key, no value; the gate beside it, where keys are pooled when they are read."""
        return "2*d_I" if self.gated_pool else "d_I"

    def symbols(self) -> dict[str, int]:
        """n_I and d_I, d_c' where queries come from the query latent, m where keys are pooled."""
        latent = {"d_c'": self.q_lora_rank} if self.q_lora_rank else {}
        pool = {"m": self.gated_pool} if self.gated_pool else {}
        return {"n_I": self.index_n_heads, "d_I": self.index_head_dim, **latent, **pool}

    @property
    def _from(self) -> str:
        return "d_c'" if self.q_lora_rank else "d"

    def stores(self) -> tuple[Store, ...]:
        """The index key, and its gate where keys are pooled; the library also marks which tokens are no padding."""
        key = Store("index key", "d_I", "kv", SOURCE)
        return (key, Store("gate of the key", "d_I", "kv", SOURCE, library="d_I + 1")) if self.gated_pool else (key,)

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Scores over all pairs; the heads' weighted sum is a matmul too."""
        weighted = (
            Work("weighted sum of index heads", "pair", "2*n_I", SOURCE),
            Work("index head weights", "token", "2*d*n_I", SOURCE),
        )
        return (
            Work("index scores", "pair", "2*n_I*d_I", SOURCE),
            Work("index q", "token", f"2*{self._from}*n_I*d_I", SOURCE),
            Work("index k", "token", "2*d*d_I", SOURCE, writes=True),
            *(weighted if self.head_weights else ()),
            *((Work("index gate", "token", "2*d*d_I", SOURCE, writes=True),) if self.gated_pool else ()),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections and norms: 2*d_I is a LayerNorm of keys, or an RMSNorm of q and of k (MiniMax-M3)."""
        parts = [
            Weights("index q", f"{self._from}*n_I*d_I"),
            Weights("index k", "d*d_I", writes=True),
            Weights("index norms", "2*d_I"),
        ]
        if self.head_weights:
            parts.append(Weights("index head weights", "d*n_I"))
        if self.head_scaling:
            parts.append(Weights("scale and bias of index heads", "2*n_I"))
        if self.gated_pool:
            parts.append(Weights("index gate and positions in a pool", "d*d_I + m*d_I", writes=True))
        if self.input_norm:
            parts.append(Weights("index input norm", "2*d"))
        return tuple(parts)
