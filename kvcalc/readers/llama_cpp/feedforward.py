"""What follows attention in one block, by its tensors: an MLP, experts, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.llama_cpp.architectures import LEARNED_CHOICE

if TYPE_CHECKING:
    from kvcalc.readers.llama_cpp.attention import Block
    from kvcalc.readers.llama_cpp.keys import Keys


def feedforward_of(keys: Keys, at: int, total: int, block: Block) -> dict[str, Any] | None:
    """The native `mlp` of a block; None where it has none."""
    if "ffn_gate_inp.weight" in block:
        return _experts(keys, at, block)
    up = block.get("ffn_up.weight", block.get("channel_mix_key.weight"))
    if up is None:
        return None
    gated, width = "ffn_gate.weight" in block, up[-1]
    if not gated and keys.given("feed_forward_length"):
        said = keys.each("feed_forward_length", total)[at]
        gated, width = (True, said) if width == 2 * said else (False, width)  # gate and up in one tensor
    return {"kind": "dense", "intermediate_size": width, "gated": gated, "bias": "ffn_up.bias" in block}


def extras_of(block: Block) -> list[dict[str, Any]]:
    """What RWKV mixes a token with the last by, before its MLP, and in RWKV-6 a gate behind it."""
    mixes = sum(f"channel_mix_lerp_{one}.weight" in block for one in "kr")
    if "channel_mix_receptance.weight" in block:
        return [{"name": "channel-mix-receptance", "parameters": f"d*d + {mixes}*d", "work_per_token": "2*d*d"}]
    return [{"name": "channel-mix-shift", "parameters": f"{mixes}*d"}] if mixes else []


def _experts(keys: Keys, at: int, block: Block) -> dict[str, Any]:
    learned = keys.architecture in LEARNED_CHOICE
    down, up = block.get("ffn_down_exps.weight", ()), block.get("ffn_up_exps.weight")
    if len(down) != 3:
        raise keys.not_understood(f"blk.{at}: experts in tensors of their own are not understood")
    if "ffn_up.weight" in block:
        raise keys.not_understood(f"blk.{at}: experts beside an MLP in one layer are not understood")
    told: dict[str, Any] = {
        "kind": "moe",
        "num_experts": keys.number("expert_count"),
        "num_experts_per_tok": keys.number("expert_used_count"),
        "moe_intermediate_size": down[0],
        "gated": "ffn_gate_exps.weight" in block or "ffn_gate_up_exps.weight" in block,
        "expert_bias": "ffn_down_exps.bias" in block,
        "router_bias": "ffn_gate_inp.bias" in block or (learned and "exp_probs_b.bias" in block),
        "shared_gate": "ffn_gate_inp_shexp.weight" in block,
    }
    if shared := block.get("ffn_down_shexp.weight"):
        told["shared_intermediate_size"] = shared[0]
    if up is not None and up[0] != keys.number("embedding_length"):
        told["latent_size"] = up[0]
    return told
