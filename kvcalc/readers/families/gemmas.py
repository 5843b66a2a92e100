"""Gemma 3n and Gemma 4: layers that read another's keys and values, inputs for each layer, K that is V as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import full_every, own_numbers
from kvcalc.readers.families.words import DECODER, GATED, HEADS, LAYERS, MOE, QKVO, Family, When, field

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

NORMED = {**HEADS, "bias": When("attention_bias", QKVO), "qk_norm": "per_head"}
INPUTS = {**LAYERS, "d_p": field("hidden_size_per_layer_input")}
SOURCE_INPUTS = "Gemma 3n: an embedding for each layer, projected, gated and added"
# Added to every layer: a table of its own, a projection of the embedding, a gate in and a projection out.
LAYER_INPUTS = {
    "name": "per-layer-inputs",
    "parameters": "V_p*L*d_p + d*L*d_p + d_p + L*2*d*d_p",
    "work_per_token": "2*d*L*d_p + L*4*d*d_p",
    "symbols": {**INPUTS, "V_p": field("vocab_size_per_layer_input")},
    "source": SOURCE_INPUTS,
}
ALTUP = {
    "name": "altup",
    "parameters": "2*(a - 1)*d*d + L*(a*a + a*a*a + a*d + 2*d)",
    "work_per_token": "4*(a - 1)*d*d + L*2*(2*a*d + a*a + a*a*a + a*a*d)",
    "symbols": {**LAYERS, "a": field("altup_num_inputs")},
    "source": "AltUp (arXiv:2301.13310): a copies of the stream, mixed before and after each layer",
}
LAUREL = {
    "name": "laurel",
    "parameters": "L*(2*d*r + d)",
    "work_per_token": "L*4*d*r",
    "symbols": {**LAYERS, "r": field("laurel_rank")},
    "source": "LAuReL (arXiv:2411.07501): a low-rank residual beside attention",
}
ROUTER_SCALES = {
    "name": "router-scales",
    "parameters": "L*(d + E)",
    "symbols": {**LAYERS, "E": field("num_experts")},
}


def shared_layers(fields: Fields) -> tuple[int, int]:
    """Number of layers, and of those at the end that share an earlier one's cache."""
    layers, shared = fields.number("num_hidden_layers"), fields.optional("num_kv_shared_layers") or 0
    if shared >= layers:
        raise fields.error("num_kv_shared_layers", f"{shared} layers share a cache, but there are {layers}")
    return layers, shared


def gemma3n_widths(fields: Fields) -> list[int]:
    """MLP width of each layer: intermediate_size is one number or a list."""
    given = fields.raw("intermediate_size")
    layers = fields.number("num_hidden_layers")
    if not isinstance(given, list):
        return [fields.number("intermediate_size")] * layers
    widths = fields.integers("intermediate_size") or []
    if len(widths) != layers:
        raise fields.error("intermediate_size", f"{len(widths)} numbers for {layers} layers")
    return widths


def gemma3n_layers(fields: Fields) -> list[str]:
    """Reach, MLP width, and whether the cache is another's."""
    layers, shared = shared_layers(fields)
    told = zip(full_every("", 5)(fields), gemma3n_widths(fields), range(layers), strict=True)
    return [f"{reach}_{width}{'_shared' if i >= layers - shared else ''}" for reach, width, i in told]


def gemma3n_kinds(fields: Fields) -> dict[str, dict[str, Any]]:
    """Each combination of the three."""
    return {
        f"{reach}_{width}{shared}": {
            **_reach(reach),
            "attention": NORMED,
            "mlp": {**GATED, "intermediate_size": width},
            **({"shares_kv": True} if shared else {}),
        }
        for reach in ("full", "sliding")
        for width in set(gemma3n_widths(fields))
        for shared in ("", "_shared")
    }


def gemma4_layers(fields: Fields) -> list[str]:
    """Reach, and whether the cache is another's; the last layer is always full."""
    layers, shared = shared_layers(fields)
    reach = [*full_every("", 6)(fields)[:-1], "full"]
    return [f"{kind}{'_shared' if i >= layers - shared else ''}" for i, kind in enumerate(reach)]


def gemma4_kinds(fields: Fields) -> dict[str, dict[str, Any]]:
    """Full layers have heads of their own; layers that share may have MLPs twice as wide."""
    one = fields.knows("attention_k_eq_v") and fields.flag("attention_k_eq_v")
    own = one or not fields.knows("attention_k_eq_v")  # a class without the field has it at work
    full = {**NORMED, "head_dim": fields.optional("global_head_dim") or 512, "v_from_k": own}
    if own and fields.optional("num_global_key_value_heads"):
        full["num_key_value_heads"] = field("num_global_key_value_heads")
    placed = [kind.removesuffix("_shared") for kind in gemma4_layers(fields)]
    full.update(own_numbers(fields, placed, "full", {"head_dim", "num_key_value_heads"}) or {})
    wide = fields.knows("use_double_wide_mlp") and fields.flag("use_double_wide_mlp")
    mlp: dict[str, Any] = {**GATED, "intermediate_size": field("2*intermediate_size")} if wide else GATED
    experts = {
        **MOE,
        "num_experts_per_tok": field("top_k_experts"),
        "shared_intermediate_size": field("intermediate_size"),
    }
    kinds = {}
    for reach, attention in (("full", full), ("sliding", NORMED)):
        for shared in ("", "_shared"):
            width = {**experts, "shared_intermediate_size": mlp["intermediate_size"]}
            kinds[reach + shared] = {
                **_reach(reach),
                "attention": attention,
                "mlp": (width if shared else experts) if fields.flag("moe") else (mlp if shared else GATED),
                **({"shares_kv": True} if shared else {}),
            }
    return kinds


def gemma4_parts(fields: Fields) -> dict[str, Any]:
    """Experts beside the MLP where enable_moe_block, inputs for each layer where these have a width."""
    if fields.raw("use_bidirectional_attention") == "all":
        raise fields.not_understood("use_bidirectional_attention", "'all': no causal mask, no cache to count")
    known = fields.knows("enable_moe_block")
    moe = fields.flag("enable_moe_block") if known else fields.optional("num_experts") is not None
    inputs = bool(fields.knows("hidden_size_per_layer_input") and fields.optional("hidden_size_per_layer_input"))
    return {"moe": moe, "inputs": inputs, "norms": 4 + 3 * moe + inputs}


def _reach(kind: str) -> dict[str, Any]:
    return {"sliding_window": field("sliding_window")} if kind == "sliding" else {}


GEMMA4 = Family(
    {
        **DECODER,
        "norms_per_layer": field("norms"),
        "extras": [When("inputs", LAYER_INPUTS), When("moe", ROUTER_SCALES)],
    },
    derive=gemma4_parts,
    layers=gemma4_layers,
    kinds=gemma4_kinds,
)
FAMILIES: dict[str, Family] = {
    "gemma3n_text": Family(
        {**DECODER, "norms_per_layer": 5, "extras": [LAYER_INPUTS, ALTUP, LAUREL]},
        layers=gemma3n_layers,
        kinds=gemma3n_kinds,
    ),
    "gemma4_text": GEMMA4,
    "gemma4_unified_text": GEMMA4,
}
