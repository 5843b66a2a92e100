"""Valid models of every kind: each memory, reach, pattern and part that a file can say, and workloads to ask of them.

Everything is made from picks of whole numbers, so the same models come from hypothesis (the strategies at the end),
from a seeded `random.Random(7).randint`, and from a fuzzer's bytes. Formats are read from the code: a new kind of
memory or reach is made too, from the day it has its line in kinds.py. Sizes are small, for brute force beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from kvcalc.attention.kinds import MEMORIES, REACHES, class_of
from kvcalc.model import ModelSpec
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.workload import CACHE_DTYPES, DTYPE_BITS, MODES, Workload

Pick = Callable[[int, int], int]  # from the least to the most, both included
Native = dict[str, Any]
T = TypeVar("T")

MOST = 12  # of a size
LITTLE = ("compress_rate", "block_size", "stride", "pool_size", "series", "conv_kernel", "dilation", "library_window")
CAUSAL = [kind for kind in REACHES if kind not in ("encoder", "band", "block_sparse", "summaries")]
BOTH_WAYS = ["full", "band", "block_sparse", "summaries"]
FORMULAS = ("0", "a", "2*a*d", "a + b", "min(a, b)*d", "ceil_div(a*d, b + 1)", "max(a, 3)**2", "d*d - d", "isqrt(d)")


def one_of(pick: Pick, choices: Sequence[T]) -> T:
    """One of these."""
    return choices[pick(0, len(choices) - 1)]


def sometimes(pick: Pick, one_in: int = 3) -> bool:
    """True once in so many times; never where all picks are their least."""
    return pick(1, one_in) == one_in


def maybe(pick: Pick, made: Callable[[], T], one_in: int = 3) -> T | None:
    """What is made, or None."""
    return made() if sometimes(pick, one_in) else None


def given(**fields: Any) -> Native:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


# ---------- memories and reaches, of the fields of their classes


@cache
def _fields(kinds_are_memories: bool, kind: str) -> tuple[tuple[str, Any, int], ...]:
    """Name, type and the least it may be, of each field of a kind."""
    made = class_of(MEMORIES if kinds_are_memories else REACHES, kind)
    found = []
    for name, hint in get_type_hints(made, include_extras=True).items():
        if name != "kind":
            told = get_args(hint)[0] if get_origin(hint) is Annotated else hint
            found.append((name, told, 0 if made._field_defaults.get(name) == 0 else 1))
    return tuple(found)


def _field(pick: Pick, name: str, told: Any, least: int) -> Any:
    if get_origin(told) is Literal:
        return one_of(pick, get_args(told))
    if told is bool:
        return sometimes(pick)
    return pick(least, 4 if name in LITTLE else MOST)


def reach(pick: Pick, kind: str) -> Native:
    """A reach of this kind."""
    return {"kind": kind, **{name: _field(pick, name, told, least) for name, told, least in _fields(False, kind)}}


def memory(pick: Pick, kind: str) -> Native:
    """A memory of this kind, by the laws between its numbers."""
    if kind in WRITTEN:
        return {"kind": kind, **WRITTEN[kind](pick)}
    made = {name: _field(pick, name, told, least) for name, told, least in _fields(True, kind)}
    for many, few in DIVIDED:  # the second divides the first
        if many in made and made.get(few):
            made[many] = made[few] * pick(1, 4)
    if "num_experts_per_tok" in made:
        made["num_experts"] = made["num_experts_per_tok"] + pick(0, 4)
    return {"kind": kind, **made}


DIVIDED = (
    ("num_attention_heads", "num_key_value_heads"),
    ("num_attention_heads", "latent_heads"),
    ("lru_width", "num_blocks"),
)


def _heads(pick: Pick) -> Native:
    n_kv = pick(1, 6)
    return given(
        num_attention_heads=n_kv * pick(1, 6),
        num_key_value_heads=n_kv,
        head_dim=pick(1, MOST),
        v_head_dim=maybe(pick, lambda: pick(1, MOST)),
        bias=maybe(pick, lambda: [name for name in "qkvog" if pick(0, 1)]),
        qk_norm=maybe(pick, lambda: one_of(pick, ("per_head", "full"))),
        kv_hidden_size=maybe(pick, lambda: pick(1, MOST), 8),
        q_hidden_size=maybe(pick, lambda: pick(1, MOST), 8),
        **{flag: True for flag in HEADS_FLAGS if sometimes(pick, 8)},
    )


HEADS_FLAGS = ("qk_norm_bias", "output_gate", "sinks", "differential", "head_gate", "v_from_k", "broadcast", "remade")


def _latent(pick: Pick) -> Native:
    q_lora_rank = maybe(pick, lambda: pick(1, MOST))
    gates = ("hidden", "per_head") if q_lora_rank is None else ("hidden", "per_head", "query")
    return given(
        num_attention_heads=pick(1, MOST),
        kv_lora_rank=pick(1, MOST),
        qk_rope_head_dim=pick(0, 6),
        qk_nope_head_dim=pick(1, MOST),
        v_head_dim=pick(1, MOST),
        q_lora_rank=q_lora_rank,
        output_gate=maybe(pick, lambda: one_of(pick, gates), 6),
        **{flag: True for flag in ("attention_bias", "sinks", "rope_key_norm", "head_scaling") if sometimes(pick, 6)},
    )


def _custom(pick: Pick) -> Native:
    fields = ("elements_per_token", "state_elements", "work_per_pair", "work_per_token", "parameters")
    return {
        "name": one_of(pick, ("mine", "x-1", "a.b/c")),
        "symbols": {"a": pick(0, MOST), "b": pick(0, MOST)},
        **{field: one_of(pick, FORMULAS) for field in fields},
    }


WRITTEN: dict[str, Callable[[Pick], Native]] = {"heads": _heads, "mla": _latent, "custom": _custom}


# ---------- layers and models


def mlp(pick: Pick) -> Native:
    """A dense MLP or a mixture of experts."""
    if not sometimes(pick):
        dense = given(intermediate_size=pick(1, 32), gated=bool(pick(0, 1)), bias=maybe(pick, lambda: True))
        return {"kind": "dense", **dense}
    visited = pick(1, 4)
    flags = ("shared_bias", "expert_bias", "router_bias", "runs_all")
    return given(
        kind="moe",
        num_experts=visited + pick(0, 8),
        num_experts_per_tok=visited,
        moe_intermediate_size=pick(1, 16),
        gated=bool(pick(0, 1)),
        shared_intermediate_size=maybe(pick, lambda: pick(1, 16)),
        latent_size=maybe(pick, lambda: pick(1, 8), 6),
        **{flag: True for flag in flags if sometimes(pick, 6)},
    )


def extra(pick: Pick) -> Native:
    """A part by formulas."""
    return {
        "name": "part",
        "parameters": one_of(pick, FORMULAS),
        "work_per_token": one_of(pick, FORMULAS),
        "symbols": {"a": pick(0, MOST), "b": pick(0, MOST)},
        **{flag: True for flag in ("at_head", "crosses") if sometimes(pick, 8)},
    }


def attention(pick: Pick, reaches: Sequence[str]) -> Native:
    """A memory of any kind, and at times a reach of its own, of these kinds."""
    made = memory(pick, one_of(pick, ONE))
    if pick(0, 1):
        made["reach"] = reach(pick, one_of(pick, reaches))
    return made


ONE = [kind for kind in MEMORIES if kind != "nsa"]  # nsa: three branches, of which one carries the query


def sparse(pick: Pick) -> list[Native]:
    """The three branches of native sparse attention, of which one carries the query."""
    carries = pick(0, 2)
    return [
        {
            **memory(pick, "nsa"),
            "carries_query": at == carries,
            "reach": reach(pick, one_of(pick, ("strided", "selected", "window"))),
        }
        for at in range(3)
    ]


def layer(pick: Pick, reaches: Sequence[str]) -> Native:
    """One kind of layer."""
    made: Native = {}
    shape = pick(0, 9)
    if shape < 6:
        made["attention"] = attention(pick, reaches)
    elif shape < 8:
        made["branches"] = [attention(pick, reaches) for _ in range(pick(1, 3))]
    elif shape == 8:
        made["branches"] = sparse(pick) if "strided" in reaches else [attention(pick, reaches)]
    else:
        made["attention"] = None
    local = pick(0, 5) if "window" in reaches else 0  # an encoder has no one-sided window
    if local == 1:
        made |= given(sliding_window=pick(1, 40), dilation=maybe(pick, lambda: pick(1, 4)))
    elif local == 2:
        made["attention_chunk_size"] = pick(1, 40)
    made["mlp"] = None if sometimes(pick, 8) else mlp(pick)
    made |= given(norms_per_layer=maybe(pick, lambda: pick(0, 4)))
    if sometimes(pick, 5):
        made["extras"] = [extra(pick) for _ in range(pick(1, 2))]
    return made


def stack(pick: Pick, reaches: Sequence[str], most_layers: int) -> Native:
    """Layers in an order: all alike, listed one by one, or by a pattern that repeats; at times sharing a cache."""
    made: Native = given(
        hidden_size=pick(1, 24),
        num_hidden_layers=pick(1, most_layers),
        norm=one_of(pick, ("rmsnorm", "layernorm", "unweighted")),
        norms_per_layer=pick(0, 4),
        final_norm=maybe(pick, lambda: False),
        embedding_norm=maybe(pick, lambda: True),
        position_embeddings=maybe(pick, lambda: pick(1, 40)),
    )
    total = made["num_hidden_layers"]
    order = pick(0, 2)
    if not order:
        return {**made, **layer(pick, reaches)}
    kinds = {f"kind{at}": layer(pick, reaches) for at in range(pick(1, min(3, total)))}
    listed = [*kinds, *(one_of(pick, list(kinds)) for _ in range(pick(0, total - len(kinds))))]
    if order == 1:
        listed += [one_of(pick, listed) for _ in range(total - len(listed))]
    made |= {"layers": kinds, "layer_types" if order == 1 else "layer_pattern": _in_runs(listed)}
    return _sharing(pick, made, listed) if sometimes(pick) else made


def _in_runs(listed: list[str]) -> list[str]:
    """The same list, with like neighbours as 'kind x3'."""
    runs: list[list[str]] = []
    for name in listed:
        if runs and runs[-1][0] == name:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [f"{run[0]} x{len(run)}" if len(run) > 1 else run[0] for run in runs]


def _sharing(pick: Pick, made: Native, listed: list[str]) -> Native:
    """Layers at the end that read the cache of an earlier one of their like."""
    total = made["num_hidden_layers"]
    kinds = [listed[index % len(listed)] for index in range(total)]
    latest = max(kinds.index(kind) for kind in made["layers"])
    custom = any(one["kind"] == "custom" for kind in made["layers"].values() for one in attentions(kind))
    if custom or latest + 1 >= total:
        return made
    return {**made, "num_kv_shared_layers": pick(1, total - latest - 1)}


def attentions(kind: Native) -> list[Native]:
    """Every attention of a kind of layer."""
    return [*kind.get("branches", []), *([kind["attention"]] if kind.get("attention") else [])]


def document(pick: Pick, most_layers: int = 6) -> Native:
    """A native file: a decoder, with an encoder behind its cross attention at times."""
    crossing = sometimes(pick, 5)
    made = stack(pick, [*CAUSAL, *(["encoder"] * 4 if crossing else [])], most_layers)
    made |= given(
        name="made",
        vocab_size=pick(1, 50),
        tie_word_embeddings=bool(pick(0, 1)),
        max_position_embeddings=maybe(pick, lambda: pick(1, 10**6)),
        word_embed_proj_dim=maybe(pick, lambda: pick(1, MOST), 6),
        lm_head_proj_dim=maybe(pick, lambda: pick(1, MOST), 8),
        lm_head_bias=maybe(pick, lambda: True, 6),
        state_dtype=maybe(pick, lambda: one_of(pick, ("fp32", "bf16", "fp16"))),
        mtp=maybe(pick, lambda: {"num_layers": pick(0, 3)}, 6),
        rope=maybe(pick, lambda: rope(pick), 6),
        quantization=maybe(pick, lambda: {"format": one_of(pick, ("fp8", "int4_g128", "mxfp4", "q4_k"))}, 6),
    )
    if crossing:
        if pick(0, 1):
            made["encoder"] = stack(pick, BOTH_WAYS, 3)
            _reading(pick, made)
        made |= given(encoder_tokens=maybe(pick, lambda: pick(0, 60)))
    return made


def _reading(pick: Pick, made: Native) -> None:
    """Let the first kind of layer read the encoder: one that nothing reads is refused."""
    first = made["layers"]["kind0"] if "layers" in made else made
    cross = {"kind": "heads", **_heads(pick), "reach": {"kind": "encoder"}}
    first["branches"] = [*attentions(first), cross]
    first.pop("attention", None)


def rope(pick: Pick) -> Native:
    """Rotary positions."""
    scaling = maybe(pick, lambda: {"kind": one_of(pick, ("linear", "yarn", "llama3")), "factor": float(pick(1, 64))})
    if scaling is not None:
        scaling["original_max_position_embeddings"] = 2 ** pick(6, 16)
    return given(base=float(10 ** pick(3, 7)), scaling=scaling)


def read(native: Native) -> ModelSpec:
    """The model of a native document. Raises ConfigError, which for what is made here would be a mistake of one."""
    return read_native(Document("made.yaml", native, dict))


def spec(pick: Pick, most_layers: int = 6) -> ModelSpec:
    """A model."""
    return read(document(pick, most_layers))


def workload(pick: Pick, most_tokens: int = 200, *, encoded: bool = False) -> Workload:
    """What may be asked of any model, by paper and pen: without an engine, a machine or more devices than one.

    `encoded`: of a model that reads an encoder, where no two sequences share a prefix.
    """
    n = pick(1, most_tokens)
    cache = not sometimes(pick, 6)
    return Workload(
        n,
        cached_tokens=pick(0, n - 1) if cache and sometimes(pick) else 0,
        batch=pick(1, 5),
        generate_tokens=pick(0, 12) if sometimes(pick) else 0,
        shared_prefix_tokens=pick(0, n - 1) if cache and not encoded and sometimes(pick) else 0,
        kv_cache=cache,
        dtype=one_of(pick, CACHE_DTYPES),
        dtype_k=one_of(pick, CACHE_DTYPES) if sometimes(pick) else "",
        dtype_v=one_of(pick, CACHE_DTYPES) if sometimes(pick) else "",
        state_dtype=one_of(pick, tuple(DTYPE_BITS)) if sometimes(pick) else "",
        weight_dtype=one_of(pick, ("", "bf16", "int4", "fp8")),
        mla_decode=one_of(pick, MODES),
        mla_prefill=one_of(pick, MODES),
        encoder_tokens=maybe(pick, lambda: pick(0, most_tokens)),
        mtp=one_of(pick, ("off", "on")),
    )


# ---------- the same as hypothesis takes it


def _picking(draw: st.DrawFn) -> Pick:
    return lambda least, most: draw(st.integers(least, most))


@st.composite
def documents(draw: st.DrawFn, most_layers: int = 6) -> Native:
    """Native documents of every kind."""
    return document(_picking(draw), most_layers)


@st.composite
def specs(draw: st.DrawFn, most_layers: int = 6) -> ModelSpec:
    """Models of every kind."""
    return spec(_picking(draw), most_layers)


@st.composite
def asked(draw: st.DrawFn, most_layers: int = 6, most_tokens: int = 200) -> tuple[ModelSpec, Workload]:
    """A model, and what may be asked of it."""
    pick = _picking(draw)
    made = spec(pick, most_layers)
    return made, workload(pick, most_tokens, encoded=made.encoded)
