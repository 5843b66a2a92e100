"""Grouped latent attention: several latents a token, each for its share of the heads, so that devices can split them.

Not gated linear attention, which has the same initials.
"""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "Hardware-Efficient Attention (arXiv:2505.21487) sec. 3.3.2: h_c latents, one RoPE key"


class GroupedLatent(NamedTuple):
    """n_c latents of d_c, each for n_h/n_c query heads, and one RoPE key. Shapes: latents [n_c, d_c], key [d_h^R].

    With one latent it is MLA. `q_lora_rank` 0: queries straight from the hidden state.
    """

    num_attention_heads: Annotated[int, "query heads n_h"]
    latent_heads: Annotated[int, "latents n_c, each for n_h/n_c query heads"]
    kv_lora_rank: Annotated[int, "elements d_c of one latent"]
    qk_rope_head_dim: Annotated[int, "elements d_h^R of the cached RoPE key"]
    qk_nope_head_dim: Annotated[int, "elements d_n of a head's key without RoPE"]
    v_head_dim: Annotated[int, "elements d_v of a head's value"]
    q_lora_rank: Annotated[int, "elements d_c' of the query's latent; 0: no query LoRA"] = 0
    kind: str = "gla_latent"

    @property
    def label(self) -> str:
        """GLA-n_c x d_c + d_h^R."""
        return f"GLA-{self.latent_heads}x{self.kv_lora_rank}+{self.qk_rope_head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """All latents and one RoPE key."""
        return "n_c*d_c + d_h^R"

    @property
    def crossover_formula(self) -> str | None:
        """As MLA's: the latents are no dearer to expand than one, each head reading its own; None: always absorbed."""
        if 2 * self.kv_lora_rank <= self.qk_nope_head_dim + self.v_head_dim:
            return None
        return "(isqrt(b*b + 4*q) - b)//2 where b = 2*n + 1, q = 2*n*d_c*(d_n + d_v)//(2*d_c - d_n - d_v)"

    def symbols(self) -> dict[str, int]:
        """n_h, n_c, d_c, d_h^R, d_n, d_v, and d_c' with query LoRA."""
        return {
            "n_h": self.num_attention_heads,
            "n_c": self.latent_heads,
            "d_c": self.kv_lora_rank,
            "d_h^R": self.qk_rope_head_dim,
            "d_n": self.qk_nope_head_dim,
            "d_v": self.v_head_dim,
            **({"d_c'": self.q_lora_rank} if self.q_lora_rank else {}),
        }

    def stores(self) -> tuple[Store, ...]:
        """The latents and the RoPE key."""
        return (Store("latents", "n_c*d_c", "kv", SOURCE), Store("RoPE key", "d_h^R", "kv", SOURCE))

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """As MLA's: each head attends over the one latent of its group."""
        if mode == "naive":
            inner: tuple[Work, ...] = (
                Work("scores", "pair", "2*n_h*(d_n + d_h^R)", SOURCE),
                Work("values", "pair", "2*n_h*d_v", SOURCE),
                Work("expansion of the latents", "key", "2*d_c*n_h*(d_n + d_v)", SOURCE),
            )
        else:
            inner = (
                Work("scores", "pair", "2*n_h*(d_c + d_h^R)", SOURCE),
                Work("values", "pair", "2*n_h*d_c", SOURCE),
                Work("absorption into q", "token", "2*n_h*d_n*d_c", SOURCE),
                Work("absorption into o", "token", "2*n_h*d_c*d_v", SOURCE),
            )
        query = "2*(d*d_c' + d_c'*n_h*(d_n + d_h^R))" if self.q_lora_rank else "2*d*n_h*(d_n + d_h^R)"
        return (
            *inner,
            Work("q", "token", query, SOURCE),
            Work("kv down", "token", "2*d*(n_c*d_c + d_h^R)", SOURCE, writes=True),
            Work("o", "token", "2*n_h*d_v*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections and norms, one of d_c a latent."""
        query = "d*d_c' + d_c' + d_c'*n_h*(d_n + d_h^R)" if self.q_lora_rank else "d*n_h*(d_n + d_h^R)"
        return (
            Weights("q", query),
            Weights("kv down", "d*(n_c*d_c + d_h^R)", writes=True),
            Weights("kv norm", "n_c*d_c", writes=True),
            Weights("kv up", "d_c*n_h*(d_n + d_v)"),
            Weights("o", "n_h*d_v*d"),
        )
