"""Hybrids of state spaces or gated recurrences with attention: Jamba, Granite 4, Nemotron-H, Zamba ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.states import (
    BAMBA,
    MAMBA1,
    MAMBA2,
    WORDS,
    by_words,
    crossed,
    kinds_of,
    recurrent_dtype,
    state_heads,
    time_step_rank,
)
from kvcalc.readers.families.words import (
    DECODER,
    GATED,
    HEADS,
    LAYERS,
    MOE,
    OPTIONAL_HEAD_DIM,
    PLAIN,
    QKVO,
    Family,
    When,
    field,
    without,
)

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields

BIASED = {**HEADS, "bias": When("attention_bias", QKVO)}
STATEFUL = {**DECODER, "state_dtype": field("state_dtype", or_absent=True)}


def jamba_attends(fields: Fields) -> list[str]:
    """One layer of attn_layer_period, from attn_layer_offset on."""
    period, offset = fields.number("attn_layer_period"), fields.number_or_zero("attn_layer_offset")
    if offset >= period:
        raise fields.error("attn_layer_offset", f"{offset} is not below attn_layer_period {period}")
    layers = range(fields.number("num_hidden_layers"))
    return ["attention" if i % period == offset else "state" for i in layers]


def jamba_experts(fields: Fields) -> list[bool]:
    """One layer of expert_layer_period, from expert_layer_offset on, where there is more than one expert."""
    period, offset = fields.number("expert_layer_period"), fields.number_or_zero("expert_layer_offset")
    if offset >= period:
        raise fields.error("expert_layer_offset", f"{offset} is not below expert_layer_period {period}")
    some = fields.number("num_experts") > 1
    return [some and i % period == offset for i in range(fields.number("num_hidden_layers"))]


def bamba_attends(fields: Fields) -> list[str]:
    """Layers of attn_layer_indices attend."""
    where = fields.integers("attn_layer_indices") or []
    return ["attention" if i in where else "state" for i in range(fields.number("num_hidden_layers"))]


def granite_experts(fields: Fields) -> list[bool]:
    """In all layers, where there are any."""
    return [fields.number_or_zero("num_experts") > 0] * fields.number("num_hidden_layers")


NEMOTRON_LETTERS = {"M": "state", "*": "attention", "-": "mlp", "E": "moe"}
NEMOTRON_WORDS = {**WORDS, "mlp": "mlp", "moe": "moe"}


def nemotron_blocks(fields: Fields) -> dict[str, Any]:
    """The kind of each layer, whose number is theirs: by words, else by hybrid_override_pattern's letters."""
    words, pattern = fields.raw("layer_types"), fields.raw("hybrid_override_pattern")
    if words is not None:
        fields.derive({"num_hidden_layers": len(words) if isinstance(words, list) else 1}, "")
        blocks = [NEMOTRON_WORDS[word] for word in fields.words("layer_types", NEMOTRON_WORDS) or []]
    elif isinstance(pattern, str) and pattern and set(pattern) <= set(NEMOTRON_LETTERS):
        blocks = [NEMOTRON_LETTERS[letter] for letter in pattern]
    elif pattern is None:
        raise fields.error(
            "layers_block_type", "missing: which layers attend is not assumed", "or hybrid_override_pattern"
        )
    else:
        raise fields.error("hybrid_override_pattern", f"not of the letters {' '.join(NEMOTRON_LETTERS)} alone")
    if "moe" in blocks and fields.optional("moe_latent_size") and fields.flag("mlp_bias"):
        raise fields.not_understood("mlp_bias", "biases on the latent projections of experts are not understood here")
    return {"blocks": blocks, "num_hidden_layers": len(blocks), **recurrent_dtype(fields)}


def zamba_kinds(default: Any) -> Any:
    """Make a rule: by words, else `default`; the first blocks of attention and MLP own weights, later ones run them."""

    def kinds(fields: Fields) -> list[str]:
        words = {**{word: told for word, told in WORDS.items() if told == "state"}, "hybrid": "hybrid"}
        given = fields.words("layer_types", words)
        layers = fields.number("num_hidden_layers")
        told = [words[word] for word in given] if given is not None else default(fields, layers)
        if len(told) != layers:
            raise fields.error("layers_block_type", f"missing, and the class's own {len(told)} kinds are not {layers}")
        left = fields.number("num_mem_blocks") if fields.knows("num_mem_blocks") else 1
        for at, kind in enumerate(told):
            if kind == "hybrid":
                told[at] = "hybrid" if left > 0 else "hybrid_again"
                left -= 1
        return told

    return kinds


def zamba_default(fields: Fields, layers: int) -> list[str]:
    """The third layer, then one of attn_layer_period from there."""
    period, offset = fields.number("attn_layer_period"), fields.number_or_zero("attn_layer_offset")
    return ["state", "state", "hybrid", *("hybrid" if i % period == offset else "state" for i in range(layers - 3))]


def zamba2_default(_fields: Fields, _layers: int) -> list[str]:
    """The 54 layers of Zamba2-2.7B."""
    hybrid = {6, 12, 18, 24, 30, 36, 42, 47, 51}
    return ["hybrid" if i in hybrid else "state" for i in range(54)]


CONCATENATED = {"q_hidden_size": field("2*hidden_size"), "kv_hidden_size": field("2*hidden_size")}
ZAMBA_LINEAR = {
    "name": "linear",
    "parameters": "d*d",
    "work_per_token": "2*d*d",
    "source": "Zamba (arXiv:2405.16712) fig. 2",
}
ZAMBA_HEADS = {
    **HEADS,
    **CONCATENATED,
    "head_dim": field("attention_head_dim", "head_dim", "2*hidden_size//num_attention_heads"),
}
ADAPTERS = "Zamba2 (arXiv:2411.15242) fig. 2: an adapter for each call of a shared block"
ZAMBA2_EXTRAS = [
    ZAMBA_LINEAR,
    {
        "name": "mlp-adapter",
        "parameters": "r*(d + 2*d_ff)",
        "work_per_token": "2*r*(d + 2*d_ff)",
        "symbols": {"r": field("adapter_rank"), "d_ff": field("intermediate_size", "4*hidden_size")},
        "source": ADAPTERS,
    },
    When(
        "use_shared_attention_adapter",
        {
            "name": "attention-adapters",
            "parameters": "3*r*4*d",
            "work_per_token": "2*3*r*4*d",
            "symbols": {"r": field("adapter_rank")},
            "source": ADAPTERS,
        },
    ),
]


def zamba_layers(state: dict[str, Any], mlp: dict[str, Any], extras: list[Any]) -> dict[str, dict[str, Any]]:
    """Mamba alone; behind a block of attention and MLP; behind such a block of an earlier layer."""
    hybrid = {"extras": extras, "norms_per_layer": 4, "branches": [ZAMBA_HEADS, state], "mlp": mlp}
    return {
        "state": {"attention": state, "mlp": None},
        "hybrid": hybrid,
        "hybrid_again": {
            **without(hybrid, "norms_per_layer"),
            "branches": [{**ZAMBA_HEADS, "shares_weights": True}, state],
            "mlp": {**mlp, "shares_weights": True},
        },
    }


JAMBA_MAMBA = {
    **MAMBA1,
    "intermediate_size": field("mamba_expand*hidden_size"),
    "state_size": field("mamba_d_state"),
    "conv_kernel": field("mamba_d_conv"),
    "use_bias": When("mamba_proj_bias", True),
    "use_conv_bias": When("mamba_conv_bias", True),
}
ZAMBA2_MAMBA = {
    **MAMBA2,
    "num_heads": field("n_mamba_heads"),
    "head_dim": field("mamba_headdim", "mamba_expand*hidden_size//n_mamba_heads"),
    "state_size": field("mamba_d_state"),
    "n_groups": field("mamba_ngroups"),
    "conv_kernel": field("mamba_d_conv"),
    "use_bias": When("add_bias_linear", True),
    "use_conv_bias": True,  # whatever the field of that name says
}


def recurrent_gemma_types(fields: Fields) -> list[str]:
    """block_types, over and over."""
    given = fields.raw("block_types") or ["recurrent", "recurrent", "attention"]
    if not (isinstance(given, list) and given and all(word in ("recurrent", "attention") for word in given)):
        raise fields.error("block_types", "not a list of recurrent and attention")
    layers = range(fields.number("num_hidden_layers"))
    return ["state" if given[i % len(given)] == "recurrent" else "attention" for i in layers]


def zamba_blocks(fields: Fields) -> None:
    """Refuse what the class does otherwise: it shares blocks only where it ties embeddings, and concatenates two."""
    if not fields.flag("tie_word_embeddings"):
        raise fields.not_understood("tie_word_embeddings", "the class then shares no blocks either")
    width = 2 * fields.number("hidden_size")
    if fields.optional("attention_hidden_size") not in (None, 0, width):
        raise fields.error("attention_hidden_size", f"attention reads two hidden states, {width}")
    heads, channels = fields.number("n_mamba_heads"), fields.number("mamba_expand") * fields.number("hidden_size")
    if channels % heads:
        raise fields.error("n_mamba_heads", f"{heads} heads do not divide {channels} channels")


def zamba_rank(fields: Fields) -> dict[str, Any]:
    """As Mamba-1's."""
    zamba_blocks(fields)
    return time_step_rank("mamba_dt_rank")(fields)


def zamba2_check(fields: Fields) -> dict[str, Any]:
    """Nothing of its own."""
    zamba_blocks(fields)
    return {}


def recurrent_gemma_bias(fields: Fields) -> dict[str, Any]:
    """The output projection always has a bias."""
    blocks = fields.number("num_attention_heads")
    width = fields.optional("lru_width") or fields.number("hidden_size")
    if width % blocks:
        raise fields.error("num_attention_heads", f"{blocks} blocks do not divide {width} channels of the recurrence")
    return {"bias": QKVO if fields.flag("attention_bias") else ["o"]}


GRANITE_SHARED = field("shared_intermediate_size")
MLP_BIASED = {**GATED, "bias": When("mlp_bias", True)}

FAMILIES: dict[str, Family] = {
    "jamba": Family(
        DECODER,
        derive=time_step_rank("mamba_dt_rank"),
        layers=crossed(jamba_attends, jamba_experts),
        kinds=kinds_of(
            {**JAMBA_MAMBA, "inner_norms": True},
            {**HEADS, "head_dim": OPTIONAL_HEAD_DIM},
            dense=GATED,
            moe={**MOE, "moe_intermediate_size": field("intermediate_size")},
        ),
    ),
    "bamba": Family(
        {**STATEFUL, "mlp": MLP_BIASED}, derive=state_heads, layers=bamba_attends, kinds=kinds_of(BAMBA, BIASED)
    ),
    "granitemoehybrid": Family(
        STATEFUL,
        derive=state_heads,
        layers=crossed(by_words("layer_types", lambda *_: "state"), granite_experts),
        kinds=kinds_of(
            BAMBA,
            BIASED,
            dense={**GATED, "intermediate_size": GRANITE_SHARED},
            moe={
                **MOE,
                "moe_intermediate_size": field("intermediate_size"),
                "shared_intermediate_size": GRANITE_SHARED,
            },
        ),
    ),
    "nemotron_h": Family(
        {**STATEFUL, "norms_per_layer": 1, "tie_word_embeddings": False},
        derive=nemotron_blocks,
        required=("num_hidden_layers or layer_types or hybrid_override_pattern", "hidden_size"),
        layers=lambda fields: list(fields.raw("blocks")),
        kinds={
            "state": {
                "attention": {
                    **MAMBA2,
                    "num_heads": field("mamba_num_heads"),
                    "head_dim": field("mamba_head_dim"),
                    "state_size": field("ssm_state_size"),
                    "n_groups": field("n_groups"),
                    "conv_kernel": field("conv_kernel"),
                    "use_bias": When("use_bias", True),
                    "use_conv_bias": When("use_conv_bias", True),
                },
                "mlp": None,
            },
            "attention": {"attention": {**HEADS, "head_dim": field("head_dim")}, "mlp": None},
            "mlp": {"attention": None, "mlp": {**PLAIN, "bias": When("mlp_bias", True)}},
            "moe": {
                "attention": None,
                "mlp": {
                    **MOE,
                    "gated": False,
                    "latent_size": field("moe_latent_size", or_absent=True),
                    "shared_intermediate_size": field("moe_shared_expert_intermediate_size"),
                    "shared_bias": When("mlp_bias", True),
                },
            },
        },
    ),
    "zamba": Family(
        {**without(DECODER, "attention"), "norms_per_layer": 1},
        derive=zamba_rank,
        layers=zamba_kinds(zamba_default),
        kinds=zamba_layers(JAMBA_MAMBA, GATED, [ZAMBA_LINEAR]),
    ),
    "zamba2": Family(
        {**without(DECODER, "attention"), "norms_per_layer": 1},
        derive=zamba2_check,
        layers=zamba_kinds(zamba2_default),
        kinds=zamba_layers(
            ZAMBA2_MAMBA,
            {
                **GATED,
                "intermediate_size": field("intermediate_size", "4*hidden_size"),
                "bias": When("add_bias_linear", True),
            },
            ZAMBA2_EXTRAS,
        ),
    ),
    "falcon_h1": Family(
        {
            **without(STATEFUL, "attention"),
            "branches": [
                {**BAMBA, "gated_norm": When("mamba_rms_norm", True), "use_bias": False},
                BIASED,
            ],
            "mlp": MLP_BIASED,
            "extras": [
                When(
                    "mamba_proj_bias",
                    {
                        "name": "mamba-in-bias",
                        "parameters": "L*(2*P*H + 2*G*N + H)",
                        "symbols": {
                            **LAYERS,
                            "P": field("d_head"),
                            "H": field("mamba_n_heads"),
                            "G": field("mamba_n_groups"),
                            "N": field("mamba_d_state"),
                        },
                    },
                ),
                When("projectors_bias", {"name": "mamba-out-bias", "parameters": "L*d", "symbols": LAYERS}),
            ],
        },
        derive=state_heads,
    ),
    "recurrent_gemma": Family(
        {
            **DECODER,
            "max_position_embeddings": None,
            "mlp": {**GATED, "intermediate_size": field("intermediate_size//2"), "bias": True},
        },
        derive=recurrent_gemma_bias,
        layers=recurrent_gemma_types,
        kinds={
            "state": {
                "attention": {
                    "kind": "rg_lru",
                    "lru_width": field("lru_width", "hidden_size"),
                    "num_blocks": field("num_attention_heads"),
                    "conv_kernel": field("conv1d_width"),
                }
            },
            "attention": {
                "attention": {
                    **HEADS,
                    "head_dim": field("head_dim", "hidden_size//num_attention_heads"),
                    "bias": field("bias"),
                },
                "sliding_window": field("sliding_window"),
            },
        },
    ),
}
