"""Memories of tokens and rows, from their papers: what files call them, and the tensors that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from second.tensors import Tensors

if TYPE_CHECKING:
    from collections.abc import Callable


def heads(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """MHA (arXiv:1706.03762), MQA (1911.02150), GQA (2305.13245) and what decorates them."""
    t = Tensors()
    n_h, n_kv, k = m["num_attention_heads"], m["num_key_value_heads"], m["head_dim"]
    v = m.get("v_head_dim") or k
    bias, own_v = m.get("bias", []), not m.get("v_from_k")
    times = n_h if m.get("broadcast") else n_kv
    for role, width in (("k", k), ("v", v)):
        t.store(role, n_kv * width, 0 if m.get("remade") else times * width)
    t.heads(n_h, k)
    t.heads(n_h, 2 * v if m.get("differential") else v)  # two heads' values in each softmax
    read, asks = m.get("kv_hidden_size") or d, m.get("q_hidden_size") or d
    if m.get("merged"):  # only its keys and values are its own matmuls, by another's weights
        t.token(2 * read * n_kv * k, made=True)
        t.token(2 * read * n_kv * v * own_v, made=True)
        return t
    for _ in range(n_h):
        t.matrix(asks, k)
        t.matrix(v, d)
    for _ in range(n_kv):
        t.matrix(read, k, made=True)
        if own_v:
            t.matrix(read, v, made=True)
    widths = {"q": n_h * k, "k": n_kv * k, "v": n_kv * v if own_v else 0, "o": d}
    for name, width in widths.items():
        t.vector(width * (name in bias), made=name in ("k", "v"))
    if m.get("qk_norm"):
        each = 2 if m.get("qk_norm_bias") else 1
        full = m["qk_norm"] == "full"
        t.vector(each, n_h if full else 1, k)
        t.vector(each, n_kv if full else 1, k, made=True)
    if m.get("output_gate"):
        t.matrix(d, n_h, v)
        t.vector(n_h * v * ("g" in bias))
    if m.get("head_gate"):
        t.matrix(d, n_h)
    t.vector(n_h * bool(m.get("sinks")))
    t.vector(4 * k * bool(m.get("differential")))  # lambda_q1, k1, q2, k2
    return t


def _query(t: Tensors, m: dict[str, Any], d: int, width: int, again: int = 1, gates: int = 0) -> None:
    """Queries by a latent of their own with its norm, or straight from the hidden state."""
    if m.get("q_lora_rank"):
        t.matrix(d, m["q_lora_rank"])
        t.vector(m["q_lora_rank"])
        t.matrix(m["q_lora_rank"], width + gates, times=again)
    else:
        t.matrix(d, width)


def mla(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """MLA, DeepSeek-V2 (arXiv:2405.04434) eq. 9-19."""
    t = Tensors()
    n_h, d_c, r = m["num_attention_heads"], m["kv_lora_rank"], m["qk_rope_head_dim"]
    n, v, gate = m["qk_nope_head_dim"], m["v_head_dim"], m.get("output_gate")
    t.store("kv", d_c)
    if r:
        t.store("kv", r)
    twice = gate == "query" and bool(m.get("q_lora_rank"))
    _query(t, m, d, n_h * (n + r), 2 if twice else 1, n_h * v if twice else 0)
    t.matrix(d, d_c + r, made=True)
    t.vector(d_c, made=True)
    _expanded(t, mode, n_h, d_c, r, n, v)
    t.matrix(n_h * v, d)
    if m.get("attention_bias"):
        t.vector(m.get("q_lora_rank") or 0)
        t.vector(d_c + r, made=True)
        t.vector(d)
    if gate in ("hidden", "per_head"):
        t.matrix(d, n_h * (v if gate == "hidden" else 1))
    t.vector(n_h * bool(m.get("sinks")))
    t.vector(r * bool(m.get("rope_key_norm")), made=True)
    t.vector(2 * n_h * bool(m.get("head_scaling")))
    return t


def _expanded(t: Tensors, mode: str, n_h: int, d_c: int, r: int, n: int, v: int) -> None:
    """W^UK and W^UV of every head: naive on every cached latent, absorbed on the query and the output."""
    for _ in range(n_h):
        t.vector(d_c, n)
        t.vector(d_c, v)
        if mode == "naive":
            t.per_key += 2 * d_c * n + 2 * d_c * v
            t.per_pair += 2 * (n + r) + 2 * v
        else:
            t.token(2 * n * d_c + 2 * d_c * v)
            t.per_pair += 2 * (d_c + r) + 2 * d_c


def gla_latent(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """GLA (arXiv:2505.21487): several latents, each for its heads, one RoPE key."""
    t = Tensors()
    n_h, d_c, r = m["num_attention_heads"], m["kv_lora_rank"], m["qk_rope_head_dim"]
    t.store("kv", m["latent_heads"] * d_c)
    t.store("kv", r)
    _query(t, m, d, n_h * (m["qk_nope_head_dim"] + r))
    for _ in range(m["latent_heads"]):
        t.matrix(d, d_c, made=True)
        t.vector(d_c, made=True)
    t.matrix(d, r, made=True)
    _expanded(t, mode, n_h, d_c, r, m["qk_nope_head_dim"], m["v_head_dim"])
    t.matrix(n_h * m["v_head_dim"], d)
    return t


def moa(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """Mixture of attention heads, JetMoE (arXiv:2404.07413) sec. 2."""
    t = Tensors()
    n_kv, h, k, e = m["num_key_value_heads"], m["head_dim"], m["num_experts_per_tok"], m["num_experts"]
    t.store("k", n_kv * h)
    t.store("v", n_kv * h)
    t.heads(k * n_kv, h)
    t.heads(k * n_kv, h)
    t.matrix(d, n_kv * h, times=k, idle=e - k)
    t.matrix(n_kv * h, d, times=k, idle=e - k)
    t.matrix(d, n_kv * h, made=True)
    t.matrix(d, n_kv * h, made=True)
    t.matrix(d, e)
    t.vector(d * bool(m.get("bias")))
    return t


def gau(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """The gated attention unit (arXiv:2202.10447)."""
    t = Tensors()
    u, z = m["expanded_size"], m["key_size"]
    t.store("k", z)
    t.store("v", u)
    t.heads(1, z)
    t.heads(1, u)
    t.matrix(d, u)
    t.matrix(d, u, made=True)
    t.matrix(d, z, made=True)
    t.vector(2, 2, z)  # gamma and beta, of q and of k
    t.matrix(u, d)
    return t


def cca(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """Compressed convolutional attention (arXiv:2510.04476)."""
    t = Tensors()
    n_h, n_kv, h = m["num_attention_heads"], m["num_key_value_heads"], m["head_dim"]
    k1, k2 = m["depthwise_kernel"], m["grouped_kernel"]
    t.store("k", n_kv * h)
    t.store("v", n_kv * h)
    t.heads(n_h, h)
    t.heads(n_h, h)
    t.matrix(d, n_h * h)
    t.matrix(n_h * h, d)
    t.matrix(d, n_kv * h, made=True)
    t.vector(d, n_kv * h, made=True)  # v: half of it of this token, half of the one before
    for _ in range(2):
        t.token(2 * d * (n_kv * h // 2), made=True)
    channels = n_h * h + n_kv * h
    t.vector(k1, channels)
    t.vector(channels)
    t.token(2 * k1 * channels)
    for _ in range(n_h + n_kv):  # each head's channels among themselves
        t.vector(k2, h, h)
        t.vector(h)
        t.token(2 * k2 * h * h)
    t.last(k1 - 1 + k2 - 1, channels)
    t.last(1, n_kv * h // 2)
    t.vector(n_kv)
    if m.get("bias"):
        t.vector(n_h * h + d)
        t.vector(2, n_kv * h, made=True)
    return t


def value_mask(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """Doge's dynamic mask: scores of every cached value, made anew."""
    t = Tensors()
    n_kv, h = m["num_key_value_heads"], m["head_dim"]
    t.vector(n_kv * h, n_kv)
    t.per_key += 2 * n_kv * h * n_kv
    t.vector(n_kv)
    t.vector(n_kv * bool(m.get("bias")))
    return t


def index(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """The lightning indexer of DeepSeek-V3.2-Exp."""
    t = Tensors()
    heads_, width, pool = m["index_n_heads"], m["index_head_dim"], m.get("gated_pool") or 0
    t.store("kv", width)
    t.matrix(m.get("q_lora_rank") or d, heads_ * width)
    t.matrix(d, width, made=True)
    t.vector(2, width)
    t.heads(heads_, width)
    if m.get("head_weights"):
        t.matrix(d, heads_)
        t.heads(heads_, 1)
    t.vector(2 * heads_ * bool(m.get("head_scaling")))
    if pool:
        t.store("kv", width, width + 1)
        t.matrix(d, width, made=True)
        t.vector(pool, width, made=True)
    t.vector(2 * d * bool(m.get("input_norm")))
    return t


def shared_kv(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """DeepSeek-V4: one vector that is K and V."""
    t = Tensors()
    n_h, h = m["num_attention_heads"], m["head_dim"]
    t.store("kv", h, 2 * h if m.get("library_stores_twice") else h)
    _query(t, m, d, n_h * h)
    t.matrix(d, h, made=True)
    t.vector(h, made=True)
    t.heads(n_h, h)
    t.heads(n_h, h)
    if m.get("o_groups"):
        t.matrix(n_h * h, m["o_lora_rank"])  # each head meets its group's matrix alone
        t.matrix(m["o_groups"] * m["o_lora_rank"], d)
    else:
        t.matrix(n_h * h, d)
    t.vector(n_h * bool(m.get("sinks")))
    return t


def _rows(t: Tensors, d: int, width: int, rate: int, series: int) -> None:
    """Vectors and gates of every token, positions in a block, the norm of a row."""
    for _ in range(series):
        t.matrix(d, width, made=True)
        t.matrix(d, width, made=True)
        t.vector(rate, width, made=True)
    t.vector(width, made=True)
    t.store("kv", width)


def compressed_kv(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """DeepSeek-V4: rows that the queries beside them read."""
    t = Tensors()
    _rows(t, d, m["head_dim"], m["compress_rate"], m.get("series", 1))
    t.heads(m["num_attention_heads"], m["head_dim"])
    t.heads(m["num_attention_heads"], m["head_dim"])
    return t


def compressed_index(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """DeepSeek-V4: an index over rows."""
    t = Tensors()
    _rows(t, d, m["index_head_dim"], m["compress_rate"], m.get("series", 2))
    t.heads(m["index_n_heads"], m["index_head_dim"])
    t.matrix(m["q_lora_rank"], m["index_n_heads"] * m["index_head_dim"])
    t.matrix(d, m["index_n_heads"])
    return t


def buffer(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """What waits to become a row."""
    t = Tensors()
    t.store("kv", m["elements"])
    return t


def nsa(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """A branch of native sparse attention (arXiv:2502.11089)."""
    t = Tensors()
    n_h, n_kv, k, v = m["num_attention_heads"], m["num_key_value_heads"], m["head_dim"], m["v_head_dim"]
    t.store("k", n_kv * k)
    t.store("v", n_kv * v)
    t.heads(n_h, k)
    t.heads(n_h, v)
    t.matrix(d, n_kv * k, made=True)
    t.matrix(d, n_kv * v, made=True)
    if m.get("carries_query"):
        t.matrix(d, n_h * k)
        t.matrix(d, n_h, 3)
        t.matrix(n_h * v, d)
    return t


def tpa(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """Tensor product attention (arXiv:2501.06425): factors over heads and over channels."""
    t = Tensors()
    n_h, h, q = m["num_attention_heads"], m["head_dim"], m.get("q_rank") or 0
    k, v = m["k_rank"], m["v_rank"]
    t.store("k", k * n_h + k * h)
    t.store("v", v * n_h + v * h)
    for width in (n_h, h):
        t.matrix(d, k * width, made=True)
        t.matrix(d, v * width, made=True)
        if q:
            t.matrix(d, q * width)
    if not q:
        t.matrix(d, n_h * h)
    if mode == "absorbed" and q:
        t.per_pair += 2 * q * k * h + n_h * (2 * q * k) + n_h * (2 * v * h)
    else:
        t.token(2 * n_h * q * h)
        t.per_key += 2 * n_h * k * h + 2 * n_h * v * h
        t.heads(n_h, h)
        t.heads(n_h, h)
    t.matrix(n_h * h, d)
    return t


def gta(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """Grouped-tied attention (arXiv:2505.21487)."""
    t = Tensors()
    n_h, n_kv, h, r = m["num_attention_heads"], m["num_key_value_heads"], m["head_dim"], m["rope_head_dim"]
    t.store("kv", n_kv * h)
    t.store("kv", r)
    t.matrix(d, n_h * h)
    t.matrix(d, n_kv * h, made=True)
    t.matrix(d, r, made=True)
    t.vector(r * bool(m.get("rope_bias")), made=True)
    t.heads(n_h, h)
    t.heads(n_h, h)
    t.matrix(n_h * h, d)
    return t


def mfa(m: dict[str, Any], d: int, mode: str) -> Tensors:
    """Multi-matrix factorization attention (arXiv:2412.19255), with key reuse MFA-KR."""
    t = Tensors()
    n_h, h, q = m["num_attention_heads"], m["head_dim"], m["q_rank"]
    t.store("k", h)
    t.matrix(d, q)
    t.vector(q * bool(m.get("q_norm")))
    t.matrix(q, n_h * h)
    t.matrix(d, h, made=True)
    if not m.get("key_reuse"):
        t.store("v", h)
        t.matrix(d, h, made=True)
    else:
        t.vector(h, h)
        if mode == "naive":
            t.per_key += 2 * h * h
        else:
            t.token(n_h * 2 * h * h)
    t.heads(n_h, h)
    t.heads(n_h, h)
    t.matrix(n_h * h, d)
    return t


ATTENDING: dict[str, Callable[[dict[str, Any], int, str], Tensors]] = {
    one.__name__: one
    for one in (
        *(heads, mla, gla_latent, moa, gau, cca, value_mask, index, shared_kv, compressed_kv, compressed_index),
        *(buffer, nsa, tpa, gta, mfa),
    )
}
