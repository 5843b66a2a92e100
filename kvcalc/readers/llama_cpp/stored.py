"""How the tensors of a header store their weights: how many of each kind and type, and what bytes they take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.readers.llama_cpp.architectures import LEARNED_CHOICE
from kvcalc.readers.llama_cpp.layers import NORMS

if TYPE_CHECKING:
    from kvcalc.readers.gguf import Header
    from kvcalc.readers.gguf_walk import Tensor

# Tables that are made, not learned, biases that only choose experts, scales of types such as NVFP4: no parameters.
BUFFERS = re.compile(
    r"rope_freqs\.weight|rope_factors_(long|short)\.weight|(blk\.\d+\.)?\w+\.(input_)?scale"
    r"|blk\.\d+\.(exp_probs_b(\.bias)?|layer_output_scale\.weight|rope_freqs\.weight)"
)
SCALES = re.compile(r"ffn_(gate_inp|down_exps)\.scale$")  # learned in Gemma 4; elsewhere a type's own, of a tensor
CHOICE = re.compile(r"exp_probs_b(\.bias)?$")
ATTENTION = re.compile(rf"(?!(?:{'|'.join(NORMS)})(?:\.|$))(?:attn_|ssm_|time_mix_|shortconv\.|indexer\.)")
OUTSIDE = {"token_embd.weight": "embedding", "position_embd.weight": "positions", "output.weight": "lm_head"}
INSIDE = (  # of blocks, the first that fits
    (
        re.compile(r".*(norm|conv1d|shortconv\.conv|_bias|_lerp_\w+|time_mix_ln|ssm_a|ssm_d)(\.weight)?|.*\.bias"),
        "vectors",
    ),
    (re.compile(r"ffn_gate_inp.*"), "router"),
    (re.compile(r"ffn_.*_exps\.weight"), "experts"),
    (re.compile(r"ffn_.*_shexp\.weight"), "shared experts"),
    (re.compile(r"(ffn|channel_mix)_.*\.weight"), "mlp"),
)
_BLOCK = re.compile(r"blk\.([0-9]+)\.(.+)")
_GUESSED = 1024  # a bit of general.file_type: LlamaFileType.GUESSED
_PLAIN = {"all_f32": "fp32", "f32": "fp32", "f16": "fp16", "f64": "fp64"}


def kind_of(architecture: str, name: str, tensor: Tensor) -> str:
    """What kind of weights a tensor holds, in the words of a weight format's kinds; 'buffers' where none."""
    if BUFFERS.fullmatch(name):
        learned = architecture in LEARNED_CHOICE and CHOICE.search(name)
        learned = learned or (architecture == "gemma4" and SCALES.search(name))
        return "router" if learned else "buffers"
    match = _BLOCK.fullmatch(name)
    if match is None:
        return OUTSIDE.get(name, "vectors")
    for pattern, kind in INSIDE:
        if pattern.fullmatch(match[2]):
            return kind
    return "attention" if len(tensor.shape) > 1 else "vectors"


def in_attention(name: str) -> bool:
    """Whether a tensor belongs to what attends or keeps a state."""
    match = _BLOCK.fullmatch(name)
    return match is not None and ATTENTION.match(match[2]) is not None


def within(header: Header, predicting: range) -> dict[str, Tensor]:
    """The tensors of the model but for its layers that predict later tokens."""
    found = {}
    for name, tensor in header.tensors.items():
        match = _BLOCK.fullmatch(name)
        if match is None or int(match[1]) not in predicting:
            found[name] = tensor
    return found


def stored_in(architecture: str, tensors: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Weights and bytes of each kind and type, in the order of the file."""
    found: dict[tuple[str, str], list[int]] = {}
    for name, tensor in tensors.items():
        sums = found.setdefault((kind_of(architecture, name, tensor), tensor.type), [0, 0])
        sums[0] += tensor.elements
        sums[1] += tensor.bytes
    return [
        {"kind": kind, "type": of_type, "weights": weights, "bytes": size}
        for (kind, of_type), (weights, size) in found.items()
    ]


def format_name(header: Header, stored: list[dict[str, Any]]) -> str:
    """What the file calls its mixture of types, q4_k_m say; else the type of most of its weights."""
    from gguf import Keys, LlamaFileType

    told = header.values.get(Keys.General.FILE_TYPE)
    try:
        name = LlamaFileType(int(told) & ~_GUESSED).name.removeprefix("MOSTLY_").lower() if told is not None else ""
    except (ValueError, TypeError):
        name = ""
    if not name:
        weights: dict[str, int] = {}
        for one in stored:
            weights[one["type"]] = weights.get(one["type"], 0) + one["weights"]
        name = max(weights, key=lambda of_type: weights[of_type])
    return _PLAIN.get(name, name)
