"""Reaches that keep all tokens, or a row for every few of them, and read a chosen part: sparse attention."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.reach import Rules
from kvcalc.tuples import NamedTuple

SOURCE_DSA = "DeepSeek-V3.2-Exp, DeepSeek Sparse Attention: the index keeps k tokens a query, all stay cached"
SOURCE_V4 = "DeepSeek-V4, compressed attention: transformers modeling_deepseek_v4.py, one row for every m tokens"

TOP = Rules(
    seen="min(n, k_s)",
    kept="n",
    pairs="m*(m + 1)/2 + (n - m)*k_s where m = min(n, k_s)",
    recomputed="m*(m + 1)*(m + 2)/6 + j*m*(m + 1)/2 + k_s*j*(j + 1)/2 where m = min(n, k_s), j = n - m",
    touched="p + s",
    receptive="",
    source=SOURCE_DSA,
)
COMPRESSED = Rules(
    seen="n//m",
    kept="n//m",
    pairs="m*a*(a - 1)/2 + a*(r + 1) where a = n//m, r = n%m",
    recomputed=(
        "a*(a - 1)/2*(m*(n + 1) - m*(m - 1)/2) - m*m*(a - 1)*a*(2*a - 1)/6 + a*(r + 1)*(r + 2)/2"
        " where a = n//m, r = n%m"
    ),
    touched="(p + s)//m",
    retouched="m*a*(a - 1)/2 + a*(r + 1) where a = n//m, r = n%m",
    receptive="",
    source=SOURCE_V4,
    stored="ceil_div(e, m)",
    shared="min(t, S//m)",
    dense="(p + s)//m",
)
TOP_COMPRESSED = COMPRESSED._replace(
    seen="min(k_s, n//m)",
    pairs="m*a*(a - 1)/2 + a*(r + 1) + (n - j)*k_s where j = min(n, k_s*m - 1), a = j//m, r = j%m",
    recomputed=(
        "a*(a - 1)/2*(m*(j + 1) - m*(m - 1)/2) - m*m*(a - 1)*a*(2*a - 1)/6 + a*(r + 1)*(r + 2)/2"
        " + i*(m*a*(a - 1)/2 + a*(r + 1)) + k_s*i*(i + 1)/2"
        " where j = min(n, k_s*m - 1), i = n - j, a = j//m, r = j%m"
    ),
)
REMAINDER = Rules(
    seen="0",
    kept="n%m",
    pairs="0",
    recomputed="0",
    touched="0",
    retouched="0",
    receptive="",
    source=SOURCE_V4,
    stored="0",
    shared="0",
    dense="0",
    most="min(n, m - 1)",
)


class Top(NamedTuple):
    """The k tokens of highest score, or all where there are fewer; an index of full reach beside it scores them."""

    top_k: Annotated[int, "tokens that a query reads"]
    kind: str = "top"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return TOP

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"top-{self.top_k}"

    def symbols(self) -> dict[str, int]:
        """k_s."""
        return {"k_s": self.top_k}


class Compressed(NamedTuple):
    """One row for every m tokens, once they are complete; with a top-k, the k rows of highest score."""

    compress_rate: Annotated[int, "tokens that become one row"]
    top_k: Annotated[int, "rows that a query reads; 0: all"] = 0
    kind: str = "compressed"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return TOP_COMPRESSED if self.top_k else COMPRESSED

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"1/{self.compress_rate}" + (f" top-{self.top_k}" if self.top_k else "")

    def symbols(self) -> dict[str, int]:
        """m, and k_s where there is a choice."""
        return {"m": self.compress_rate, **({"k_s": self.top_k} if self.top_k else {})}


class Remainder(NamedTuple):
    """The tokens since the last complete block of m, waiting to be compressed: held, not attended to."""

    compress_rate: Annotated[int, "tokens that become one row"]
    kind: str = "remainder"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return REMAINDER

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"buffer of {self.compress_rate}"

    def symbols(self) -> dict[str, int]:
        """The block's length m."""
        return {"m": self.compress_rate}
