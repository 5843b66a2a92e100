"""What every memory answers: what a token leaves behind, the work per pair and per token, and its weights.

A memory knows nothing of windows: it names what drives each work (pairs, tokens, or keys re-expanded) and leaves
their number to the reach. Adding one is one file beside heads.py and latent.py and a line in kinds.py: its format in
files is made of its fields.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from kvcalc.tuples import NamedTuple


class Store(NamedTuple):
    """Elements that one token leaves behind in one layer. `role` decides its dtype: 'k', 'v', or 'kv' for neither.

    `library`: what the Transformers library stores instead, '' where that is the same.
    """

    name: str
    formula: str
    role: str
    source: str
    library: str = ""


class State(NamedTuple):
    """Elements that one sequence keeps in one layer, however long it is.

    `role` decides their dtype: 'state', a recurrent state, or 'conv', columns of a short convolution. `library`: what
    the Transformers library keeps instead (K columns, where K - 1 suffice), '' where that is the same.
    """

    name: str
    formula: str
    role: str
    source: str
    library: str = ""


class Work(NamedTuple):
    """FLOPs of one matmul of a layer: per (query, key) pair, per token, or per key re-expanded.

    `writes` marks the work of making what is stored: a layer that shares another's memory does not do it, and one
    that reads an encoder's does it once for each of the encoder's tokens. `mixes` marks the update and the reading of
    a fixed state, which stand to tokens as scores and values stand to pairs. `runs`: how the Transformers library's
    own code does it, where a counter of matmuls does not see this formula: 'elementwise'; 'padded', a convolution of
    K_c columns over inputs padded on both sides; 'ahead', one that another of K_2 columns reads, without a cache of its
    own; 'one more', for a row of zeros before the first token too; 'chunks', by chunks of the prompt; 'chunks,
    elementwise' and 'padded, elementwise' where the step is that; 'all', by experts that a token does not visit too;
    'twice'; 'remade', at every step, of what could have been kept.
    """

    name: str
    per: str  # "pair" | "token" | "key"
    formula: str
    source: str
    writes: bool = False
    mixes: bool = False
    runs: str = ""

    @property
    def core(self) -> bool:
        """Whether it belongs to the core of attention; the rest are projections."""
        return self.per == "pair" or self.mixes


class Weights(NamedTuple):
    """Parameters of one part of an attention layer. `idle`: those of them that a token does not visit."""

    name: str
    formula: str
    writes: bool = False
    idle: str = ""


class Memory(Protocol):
    """The first axis. Implementations are plain frozen tuples."""

    @property
    def label(self) -> str:
        """As tables show it: MHA, GQA-8, MLA-512+64."""
        ...

    @property
    def source(self) -> str:
        """The paper, or the config, that describes it."""
        ...

    @property
    def elements_formula(self) -> str:
        """Elements a token leaves in one layer, as papers write it; equal to the sum of the stores."""
        ...

    def _asdict(self) -> dict[str, Any]:
        """Its fields, as any named tuple gives them."""
        ...

    def symbols(self) -> dict[str, int]:
        """The numbers of its symbols, the model's hidden size d apart."""
        ...

    def stores(self) -> tuple[Store, ...]:
        """What one token leaves behind."""
        ...

    def states(self) -> tuple[State, ...]:
        """What one sequence keeps beside its tokens."""
        ...

    def work(self, mode: str) -> tuple[Work, ...]:
        """Its matmuls. `mode`, 'absorbed' or 'naive', matters to latents alone."""
        ...

    def weights(self) -> tuple[Weights, ...]:
        """Its parameters."""
        ...


@runtime_checkable
class TwoWays(Protocol):
    """A memory that can be read in two ways, 'absorbed' and 'naive'."""

    @property
    def crossover_formula(self) -> str | None:
        """Query tokens up to which 'absorbed' needs no more FLOPs than 'naive'; None where it never needs more."""
        ...
