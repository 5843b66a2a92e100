"""Latents read through an index (DeepSeek sparse attention), and what else chooses what it reads by blocks or pools."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.latent import sparse_from
from kvcalc.readers.families.placement import of_layers
from kvcalc.readers.families.words import DECODER, DEEPSEEK_MOE, GATED, HEADS, MLA, MOE, MTP, Family, field, without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvcalc.readers.fields import Fields

SOURCE_HC = "Manifold-constrained hyper-connections (arXiv:2512.24880); transformers modeling_deepseek_v4.py"
SOURCE_IHC = "transformers modeling_hy_v4.py: hyper-connections without mixing of streams"
SOURCE_GATED_NORM = "transformers modeling_axk2.py: a low-rank gate on a norm"

STACK = without(DECODER, "attention", "mlp", "sliding_window", "attention_chunk_size")
LATENT = {**MLA, "q_lora_rank": field("q_lora_rank"), "reach": {"kind": "top", "top_k": field("index_topk")}}
INDEX = {
    "kind": "index",
    "index_n_heads": field("index_n_heads"),
    "index_head_dim": field("index_head_dim"),
    "q_lora_rank": field("q_lora_rank"),
    "head_weights": True,
    "reach": {"kind": "full"},
}
STREAMS = {"h": field("hc_mult")}
HYPER_CONNECTIONS = {
    "name": "hyper-connections",
    "parameters": "2*((2 + h)*h*h*d + (2 + h)*h + 3)",
    "work_per_token": "2*(2*(2 + h)*h*h*d + 2*h*h*d)",
    "symbols": STREAMS,
    "source": SOURCE_HC,
}
HYPER_HEAD = {
    "name": "hyper-connections-head",
    "parameters": "h*h*d + h + 1",
    "work_per_token": "2*h*h*d",
    "symbols": STREAMS,
    "source": SOURCE_HC,
}
INDEPENDENT_CONNECTIONS = {
    **HYPER_CONNECTIONS,
    "parameters": "2*(2*h*h*d + 2*h + 2)",
    "work_per_token": "2*2*2*h*h*d",
    "source": SOURCE_IHC,
}


def indexers(fields: Fields, types: Iterable[str] = ("indexed_attention",)) -> list[bool]:
    """Which layers run an index of their own: indexer_types, else a pattern, else one in so many."""
    layers = fields.number("num_hidden_layers")
    fields.words("layer_types", types)
    if (given := fields.words("indexer_types", ("full", "shared"))) is not None:
        own = [word == "full" for word in given]
    elif fields.given("index_topk_pattern") and (pattern := fields.raw("index_topk_pattern")) is not None:
        words = {"F": True, "S": False, "full": True, "shared": False}
        if len(pattern) != layers or not all(word in words for word in pattern):
            raise fields.error("index_topk_pattern", f"not F or S for each of {layers} layers")
        own = [words[word] for word in pattern]
    else:
        freq = max(fields.number_or_zero("index_topk_freq"), 1) if fields.given("index_topk_freq") else 1
        offset = fields.integer("index_skip_topk_offset") if fields.given("index_skip_topk_offset") else 2
        own = [max(i - offset + 1, 0) % freq == 0 for i in range(layers)]
    if not own[0]:
        raise fields.error("indexer_types", "the first layer shares an index, but none is before it")
    return own


def hy_indexers(fields: Fields) -> list[bool]:
    """hy_v4: the first layer and then every fourth run an index of their own."""
    fields.words("layer_types", ("indexed_attention",))
    given = fields.words("indexer_types", ("full", "shared"))
    layers = fields.number("num_hidden_layers")
    return [i == 0 or i % 4 == 1 for i in range(layers)] if given is None else [word == "full" for word in given]


def every_layer_indexes(fields: Fields) -> list[bool]:
    """All layers run an index of their own."""
    fields.words("layer_types", ("indexed_attention",))
    return [True] * fields.number("num_hidden_layers")


def indexed(
    index: Callable[[Fields], list[bool]], experts: Callable[[Fields], list[bool]]
) -> Callable[[Fields], list[str]]:
    """Name each layer by its index and its MLP."""

    def layers(fields: Fields) -> list[str]:
        pairs = zip(index(fields), experts(fields), strict=True)
        return [f"{'indexed' if own else 'shared'}_{'moe' if sparse else 'dense'}" for own, sparse in pairs]

    return layers


def dsa(latent: dict[str, Any], index: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    """The kinds that `indexed` names: a latent with an index or the one before, dense or with experts."""
    return {
        f"{name}_{mlp}": {"branches": branches, "mlp": told, **more}
        for (name, branches), (mlp, told) in product(
            {"indexed": [latent, index], "shared": [latent]}.items(), {"dense": GATED, "moe": DEEPSEEK_MOE}.items()
        )
    }


def gated_norms(norms: int) -> dict[str, Any]:
    """So many norms of a layer with a low-rank gate."""
    return {
        "name": "gated-norms",
        "parameters": f"{norms}*2*d*R_g",
        "work_per_token": f"{norms}*4*d*R_g",
        "symbols": {"R_g": field("gated_norm_rank")},
        "source": SOURCE_GATED_NORM,
    }


def axk2_kinds() -> dict[str, dict[str, Any]]:
    """The gate of the norm after attention stands in layers with experts alone."""
    kinds = dsa({**LATENT, "output_gate": "query"}, INDEX)
    return {name: {**told, "extras": [gated_norms(2 if "moe" in name else 1)]} for name, told in kinds.items()}


def mistral_layers(fields: Fields) -> list[str]:
    """mistral_large4: RoPE or none, a latent of its own or an earlier layer's, an index or the one before."""
    layers = fields.number("num_hidden_layers")
    rope = fields.integers("no_rope_layers")
    if rope is None:
        interval = fields.number("no_rope_layer_interval") if fields.given("no_rope_layer_interval") else 4
        rope = [int((i + 1) % interval != 0) for i in range(layers)]
    sources = fields.integers("kv_source_layers") or list(range(layers))
    for name, told in (("no_rope_layers", rope), ("kv_source_layers", sources)):
        if len(told) < layers or (name == "kv_source_layers" and len(told) > layers):
            raise fields.error(name, f"{len(told)} entries for {layers} layers")
    for i, source in enumerate(sources):
        if not 0 <= source <= i or sources[source] != source or bool(rope[source]) is not bool(rope[i]):
            raise fields.error("kv_source_layers", f"layer {i} has no earlier layer {source} of its like to read")
    named = indexed(indexers, sparse_from(fields.number_or_zero("first_k_dense_replace")))(fields)
    return [
        f"{'rope' if rope[i] else 'nope'}_{'own' if sources[i] == i else 'reused'}_{name}"
        for i, name in enumerate(named)
    ]


def mistral_kinds() -> dict[str, dict[str, Any]]:
    """Without RoPE the whole key is made from the latent; queries come straight from the hidden state."""
    rope = {**without(LATENT, "q_lora_rank"), "head_scaling": True}
    nope = {**rope, "qk_rope_head_dim": 0, "qk_nope_head_dim": field("qk_nope_head_dim + qk_rope_head_dim")}
    index = {**without(INDEX, "q_lora_rank"), "head_scaling": True, "input_norm": True}
    return {
        f"{position}_{owner}_{name}": told
        for position, latent in (("rope", rope), ("nope", nope))
        for owner, shared in (("own", {}), ("reused", {"shares_kv": True}))
        for name, told in dsa({**latent, **shared}, index).items()
    }


def dots_fields(fields: Fields) -> dict[str, Any]:
    """dots3_note: sliding layers have heads and latents of their own, by swa_ names or in per_layer_config."""
    defaults = {
        "num_attention_heads": 64,
        "q_lora_rank": 1024,
        "kv_lora_rank": 1024,
        "head_dim": 256,
        "qk_nope_head_dim": 192,
        "v_head_dim": 128,
    }
    told = {
        name: fields.number(f"swa_{name}") if fields.given(f"swa_{name}") else default
        for name, default in defaults.items()
    }
    rope = "swa_qk_rope_head_dim"
    told["qk_rope_head_dim"] = (
        fields.number_or_zero(rope) if fields.given(rope) else told["head_dim"] - told["qk_nope_head_dim"]
    )
    if fields.given("per_layer_config"):
        given = of_layers(fields)
        sliding = {i for i, kind in enumerate(dots_reach(fields)) if kind == "sliding"}
        distinct = {tuple(sorted(one.items())) for one in given.values()}
        if set(given) != sliding or len(distinct) != 1:
            raise fields.not_understood("per_layer_config", "not one and the same for all sliding layers and no other")
        own = dict(distinct.pop())
        own.pop("num_key_value_heads", None)  # a latent has none
        if not own.keys() <= told.keys():
            raise fields.not_understood("per_layer_config", f"says more than {', '.join(told)}")
        told = {name: own[name] if name in own else fields.number_or_zero(name) for name in told}
    window = fields.optional("sliding_window")
    if window is None:
        window = fields.number("sliding_window_size") if fields.given("sliding_window_size") else 512
    shared = "moe_shared_expert_intermediate_size"
    width = fields.number(shared if fields.given(shared) else "shared_experts_intermediate_size")
    return {**{f"swa_{name}": number for name, number in told.items()}, "window": window, "shared_width": width}


def dots_reach(fields: Fields) -> list[str]:
    """dots3_note: two layers and then every fourth read all through an index, the others slide."""
    layers = fields.number("num_hidden_layers")
    default = None if fields.given("per_layer_config") else True
    index = fields.flag("use_dsa") if fields.given("use_dsa") else default
    known = {"full_attention": "full", "sliding_attention": "sliding", "indexed_attention": "indexed"}
    if (given := fields.words("layer_types", known)) is not None:
        kinds = [known[word] for word in given]
        aliases = {None: {}, True: {"full": "indexed"}, False: {"indexed": "full"}}[index]
        return [aliases.get(kind, kind) for kind in kinds]
    slides = fields.flag("use_sliding_window") if fields.given("use_sliding_window") else True
    full = "full" if index is False else "indexed"
    return ["sliding" if slides and i >= 2 and i % 4 != 1 else full for i in range(layers)]


def dots_layers(fields: Fields) -> list[str]:
    """Name each layer of dots3_note by its reach and its MLP."""
    pairs = zip(dots_reach(fields), sparse_from(1, steps=True)(fields), strict=True)
    return [f"{reach}_{'moe' if sparse else 'dense'}" for reach, sparse in pairs]


def dots_kinds() -> dict[str, dict[str, Any]]:
    """Latents with a norm on the RoPE key and a gate a head."""
    latent = {**LATENT, "rope_key_norm": True, "output_gate": "per_head"}
    full = without(latent, "reach")
    sliding = {
        **full,
        **{
            name: field(f"swa_{name}")
            for name in (
                "num_attention_heads",
                "q_lora_rank",
                "kv_lora_rank",
                "qk_nope_head_dim",
                "qk_rope_head_dim",
                "v_head_dim",
            )
        },
        "reach": {"kind": "window", "sliding_window": field("window")},
    }
    moe = {**MOE, "shared_intermediate_size": field("shared_width*n_shared_experts")}
    reaches = {"indexed": [latent, INDEX], "full": [full], "sliding": [sliding]}
    return {
        f"{name}_{mlp}": {"branches": branches, "mlp": told}
        for (name, branches), (mlp, told) in product(reaches.items(), {"dense": GATED, "moe": moe}.items())
    }


def m2_experts(fields: Fields) -> list[bool]:
    """minimax_m2: experts everywhere; a window would cut the library's cache, but not what its mask lets be seen."""
    if fields.raw("sliding_window"):
        raise fields.not_understood("sliding_window", "a window is not what this type has")
    return [True] * fields.number("num_hidden_layers")


def m3_fields(fields: Fields) -> dict[str, Any]:
    """minimax_m3: the index's sizes, under their own names or in sparse_attention_config."""
    nested = fields.mapping("sparse_attention_config")
    names = {
        "index_n_heads": "sparse_num_index_heads",
        "index_head_dim": "sparse_index_dim",
        "index_block_size": "sparse_block_size",
        "index_topk_blocks": "sparse_topk_blocks",
        "index_local_blocks": "sparse_local_block",
    }
    for name, usual in (("use_sparse_attention", True), ("sparse_init_block", 0)):
        if nested.get(name, usual) != usual:
            raise fields.not_understood("sparse_attention_config", f"{name}: {nested[name]!r} is not understood")
    index, silent = (nested.get(f"sparse_{name}", []) for name in ("attention_freq", "disable_index_value"))
    if silent and index != silent:
        message = "sparse_disable_index_value: an index with values is not understood"
        raise fields.not_understood("sparse_attention_config", message)
    told = {flat: nested.get(legacy, fields.number_or_zero(flat)) for flat, legacy in names.items()}
    for flat, value in told.items():
        if type(value) is not int or value < 0:
            raise fields.error("sparse_attention_config", f"{names[flat]} is not a whole number")
    if not told["index_local_blocks"]:
        message = "0: a query need not read its own block, so what it reads depends on the text"
        raise fields.not_understood("index_local_blocks", message)
    return told


def m3_layers(fields: Fields) -> list[str]:
    """minimax_m3: by layer_types and mlp_layer_types, else by flags a layer."""
    layers = fields.number("num_hidden_layers")
    sparse = fields.words("layer_types", ("minimax_m3_sparse", "full_attention"))
    if sparse is not None:
        index = [word == "minimax_m3_sparse" for word in sparse]
    else:
        index = _flags(fields, "sparse_attention_config", "sparse_attention_freq", layers, default=False)
    experts = fields.words("mlp_layer_types", ("dense", "sparse"))
    if experts is not None:
        moe = [word == "sparse" for word in experts]
    else:
        moe = _flags(fields, "", "moe_layer_freq", layers, default=True)
    return [f"{'sparse' if i else 'full'}_{'moe' if m else 'dense'}" for i, m in zip(index, moe, strict=True)]


def _flags(fields: Fields, outer: str, name: str, layers: int, *, default: bool) -> list[bool]:
    """A list of flags a layer, in a mapping of the config or at its top; absent, `default` for all."""
    told = fields.mapping(outer).get(name) if outer else fields.raw(name)
    if told is None:
        return [default] * layers
    if not isinstance(told, list) or len(told) != layers:
        raise fields.error(outer or name, f"{name} is not a list of {layers} flags")
    return [bool(flag) for flag in told]


def m3_kinds() -> dict[str, dict[str, Any]]:
    """Heads that read blocks by an index, or all."""
    heads = {**HEADS, "head_dim": field("head_dim"), "qk_norm": "per_head"}
    reach = {"kind": "selected", "block_size": field("index_block_size"), "blocks": field("index_topk_blocks")}
    index = {**without(INDEX, "q_lora_rank"), "head_weights": False}
    dense = {**GATED, "intermediate_size": field("dense_intermediate_size")}
    moe = {
        **MOE,
        "moe_intermediate_size": field("intermediate_size"),
        "shared_intermediate_size": field("shared_intermediate_size"),
    }
    reaches = {"full": [heads], "sparse": [{**heads, "reach": reach}, index]}
    return {
        f"{name}_{mlp}": {"branches": branches, "mlp": told}
        for (name, branches), (mlp, told) in product(reaches.items(), {"dense": dense, "moe": moe}.items())
    }


FAMILIES: dict[str, Family] = {
    "deepseek_v32": Family(
        {**STACK, "mtp": MTP},
        layers=indexed(every_layer_indexes, sparse_from(3)),
        kinds=dsa(LATENT, INDEX),
        refused=("mlp_bias",),
    ),
    "glm_moe_dsa": Family(
        {**STACK, "mtp": MTP}, layers=indexed(indexers, sparse_from(3)), kinds=dsa(LATENT, INDEX), refused=("mlp_bias",)
    ),
    "axk2": Family(STACK, layers=indexed(every_layer_indexes, sparse_from(1, steps=True)), kinds=axk2_kinds()),
    "hy_v4": Family(
        {**STACK, "extras": [HYPER_HEAD]},
        layers=indexed(hy_indexers, sparse_from(1, reads=False)),
        kinds=dsa({**LATENT, "output_gate": "hidden", "sinks": True}, INDEX, extras=[INDEPENDENT_CONNECTIONS]),
    ),
    "mistral_large4_text": Family(STACK, layers=mistral_layers, kinds=mistral_kinds()),
    "dots3_note_text": Family(STACK, derive=dots_fields, layers=dots_layers, kinds=dots_kinds(), refused=("mlp_bias",)),
    "minimax_m3_vl_text": Family(
        STACK, derive=m3_fields, layers=m3_layers, kinds=m3_kinds(), refused=("attention_output_gate",)
    ),
    "minimax_m2": Family(
        {
            **DECODER,
            "attention": {**HEADS, "head_dim": field("head_dim"), "qk_norm": "full"},
            "moe": {**MOE, "moe_intermediate_size": field("intermediate_size")},
        },
        experts=m2_experts,
    ),
}
