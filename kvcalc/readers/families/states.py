"""Recipes of layers that keep a state, and the rules that say which layers these are; hybrids share them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.families.words import When, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.readers.fields import Fields

DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
# The library's own old names stand for the new ones.
WORDS = {"linear_attention": "state", "mamba": "state", "full_attention": "attention", "attention": "attention"}

MAMBA1 = {"kind": "mamba1", "time_step_rank": field("R")}
MAMBA2 = {"kind": "mamba2", "gated_norm": True}
BAMBA = {  # under the names of Bamba, Granite 4 and Falcon-H1
    **MAMBA2,
    "num_heads": field("mamba_n_heads"),
    "head_dim": field("d_head"),
    "state_size": field("mamba_d_state"),
    "n_groups": field("mamba_n_groups"),
    "conv_kernel": field("mamba_d_conv"),
    "use_bias": When("mamba_proj_bias", True),
    "use_conv_bias": When("mamba_conv_bias", True),
}
DELTA_NET = {
    "kind": "gated_deltanet",
    "num_key_heads": field("linear_num_key_heads"),
    "num_value_heads": field("linear_num_value_heads"),
    "key_head_dim": field("linear_key_head_dim"),
    "value_head_dim": field("linear_value_head_dim"),
    "conv_kernel": field("linear_conv_kernel_dim"),
}


def recurrent_dtype(fields: Fields) -> dict[str, Any]:
    """The dtype of recurrent states, by any of the names under which configs say it."""
    for name in ("mamba_ssm_dtype", "mamba_ssm_cache_dtype", "inference_state_dtype"):
        if (told := fields.raw(name)) is not None:
            if not isinstance(told, str) or told not in DTYPES:
                raise fields.error(name, f"{told!r} is no dtype of a state", f"one of {', '.join(DTYPES)}")
            return {"state_dtype": DTYPES[told]}
    return {"state_dtype": None}


def time_step_rank(name: str) -> Callable[[Fields], dict[str, Any]]:
    """Make a rule: R is the field, or where it is 'auto' a sixteenth of hidden_size, rounded up."""

    def rank(fields: Fields) -> dict[str, Any]:
        if fields.raw(name) == "auto":
            return {"R": -(-fields.number("hidden_size") // 16)}
        return {"R": fields.number(name)}

    return rank


def state_heads(fields: Fields) -> dict[str, Any]:
    """Channels of one head: mamba_d_head, 'auto' being all channels over the heads; the class refuses a mismatch."""
    heads, told = fields.number("mamba_n_heads"), fields.raw("mamba_d_head")
    channels = fields.optional("mamba_d_ssm") if fields.knows("mamba_d_ssm") else None
    channels = channels or fields.number("mamba_expand") * fields.number("hidden_size")
    width = channels // heads if told == "auto" else fields.number("mamba_d_head")
    if width * heads != channels:
        raise fields.error("mamba_n_heads", f"{heads} heads of {width} channels are not the {channels} of the layer")
    return {"d_head": width, **recurrent_dtype(fields)}


def by_words(
    name: str, default: Callable[[int, int], str] | None = None, words: Mapping[str, str] = WORDS
) -> Callable[[Fields], list[str]]:
    """Make a rule: by a list of words, one a layer, else what `default` says of layer i of n."""

    def kinds(fields: Fields) -> list[str]:
        if (given := fields.words(name, words)) is not None:
            return [words[word] for word in given]
        if default is None:
            raise fields.error(name, "missing: which layers attend is not assumed")
        layers = fields.number("num_hidden_layers")
        return [default(i, layers) for i in range(layers)]

    return kinds


def attends_every(name: str, period: int) -> Callable[[Fields], list[str]]:
    """Make a rule: by layer_types, else every so-many-th layer attends."""

    def kinds(fields: Fields) -> list[str]:
        every = fields.number(name) if fields.given(name) else period
        return by_words("layer_types", lambda i, _: "state" if (i + 1) % every else "attention")(fields)

    return kinds


def crossed(
    mixers: Callable[[Fields], list[str]], experts: Callable[[Fields], list[bool]]
) -> Callable[[Fields], list[str]]:
    """Make a rule of two: 'state_moe', 'attention_dense' ..."""

    def kinds(fields: Fields) -> list[str]:
        return [f"{a}_{'moe' if b else 'dense'}" for a, b in zip(mixers(fields), experts(fields), strict=True)]

    return kinds


def kinds_of(state: Any, attention: Any, **mlps: Any) -> dict[str, dict[str, Any]]:
    """Kinds of layers to that rule: each mixer with each of `dense` and `moe`; without these, the mixers alone."""
    mixers = {"state": state, "attention": attention}
    if not mlps:
        return {name: {"attention": mixer} for name, mixer in mixers.items()}
    return {
        f"{name}_{mlp}": {"attention": mixer, "mlp": told}
        for name, mixer in mixers.items()
        for mlp, told in mlps.items()
    }
