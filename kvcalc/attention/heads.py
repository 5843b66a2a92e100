"""K and V heads: MHA, MQA, GQA and what decorates them (biases, qk-norm, output gates, sinks)."""

from __future__ import annotations

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE_MHA = "Attention Is All You Need (arXiv:1706.03762) sec. 3.2.2"
SOURCE_GQA = "GQA (arXiv:2305.13245) sec. 2.2"
SOURCE_MQA = "Fast Transformer Decoding (arXiv:1911.02150) sec. 3"


class Heads(NamedTuple):
    """n_h query heads over n_kv heads of K (d_k wide) and V (d_v wide).

    Shapes per token: K [n_kv, d_k], V [n_kv, d_v]. `bias` names the projections with one, out of
    "qkvog", g being the output gate's.
    `qk_norm`: '' none, 'per_head' one weight vector of d_k for all heads, 'full' one over all heads. `differential`:
    two heads make a pair, each of whose softmaxes is over the values of both (arXiv:2410.05258).
    `head_gate`: one gate a head on the output. `v_from_k`: V is made from what k_proj gives, though both are cached.
    `kv_hidden_size`: the width K and V are made from where it is not the model's: a wider encoder's output, say;
    `q_hidden_size`: the same of queries. `merged`: one softmax with the layer's other attention, whose weights and
    queries it takes; K and V are of other tokens. `broadcast`: the Transformers library caches K and V once for each
    query head; `remade`: it caches none of them, and makes them at every step, as of what cross attention reads.
    """

    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    v_head_dim: int
    bias: str = ""
    qk_norm: str = ""
    output_gate: bool = False
    sinks: bool = False
    qk_norm_bias: bool = False
    differential: bool = False
    kv_hidden_size: int = 0
    head_gate: bool = False
    v_from_k: bool = False
    q_hidden_size: int = 0
    merged: bool = False
    broadcast: bool = False
    remade: bool = False
    kind: str = "heads"

    @property
    def label(self) -> str:
        """MHA, MQA or GQA-G."""
        if self.num_key_value_heads == self.num_attention_heads:
            return "MHA"
        return "MQA" if self.num_key_value_heads == 1 else f"GQA-{self.num_key_value_heads}"

    @property
    def _square(self) -> bool:
        return self.head_dim == self.v_head_dim

    @property
    def _n_kv(self) -> str:
        if self.num_key_value_heads == 1:
            return ""
        return "n_h*" if self.num_key_value_heads == self.num_attention_heads else "n_kv*"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        if self.num_key_value_heads == self.num_attention_heads:
            return SOURCE_MHA
        return SOURCE_MQA if self.num_key_value_heads == 1 else SOURCE_GQA

    @property
    def elements_formula(self) -> str:
        """2*n_kv*d_h, n_kv being n_h for MHA and 1 for MQA."""
        if self._square:
            return f"2*{self._n_kv}d_h"
        return f"{self._n_kv}(d_k + d_v)" if self._n_kv else "d_k + d_v"

    def symbols(self) -> dict[str, int]:
        """n_h, n_kv, and d_h or d_k and d_v."""
        widths = {"d_h": self.head_dim} if self._square else {"d_k": self.head_dim, "d_v": self.v_head_dim}
        read = {"d_enc": self.kv_hidden_size} if self.kv_hidden_size else {}
        read |= {"d_q": self.q_hidden_size} if self.q_hidden_size else {}
        return {"n_h": self.num_attention_heads, "n_kv": self.num_key_value_heads, **widths, **read}

    @property
    def _widths(self) -> tuple[str, str]:
        return ("d_h", "d_h") if self._square else ("d_k", "d_v")

    @property
    def _read(self) -> str:
        return "d_enc" if self.kv_hidden_size else "d"

    @property
    def _asks(self) -> str:
        return "d_q" if self.q_hidden_size else "d"

    def stores(self) -> tuple[Store, ...]:
        """K and V."""
        return tuple(
            Store(name, f"{self._n_kv}{width}", name.lower(), self.source, self._in_the_library(width))
            for name, width in zip("KV", self._widths, strict=True)
        )

    def _in_the_library(self, width: str) -> str:
        return "0" if self.remade else f"n_h*{width}" if self.broadcast else ""

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Scores and values run over n_h heads, never n_kv: GQA saves memory, not FLOPs."""
        k, v = self._widths
        source = self.source
        gate = (Work("output gate", "token", f"2*d*n_h*{v}", "Qwen3-Next: q_proj is doubled"),) * self.output_gate
        gate += (Work("head gate", "token", "2*d*n_h", "Step 3.5: one gate a head"),) * self.head_gate
        runs = "remade" if self.remade else ""
        own_v = (Work("v", "token", f"2*{self._read}*n_kv*{v}", source, writes=True, runs=runs),) * (not self.v_from_k)
        return (
            Work("scores", "pair", f"2*n_h*{k}", source, runs="twice" if self.differential else ""),
            Work("values", "pair", f"4*n_h*{v}" if self.differential else f"2*n_h*{v}", source),
            *((Work("q", "token", f"2*{self._asks}*n_h*{k}", source),) if not self.merged else ()),
            Work("k", "token", f"2*{self._read}*n_kv*{k}", source, writes=True, runs=runs),
            *own_v,
            *((Work("o", "token", f"2*n_h*{v}*d", source), *gate) if not self.merged else ()),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Matrices, biases, norms, gate and sinks."""
        if self.merged:
            return ()
        k, v = self._widths
        shapes = {"q": f"n_h*{k}", "k": f"n_kv*{k}", "v": f"n_kv*{v}"}
        if self.v_from_k:
            del shapes["v"]
        made_from = {"q": self._asks, "k": self._read, "v": self._read}
        parts = [Weights(name, f"{made_from[name]}*{shape}", name in "kv") for name, shape in shapes.items()]
        parts.append(Weights("o", f"n_h*{v}*d"))
        parts += [Weights(f"{name} bias", shapes[name], name in "kv") for name in shapes if name in self.bias]
        if "o" in self.bias:
            parts.append(Weights("o bias", "d"))
        if self.qk_norm:
            heads = ("", "") if self.qk_norm == "per_head" else ("n_h*", "n_kv*")
            each = "2*" if self.qk_norm_bias else ""
            parts += [Weights("q norm", each + heads[0] + k), Weights("k norm", each + heads[1] + k, writes=True)]
        if self.output_gate:
            parts.append(Weights("output gate", f"d*n_h*{v}" + (f" + n_h*{v}" if "g" in self.bias else "")))
        if self.head_gate:
            parts.append(Weights("head gate", "d*n_h"))
        if self.sinks:
            parts.append(Weights("sinks", "n_h"))
        if self.differential:
            parts.append(Weights("lambdas", f"4*{k}"))
        return tuple(parts)
