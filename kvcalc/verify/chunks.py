"""Recurrences as the library runs them over a prompt: by chunks, in larger matmuls, which its counter sees.

Each formula is of one layer's matmuls: s tokens in chunks of c, the last one padded where the formula says ceil_div.
What is not here is not compared, and said so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.quantity import Quantity
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.attention.memory import Memory


class Chunked(NamedTuple):
    """A kind's formula, and its c: the library's own, or under one of these names in a config."""

    formula: str
    size: int = 0
    names: tuple[str, ...] = ()


CHUNKED = {
    # modeling_qwen3_next.py torch_chunk_gated_delta_rule: two products of keys, one with values, three with the state;
    # solving the triangle is no matmul
    "gated_deltanet": Chunked("ceil_div(s, c)*n_vh*(2*c*c*(2*d_k + d_v) + 3*2*c*d_k*d_v)", 64),
    # modeling_kimi_linear.py torch_chunk_kda: decays a channel make the products of keys elementwise
    "kda": Chunked("ceil_div(s, c)*n_h*(3*2*c*c*d_h + 3*2*c*d_h*d_h)", 64),
    # modeling_mamba2.py: C B^T and its product with x, states and their read-out, states of all chunks from each other
    "mamba2": Chunked(
        "2*n_h*(ceil_div(s, c)*(c*c*(N + P) + 2*c*N*P) + (ceil_div(s, c) + 1)**2*N*P)",
        names=("chunk_size", "mamba_chunk_size"),
    ),
    # modeling_minimax.py: blocks, the last one short
    "linear": Chunked("2*n_h*((d_k + d_v)*(s//c*c*c + (s%c)**2) + 2*s*d_k*d_v)", names=("block_size",)),
    # modeling_xlstm.py: whole chunks with a normaliser beside the values; tokens after the last one are steps
    "mlstm": Chunked(
        "2*n_h*(s//c*(c*c*(d_k + d_v) + c*d_k*(2*d_v + 1)) + (s%c)*d_k*(2*d_v + 1))",
        names=("chunk_size",),
    ),
}
NAMES = tuple(dict.fromkeys(name for told in CHUNKED.values() for name in told.names))


def sizes_of(config: Any) -> dict[str, int]:
    """What the library's config says of the sizes of chunks."""
    found = {name: getattr(config, name, None) for name in NAMES}
    return {name: size for name, size in found.items() if isinstance(size, int) and size > 0}


def runs_chunks(memory: Memory) -> bool:
    """Whether the library runs a prompt through it by chunks."""
    return any("chunks" in work.runs for work in memory.work("naive"))


def chunk_flops(memory: Memory, tokens: int, sizes: Mapping[str, int]) -> int | None:
    """FLOPs of its chunks in a prefill of `tokens`, `sizes` being what the config calls NAMES; None: not known."""
    told = CHUNKED.get(memory._asdict()["kind"])
    if told is None:
        return None
    size = told.size or next((sizes[name] for name in told.names if sizes.get(name)), 0)
    return Quantity("", told.formula, {**memory.symbols(), "s": tokens, "c": size}).evaluate({}) if size else None
