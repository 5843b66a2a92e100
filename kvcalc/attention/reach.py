"""Reach: which past tokens a query sees, and so how many must be kept. Knows nothing of heads.

Each reach gives formulas, n counting the token being processed:
    seen        keys that token n attends to, itself included
    kept        tokens held in the cache while token n is processed
    pairs       F(n): (query, key) pairs of a causal prefill of n tokens, the sum of seen(1..n)
    recomputed  the sum of pairs(1..n): what n steps without a cache attend to
    touched     distinct keys that a call over s new tokens after p cached ones reads
    retouched   the sum of touched(0, 1..n): what n steps without a cache read
    receptive   tokens one layer adds to the receptive field, '' where it is unbounded or blocked
    stored      what a new token adds to the cache, of the e elements that a token leaves
    shared      of t tokens kept, those that belong to a prefix of S tokens common to the batch
    both_ways   pairs in an encoder, which has no causal mask; '' where it has no such form
    made        tokens that an encoder's layer makes keys and values for, '' for all n
    between     tokens that the Transformers library holds once token n is processed, '' where these are the kept
    dense       keys that code which masks, and skips nothing, runs each of s queries over after p tokens
    most        the most tokens kept on the way to token n, '' where these are the kept
Every one is checked against a brute-force mask in tests/test_reach.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol

from kvcalc.quantity import Quantity
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.quantity import Node, Symbols


class Rules(NamedTuple):
    """The formulas of one reach, and where they are stated."""

    seen: str
    kept: str
    pairs: str
    recomputed: str
    touched: str
    receptive: str
    source: str
    retouched: str = "n*(n + 1)/2"
    stored: str = "e"
    shared: str = "max(0, t - (n - S))"
    both_ways: str = ""
    made: str = ""

    @classmethod
    def encoder(cls, both_ways: str, source: str, made: str = "") -> Rules:
        """The rules of a reach that only an encoder has."""
        return cls("", "", "", "", "", "", source, both_ways=both_ways, made=made)

    between: str = ""
    dense: str = "p + s"
    most: str = ""


class Reach(Protocol):
    """The second axis. Implementations are plain frozen tuples."""

    @property
    def kind(self) -> str:
        """Its word in files."""
        ...

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        ...

    @property
    def label(self) -> str:
        """As tables show it: full, SWA-4096, chunk-8192."""
        ...

    def _asdict(self) -> dict[str, Any]:
        """Its fields, as any named tuple gives them."""
        ...

    def symbols(self) -> Symbols:
        """The numbers of its symbols."""
        ...


FULL = Rules(
    seen="n",
    kept="n",
    pairs="n*(n + 1)/2",
    recomputed="n*(n + 1)*(n + 2)/6",
    touched="p + s",
    receptive="",
    source="causal mask: token t sees t keys",
    both_ways="n*n",
)
WINDOW = Rules(
    seen="min(n, W)",
    kept="min(n, W)",
    pairs="m*(m + 1)/2 + (n - m)*W where m = min(n, W)",
    recomputed="m*(m + 1)*(m + 2)/6 + k*m*(m + 1)/2 + m*k*(k + 1)/2 where m = min(n, W), k = n - m",
    touched="min(p + s, W + s - 1)",
    receptive="W",
    source="Mistral 7B (arXiv:2310.06825) sec. 2: rolling buffer, slot i mod W",
    between="min(n, W - 1)",
    dense="min(p, W - 1) + s",
)
WINDOW_OF_ANOTHER_WIDTH = WINDOW._replace(between="min(n, W_l - 1)", dense="min(p, W_l - 1) + s")
# The buffer spans (W-1)*delta + 1 tokens: every residue class mod delta is needed by a later query. In `touched` the
# last min(s, delta) queries lie in different classes, and each earlier one adds one key at most.
DILATED = Rules(
    seen="min(ceil_div(n, delta), W)",
    kept="min(n, (W - 1)*delta + 1)",
    pairs=("delta*a*(a + 1)/2 + r*(a + 1) + (n - m)*W where m = min(n, W*delta), a = m//delta, r = m - a*delta"),
    recomputed=(
        "delta*delta*(a - 1)*a*(a + 1)/6 + delta*(delta + 1)*a*(a + 1)/4"
        " + r*delta*a*(a + 1)/2 + (a + 1)*r*(r + 1)/2 + k*delta*W*(W + 1)/2 + W*k*(k + 1)/2"
        " where m = min(n, W*delta), a = m//delta, r = m - a*delta, k = n - m"
    ),
    touched=(
        "min(delta*a*(a + 1)/2 + r*(a + 1) + (p + s - m)*W"
        " - (delta*b*(b + 1)/2 + q*(b + 1) + (f - j)*W) + s - c, p + s)"
        " where c = min(s, delta), f = p + s - c, m = min(p + s, W*delta), a = m//delta, r = m - a*delta,"
        " j = min(f, W*delta), b = j//delta, q = j - b*delta"
    ),
    receptive="W*delta",
    source="Longformer (arXiv:2004.05150) sec. 3.1, figure 2c and the receptive field l*d*w",
    between="min(n, (W - 1)*delta)",
    dense="min(p, (W - 1)*delta) + s",
)
CHUNK = Rules(
    seen="(n - 1)%C + 1",
    kept="(n - 1)%C + 1",
    pairs="a*C*(C + 1)/2 + r*(r + 1)/2 where a = n//C, r = n%C",
    recomputed=(
        "C*C*(C + 1)*a*(a - 1)/4 + a*C*(C + 1)*(C + 2)/6 + r*a*C*(C + 1)/2 + r*(r + 1)*(r + 2)/6"
        " where a = n//C, r = n%C"
    ),
    touched="p%C + s",
    receptive="",
    source="Llama 4, transformers masking_utils.py chunked_overlay: no look-back over a chunk's edge",
    between="min(n, C - 1)",
    dense="min(p, C - 1) + s",
    most="min(n, C)",
)


class Full(NamedTuple):
    """Every earlier token."""

    kind: str = "full"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return FULL

    @property
    def label(self) -> str:
        """As tables show it."""
        return "full"

    def symbols(self) -> dict[str, int]:
        """None of its own."""
        return {}


class Window(NamedTuple):
    """The last W tokens, the current one included; with a dilation, every delta-th of them.

    `library_window`: the window that the Transformers library runs, 0 where that is the same.
    """

    sliding_window: Annotated[int, "tokens seen, the current one included"]
    dilation: Annotated[int, "every dilation-th token is seen"] = 1
    library_window: Annotated[int, "the window the Transformers library runs, where it is another"] = 0
    kind: str = "window"

    @property
    def rules(self) -> Rules:
        """Its formulas; those of a dilated window hold for a dilation of 1 too, the plain ones read easier."""
        if self.dilation > 1:
            return DILATED
        return WINDOW_OF_ANOTHER_WIDTH if self.library_window else WINDOW

    @property
    def label(self) -> str:
        """As tables show it: SWA-4096, or SWA-512/4 with a dilation of 4."""
        return f"SWA-{self.sliding_window}" + (f"/{self.dilation}" if self.dilation > 1 else "")

    def symbols(self) -> dict[str, int]:
        """W and delta."""
        library = {"W_l": self.library_window} if self.library_window else {}
        return {"W": self.sliding_window, "delta": self.dilation, **library}


class Chunk(NamedTuple):
    """The tokens of the current block of C: nothing before the block's edge."""

    attention_chunk_size: Annotated[int, "tokens of one block"]
    kind: str = "chunk"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return CHUNK

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"chunk-{self.attention_chunk_size}"

    def symbols(self) -> dict[str, int]:
        """C."""
        return {"C": self.attention_chunk_size}


def seen(reach: Reach, n: str = "n") -> Quantity:
    """Keys the token at position `n` attends to."""
    return _at("keys seen by token n", reach.rules.seen, reach, {"n": n})


def kept(reach: Reach, n: str = "n") -> Quantity:
    """Tokens the cache holds while token `n` is processed."""
    return _at("tokens kept", reach.rules.kept, reach, {"n": n})


def between(reach: Reach, n: str = "n") -> Quantity:
    """Tokens the Transformers library holds once token `n` is processed."""
    return _at("tokens held between steps", reach.rules.between or reach.rules.kept, reach, {"n": n})


def most(reach: Reach, n: str = "n") -> Quantity:
    """The most tokens the cache holds until token `n` is processed."""
    return _at("most tokens kept so far", reach.rules.most or reach.rules.kept, reach, {"n": n})


def dense(reach: Reach, p: str, s: str) -> Quantity:
    """Keys that code which masks, and skips nothing, runs each of `s` queries over after `p` tokens."""
    return _at("keys of the rectangle", reach.rules.dense, reach, {"p": p, "s": s})


def touched(reach: Reach, p: str, s: str) -> Quantity:
    """Distinct keys read by a call over `s` new tokens after `p`."""
    return _at("tokens touched", reach.rules.touched, reach, {"p": p, "s": s})


def pairs(reach: Reach, p: str, n: str, *, recomputed: bool = False) -> Quantity:
    """F(n) - F(p): pairs of tokens p+1..n; `recomputed`: with each of those steps recomputing all before it."""
    if recomputed:
        return _between("pairs of all recomputed prefixes", reach.rules.recomputed, reach, p, n)
    return _between("pairs", reach.rules.pairs, reach, p, n)


def retouched(reach: Reach, p: str, n: str) -> Quantity:
    """Keys that steps p+1..n read, each from the first token on."""
    return _between("keys of all recomputed prefixes", reach.rules.retouched, reach, p, n)


def _between(name: str, formula: str, reach: Reach, p: str, n: str) -> Quantity:
    upper = _at(f"{name} up to {n}", formula, reach, {"n": n})
    if p == "0":
        return upper._replace(name=name)
    lower = _at(f"{name} up to {p}", formula, reach, {"n": p})
    return Quantity(name, "F_n - F_p", {"F_n": upper, "F_p": lower})


def stored(reach: Reach, elements: Node) -> Node:
    """What one new token adds to the cache."""
    if reach.rules.stored == "e":
        return elements
    return Quantity(elements.name, reach.rules.stored, {**reach.symbols(), "e": elements}, reach.rules.source)


def shared(reach: Reach, n: str, tokens: Quantity) -> Quantity:
    """Of the tokens kept at position `n`, those of the prefix that the batch shares."""
    found = _at("kept tokens of the shared prefix", reach.rules.shared, reach, {"n": n})
    return found._replace(symbols={**found.symbols, "t": tokens}, source="")


def _at(name: str, formula: str, reach: Reach, at: dict[str, str]) -> Quantity:
    """The formula with its position symbols bound to expressions of the scope, where these differ."""
    positions = {symbol: Quantity(symbol, text) for symbol, text in at.items() if symbol != text}
    return Quantity(name, formula, {**reach.symbols(), **positions}, reach.rules.source)
