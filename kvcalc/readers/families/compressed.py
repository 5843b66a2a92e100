"""DeepSeek-V4's compressed attention, and hybrids whose attention reads pools by an index (Qwen4, GLM-5.3)."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.latent import sparse_from
from kvcalc.readers.families.sparse import HYPER_CONNECTIONS, HYPER_HEAD, INDEX, LATENT, STACK, indexers
from kvcalc.readers.families.words import DEEPSEEK_MOE, GATED, HEADS, MOE, QKVO, Family, When, field

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

SOURCE_QWEN4 = "transformers modeling_qwen4_exp.py: hyper-connections through a low rank"
V4_KINDS = {
    "sliding_attention": "sliding",
    "compressed_sparse_attention": "csa",
    "heavily_compressed_attention": "hca",
}


def v4_rates(fields: Fields) -> dict[str, Any]:
    """deepseek_v4: tokens a row in each kind of layer."""
    rates: dict[str, Any] = {"csa": 4, "hca": 128}
    if given := fields.mapping("compress_rates"):
        rates = {kind: given.get(name) for name, kind in V4_KINDS.items() if kind != "sliding"}
    if not all(type(rate) is int and rate > 0 for rate in rates.values()):
        raise fields.error(
            "compress_rates", "compressed_sparse_attention and heavily_compressed_attention: whole numbers"
        )
    widths = {"buffer_hca": 2, "buffer_csa": 4, "overlap_csa": 2}
    head, index = fields.number("head_dim"), fields.number("index_head_dim")
    return {
        "m_csa": rates["csa"],
        "m_hca": rates["hca"],
        **{name: times * (head + (index if "csa" in name else 0)) for name, times in widths.items()},
    }


def v4_layers(fields: Fields) -> list[str]:
    """deepseek_v4: by layer_types, else by compress_ratios, else two of heavy and then light and heavy in turn."""
    layers = fields.number("num_hidden_layers")
    fields.words("mlp_layer_types", ("moe", "hash_moe"))
    if (given := fields.words("layer_types", V4_KINDS)) is not None:
        return [V4_KINDS[word] for word in given]
    ratios = fields.integers("compress_ratios") if fields.given("compress_ratios") else None
    if ratios is None:
        return ["hca" if i < 2 or i % 2 == 0 else "csa" for i in range(layers)]
    kinds = {0: "sliding", 4: "csa", 128: "hca"}
    if len(ratios) < layers or not set(ratios) <= set(kinds):
        raise fields.not_understood("compress_ratios", f"not one of {', '.join(map(str, kinds))} for each layer")
    return [kinds[ratio] for ratio in ratios[:layers]]


def v4_kinds() -> dict[str, dict[str, Any]]:
    """A window of shared vectors; rows of them; an index over those; and what waits to become a row."""
    window = {
        "kind": "shared_kv",
        "num_attention_heads": field("num_attention_heads"),
        "head_dim": field("head_dim"),
        "q_lora_rank": field("q_lora_rank"),
        "o_groups": field("o_groups"),
        "o_lora_rank": field("o_lora_rank"),
        "sinks": True,
        "reach": {"kind": "window", "sliding_window": field("sliding_window")},
    }

    def rows(kind: str, series: int, **more: Any) -> dict[str, Any]:
        rate = field(f"m_{kind}")
        return {
            "kind": "compressed_kv",
            "num_attention_heads": field("num_attention_heads"),
            "head_dim": field("head_dim"),
            "compress_rate": rate,
            "series": series,
            "reach": {"kind": "compressed", "compress_rate": rate, **more},
        }

    def waiting(reach: str, kind: str, name: str) -> dict[str, Any]:
        return {
            "kind": "buffer",
            "elements": field(f"{name}_{kind}"),
            "reach": {"kind": reach, "compress_rate": field(f"m_{kind}")},
        }

    index = {
        "kind": "compressed_index",
        "index_n_heads": field("index_n_heads"),
        "index_head_dim": field("index_head_dim"),
        "q_lora_rank": field("q_lora_rank"),
        "compress_rate": field("m_csa"),
        "series": 2,
        "reach": {"kind": "compressed", "compress_rate": field("m_csa")},
    }
    heavy = [window, rows("hca", 1), waiting("remainder", "hca", "buffer")]
    light = [
        window,
        rows("csa", 2, top_k=field("index_topk")),
        index,
        waiting("remainder", "csa", "buffer"),
        waiting("overlap", "csa", "overlap"),
    ]
    kinds = {"sliding": [{**window, "library_stores_twice": True}], "hca": heavy, "csa": light}
    moe = {
        **MOE,
        "moe_intermediate_size": field("intermediate_size"),
        "shared_intermediate_size": field("intermediate_size"),
        "shared_bias": When("mlp_bias", True),
    }
    return {name: {"branches": branches, "mlp": moe, "extras": [HYPER_CONNECTIONS]} for name, branches in kinds.items()}


def glm_fields(fields: Fields) -> dict[str, Any]:
    """glm5_next: sizes of the linear layers, also in linear_attn_config; the pools that a query reads."""
    nested = fields.mapping("linear_attn_config") if fields.given("linear_attn_config") else {}
    names = {"head_dim": "linear_head_dim", "num_heads": "linear_num_heads"}
    names["short_conv_kernel_size"] = "linear_conv_kernel_dim"
    told = {flat: nested.get(name, fields.number(flat)) for name, flat in names.items()}
    if not all(type(value) is int and value > 0 for value in told.values()):
        raise fields.error("linear_attn_config", f"{', '.join(names)} are not whole numbers")
    if fields.number_or_zero("qk_rope_head_dim"):
        raise fields.not_understood("qk_rope_head_dim", "attention with RoPE is not what this type has")
    pool, top = fields.number("index_kpool"), fields.number("index_topk")
    if top % pool:
        raise fields.error("index_topk", f"{top} is not divisible by index_kpool {pool}")
    return {**told, "pools": top // pool}


def glm_layers(fields: Fields) -> list[str]:
    """glm5_next: three linear layers and one with an index, or by layer_types; indexes by indexer_types."""
    layers = fields.number("num_hidden_layers")
    known = {"linear_attention": "linear", "indexed_attention": "indexed", "full_attention": "indexed"}
    given = fields.words("layer_types", known)
    kinds = (
        ["indexed" if i % 4 == 3 else "linear" for i in range(layers)] if given is None else [known[w] for w in given]
    )
    own, sparse = indexers(fields, known), sparse_from(min(3, layers), reads=False)(fields)
    names = [kind if kind == "linear" or own[i] else "shared" for i, kind in enumerate(kinds)]
    return [f"{name}_{'moe' if experts else 'dense'}" for name, experts in zip(names, sparse, strict=True)]


def glm_kinds() -> dict[str, dict[str, Any]]:
    """Kimi's delta layers and latents without RoPE that read pools."""
    latent = {
        **LATENT,
        "reach": {
            "kind": "pools",
            "pool_size": field("index_kpool"),
            "pools": field("pools"),
            "tail": field("index_kpool_always_select_tail"),
        },
    }
    index = {
        **INDEX,
        "gated_pool": field("index_kpool"),
        "reach": {"kind": "pooled", "pool_size": field("index_kpool")},
    }
    linear = {
        "kind": "kda",
        "num_heads": field("linear_num_heads"),
        "head_dim": field("linear_head_dim"),
        "conv_kernel": field("linear_conv_kernel_dim"),
        "gate_rank": field("linear_head_dim"),
    }
    kinds = {"linear": [linear], "indexed": [latent, index], "shared": [latent]}
    return {
        f"{name}_{mlp}": {"branches": branches, "mlp": told, "extras": [HYPER_CONNECTIONS]}
        for (name, branches), (mlp, told) in product(kinds.items(), {"dense": GATED, "moe": DEEPSEEK_MOE}.items())
    }


def qwen4_layers(fields: Fields) -> list[str]:
    """qwen4_exp: every fourth layer attends, the others are linear, or by layer_types."""
    if fields.raw("ple_layer_ids"):
        raise fields.not_understood("ple_layer_ids", "n-gram embeddings of single layers are not understood")
    for name in ("indexer_n_heads", "indexer_kv_heads", "indexer_head_dim", "indexer_budget", "indexer_compress_ratio"):
        if fields.number(name) != 1 and name == "indexer_kv_heads":
            raise fields.error(name, "the index has one key head")
    known = {"linear_attention": "linear", "indexed_attention": "indexed", "full_attention": "indexed"}
    if (given := fields.words("layer_types", known)) is not None:
        return [known[word] for word in given]
    interval = fields.number("full_attention_interval") if fields.given("full_attention_interval") else 4
    return ["linear" if (i + 1) % interval else "indexed" for i in range(fields.number("num_hidden_layers"))]


def qwen4_kinds() -> dict[str, dict[str, Any]]:
    """Gated DeltaNet, and gated heads that read pools."""
    heads = {
        **HEADS,
        "head_dim": field("head_dim"),
        "bias": When("attention_bias", [*QKVO, "g"]),
        "qk_norm": "per_head",
        "output_gate": True,
        "reach": {
            "kind": "pools",
            "pool_size": field("indexer_compress_ratio"),
            "pools": field("indexer_budget//indexer_compress_ratio"),
        },
    }
    index = {
        "kind": "index",
        "index_n_heads": field("indexer_n_heads"),
        "index_head_dim": field("indexer_head_dim"),
        "reach": {"kind": "pooled", "pool_size": field("indexer_compress_ratio")},
    }
    linear = {
        "kind": "gated_deltanet",
        "num_key_heads": field("linear_num_key_heads"),
        "num_value_heads": field("linear_num_value_heads"),
        "key_head_dim": field("linear_key_head_dim"),
        "value_head_dim": field("linear_value_head_dim"),
        "conv_kernel": field("linear_conv_kernel_dim"),
    }
    streams = {
        "name": "hyper-connections",
        "parameters": "2*(h*d + 2*h*d*R_h + h*h*d)",
        "work_per_token": "2*(4*h*d*R_h + 2*h*h*d)",
        "symbols": {"h": field("hc_count"), "R_h": field("hc_lowrank")},
        "source": SOURCE_QWEN4,
    }
    moe = {**MOE, "shared_intermediate_size": field("shared_expert_intermediate_size"), "shared_gate": True}
    return {
        name: {"branches": branches, "mlp": moe, "extras": [streams]}
        for name, branches in {"linear": [linear], "indexed": [heads, index]}.items()
    }


FAMILIES: dict[str, Family] = {
    "deepseek_v4": Family(
        {**STACK, "extras": [HYPER_HEAD]},
        derive=v4_rates,
        layers=v4_layers,
        kinds=v4_kinds(),
    ),
    "glm5_next_text": Family(STACK, derive=glm_fields, layers=glm_layers, kinds=glm_kinds()),
    "qwen4_exp_text": Family(
        {
            **STACK,
            "norms_per_layer": 0,
            "final_norm": False,
            "extras": [
                {
                    "name": "hyper-connections-mixer",
                    "parameters": "h*d + 2*h*d*R_h",
                    "work_per_token": "4*h*d*R_h",
                    "symbols": {"h": field("hc_count"), "R_h": field("hc_lowrank")},
                    "source": SOURCE_QWEN4,
                }
            ],
        },
        layers=qwen4_layers,
        kinds=qwen4_kinds(),
    ),
}
