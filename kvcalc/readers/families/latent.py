"""Latents: the types of multi-head latent attention beyond DeepSeek-V2 and V3, without an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.placement import after_first_dense
from kvcalc.readers.families.words import (
    DEEPSEEK,
    DEEPSEEK_MOE,
    GATED,
    MLA,
    MOE,
    MTP,
    Family,
    When,
    field,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.readers.fields import Fields


def sparse_from(first: int, *, steps: bool = False, reads: bool = True) -> Callable[[Fields], list[bool]]:
    """Make a rule: by mlp_layer_types, else experts from layer first_k_dense_replace on, absent `first`.

    `steps`: moe_layer_freq thins them, a number or a list of flags; else the library reads none. Not `reads`: it reads
    no first_k_dense_replace either. What it does not read may not say anything else.
    """

    def experts(fields: Fields) -> list[bool]:
        layers = fields.number("num_hidden_layers")
        if (given := fields.words("mlp_layer_types", ("dense", "sparse"))) is not None:
            return [word == "sparse" for word in given]
        start = fields.number_or_zero("first_k_dense_replace") if fields.given("first_k_dense_replace") else first
        if not reads and start != first:
            message = f"{fields.document.data.get('model_type', 'this type')} reads none: its first {first} are dense"
            raise fields.not_understood("first_k_dense_replace", message)
        freq = fields.raw("moe_layer_freq") if fields.given("moe_layer_freq") else 1
        if isinstance(freq, list) and steps and len(freq) == layers:
            return [i >= start and bool(flag) for i, flag in enumerate(freq)]
        if type(freq) is not int or freq < 1 or (freq > 1 and not steps):
            raise fields.not_understood("moe_layer_freq", "experts in only some layers are not understood here")
        return [i >= start and i % freq == 0 for i in range(layers)]

    return experts


def named(experts: Callable[[Fields], list[bool]]) -> Callable[[Fields], list[str]]:
    """The layers' names where experts make them of another kind."""
    return lambda fields: ["moe" if sparse else "dense" for sparse in experts(fields)]


def double_layers(fields: Fields) -> list[str]:
    """longcat_flash: every layer is two of attention and MLP, experts beside the first."""
    width = fields.number("qk_nope_head_dim") + fields.number("qk_rope_head_dim")
    if fields.optional("qk_head_dim") not in (None, width):
        raise fields.not_understood("qk_head_dim", f"not the {width} of qk_nope_head_dim and qk_rope_head_dim")
    return ["shortcut", "plain"] * fields.number("num_layers")


def value_head_dim(fields: Fields) -> dict[str, Any]:
    """minicpm3: v_head_dim null is the share of hidden_size."""
    given = fields.optional("v_head_dim")
    return {"d_v": given or fields.number("hidden_size") // fields.number("num_attention_heads")}


SOURCE_LONGCAT = "LongCat-Flash (arXiv:2509.01322) sec. 2.1: experts beside an MLP, some of them do nothing"
ALWAYS_QUERY_LORA = {**MLA, "q_lora_rank": field("q_lora_rank")}
LONGCAT = {"attention": ALWAYS_QUERY_LORA, "mlp": GATED}

FAMILIES: dict[str, Family] = {
    "axk1": Family(
        {**without(DEEPSEEK, "moe"), "attention": ALWAYS_QUERY_LORA},
        layers=named(sparse_from(1, steps=True)),
        kinds={
            "dense": {"mlp": GATED},
            "moe": {"mlp": DEEPSEEK_MOE, "norms_per_layer": 3},
        },
    ),
    "glm4_moe_lite": Family(
        {
            **DEEPSEEK,
            "attention": {**MLA, "qk_rope_head_dim": field("head_dim")},  # one field of two names
            "mtp": MTP,
        },
        experts=sparse_from(1, reads=False),
    ),
    "youtu": Family(without(DEEPSEEK, "moe")),
    "minicpm3": Family(
        {
            **without(DEEPSEEK, "moe"),
            "attention": {**ALWAYS_QUERY_LORA, "v_head_dim": field("d_v")},
            "mlp": {**GATED, "bias": When("mlp_bias", True)},
        },
        derive=value_head_dim,
    ),
    "mistral4": Family(DEEPSEEK, experts=after_first_dense),
    "longcat_flash": Family(
        {**without(DEEPSEEK, "moe"), "num_hidden_layers": field("2*num_layers")},
        layers=double_layers,
        required=("num_layers", "hidden_size"),
        refused=("router_bias",),
        kinds={
            "plain": LONGCAT,
            "shortcut": {
                **LONGCAT,
                "mlp": MOE,
                "extras": [
                    {
                        "name": "router-to-zero-experts",
                        "parameters": "d*Z",
                        "work_per_token": "2*d*Z",
                        "library_parameters": "2*d*d_e*Z",
                        "symbols": {"Z": field("zero_expert_num"), "d_e": field("moe_intermediate_size")},
                        "source": SOURCE_LONGCAT,
                    },
                    {
                        "name": "dense-MLP",
                        "parameters": "3*d*d_ff",
                        "work_per_token": "6*d*d_ff",
                        "symbols": {"d_ff": field("intermediate_size")},
                        "source": SOURCE_LONGCAT,
                    },
                ],
            },
        },
    ),
}
