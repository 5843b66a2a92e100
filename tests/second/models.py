"""Random models as documents, of every memory, reach and way to write layers, and random workloads for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from second.totals import BLOCKS, Load, layers_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Made = dict[str, Any]
FORMULAS = ("a*b", "a + b*d", "(a + b)*2", "a*d//3 + b%5", "min(a*b, d) + 1", "ceil_div(a*d, b)", "max(a, b)**2", "0")
STATES = (
    *("mamba1", "mamba2", "linear", "gated_deltanet", "kda", "rwkv4", "rwkv6", "rwkv7", "rg_lru", "short_conv"),
    *("conv", "s4", "mlstm"),
)
TOKENS = (
    *("heads", "heads", "mla", "mla", "gla_latent", "moa", "gau", "cca", "value_mask", "index", "shared_kv"),
    *("compressed_kv", "compressed_index", "buffer", "tpa", "gta", "mfa", "custom"),
)
REACHES = (
    *("full", "window", "chunk", "top", "compressed", "remainder", "selected", "strided", "pooled", "pools", "overlap"),
)


BOTH_WAYS = ("full", "band", "block_sparse", "summaries")


def _some(rng: Random, made: Made, **flags: Any) -> Made:
    """Each of the optional fields, or not."""
    for name, told in flags.items():
        if rng.random() < 0.35:
            made[name] = told() if callable(told) else told
    return made


def memory(rng: Random, kind: str) -> Made:
    """One of a kind."""

    def n(most: int = 6) -> int:
        return rng.randint(1, most)

    groups, each, width = n(4), n(3), n()
    grouped = {"num_attention_heads": groups * each, "num_key_value_heads": groups, "head_dim": width}
    latent = {"kv_lora_rank": n(9), "qk_rope_head_dim": n(), "qk_nope_head_dim": n(), "v_head_dim": n()}
    kinds: dict[str, Callable[[], Made]] = {
        "heads": lambda: _some(
            rng,
            grouped.copy(),
            v_head_dim=n,
            bias=lambda: rng.sample("qkvog", n(5)),
            qk_norm=lambda: rng.choice(("per_head", "full")),
            qk_norm_bias=True,
            output_gate=True,
            sinks=True,
            differential=True,
            head_gate=True,
            v_from_k=True,
            kv_hidden_size=n,
            q_hidden_size=n,
            merged=lambda: rng.random() < 0.2,
            broadcast=True,
            remade=lambda: rng.random() < 0.2,
        ),
        "mla": lambda: _some(
            rng,
            {"num_attention_heads": n(), **latent, "qk_rope_head_dim": rng.randint(0, 4)},
            q_lora_rank=n,
            attention_bias=True,
            output_gate=lambda: rng.choice(("hidden", "per_head")),
            sinks=True,
            rope_key_norm=True,
            head_scaling=True,
        ),
        "gla_latent": lambda: _some(
            rng, {"num_attention_heads": groups * each, "latent_heads": groups, **latent}, q_lora_rank=n
        ),
        "moa": lambda: _some(
            rng,
            {"num_key_value_heads": n(), "head_dim": n(), "num_experts": each + groups, "num_experts_per_tok": each},
            bias=True,
        ),
        "gau": lambda: {"expanded_size": n(), "key_size": n()},
        "cca": lambda: _some(rng, {**grouped, "depthwise_kernel": n(4), "grouped_kernel": n(4)}, bias=True),
        "value_mask": lambda: _some(rng, {"num_key_value_heads": n(), "head_dim": n()}, bias=True),
        "index": lambda: _some(
            rng,
            {"index_n_heads": n(), "index_head_dim": n()},
            q_lora_rank=n,
            head_weights=True,
            head_scaling=True,
            gated_pool=n,
            input_norm=True,
        ),
        "shared_kv": lambda: {
            **_some(
                rng,
                {"num_attention_heads": n(), "head_dim": n(), "q_lora_rank": n()},
                sinks=True,
                library_stores_twice=True,
            ),
            **({"o_groups": n(3), "o_lora_rank": n()} if rng.random() < 0.5 else {}),
        },
        "compressed_kv": lambda: _some(
            rng, {"num_attention_heads": n(), "head_dim": n(), "compress_rate": n()}, series=2
        ),
        "compressed_index": lambda: _some(
            rng, {"index_n_heads": n(), "index_head_dim": n(), "q_lora_rank": n(), "compress_rate": n()}, series=1
        ),
        "buffer": lambda: {"elements": n()},
        "nsa": lambda: {**grouped, "v_head_dim": n()},
        "tpa": lambda: _some(
            rng, {"num_attention_heads": n(), "head_dim": n(), "k_rank": n(3), "v_rank": n(3)}, q_rank=n
        ),
        "gta": lambda: _some(rng, {**grouped, "rope_head_dim": n()}, rope_bias=True),
        "mfa": lambda: _some(
            rng, {"num_attention_heads": n(), "head_dim": n(), "q_rank": n()}, key_reuse=True, q_norm=True
        ),
        "custom": lambda: {
            "name": "own",
            "symbols": {"a": n(9), "b": n(9)},
            **{
                field: rng.choice(FORMULAS)
                for field in ("elements_per_token", "work_per_pair", "work_per_token", "parameters", "state_elements")
            },
        },
        "mamba1": lambda: _some(
            rng,
            {"intermediate_size": n(9), "state_size": n(), "time_step_rank": n(), "conv_kernel": n(4)},
            use_bias=True,
            use_conv_bias=True,
            inner_norms=True,
        ),
        "mamba2": lambda: _some(
            rng,
            {"num_heads": n(), "head_dim": n(), "state_size": n(), "n_groups": n(3), "conv_kernel": n(4)},
            use_bias=True,
            use_conv_bias=True,
            gated_norm=True,
        ),
        "linear": lambda: _some(
            rng,
            {"num_heads": n(), "key_head_dim": n(), "value_head_dim": n()},
            decay_rank=n,
            output_gate=True,
            norm=lambda: rng.choice(("per_head", "full")),
            bias=True,
        ),
        "gated_deltanet": lambda: {
            "num_key_heads": n(),
            "num_value_heads": n(),
            "key_head_dim": n(),
            "value_head_dim": n(),
            "conv_kernel": n(4),
        },
        "kda": lambda: _some(
            rng,
            {"num_heads": n(), "head_dim": n(), "conv_kernel": n(4)},
            gate_rank=n,
            full_output_gate=True,
        ),
        "rwkv4": lambda: {"attention_hidden_size": n(9)},
        "rwkv6": lambda: _some(rng, {"num_heads": n(), "head_dim": n()}, shift_rank=n, decay_rank=n),
        "rwkv7": lambda: _some(
            rng,
            {"num_heads": n(), "head_dim": n(), "decay_rank": n(), "rate_rank": n(), "gate_rank": n()},
            value_rank=n,
        ),
        "rg_lru": lambda: {"lru_width": groups * width, "num_blocks": groups, "conv_kernel": n(4)},
        "short_conv": lambda: _some(rng, {"conv_kernel": n(4)}, bias=True),
        "conv": lambda: _some(rng, {"channels": n(), "conv_kernel": n(4)}, bias=True, dynamic_heads=n),
        "s4": lambda: _some(rng, {"state_size": n(8)}, rank=n),
        "mlstm": lambda: _some(rng, {"num_heads": n(), "key_head_dim": n(), "value_head_dim": n()}, bias=True),
    }
    found = kinds[kind]()
    if found.get("v_from_k"):  # V is what k_proj gives
        found.pop("v_head_dim", None)
    return {"kind": kind, **{name: told for name, told in found.items() if told is not False}}


def reach(rng: Random, kind: str) -> Made:
    """One of a kind."""

    def n(most: int = 7) -> int:
        return rng.randint(1, most)

    fields: dict[str, Made] = {
        "window": _some(rng, {"sliding_window": n(12)}, dilation=lambda: n(4)),
        "chunk": {"attention_chunk_size": n(12)},
        "top": {"top_k": n(12)},
        "compressed": _some(rng, {"compress_rate": n()}, top_k=n),
        "remainder": {"compress_rate": n()},
        "selected": {"block_size": n(), "blocks": n(4)},
        "strided": {"block_size": n(), "stride": n()},
        "pooled": {"pool_size": n()},
        "pools": _some(rng, {"pool_size": n(), "pools": n(4)}, tail=rng.random() < 0.5),
        "overlap": {"compress_rate": n()},
        "band": _some(rng, {"left": n(12)}, right=lambda: n(12)),
        "block_sparse": {"block_size": n(4), "num_random_blocks": n(3)},
        "summaries": {"block_size": n()},
    }
    made = {"kind": kind, **fields.get(kind, {})}
    if kind == "window" and "dilation" not in made and rng.random() < 0.2:
        made["library_window"] = n(12)
    return made


def _branches(rng: Random, encoder: bool, crosses: bool) -> list[Made]:
    """One attention, several side by side, or the three of native sparse attention."""
    if not encoder and rng.random() < 0.06:
        three = [memory(rng, "nsa") | {"reach": reach(rng, kind)} for kind in ("strided", "selected", "window")]
        three[rng.randrange(3)]["carries_query"] = True
        return three
    found = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        one = memory(rng, rng.choice(STATES if rng.random() < 0.3 else TOKENS))
        if rng.random() < 0.7:
            kinds = BOTH_WAYS if encoder else REACHES
            one["reach"] = reach(rng, rng.choice(kinds))
        elif encoder:
            one["reach"] = {"kind": "full"}
        if rng.random() < 0.08:
            one["shares_weights"] = True
        found.append(one)
    if crosses:
        found.append(memory(rng, rng.choice(("heads", "mla", "gta"))) | {"reach": {"kind": "encoder"}})
    return found


def _mlp(rng: Random) -> Made:
    def n() -> int:
        return rng.randint(1, 9)

    if rng.random() < 0.5:
        dense = {"kind": "dense", "intermediate_size": n(), "gated": rng.random() < 0.5}
        return _some(rng, dense, bias=True, shares_weights=lambda: rng.random() < 0.3)
    visited = n()
    moe = {
        "kind": "moe",
        "num_experts": visited + rng.randint(0, 4),
        "num_experts_per_tok": visited,
        "moe_intermediate_size": n(),
        "gated": rng.random() < 0.5,
    }
    flags = ("shared_gate", "shared_bias", "expert_bias", "router_bias", "latent_norm", "runs_all")
    _some(rng, moe, shared_intermediate_size=n, latent_size=n, **dict.fromkeys(flags, True))
    return _some(rng, moe, matrix_router=False)


def _extras(rng: Random, *, stack: bool) -> list[Made]:
    made = {"name": "more", "symbols": {"a": rng.randint(1, 9), "b": rng.randint(1, 9)}}
    made |= {"parameters": rng.choice(FORMULAS), "work_per_token": rng.choice(FORMULAS)}
    return [_some(rng, made, **({"at_head": True} if stack else {"crosses": True}))]


def _layer(rng: Random, *, encoder: bool = False, crosses: bool = False) -> Made:
    made: Made = {}
    if rng.random() < 0.93 or encoder:
        listed = _branches(rng, encoder, crosses)
        made |= {"attention": listed[0]} if len(listed) == 1 and rng.random() < 0.7 else {"branches": listed}
    else:
        made["attention"] = None
    if rng.random() < 0.3 and not encoder:
        made |= (
            {"sliding_window": rng.randint(1, 12)}
            if rng.random() < 0.6
            else {"attention_chunk_size": rng.randint(1, 9)}
        )
        if "sliding_window" in made and rng.random() < 0.3:
            made["dilation"] = rng.randint(1, 4)
    if rng.random() < 0.9:
        made["mlp"] = _mlp(rng) if rng.random() < 0.9 else None
    return made


def _stack(rng: Random, *, encoder: bool = False, crosses: bool = False) -> Made:
    norms = rng.choice(("rmsnorm", "layernorm", "unweighted"))
    made: Made = {"hidden_size": rng.randint(1, 12), "norm": norms, "norms_per_layer": rng.randint(0, 4)}
    made = _some(rng, made, final_norm=False, embedding_norm=True, position_embeddings=rng.randint(1, 9))
    if rng.random() < 0.4:
        top = {"mlp": None, **_layer(rng, encoder=encoder, crosses=crosses)}
        made |= top | {"num_hidden_layers": rng.randint(1, 4)}
    else:
        made["mlp"] = _mlp(rng)
        names = ("a", "b", "c")[: rng.randint(1, 3)]
        kinds = {}
        for name in names:
            layer = _layer(rng, encoder=encoder, crosses=crosses and rng.random() < 0.6)
            kinds[name] = _some(rng, layer, norms_per_layer=rng.randint(0, 4), extras=_extras(rng, stack=False))
        made["layers"] = kinds
        order = [
            f"{name} x{rng.randint(1, 3)}" if rng.random() < 0.5 else name
            for name in (*names, *rng.choices(names, k=2))
        ]
        total = sum(int(entry.partition(" x")[2] or 1) for entry in order)
        if rng.random() < 0.5:
            made |= {"layer_types": order, "num_hidden_layers": total}
        else:
            made |= {"layer_pattern": order, "num_hidden_layers": total + rng.randint(0, 4)}
        _sharing(rng, made, names)
    if rng.random() < 0.3:
        made["extras"] = _extras(rng, stack=not encoder)
    return made


def _sharing(rng: Random, made: Made, names: tuple[str, ...]) -> None:
    """A kind of layer that reads the caches of the first."""
    first = made["layers"][names[0]]
    listed = first.get("branches") or ([first["attention"]] if first.get("attention") else [])
    stateless = listed and all(one["kind"] not in (*STATES, "custom", "value_mask") for one in listed)
    if stateless and rng.random() < 0.5:
        made["layers"]["sharing"] = {**first, "shares_kv": True}
        field = "layer_types" if "layer_types" in made else "layer_pattern"
        made[field] = [*made[field], "sharing"]
        made["num_hidden_layers"] += 1


def document(rng: Random) -> Made:
    """A model."""
    crosses = rng.random() < 0.2
    made = {"name": "random", "vocab_size": rng.randint(1, 50), **_stack(rng, crosses=crosses)}
    made["tie_word_embeddings"] = rng.random() < 0.5
    _some(rng, made, lm_head_bias=True, state_dtype=lambda: rng.choice(("fp32", "bf16", "fp16")))
    if rng.random() < 0.2:
        _some(rng, made, word_embed_proj_dim=rng.randint(1, 9), lm_head_proj_dim=rng.randint(1, 9))
    reads = any(reach["kind"] == "encoder" for layer in layers_of(made) for _, reach, _, _ in layer.branches)
    if reads and rng.random() < 0.6:
        made["encoder"] = _stack(rng, encoder=True)
    if crosses and rng.random() < 0.5:
        made["encoder_tokens"] = rng.choice((0, 3, 20))
    if rng.random() < 0.2:
        made["mtp"] = {"num_layers": rng.randint(1, 2)}
        if "layers" in made and rng.random() < 0.5:
            made["mtp"]["layer"] = rng.choice([name for name in made["layers"] if name != "sharing"])
    return made


def load(rng: Random, made: Made) -> Load:
    """A workload that the model can take."""
    n = rng.choice((1, 2, rng.randint(3, 20), rng.randint(3, 40)))
    kv_cache = rng.random() < 0.85
    dtypes = ("bf16", "fp32", "fp8", "int4", "fp6", "int5", "int1", *BLOCKS)
    return Load(
        n,
        batch=rng.choice((1, 1, rng.randint(2, 9))),
        cached=rng.randrange(n) if kv_cache and rng.random() < 0.3 else 0,
        prefix=rng.randrange(n) if kv_cache and rng.random() < 0.3 and "encoder" not in made else 0,
        answer=rng.randint(1, 6) if rng.random() < 0.3 else 0,
        kv_cache=kv_cache,
        dtype=rng.choice(dtypes),
        dtype_k=rng.choice(("", "", *dtypes)),
        dtype_v=rng.choice(("", "", *dtypes)),
        state_dtype=rng.choice(("", "fp32", "bf16", "fp8")),
        weight_dtype=rng.choice(("", "bf16", "fp8", "int4", "fp6")),
        mla_decode=rng.choice(("absorbed", "naive")),
        mla_prefill=rng.choice(("absorbed", "naive")),
        encoder_tokens=rng.choice((None, None, 0, 7, 30)),
        mtp=rng.random() < 0.5,
        library=rng.random() < 0.2,
    )
