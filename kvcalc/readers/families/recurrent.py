"""Models without a growing cache: state spaces, RWKV and xLSTM in every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.states import MAMBA1, MAMBA2, recurrent_dtype, time_step_rank
from kvcalc.readers.families.words import DECODER, GATED, LAYERS, PLAIN, Family, When, field

if TYPE_CHECKING:
    from kvcalc.readers.fields import Fields


def xlstm_widths(fields: Fields) -> dict[str, Any]:
    """Widths by factors of hidden_size, as the class rounds them."""
    d, heads = fields.number("hidden_size"), fields.number("num_heads")
    for name, must in (("num_blocks", fields.number("num_hidden_layers")), ("embedding_dim", d)):
        if fields.optional(name) not in (None, must):
            raise fields.error(name, f"not the {must} that hidden_size and num_hidden_layers say")
    multiple = fields.number("ffn_round_up_to_multiple_of")
    up = int(((d * fields.real("ffn_proj_factor") + multiple - 1) // multiple) * multiple)
    qk, v = int(d * fields.real("qk_dim_factor")), int(d * fields.real("v_dim_factor"))
    if qk % heads or v % heads:
        raise fields.error("num_heads", f"{heads} heads do not divide {qk} and {v}")
    biased = fields.flag("use_bias")
    return {
        "d_k": qk // heads,
        "d_v": v // heads,
        "up": up,
        "norm": "layernorm" if biased else "rmsnorm",
        "final_norm": not biased,
        **recurrent_dtype(fields),
    }


BARE = {**DECODER, "max_position_embeddings": None, "norms_per_layer": 1, "mlp": None}
MAMBA = {
    **BARE,
    "attention": {
        **MAMBA1,
        "intermediate_size": field(
            "intermediate_size", "expand*hidden_size"
        ),  # FalconMamba-7B says both, and they differ
        "state_size": field("state_size"),
        "conv_kernel": field("conv_kernel"),
        "use_bias": When("use_bias", True),
        "use_conv_bias": When("use_conv_bias", True),
    },
}

FAMILIES: dict[str, Family] = {
    "mamba": Family(MAMBA, derive=time_step_rank("time_step_rank")),
    "falcon_mamba": Family(MAMBA, derive=time_step_rank("time_step_rank")),
    "mamba2": Family(
        {
            **BARE,
            "attention": {
                **MAMBA2,
                "num_heads": field("num_heads"),
                "head_dim": field("expand*hidden_size/num_heads"),
                "state_size": field("state_size"),
                "n_groups": field("n_groups"),
                "conv_kernel": field("conv_kernel"),
                "use_bias": When("use_bias", True),
                "use_conv_bias": When("use_conv_bias", True),
            },
        }
    ),
    "rwkv": Family(
        {
            **DECODER,
            "norm": "layernorm",
            "embedding_norm": True,
            "attention": {"kind": "rwkv4", "attention_hidden_size": field("attention_hidden_size", "hidden_size")},
            "mlp": {**PLAIN, "bias": False, "intermediate_size": field("intermediate_size", "4*hidden_size")},
            "extras": [
                {
                    "name": "channel-mix-receptance",
                    "parameters": "L*(d*d + 2*d)",
                    "work_per_token": "2*L*d*d",
                    "symbols": LAYERS,
                    "source": "RWKV (arXiv:2305.13048) sec. 3.1.3, and what mixes a token with the last",
                }
            ],
        }
    ),
    "xlstm": Family(
        {
            **BARE,
            "norm": field("norm"),
            "norms_per_layer": 2,
            "final_norm": field("final_norm"),
            "tie_word_embeddings": False,
            "extras": [When("use_bias", {"name": "out-norm", "parameters": "d"})],
            "state_dtype": field("state_dtype", or_absent=True),
            "attention": {
                "kind": "mlstm",
                "num_heads": field("num_heads"),
                "key_head_dim": field("d_k"),
                "value_head_dim": field("d_v"),
                "bias": When("use_bias", True),
            },
            "mlp": {**GATED, "intermediate_size": field("up"), "bias": When("use_bias", True)},
        },
        derive=xlstm_widths,
    ),
}
