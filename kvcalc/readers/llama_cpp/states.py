"""Fixed states of one block, by its tensors: Mamba-1 and 2, gated DeltaNet, KDA, RWKV, short convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvcalc.readers.llama_cpp.attention import Block
    from kvcalc.readers.llama_cpp.keys import Keys


def state_of(keys: Keys, at: int, block: Block) -> dict[str, Any] | None:
    """The state that a block keeps, in native words; None where it keeps none."""
    if "shortconv.conv.weight" in block:
        bias = "shortconv.conv.bias" in block
        return {"kind": "short_conv", "conv_kernel": keys.number("shortconv.l_cache"), "bias": bias}
    if "time_mix_output.weight" in block:
        return _rwkv(keys, at, block)
    if "ssm_f_a.weight" in block:
        return _kda(keys, block)
    if "ssm_beta.weight" in block or "ssm_ba.weight" in block:
        return _delta(keys)
    if "ssm_in.weight" not in block:
        return None
    inner, biases = (
        keys.number("ssm.inner_size"),
        {
            "use_bias": "ssm_in.bias" in block,
            "use_conv_bias": "ssm_conv1d.bias" in block,
        },
    )
    plain = {"state_size": keys.number("ssm.state_size"), "conv_kernel": keys.number("ssm.conv_kernel"), **biases}
    rank = keys.number("ssm.time_step_rank")
    if "ssm_x.weight" in block:
        norms = "ssm_dt_norm.weight" in block
        return {"kind": "mamba1", "intermediate_size": inner, "time_step_rank": rank, "inner_norms": norms, **plain}
    return {
        "kind": "mamba2",
        "num_heads": rank,
        "head_dim": _shared_out(keys, inner, rank),
        "n_groups": keys.number("ssm.group_count"),
        "gated_norm": "ssm_norm.weight" in block,
        **plain,
    }


def _delta(keys: Keys) -> dict[str, Any]:
    heads = keys.number("ssm.time_step_rank")
    return {
        "kind": "gated_deltanet",
        "num_key_heads": keys.number("ssm.group_count"),
        "num_value_heads": heads,
        "key_head_dim": keys.number("ssm.state_size"),
        "value_head_dim": _shared_out(keys, keys.number("ssm.inner_size"), heads),
        "conv_kernel": keys.number("ssm.conv_kernel"),
    }


def _kda(keys: Keys, block: Block) -> dict[str, Any]:
    return {
        "kind": "kda",
        "num_heads": keys.number("attention.head_count"),
        "head_dim": keys.number("kda.head_dim"),
        "conv_kernel": keys.number("ssm.conv_kernel"),
        "gate_rank": block["ssm_f_a.weight"][-1],
    }


def _rwkv(keys: Keys, at: int, block: Block) -> dict[str, Any]:
    """RWKV-6 or 7; the ranks are those of its tensors. The first layer of 7 has no value to mix with."""
    width, inner = keys.number("wkv.head_size"), block["time_mix_output.weight"][0]
    told = {"num_heads": _shared_out(keys, inner, width, "wkv.head_size"), "head_dim": width}

    def rank(name: str) -> int:
        return block.get(f"time_mix_{name}.weight", (0,))[-1]

    if "time_mix_a1.weight" not in block:
        return {"kind": "rwkv6", **told, "shift_rank": rank("w1") // 5, "decay_rank": rank("decay_w1")}
    ranks = {"decay_rank": rank("w1"), "rate_rank": rank("a1"), "gate_rank": rank("g1")}
    return {"kind": "rwkv7", **told, **ranks, **({"value_rank": rank("v1")} if at else {})}


def _shared_out(keys: Keys, whole: int, heads: int, name: str = "ssm.inner_size") -> int:
    if not heads or whole % heads:
        raise keys.error(f"{keys.full(name)}: {whole} is not shared out evenly by {heads}")
    return whole // heads
