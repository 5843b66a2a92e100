"""Reaches of encoders, which have no causal mask: bands, BigBird's blocks, LongT5's summaries of blocks.

Of their formulas (reach.py) they have `both_ways` and `made` alone: nothing of an encoder is cached.
"""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.reach import Rules
from kvcalc.tuples import NamedTuple

BAND = Rules.encoder(
    "n + l*(l + 1)/2 + (n - 1 - l)*n_l + r*(r + 1)/2 + (n - 1 - r)*n_r where l = min(n - 1, n_l), r = min(n - 1, n_r)",
    "Longformer (arXiv:2004.05150) sec. 3.1: a window around every token",
)
# Up to (5 + 2*N_r)*l_b tokens the library attends to all; beyond, the first and the last block see everything, the next
# to them 4 + N_r blocks, the others 5 + N_r. The last block is padded.
SPARSE = Rules.encoder(
    "(1 - x)*n*n + x*(2*l_b*m + 2*(4 + N_r)*l_b*l_b + (m//l_b - 4)*(5 + N_r)*l_b*l_b)"
    " where x = min(1, max(0, n - (5 + 2*N_r)*l_b)), m = ceil_div(n, l_b)*l_b",
    "BigBird (arXiv:2007.14062) sec. 2: global, window and random blocks; transformers modeling_bigbird_pegasus.py",
)
SUMMARIES = Rules.encoder(
    "n*(n//l_b)", "LongT5 (arXiv:2112.07916) sec. 3.1: transient global tokens, one a block of l_b", made="n//l_b"
)


class Band(NamedTuple):
    """So many tokens to the left and to the right, and the token itself."""

    left: Annotated[int, "tokens seen to the left"]
    right: Annotated[int, "tokens seen to the right"] = 0
    kind: str = "band"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return BAND

    @property
    def label(self) -> str:
        """As tables show it: band-127+127."""
        return f"band-{self.left}+{self.right}"

    def symbols(self) -> dict[str, int]:
        """n_l and n_r."""
        return {"n_l": self.left, "n_r": self.right}


class BlockSparse(NamedTuple):
    """BigBird: the blocks at both ends, a window of three blocks, and random ones."""

    block_size: Annotated[int, "tokens of one block"]
    num_random_blocks: Annotated[int, "random blocks that a block sees"]
    kind: str = "block_sparse"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return SPARSE

    @property
    def label(self) -> str:
        """As tables show it: blocks-64+3."""
        return f"blocks-{self.block_size}+{self.num_random_blocks}"

    def symbols(self) -> dict[str, int]:
        """Their number of tokens l_b, and N_r."""
        return {"l_b": self.block_size, "N_r": self.num_random_blocks}


class Summaries(NamedTuple):
    """One token for each full block, which every token sees."""

    block_size: Annotated[int, "tokens that one summary stands for"]
    kind: str = "summaries"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return SUMMARIES

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"summaries-{self.block_size}"

    def symbols(self) -> dict[str, int]:
        """The tokens l_b of a block."""
        return {"l_b": self.block_size}
