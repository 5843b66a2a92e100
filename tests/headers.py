"""GGUF files made for tests, by the gguf package's own writer: keys and shapes, no data."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOTHING: Mapping[str, str] = MappingProxyType({})

Shapes = dict[str, tuple[int, ...]]


def write_gguf(
    path: Path,
    architecture: str,
    keys: dict[str, Any],
    shapes: Shapes,
    types: Mapping[str, str] = NOTHING,
    big_endian: bool = False,
) -> str:
    """A file of these keys, named without their architecture; shapes as torch has them, outermost first.

    `types` are ggml's, by tensor; what it does not name is in f16.
    """
    import gguf
    import numpy

    order = gguf.GGUFEndian.BIG if big_endian else gguf.GGUFEndian.LITTLE
    writer = gguf.GGUFWriter(str(path), architecture, endianess=order)
    for name, value in keys.items():
        key = name if name.startswith(("split.", "tokenizer.", "general.")) else f"{architecture}.{name}"
        add(writer, key, value)
    for name, shape in shapes.items():
        kind = gguf.GGMLQuantizationType[types.get(name, "F16")]
        writer.add_tensor_info(name, shape, numpy.dtype("float16"), 2 * int(numpy.prod(shape)), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return str(path)


def add(writer: Any, key: str, value: Any) -> None:  # the package has no types to speak of
    """One key as llama.cpp's converter writes it."""
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif key.startswith("split."):
        writer.add_uint16(key, value)
    else:
        writer.add_uint32(key, value)


LLAMA_KEYS: dict[str, Any] = {
    "block_count": 2,
    "context_length": 4096,
    "embedding_length": 64,
    "feed_forward_length": 128,
    "attention.head_count": 8,
    "attention.head_count_kv": 2,
    "rope.freq_base": 500000.0,
    "rope.dimension_count": 8,
    "attention.layer_norm_rms_epsilon": 1e-5,
}


def llama_shapes(layers: int = 2, tied: bool = False) -> Shapes:
    """What a Llama of 8 heads over 2, 64 wide, holds."""
    block: Shapes = {
        "attn_norm.weight": (64,),
        "attn_q.weight": (64, 64),
        "attn_k.weight": (16, 64),
        "attn_v.weight": (16, 64),
        "attn_output.weight": (64, 64),
        "ffn_norm.weight": (64,),
        "ffn_gate.weight": (128, 64),
        "ffn_up.weight": (128, 64),
        "ffn_down.weight": (64, 128),
    }
    top: Shapes = {"token_embd.weight": (100, 64), "output_norm.weight": (64,)}
    if not tied:
        top["output.weight"] = (100, 64)
    return {**top, **{f"blk.{at}.{name}": shape for at in range(layers) for name, shape in block.items()}}
