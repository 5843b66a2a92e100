"""A latent: multi-head latent attention (MLA), absorbed or naive.

Naive expands the cached latents to K and V of all heads and attends as MHA does; absorbed folds the up-projections
into the query and the output and attends over the latent itself. Same weights, same output, other work.
"""

from __future__ import annotations

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "DeepSeek-V2 (arXiv:2405.04434) sec. 2.1, Table 1"
SOURCE_ABSORBED = "DeepSeek-V2 (arXiv:2405.04434) sec. 2.1.2: W^UK absorbed into W^UQ, W^UV into W^O"
SOURCE_NAIVE = "DeepSeek-V2 (arXiv:2405.04434) eq. 10-11: K and V of all heads from the latent"

SOURCE_GATE = "gated attention (arXiv:2505.06708): a sigmoid on the output, made from the layer's input"
WIDTH = "n_h*(d_n + d_h^R)"
GATES = {"hidden": "d*n_h*d_v", "per_head": "d*n_h"}

SOURCE_CROSSOVER = "both costs set equal, n tokens cached: absorbed scores are wider, naive latents are expanded"


class Latent(NamedTuple):
    """One latent of d_c and one decoupled RoPE key of d_h^R a token, for n_h heads.

    Shapes per token: latent [d_c], RoPE key [d_h^R]. `q_lora_rank` 0: queries straight from the hidden state;
    `qk_rope_head_dim` 0: no decoupled key. `attention_bias` puts one on the q and kv down-projections and on o.
    `output_gate`: '' none, 'hidden' n_h*d_v gates from the hidden state, 'per_head' n_h from it, 'query' n_h*d_v from
    the query's latent, which is then read twice, before and after its norm (A.X-K2). `head_scaling` is a scale and a
    bias of each head's scores.
    """

    num_attention_heads: int
    kv_lora_rank: int
    qk_rope_head_dim: int
    qk_nope_head_dim: int
    v_head_dim: int
    q_lora_rank: int = 0
    attention_bias: bool = False
    output_gate: str = ""
    sinks: bool = False
    rope_key_norm: bool = False
    head_scaling: bool = False
    kind: str = "mla"

    @property
    def label(self) -> str:
        """MLA-d_c+d_h^R."""
        return f"MLA-{self.kv_lora_rank}" + (f"+{self.qk_rope_head_dim}" if self.qk_rope_head_dim else "")

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """d_c + d_h^R: no factor of two, no heads."""
        return "d_c + d_h^R" if self.qk_rope_head_dim else "d_c"

    def symbols(self) -> dict[str, int]:
        """n_h, d_c, d_h^R, d_n, d_v, and d_c' with query LoRA."""
        return {
            "n_h": self.num_attention_heads,
            "d_c": self.kv_lora_rank,
            "d_h^R": self.qk_rope_head_dim,
            "d_n": self.qk_nope_head_dim,
            "d_v": self.v_head_dim,
            **({"d_c'": self.q_lora_rank} if self.q_lora_rank else {}),
        }

    def stores(self) -> tuple[Store, ...]:
        """The latent and the RoPE key."""
        latent = Store("latent", "d_c", "kv", SOURCE)
        return (latent, Store("RoPE key", "d_h^R", "kv", SOURCE)) if self.qk_rope_head_dim else (latent,)

    @property
    def _gated(self) -> bool:
        return self.output_gate in GATES

    @property
    def _query_up(self) -> str:
        """The query's up-projection: twice as tall and with the gates in it where these come from the latent too."""
        return f"2*d_c'*({WIDTH} + n_h*d_v)" if self.output_gate == "query" else f"d_c'*{WIDTH}"

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Naive work is per key re-expanded; absorbed work is per new token."""
        if mode == "naive":
            inner: tuple[Work, ...] = (
                Work("scores", "pair", "2*n_h*(d_n + d_h^R)", SOURCE_NAIVE),
                Work("values", "pair", "2*n_h*d_v", SOURCE_NAIVE),
                Work("expansion of the latents", "key", "2*d_c*n_h*(d_n + d_v)", SOURCE_NAIVE),
            )
        else:
            inner = (
                Work("scores", "pair", "2*n_h*(d_c + d_h^R)", SOURCE_ABSORBED),
                Work("values", "pair", "2*n_h*d_c", SOURCE_ABSORBED),
                Work("absorption into q", "token", "2*n_h*d_n*d_c", SOURCE_ABSORBED),
                Work("absorption into o", "token", "2*n_h*d_c*d_v", SOURCE_ABSORBED),
            )
        if self.q_lora_rank:
            query: tuple[Work, ...] = (
                Work("q down", "token", "2*d*d_c'", SOURCE),
                Work("q up", "token", f"2*{self._query_up}", SOURCE),
            )
        else:
            query = (Work("q", "token", f"2*d*{WIDTH}", SOURCE),)
        gate = (Work("output gate", "token", f"2*{GATES[self.output_gate]}", SOURCE_GATE),) if self._gated else ()
        return (
            *inner,
            *query,
            *gate,
            Work("kv down", "token", "2*d*(d_c + d_h^R)", SOURCE, writes=True),
            Work("o", "token", "2*n_h*d_v*d", SOURCE),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Both modes use the same weights."""
        if self.q_lora_rank:
            query = [Weights("q down", "d*d_c'"), Weights("q norm", "d_c'"), Weights("q up", self._query_up)]
        else:
            query = [Weights("q", f"d*{WIDTH}")]
        parts = [
            *query,
            Weights("kv down", "d*(d_c + d_h^R)", writes=True),
            Weights("kv norm", "d_c", writes=True),
            Weights("kv up", "d_c*n_h*(d_n + d_v)"),
            Weights("o", "n_h*d_v*d"),
        ]
        if self.attention_bias:
            parts += [Weights("q down bias", "d_c'")] if self.q_lora_rank else []
            parts += [Weights("kv down bias", "d_c + d_h^R", writes=True), Weights("o bias", "d")]
        if self._gated:
            parts.append(Weights("output gate", GATES[self.output_gate]))
        if self.sinks:
            parts.append(Weights("sinks", "n_h"))
        if self.rope_key_norm:
            parts.append(Weights("RoPE key norm", "d_h^R", writes=True))
        if self.head_scaling:
            parts.append(Weights("scale and bias of heads", "2*n_h"))
        return tuple(parts)

    @property
    def crossover_formula(self) -> str | None:
        """The most query tokens s, n cached before them, for which absorbed needs no more FLOPs than naive.

        absorbed - naive = 2*n_h*(P*(2*d_c - d_n - d_v) - n*d_c*(d_n + d_v)) with P = s*n + s*(s + 1)/2 pairs, so
        s is the floor of a square root. None: absorbed is never dearer for these widths.
        """
        if 2 * self.kv_lora_rank <= self.qk_nope_head_dim + self.v_head_dim:
            return None
        return "(isqrt(b*b + 4*q) - b)//2 where b = 2*n + 1, q = 2*n*d_c*(d_n + d_v)//(2*d_c - d_n - d_v)"
