"""DeepSeek-V4: one vector that is key and value at once, its compressed rows, and the index over such rows.

Layers are branches: a window of shared vectors, compressed rows (and their index), and what waits to become a row.
"""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE = "DeepSeek-V4 (arXiv:2606.19348) sec. 2.3: shared-KV MQA, grouped output projection"
SOURCE_ROWS = "DeepSeek-V4 (arXiv:2606.19348) sec. 2.3.1, 2.3.2: gated pooling of m tokens into one row"
SOURCE_INDEX = "DeepSeek-V4 (arXiv:2606.19348) sec. 2.3.1, eq. 14-17: an index over compressed keys"


class SharedKv(NamedTuple):
    """n_h query heads over one vector of d_h a token, read as K and as V. Shape per token: [d_h].

    Queries pass a latent of d_c'. The output passes g_o groups of d_g where `o_groups` is not 0.
    """

    num_attention_heads: Annotated[int, "query heads n_h"]
    head_dim: Annotated[int, "elements d_h of the vector"]
    q_lora_rank: Annotated[int, "elements d_c' of the query's latent"]
    o_groups: Annotated[int, "groups g_o of heads in the output projection; 0: one matrix"] = 0
    o_lora_rank: Annotated[int, "width d_g of each group's output"] = 0
    sinks: Annotated[bool, "one learned logit a head"] = False
    library_stores_twice: Annotated[bool, "Transformers stores it as K and as V, where a layer only slides"] = False
    kind: str = "shared_kv"

    @property
    def label(self) -> str:
        """K=V-d_h."""
        return f"K=V-{self.head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE

    @property
    def elements_formula(self) -> str:
        """One vector: no factor of two."""
        return "d_h"

    def symbols(self) -> dict[str, int]:
        """n_h, d_h, d_c', and g_o and d_g where the output is grouped."""
        grouped = {"g_o": self.o_groups, "d_g": self.o_lora_rank} if self.o_groups else {}
        return {"n_h": self.num_attention_heads, "d_h": self.head_dim, "d_c'": self.q_lora_rank, **grouped}

    def stores(self) -> tuple[Store, ...]:
        """The vector."""
        return (Store("K=V", "d_h", "kv", SOURCE, library="2*d_h" if self.library_stores_twice else ""),)

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Attention as MQA does it."""
        if self.o_groups:
            out: tuple[Work, ...] = (
                Work("o of each group", "token", "2*n_h*d_h*d_g", SOURCE),
                Work("o", "token", "2*g_o*d_g*d", SOURCE),
            )
        else:
            out = (Work("o", "token", "2*n_h*d_h*d", SOURCE),)
        return (
            Work("scores", "pair", "2*n_h*d_h", SOURCE),
            Work("values", "pair", "2*n_h*d_h", SOURCE),
            Work("q down", "token", "2*d*d_c'", SOURCE),
            Work("q up", "token", "2*d_c'*n_h*d_h", SOURCE),
            Work("kv", "token", "2*d*d_h", SOURCE, writes=True),
            *out,
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, norms and sinks."""
        parts = [
            Weights("q down", "d*d_c'"),
            Weights("q norm", "d_c'"),
            Weights("q up", "d_c'*n_h*d_h"),
            Weights("kv", "d*d_h", writes=True),
            Weights("kv norm", "d_h", writes=True),
            *(
                [Weights("o of each group", "n_h*d_h*d_g"), Weights("o", "g_o*d_g*d")]
                if self.o_groups
                else [Weights("o", "n_h*d_h*d")]
            ),
        ]
        if self.sinks:
            parts.append(Weights("sinks", "n_h"))
        return tuple(parts)


class CompressedKv(NamedTuple):
    """Rows of d_h, each made of m tokens by gates, which the queries of a branch beside it read. Shape per row: [d_h].

    c_s series: 1, or 2 where rows overlap, a row being made of its block and the one before. The reach says how many
    rows there are and how many a query reads.
    """

    num_attention_heads: Annotated[int, "query heads n_h of the branch beside it"]
    head_dim: Annotated[int, "elements d_h of one row"]
    compress_rate: Annotated[int, "tokens m that become one row"]
    series: Annotated[int, "series c_s of vectors and gates: 2 where rows overlap, else 1"] = 1
    kind: str = "compressed_kv"

    @property
    def label(self) -> str:
        """rows-d_h."""
        return f"rows-{self.head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_ROWS

    @property
    def elements_formula(self) -> str:
        """One vector a row."""
        return "d_h"

    def symbols(self) -> dict[str, int]:
        """n_h, d_h, m and c_s."""
        return {"n_h": self.num_attention_heads, "d_h": self.head_dim, "m": self.compress_rate, "c_s": self.series}

    def stores(self) -> tuple[Store, ...]:
        """The row."""
        return (Store("row", "d_h", "kv", SOURCE_ROWS),)

    def states(self) -> tuple[State, ...]:
        """None: what waits to become a row is a branch of its own."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Attention over rows, and the vectors and gates of every token."""
        return (
            Work("scores", "pair", "2*n_h*d_h", SOURCE_ROWS),
            Work("values", "pair", "2*n_h*d_h", SOURCE_ROWS),
            Work("compression", "token", "2*d*2*c_s*d_h", SOURCE_ROWS, writes=True),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Vectors, gates, positions in a block and the norm of rows."""
        return (
            Weights("compression", "2*c_s*d*d_h", writes=True),
            Weights("positions in a block", "m*c_s*d_h", writes=True),
            Weights("norm of rows", "d_h", writes=True),
        )


class CompressedIndex(NamedTuple):
    """n_I query heads over one compressed index key of d_I a row, made as the rows are. Shape per row: [d_I]."""

    index_n_heads: Annotated[int, "query heads n_I"]
    index_head_dim: Annotated[int, "elements d_I of one index key"]
    q_lora_rank: Annotated[int, "the query latent d_c' that index queries are made from"]
    compress_rate: Annotated[int, "tokens m that become one row"]
    series: Annotated[int, "series c_s of vectors and gates: 2 where rows overlap, else 1"] = 2
    kind: str = "compressed_index"

    @property
    def label(self) -> str:
        """index-d_I."""
        return f"index-{self.index_head_dim}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_INDEX

    @property
    def elements_formula(self) -> str:
        """One key a row."""
        return "d_I"

    def symbols(self) -> dict[str, int]:
        """n_I, d_I, d_c', m and c_s."""
        return {
            "n_I": self.index_n_heads,
            "d_I": self.index_head_dim,
            "d_c'": self.q_lora_rank,
            "m": self.compress_rate,
            "c_s": self.series,
        }

    def stores(self) -> tuple[Store, ...]:
        """The index key of a row."""
        return (Store("index key", "d_I", "kv", SOURCE_INDEX),)

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """Scores over all rows; the heads' weighted sum is elementwise."""
        return (
            Work("index scores", "pair", "2*n_I*d_I", SOURCE_INDEX),
            Work("index q", "token", "2*d_c'*n_I*d_I", SOURCE_INDEX),
            Work("index head weights", "token", "2*d*n_I", SOURCE_INDEX),
            Work("index compression", "token", "2*d*2*c_s*d_I", SOURCE_INDEX, writes=True),
        )

    def weights(self) -> tuple[Weights, ...]:
        """Projections, positions in a block and the norm of keys."""
        return (
            Weights("index q", "d_c'*n_I*d_I"),
            Weights("index head weights", "d*n_I"),
            Weights("index compression", "2*c_s*d*d_I", writes=True),
            Weights("index positions in a block", "m*c_s*d_I", writes=True),
            Weights("norm of index keys", "d_I", writes=True),
        )


class Buffer(NamedTuple):
    """So many elements a token, held until something is made of them: neither attended to nor computed here."""

    elements: Annotated[int, "elements d_b a token leaves"]
    kind: str = "buffer"

    @property
    def label(self) -> str:
        """held-d_b."""
        return f"held-{self.elements}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_ROWS

    @property
    def elements_formula(self) -> str:
        """As given."""
        return "d_b"

    def symbols(self) -> dict[str, int]:
        """d_b."""
        return {"d_b": self.elements}

    def stores(self) -> tuple[Store, ...]:
        """The elements."""
        return (Store("vectors and gates", "d_b", "kv", SOURCE_ROWS),)

    def states(self) -> tuple[State, ...]:
        """None."""
        return ()

    def work(self, mode: str) -> tuple[Work, ...]:
        """None: what is held was computed beside it."""
        return ()

    def weights(self) -> tuple[Weights, ...]:
        """None."""
        return ()
