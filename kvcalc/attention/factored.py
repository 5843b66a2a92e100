"""Low-rank and tied heads: tensor product attention (TPA), grouped-tied attention (GTA), MFA."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE_TPA = "Tensor Product Attention (arXiv:2501.06425) sec. 3.1-3.3: contextual factors of Q, K and V"
SOURCE_FLASH_TPA = "Tensor Product Attention (arXiv:2501.06425), FlashTPA: attends over the factors, nothing expanded"
SOURCE_GTA = "Hardware-Efficient Attention (arXiv:2505.21487) sec. 3.3.1: one tied state a group, half of K a RoPE key"
SOURCE_MFA = "Multi-matrix Factorization Attention (arXiv:2412.19255) sec. 3; Step-3 (arXiv:2507.19427) sec. 4"


class Tpa(NamedTuple):
    """Factors: R_K for K and R_V for V, each over heads (n_h) and over channels (d_h). Shape: [R_K + R_V, n_h + d_h].

    Naive expands the cached factors to the K and V of all heads; absorbed attends over the factors. `q_rank` 0: no
    factors for the query, which is then attended with naively.
    """

    num_attention_heads: Annotated[int, "query heads n_h"]
    head_dim: Annotated[int, "elements d_h of a head"]
    k_rank: Annotated[int, "rank R_K of K"]
    v_rank: Annotated[int, "rank R_V of V"]
    q_rank: Annotated[int, "rank R_Q of the query; 0: a plain projection"] = 0
    kind: str = "tpa"

    @property
    def label(self) -> str:
        """TPA-R_K+R_V."""
        return f"TPA-{self.k_rank}+{self.v_rank}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_TPA

    @property
    def elements_formula(self) -> str:
        """Factors over heads and over channels."""
        return "(R_K + R_V)*(n_h + d_h)"

    def symbols(self) -> dict[str, int]:
        """n_h, d_h, R_K, R_V, and R_Q where the query has factors."""
        query = {"R_Q": self.q_rank} if self.q_rank else {}
        return {"n_h": self.num_attention_heads, "d_h": self.head_dim, **query, "R_K": self.k_rank, "R_V": self.v_rank}

    def stores(self) -> tuple[Store, ...]:
        """The factors of K and of V."""
        return (
            Store("factors of K", "R_K*(n_h + d_h)", "k", SOURCE_TPA),
            Store("factors of V", "R_V*(n_h + d_h)", "v", SOURCE_TPA),
        )

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Absorbed, the sums over ranks that are no matmuls are left out: n_h*(2*R_K + R_V) a pair."""
        if mode == "naive" or not self.q_rank:
            inner: tuple[Work, ...] = (
                Work("scores", "pair", "2*n_h*d_h", SOURCE_TPA),
                Work("values", "pair", "2*n_h*d_h", SOURCE_TPA),
                Work("expansion of the factors", "key", "2*n_h*(R_K + R_V)*d_h", SOURCE_TPA),
                *((Work("expansion of q", "token", "2*n_h*R_Q*d_h", SOURCE_TPA),) * bool(self.q_rank)),
            )
        else:
            inner = (
                Work("scores of channel factors", "pair", "2*R_Q*R_K*d_h", SOURCE_FLASH_TPA),
                Work("scores of heads", "pair", "2*n_h*R_Q*R_K", SOURCE_FLASH_TPA),
                Work("values", "pair", "2*n_h*R_V*d_h", SOURCE_FLASH_TPA),
            )
        return (
            *inner,
            Work("q", "token", "2*d*R_Q*(n_h + d_h)" if self.q_rank else "2*d*n_h*d_h", SOURCE_TPA),
            Work("k and v", "token", "2*d*(R_K + R_V)*(n_h + d_h)", SOURCE_TPA, writes=True),
            Work("o", "token", "2*n_h*d_h*d", SOURCE_TPA),
        )

    def weights(self) -> tuple[Weights, ...]:
        """One matrix a factor."""
        return (
            Weights("q", "d*R_Q*(n_h + d_h)" if self.q_rank else "d*n_h*d_h"),
            Weights("k and v", "d*(R_K + R_V)*(n_h + d_h)", writes=True),
            Weights("o", "n_h*d_h*d"),
        )


class Gta(NamedTuple):
    """One state of d_h a group: V is all of it, K its first d_h - d_R and one RoPE key of d_R that all share.

    Shapes per token: state [n_kv, d_h], RoPE key [d_R].
    """

    num_attention_heads: Annotated[int, "query heads n_h"]
    num_key_value_heads: Annotated[int, "groups n_kv, one state each"]
    head_dim: Annotated[int, "elements d_h of a state"]
    rope_head_dim: Annotated[int, "elements d_R of the shared RoPE key"]
    rope_bias: Annotated[bool, "a bias on the RoPE key's projection"] = False
    kind: str = "gta"

    @property
    def label(self) -> str:
        """GTA-n_kv."""
        return f"GTA-{self.num_key_value_heads}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_GTA

    @property
    def elements_formula(self) -> str:
        """One state a group, no factor of two."""
        return "n_kv*d_h + d_R"

    def symbols(self) -> dict[str, int]:
        """n_h, n_kv, d_h and d_R."""
        return {
            "n_h": self.num_attention_heads,
            "n_kv": self.num_key_value_heads,
            "d_h": self.head_dim,
            "d_R": self.rope_head_dim,
        }

    def stores(self) -> tuple[Store, ...]:
        """The states and the RoPE key."""
        return (Store("tied state", "n_kv*d_h", "kv", SOURCE_GTA), Store("RoPE key", "d_R", "kv", SOURCE_GTA))

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Scores and values as in GQA."""
        return (
            Work("scores", "pair", "2*n_h*d_h", SOURCE_GTA),
            Work("values", "pair", "2*n_h*d_h", SOURCE_GTA),
            Work("q", "token", "2*d*n_h*d_h", SOURCE_GTA),
            Work("tied k and v", "token", "2*d*n_kv*d_h", SOURCE_GTA, writes=True),
            Work("RoPE key", "token", "2*d*d_R", SOURCE_GTA, writes=True),
            Work("o", "token", "2*n_h*d_h*d", SOURCE_GTA),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections."""
        bias = (Weights("RoPE key bias", "d_R", writes=True),) if self.rope_bias else ()
        return (
            Weights("q", "d*n_h*d_h"),
            Weights("tied k and v", "d*n_kv*d_h", writes=True),
            Weights("RoPE key", "d*d_R", writes=True),
            *bias,
            Weights("o", "n_h*d_h*d"),
        )


class Mfa(NamedTuple):
    """n_h query heads by way of a low rank d_q, over one K and one V head. Shapes per token: K [d_h], V [d_h].

    With key reuse (MFA-KR) V is made from K by a matrix of d_h, and K alone is cached.
    """

    num_attention_heads: Annotated[int, "query heads n_h"]
    head_dim: Annotated[int, "elements d_h of a head"]
    q_rank: Annotated[int, "rank d_q of the query"]
    key_reuse: Annotated[bool, "MFA-KR: V is made from K, which alone is cached"] = False
    q_norm: Annotated[bool, "a norm of d_q on the query (Step-3)"] = False
    kind: str = "mfa"

    @property
    def label(self) -> str:
        """MFA or MFA-KR."""
        return "MFA-KR" if self.key_reuse else "MFA"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_MFA

    @property
    def elements_formula(self) -> str:
        """One head of K and V, or of K."""
        return "d_h" if self.key_reuse else "2*d_h"

    def symbols(self) -> dict[str, int]:
        """n_h, d_h and d_q."""
        return {"n_h": self.num_attention_heads, "d_h": self.head_dim, "d_q": self.q_rank}

    def stores(self) -> tuple[Store, ...]:
        """K, and V unless it is made from K."""
        k = Store("K", "d_h", "k", SOURCE_MFA)
        return (k,) if self.key_reuse else (k, Store("V", "d_h", "v", SOURCE_MFA))

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """As MQA; with key reuse V is made of every cached K (naive), or the output of every head (absorbed)."""
        if not self.key_reuse:
            v = Work("v", "token", "2*d*d_h", SOURCE_MFA, writes=True)
        elif mode == "naive":
            v = Work("v of k", "key", "2*d_h*d_h", SOURCE_MFA)
        else:
            v = Work("v of k, absorbed", "token", "2*n_h*d_h*d_h", SOURCE_MFA)
        return (
            Work("scores", "pair", "2*n_h*d_h", SOURCE_MFA),
            Work("values", "pair", "2*n_h*d_h", SOURCE_MFA),
            Work("q down", "token", "2*d*d_q", SOURCE_MFA),
            Work("q up", "token", "2*d_q*n_h*d_h", SOURCE_MFA),
            Work("k", "token", "2*d*d_h", SOURCE_MFA, writes=True),
            v,
            Work("o", "token", "2*n_h*d_h*d", SOURCE_MFA),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections and the query's norm."""
        norm = (Weights("q norm", "d_q"),) if self.q_norm else ()
        v = Weights("v of k", "d_h*d_h") if self.key_reuse else Weights("v", "d*d_h", writes=True)
        return (
            Weights("q down", "d*d_q"),
            *norm,
            Weights("q up", "d_q*n_h*d_h"),
            Weights("k", "d*d_h", writes=True),
            v,
            Weights("o", "n_h*d_h*d"),
        )
