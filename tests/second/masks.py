"""What a query sees, as a set of rows, and what a cache holds, token by token: by loops, for small lengths.

A row is a token (numbered from 1), a row of several tokens, or a token of the encoder. Reaches are as files say them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

Reach: TypeAlias = "tuple[tuple[str, Any], ...]"  # sorted pairs of a file's mapping, so that it can be a key


def frozen(reach: dict[str, Any] | None) -> Reach:
    """A reach that can be a key; None is full."""
    return tuple(sorted((reach or {"kind": "full"}).items()))


def complete(reach: dict[str, Any], t: int) -> list[tuple[int, int]]:
    """First and last token of every row of several tokens that is complete at token t."""
    size, step = {
        "compressed": lambda: (reach["compress_rate"],) * 2,
        "pooled": lambda: (reach["pool_size"],) * 2,
        "pools": lambda: (reach["pool_size"],) * 2,
        "strided": lambda: (reach["block_size"], reach["stride"]),
        "selected": lambda: (reach["block_size"],) * 2,
    }[reach["kind"]]()
    rows, first = [], 1
    while first + size - 1 <= t:
        rows.append((first, first + size - 1))
        first += step
    return rows


@cache
def sees(frozen_reach: Reach, t: int, encoder: int) -> int:
    """How many rows token t attends to."""
    reach = dict(frozen_reach)
    kind = reach["kind"]
    past = range(1, t + 1)
    if kind == "full":
        return sum(1 for _ in past)
    if kind == "window":
        step = reach.get("dilation", 1)
        return sum(1 for j in past if (t - j) % step == 0 and (t - j) // step < reach["sliding_window"])
    if kind == "chunk":
        size = reach["attention_chunk_size"]
        return sum(1 for j in past if (j - 1) // size == (t - 1) // size)
    if kind == "top":
        return len(list(past)[-reach["top_k"] :])
    if kind == "encoder":
        return sum(1 for _ in range(encoder))
    if kind in ("remainder", "overlap"):
        return 0
    rows = complete(reach, t)
    if kind == "compressed":
        return len(rows[-reach["top_k"] :]) if reach.get("top_k") else len(rows)
    if kind in ("strided", "pooled"):
        return len(rows)
    if kind == "pools":
        read = {j for first, last in rows[-reach["pools"] :] for j in range(first, last + 1)}
        if reach.get("tail", True):
            read |= {j for j in past if not rows or j > rows[-1][1]}
        return len(read)
    own = (t - 1) // reach["block_size"]  # kind == "selected": its own block and some before it
    return sum(1 for j in past if own - (j - 1) // reach["block_size"] < reach["blocks"])


@cache
def expands(frozen_reach: Reach, p: int, s: int, encoder: int) -> int:
    """Distinct rows that queries p+1..p+s may read, whichever of them an index would choose."""
    reach = dict(frozen_reach)
    kind, last = reach["kind"], p + s
    if kind == "encoder":
        return encoder
    if kind in ("remainder", "overlap"):
        return 0
    if kind in ("compressed", "strided"):
        return len(complete(reach, last))
    if kind not in ("window", "chunk"):
        return last
    read: set[int] = set()
    for t in range(p + 1, last + 1):
        for j in range(1, t + 1):
            step, size = reach.get("dilation", 1), reach.get("attention_chunk_size", 1)
            if kind == "chunk":
                near = (j - 1) // size == (t - 1) // size
            else:
                near = (t - j) % step == 0 and (t - j) // step < reach["sliding_window"]
            if near:
                read.add(j)
    return len(read)


@cache
def pairs(frozen_reach: Reach, p: int, n: int, encoder: int) -> int:
    """(query, row) pairs of tokens p+1..n."""
    return sum(sees(frozen_reach, t, encoder) for t in range(p + 1, n + 1))


@cache
def holds(frozen_reach: Reach, n: int, encoder: int, prefix: int = 0, library: bool = False) -> tuple[int, int]:
    """Rows in the cache while token n is processed, and how many of them are of the first `prefix` tokens alone.

    Tokens come one by one, and what no later query can read goes. `library`: as Transformers holds them between steps.
    """
    reach = dict(frozen_reach)
    kind = reach["kind"]
    if kind == "encoder":
        return encoder, 0
    if kind in ("compressed", "strided"):
        rows = complete(reach, n)
        return len(rows), sum(1 for _, last in rows if last <= prefix)
    held: list[int] = []
    waiting: list[int] = []
    for t in range(1, n + 1):
        held.append(t)
        if kind == "window":
            step = reach.get("dilation", 1)
            wide = reach.get("library_window") or reach["sliding_window"]
            oldest = t - (reach["sliding_window"] - 1) * step
            if library:
                oldest = t - (wide - 1) * step + 1
            while held and held[0] < oldest:
                held.pop(0)
        elif kind == "chunk":
            size = reach["attention_chunk_size"]
            if library:
                while len(held) > size - 1:
                    held.pop(0)
            elif (t - 1) % size == 0:
                held = [t]
        elif kind == "remainder" and len(held) == reach["compress_rate"]:
            held = []
        elif kind == "overlap" and len(held) == reach["compress_rate"]:
            waiting, held = held, []
    if kind == "overlap":
        return len(waiting), 0
    if kind == "remainder":
        return len(held), 0
    return len(held), sum(1 for j in held if j <= prefix)


def leaves(reach: dict[str, Any]) -> tuple[int, int]:
    """Of what a token leaves, the part that stays of it: so much in so many tokens."""
    kind = reach["kind"]
    if kind in ("encoder", "remainder", "overlap"):
        return 0, 1
    return 1, {"compressed": reach.get("compress_rate"), "strided": reach.get("stride")}.get(kind) or 1


@cache
def both_ways(frozen_reach: Reach, n: int) -> tuple[int, int]:
    """Pairs in an encoder of n tokens, and how many keys and values are made."""
    reach = dict(frozen_reach)
    kind = reach["kind"]
    if kind == "full":
        return sum(1 for _ in range(n) for _ in range(n)), n
    if kind == "band":
        near = range(-reach["left"], reach.get("right", 0) + 1)
        return sum(1 for t in range(n) for step in near if 0 <= t + step < n), n
    size = reach["block_size"]
    if kind == "summaries":
        blocks = len([first for first in range(0, n, size) if first + size <= n])
        return n * blocks, blocks
    random = reach["num_random_blocks"]  # kind == "block_sparse"
    if n <= (5 + 2 * random) * size:
        return n * n, n
    blocks = -(-n // size)
    total = 0
    for block in range(blocks):
        if block in (0, blocks - 1):
            seen = blocks
        else:
            seen = len({0, blocks - 1, block - 1, block, block + 1}) + random
        total += size * seen * size
    return total, n
