"""Reaches over blocks of tokens: those a query selects, those that overlap and are summed up, one kept for the next."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.reach import FULL, Rules
from kvcalc.attention.selection import COMPRESSED, TOP_COMPRESSED
from kvcalc.tuples import NamedTuple

SOURCE_NSA = "NSA (arXiv:2502.11089) sec. 3.3: a row for every stride, of a block of tokens"
SOURCE_SELECTED = "NSA (arXiv:2502.11089) sec. 3.3.2; MiniMax-M3: the query's own block is one of them"
SOURCE_OVERLAP = "DeepSeek-V4, CSA: a row is made of its block and the one before, which is held until then"

SELECTED = Rules(
    seen="min(n, (N_s - 1)*l_s + (n - 1)%l_s + 1)",
    kept="n",
    pairs=(
        "m*(m + 1)/2 + j*(N_s - 1)*l_s + a*l_s*(l_s + 1)/2 + r*(r + 1)/2"
        " where m = min(n, N_s*l_s), j = n - m, a = j//l_s, r = j%l_s"
    ),
    recomputed=(
        "m*(m + 1)*(m + 2)/6 + j*m*(m + 1)/2 + (N_s - 1)*l_s*j*(j + 1)/2 + l_s*l_s*(l_s + 1)*a*(a - 1)/4"
        " + a*l_s*(l_s + 1)*(l_s + 2)/6 + r*a*l_s*(l_s + 1)/2 + r*(r + 1)*(r + 2)/6"
        " where m = min(n, N_s*l_s), j = n - m, a = j//l_s, r = j%l_s"
    ),
    touched="p + s",
    receptive="",
    source=SOURCE_SELECTED,
)
STRIDED = Rules(
    seen="ceil_div(max(0, n - l + 1), sigma)",
    kept="ceil_div(max(0, n - l + 1), sigma)",
    pairs="sigma*a*(a + 1)/2 + r*(a + 1) where m = max(0, n - l + 1), a = m//sigma, r = m%sigma",
    recomputed=(
        "sigma*sigma*(a - 1)*a*(a + 1)/6 + sigma*(sigma + 1)*a*(a + 1)/4 + r*sigma*a*(a + 1)/2 + (a + 1)*r*(r + 1)/2"
        " where m = max(0, n - l + 1), a = m//sigma, r = m%sigma"
    ),
    touched="ceil_div(max(0, p + s - l + 1), sigma)",
    retouched="sigma*a*(a + 1)/2 + r*(a + 1) where m = max(0, n - l + 1), a = m//sigma, r = m%sigma",
    receptive="",
    source=SOURCE_NSA,
    stored="ceil_div(e, sigma)",
    shared="min(t, ceil_div(max(0, S - l + 1), sigma))",
    dense="ceil_div(max(0, p + s - l + 1), sigma)",
)
OVERLAP = Rules(
    seen="0",
    kept="m*min(1, n//m)",
    pairs="0",
    recomputed="0",
    touched="0",
    retouched="0",
    receptive="",
    source=SOURCE_OVERLAP,
    stored="0",
    shared="0",
    dense="0",
)

SOURCE_POOLS = (
    "Qwen4 QSA, GLM-5.3 index_kpool: whole pools are selected by one key each, the open one's tokens are read"
)
POOLED = COMPRESSED._replace(
    kept="n", touched="p + s", retouched=FULL.retouched, source=SOURCE_POOLS, stored="e", shared="max(0, t - (n - S))"
)
POOLS = TOP_COMPRESSED._replace(
    seen="m*min(k_s, n//m)",
    kept="n",
    pairs="m*(m*a*(a - 1)/2 + a*(r + 1) + (n - j)*k_s) where j = min(n, k_s*m - 1), a = j//m, r = j%m",
    recomputed=(
        "m*(a*(a - 1)/2*(m*(j + 1) - m*(m - 1)/2) - m*m*(a - 1)*a*(2*a - 1)/6 + a*(r + 1)*(r + 2)/2"
        " + i*(m*a*(a - 1)/2 + a*(r + 1)) + k_s*i*(i + 1)/2)"
        " where j = min(n, k_s*m - 1), i = n - j, a = j//m, r = j%m"
    ),
    touched="p + s",
    retouched=FULL.retouched,
    source=SOURCE_POOLS,
    stored="e",
    shared="max(0, t - (n - S))",
    dense="p + s",
)
POOLS_AND_TAIL = POOLS._replace(
    seen="m*min(k_s, n//m) + n%m",
    pairs=(
        "m*(m*a*(a - 1)/2 + a*(r + 1) + (n - j)*k_s) + b*m*(m - 1)/2 + q*(q + 1)/2"
        " where j = min(n, k_s*m - 1), a = j//m, r = j%m, b = n//m, q = n%m"
    ),
    recomputed=(
        "m*(a*(a - 1)/2*(m*(j + 1) - m*(m - 1)/2) - m*m*(a - 1)*a*(2*a - 1)/6 + a*(r + 1)*(r + 2)/2"
        " + i*(m*a*(a - 1)/2 + a*(r + 1)) + k_s*i*(i + 1)/2)"
        " + m*m*(m - 1)*b*(b - 1)/4 + b*(m - 1)*m*(m + 1)/6 + (q + 1)*b*m*(m - 1)/2 + q*(q + 1)*(q + 2)/6"
        " where j = min(n, k_s*m - 1), i = n - j, a = j//m, r = j%m, b = n//m, q = n%m"
    ),
)


class Selected(NamedTuple):
    """Some blocks of tokens, the query's own among them; all of them stay cached."""

    block_size: Annotated[int, "tokens of one block"]
    blocks: Annotated[int, "blocks that a query reads, its own included"]
    kind: str = "selected"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return SELECTED

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"top-{self.blocks}x{self.block_size}"

    def symbols(self) -> dict[str, int]:
        """N_s blocks of l_s tokens."""
        return {"N_s": self.blocks, "l_s": self.block_size}


class Strided(NamedTuple):
    """One row for every stride of tokens, each made of a block, once that is complete."""

    block_size: Annotated[int, "tokens that become one row"]
    stride: Annotated[int, "tokens from one row's first to the next one's"]
    kind: str = "strided"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return STRIDED

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"1/{self.stride} of {self.block_size}"

    def symbols(self) -> dict[str, int]:
        """Blocks of l tokens, sigma apart."""
        return {"l": self.block_size, "sigma": self.stride}


class Pooled(NamedTuple):
    """One key for every complete pool of m tokens, pooled when it is read: what it is made of stays cached."""

    pool_size: Annotated[int, "tokens of one pool"]
    kind: str = "pooled"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return POOLED

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"1/{self.pool_size} pooled"

    def symbols(self) -> dict[str, int]:
        """The pool's length m."""
        return {"m": self.pool_size}


class Pools(NamedTuple):
    """The tokens of some complete pools and, with the tail, those of the open one; all tokens stay cached."""

    pool_size: Annotated[int, "tokens of one pool"]
    pools: Annotated[int, "complete pools that a query reads"]
    tail: Annotated[bool, "the open pool's tokens are read too"] = True
    kind: str = "pools"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return POOLS_AND_TAIL if self.tail else POOLS

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"top-{self.pools}x{self.pool_size}{'+tail' if self.tail else ''}"

    def symbols(self) -> dict[str, int]:
        """Pools of m tokens, k_s of them."""
        return {"m": self.pool_size, "k_s": self.pools}


class Overlap(NamedTuple):
    """The last complete block of m tokens, held for the next row: not attended to."""

    compress_rate: Annotated[int, "tokens that become one row"]
    kind: str = "overlap"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return OVERLAP

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"block of {self.compress_rate}"

    def symbols(self) -> dict[str, int]:
        """The block's length m."""
        return {"m": self.compress_rate}
