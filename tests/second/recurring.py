"""Memories of a fixed size, from their papers: what files call them, and the tensors that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from second.tensors import Tensors

if TYPE_CHECKING:
    from collections.abc import Callable


def mamba1(m: dict[str, Any], d: int) -> Tensors:
    """Mamba (arXiv:2312.00752), algorithm 2."""
    t = Tensors()
    inner, n, rank = m["intermediate_size"], m["state_size"], m["time_step_rank"]
    t.matrix(d, inner, times=2)
    t.columns(m["conv_kernel"], inner, bias=bool(m.get("use_conv_bias")))
    t.matrix(inner, rank + n + n)
    t.matrix(rank, inner)
    t.vector(inner)  # the time step's bias
    t.vector(inner, n)  # A
    t.vector(inner)  # D
    t.matrix(inner, d)
    t.state(inner * n)
    t.mixing += inner * n * 2 + inner * n * 2
    t.vector((rank + 2 * n) * bool(m.get("inner_norms")))
    t.vector((2 * inner + d) * bool(m.get("use_bias")))
    return t


def mamba2(m: dict[str, Any], d: int) -> Tensors:
    """Mamba-2 (arXiv:2405.21060)."""
    t = Tensors()
    heads, n = m["num_heads"], m["state_size"]
    inner, groups = heads * m["head_dim"], m["n_groups"] * n
    for width in (inner, inner, groups, groups, heads):  # z, x, B, C, dt
        t.matrix(d, width)
    t.columns(m["conv_kernel"], inner + 2 * groups, bias=bool(m.get("use_conv_bias")))
    t.vector(3, heads)
    t.matrix(inner, d)
    for _ in range(heads):
        t.state(m["head_dim"] * n)
        t.mixing += 4 * m["head_dim"] * n
    t.vector(inner * bool(m.get("gated_norm")))
    t.vector((2 * inner + 2 * groups + heads + d) * bool(m.get("use_bias")))
    return t


def linear(m: dict[str, Any], d: int) -> Tensors:
    """Linear attention (arXiv:2006.16236), with a decay of the token gated linear attention (2312.06635)."""
    t = Tensors()
    heads, k, v, rank = m["num_heads"], m["key_head_dim"], m["value_head_dim"], m.get("decay_rank") or 0
    for _ in range(heads):
        for width in (k, k, v):
            t.matrix(d, width)
        t.matrix(v, d)
        t.state(k * v)
        t.mixing += 2 * k * v + 2 * k * v
    if rank:
        t.matrix(d, rank)
        t.matrix(rank, heads * k)
        t.vector(heads * k)
    if m.get("output_gate"):
        t.matrix(d, heads * v)
    t.vector({"": 0, "per_head": v, "full": heads * v}[m.get("norm") or ""])
    t.vector((2 * heads * k + heads * v + d) * bool(m.get("bias")))
    return t


def gated_deltanet(m: dict[str, Any], d: int) -> Tensors:
    """Gated DeltaNet (arXiv:2412.06464): read what is there, write the difference, read."""
    t = Tensors()
    keys, values, k, v = m["num_key_heads"], m["num_value_heads"], m["key_head_dim"], m["value_head_dim"]
    for width in (keys * k, keys * k, values * v, values * v, values, values):  # q, k, v, gate, decay, beta
        t.matrix(d, width)
    t.columns(m["conv_kernel"], keys * k + keys * k + values * v)
    t.vector(2, values)
    t.vector(v)
    t.matrix(values * v, d)
    for _ in range(values):
        t.state(k * v)
        t.mixing += 3 * 2 * k * v
    return t


def kda(m: dict[str, Any], d: int) -> Tensors:
    """Kimi Delta Attention (arXiv:2510.26692)."""
    t = Tensors()
    heads, h, rank = m["num_heads"], m["head_dim"], m.get("gate_rank") or 0
    width = heads * h
    for _ in "qkv":
        t.matrix(d, width)
        t.mixing += heads * 2 * h * h
    t.columns(m["conv_kernel"], 3 * width)
    t.state(heads * h * h)
    for full in (not rank, not rank or bool(m.get("full_output_gate"))):  # of the decay, of the output
        if full:
            t.matrix(d, width)
        else:
            t.matrix(d, rank)
            t.matrix(rank, width)
    t.vector(width)  # the time step's bias
    t.vector(heads)  # A
    t.matrix(d, heads)
    t.vector(h)
    t.matrix(width, d)
    return t


def rwkv4(m: dict[str, Any], d: int) -> Tensors:
    """RWKV-4 (arXiv:2305.13048): numerator, denominator, maximum."""
    t = Tensors()
    a = m["attention_hidden_size"]
    for _ in "rkv":
        t.matrix(d, a)
        t.state(a)
        t.vector(d)
    t.matrix(a, d)
    t.vector(a)  # decay
    t.vector(a)  # bonus
    t.last(2, d)
    t.mixing += 2 * a + 2 * a
    return t


def rwkv6(m: dict[str, Any], d: int) -> Tensors:
    """RWKV-5 and 6 (arXiv:2404.05892)."""
    t = Tensors()
    heads, h = m["num_heads"], m["head_dim"]
    width, shift, decay = heads * h, m.get("shift_rank") or 0, m.get("decay_rank") or 0
    for _ in "rkvg":
        t.matrix(d, width)
    t.matrix(width, d)
    for _ in range(heads):
        t.state(h * h)
        t.mixing += 2 * 2 * h * h
    t.vector(width)  # decay
    if decay:
        t.matrix(d, decay)
        t.matrix(decay, width)
    t.vector(width)  # bonus
    if shift:
        for _ in "wkvrg":
            t.matrix(d, shift)
            t.matrix(shift, d)
            t.vector(d)
        t.vector(d)  # mu_x
    else:
        t.vector(4, d)
    t.vector(2, width)
    t.last(2, d)
    return t


def rwkv7(m: dict[str, Any], d: int) -> Tensors:
    """RWKV-7 (arXiv:2503.14456)."""
    t = Tensors()
    heads, h, mixed = m["num_heads"], m["head_dim"], m.get("value_rank") or 0
    width = heads * h
    for _ in "rkv":
        t.matrix(d, width)
    t.matrix(width, d)
    for rank in (m["decay_rank"], m["rate_rank"], m["gate_rank"], mixed):
        t.matrix(d, rank)
        t.matrix(rank, width)
    t.vector(width, 3 if mixed else 2)  # biases, not the gate's
    t.vector(3, width)  # k_k, k_a, r_k
    t.vector(6, d)
    t.vector(2, width)
    t.last(2, d)
    for _ in range(heads):
        t.state(h * h)
        t.mixing += 4 * 2 * h * h
    return t


def rg_lru(m: dict[str, Any], d: int) -> Tensors:
    """RG-LRU (arXiv:2402.19427): block-diagonal gates."""
    t = Tensors()
    r, blocks = m["lru_width"], m["num_blocks"]
    for _ in "xy":
        t.matrix(d, r)
        t.vector(r)
    t.columns(m["conv_kernel"], r, library_all=False, bias=True)
    for _ in ("input", "recurrence"):
        for _ in range(blocks):
            t.matrix(r // blocks, r // blocks)
        t.vector(r)
    t.vector(r)
    t.matrix(r, d)
    t.vector(d)
    t.state(r)
    t.mixing += 2 * r
    return t


def short_conv(m: dict[str, Any], d: int) -> Tensors:
    """LFM2's (arXiv:2511.23404)."""
    t = Tensors()
    for _ in "BCx":
        t.matrix(d, d)
    t.columns(m["conv_kernel"], d)
    t.matrix(d, d)
    t.vector((3 * d + d + d) * bool(m.get("bias")))
    return t


def conv(m: dict[str, Any], d: int) -> Tensors:
    """A convolution alone, its columns constants or in part made of the token."""
    t = Tensors()
    t.columns(m["conv_kernel"], m["channels"], bias=bool(m.get("bias")))
    if m.get("dynamic_heads"):
        t.matrix(d, m["dynamic_heads"], m["conv_kernel"])
    return t


def s4(m: dict[str, Any], d: int) -> Tensors:
    """S4D (arXiv:2206.11893): N/2 complex numbers a channel; a complex multiply is 6 FLOPs, an add 2."""
    t = Tensors()
    n, rank = m["state_size"], m.get("rank") or 0
    for _ in range(d):
        t.state(n)
        for _ in range(n // 2):
            t.mixing += (6 + 2 + 2) + (2 + 2)  # A h + B u, the real part of C h
            t.mixing += 2 * (6 + 2) * rank  # p q* h
    t.vector(d, n)
    t.vector(d, n)
    t.vector(2, d)
    t.matrix(d, 2 * d)
    t.vector(2 * d)
    t.vector(rank, d, n)
    t.vector(d * n * bool(rank))
    return t


def mlstm(m: dict[str, Any], d: int) -> Tensors:
    """The mLSTM (arXiv:2405.04517): a matrix, a normaliser, a maximum."""
    t = Tensors()
    heads, k, v = m["num_heads"], m["key_head_dim"], m["value_head_dim"]
    for _ in range(heads):
        for width in (k, k, v, v, 1, 1):  # q, k, v, output gate, input gate, forget gate
            t.matrix(d, width)
        t.vector(2)  # biases of both gates
        t.vector(v)
        t.matrix(v, d)
        t.state(k * v + k + 1)
        t.mixing += 2 * k * v + 2 * k  # written
        t.mixing += 2 * k * v + 2 * k  # read
    t.vector((heads * (k + k + v + v + v) + d) * bool(m.get("bias")))
    return t


RECURRING: dict[str, Callable[[dict[str, Any], int], Tensors]] = {
    one.__name__: one
    for one in (
        *(mamba1, mamba2, linear, gated_deltanet, kda, rwkv4, rwkv6, rwkv7, rg_lru, short_conv, conv, s4, mlstm),
    )
}
