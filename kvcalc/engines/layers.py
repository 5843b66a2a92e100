"""A model's layers as engines see them: K and V heads, vectors that belong to no head, rows of many tokens, and states.

What is none of these, or is kept for a reach that engines do not have, is refused by name: leaving it out would count
too little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from kvcalc.attention.blocks import Overlap
from kvcalc.attention.reach import kept
from kvcalc.attention.selection import Remainder
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Quantity
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.attention.reach import Reach
    from kvcalc.model import Branch, ModelSpec
    from kvcalc.quantity import Node

FULL, WINDOW, CHUNK, CROSS = "full", "window", "chunk", "cross"


class KvHeads(NamedTuple):
    """So many layers with n_kv heads of K, d_k wide, and of V, d_v wide. `span` tokens: of the window, or of a chunk.

    `shares`: they read an earlier layer's K and V and leave none. `query_heads` 0: not known. `at`: where they stand.
    `blocks` of so many tokens, which an index beside them selects; 0: none does.
    """

    layers: int
    label: str
    kv_heads: int
    d_k: int
    d_v: int
    kind: str = FULL
    span: int = 0
    query_heads: int = 0
    shares: bool = False
    reach: Reach | None = None
    at: tuple[int, ...] = ()
    blocks: int = 0


class Vector(NamedTuple):
    """So many layers with one vector a token for all heads: a 'latent', an index's 'key', or 'shared' by K and V.

    The key of an index that selects blocks of heads' tokens is a 'block key'.

    `rope` of its elements are rotated. `span` tokens of a window, which a shared one has.
    """

    layers: int
    label: str
    elements: int
    rope: int = 0
    role: str = "latent"
    query_heads: int = 0
    shares: bool = False
    span: int = 0
    at: tuple[int, ...] = ()


class Rows(NamedTuple):
    """So many layers with a row of every `rate` tokens: a 'row' of K and V alike, or the 'key' that an index has of it.

    What becomes a row waits in a ring of the last `ring` tokens, each `waiting` elements: `series` vectors and gates.
    """

    layers: int
    label: str
    elements: int
    rate: int
    series: int
    role: str = "row"
    shares: bool = False
    at: tuple[int, ...] = ()

    @property
    def waiting(self) -> int:
        """Elements that a token leaves in the ring."""
        return 2 * self.series * self.elements

    @property
    def ring(self) -> int:
        """Tokens that wait: of the open row, and of the one before where rows overlap."""
        return self.series * self.rate


class Recurrent(NamedTuple):
    """So many layers with a state whatever the length: `recurrent` elements and `columns` of a convolution.

    The convolution has `channels`, which ranks divide, and `groups` of `group_channels`, which they repeat.
    `low_rank_queries`: a KDA beside latents whose queries come from a latent too, by which Kimi K3's class is told.
    """

    layers: int
    label: str
    kind: str
    recurrent: int
    columns: int = 0
    channels: int = 0
    heads: int = 0
    groups: int = 0
    group_channels: int = 0
    low_rank_queries: bool = False
    at: tuple[int, ...] = ()

    def divides(self, tp: int) -> bool:
        """Whether tp ranks share its heads, channels and groups evenly; one group is repeated."""
        return not (self.heads % tp or self.channels % tp or (self.groups > 1 and self.groups % tp))

    def conv_of_a_rank(self, tp: int, more_columns: int = 0) -> int:
        """Elements of the convolution's columns on each of tp ranks; groups that do not divide are extended to tp."""
        groups = self.groups if not self.groups or self.groups % tp == 0 else tp
        return (self.channels + groups * self.group_channels) // tp * (self.columns + more_columns)


Kind: TypeAlias = "KvHeads | Vector | Rows | Recurrent"


def layers_of(spec: ModelSpec, engine: str) -> list[Kind]:
    """Every kind of layer that caches. Raises KvcalcError for one that engines of this kind do not have."""
    where: dict[Branch, list[int]] = {}
    for group in spec.groups:
        for branch in group.layer.branches:
            where.setdefault(branch, []).extend(group.indices)
    found: list[Kind] = []
    for branch, indices in where.items():
        if (kind := _kind(spec, len(indices), branch, engine)) is not None:
            found.append(kind._replace(at=tuple(sorted(indices))))
    latents = any(isinstance(kind, Vector) and kind.role == "latent" for kind in found)
    selected = any(isinstance(kind, KvHeads) and kind.blocks for kind in found)
    for at, kind in enumerate(found):
        if isinstance(kind, Vector) and kind.role == "key" and not latents:
            if not selected:
                refuse(engine, kind.label)
            found[at] = kind._replace(role="block key")  # beside heads, as MiniMax-M3 has it
    if not any(isinstance(kind, Rows) for kind in found):  # no engine has one without the other
        memories: list[tuple[Any, str]] = [(branch.memory, branch.label) for _, branch in spec.branches()]
        for memory, label in memories:
            if memory.kind in ("shared_kv", "buffer"):
                refuse(engine, label)
    return found


def waiting(rate: int, series: int) -> Quantity:
    """Tokens that the model itself holds for rows to come; half of what a token leaves, of a row before."""
    numbers: dict[str, int | Node] = {"open": kept(Remainder(rate))}
    if series == 1:
        return Quantity("waiting", "open", numbers)
    return Quantity("waiting", "open + before//2", {**numbers, "before": kept(Overlap(rate))})


def refuse(engine: str, what: str) -> NoReturn:
    """Say that this engine's way with such layers is not known."""
    raise KvcalcError(
        f"{engine}: how it stores {what} layers is not modelled", "--engine paper counts what the model itself needs"
    )


def _kind(spec: ModelSpec, layers: int, branch: Branch, engine: str) -> Kind | None:
    memory: Any = branch.memory  # its fields are its kind's
    label = branch.label.removesuffix(" shared")
    if not memory.stores() and not memory.states():
        return None
    if memory.kind == "heads":
        kind, span = _reach(branch, label, engine)
        return KvHeads(
            layers,
            label,
            memory.num_key_value_heads,
            memory.head_dim,
            memory.v_head_dim,
            kind,
            span,
            memory.num_attention_heads,
            branch.shares_kv,
            branch.reach,
            blocks=reach.block_size if (reach := _selected(branch)) else 0,
        )
    if memory.kind == "mla" and branch.reach.kind in ("full", "top"):
        elements = memory.kv_lora_rank + memory.qk_rope_head_dim
        rope = memory.qk_rope_head_dim
        return Vector(layers, label, elements, rope, "latent", memory.num_attention_heads, branch.shares_kv)
    if memory.kind == "index" and branch.reach.kind == "full" and not memory.gated_pool:
        return Vector(layers, label, memory.index_head_dim, 0, "key", 0, branch.shares_kv)
    if memory.kind == "shared_kv" and branch.reach.kind == "window":
        span = _reach(branch, label, engine)[1]
        return Vector(layers, label, memory.head_dim, 0, "shared", memory.num_attention_heads, branch.shares_kv, span)
    if memory.kind in ROWS and branch.reach.kind == "compressed":
        role, elements = ROWS[memory.kind]
        return Rows(
            layers, label, getattr(memory, elements), memory.compress_rate, memory.series, role, branch.shares_kv
        )
    if memory.kind == "buffer" and branch.reach.kind in ("remainder", "overlap"):
        return None  # of the ring of rows beside it
    if memory.kind in STATES:
        found = STATES[memory.kind](layers, label, memory, spec.hidden_size)
        return found._replace(low_rank_queries=_low_rank_queries(spec)) if found.kind == "kda" else found
    refuse(engine, label)


def _selected(branch: Branch) -> Any:  # its fields are its kind's
    return branch.reach if branch.reach.kind == "selected" else None


def _reach(branch: Branch, label: str, engine: str) -> tuple[str, int]:
    reach: Any = branch.reach
    if reach.kind in ("full", "selected"):
        return FULL, 0
    if reach.kind == "window" and reach.dilation == 1:
        return WINDOW, reach.sliding_window
    if reach.kind == "chunk":
        return CHUNK, reach.attention_chunk_size
    if reach.kind == "encoder":
        return CROSS, 0
    refuse(engine, label)


def _mamba1(layers: int, label: str, memory: Any, _: int) -> Recurrent:
    d_in = memory.intermediate_size
    return Recurrent(layers, label, "mamba1", d_in * memory.state_size, memory.conv_kernel - 1, d_in, d_in)


def _mamba2(layers: int, label: str, memory: Any, _: int) -> Recurrent:
    d_in = memory.num_heads * memory.head_dim
    return Recurrent(
        layers,
        label,
        "mamba2",
        d_in * memory.state_size,
        memory.conv_kernel - 1,
        d_in,
        memory.num_heads,
        memory.n_groups,
        2 * memory.state_size,
    )


def _gdn(layers: int, label: str, memory: Any, _: int) -> Recurrent:
    recurrent = memory.num_value_heads * memory.key_head_dim * memory.value_head_dim
    channels = 2 * memory.num_key_heads * memory.key_head_dim + memory.num_value_heads * memory.value_head_dim
    return Recurrent(layers, label, "gated_deltanet", recurrent, memory.conv_kernel - 1, channels, memory.num_key_heads)


def _kda(layers: int, label: str, memory: Any, _: int) -> Recurrent:
    width = memory.num_heads * memory.head_dim
    return Recurrent(
        layers,
        label,
        "kda",
        width * memory.head_dim,
        memory.conv_kernel - 1,
        3 * width,
        memory.num_heads,
    )


def _low_rank_queries(spec: ModelSpec) -> bool:
    memories: list[Any] = [branch.memory for _, branch in spec.branches()]
    return any(memory.kind == "mla" and memory.q_lora_rank for memory in memories)


def _short_conv(layers: int, label: str, memory: Any, hidden_size: int) -> Recurrent:
    return Recurrent(layers, label, "short_conv", 0, memory.conv_kernel - 1, hidden_size, hidden_size)


def _linear(layers: int, label: str, memory: Any, _: int) -> Recurrent:
    elements = memory.num_heads * memory.key_head_dim * memory.value_head_dim
    return Recurrent(layers, label, "linear", elements, heads=memory.num_heads)


def _rwkv(layers: int, label: str, memory: Any, hidden_size: int) -> Recurrent:
    elements = memory.num_heads * memory.head_dim * memory.head_dim
    return Recurrent(layers, label, "rwkv", elements, 2, hidden_size, memory.num_heads)


ROWS = {"compressed_kv": ("row", "head_dim"), "compressed_index": ("key", "index_head_dim")}
STATES = {
    "mamba1": _mamba1,
    "mamba2": _mamba2,
    "gated_deltanet": _gdn,
    "kda": _kda,
    "short_conv": _short_conv,
    "linear": _linear,
    "rwkv6": _rwkv,
    "rwkv7": _rwkv,
}
