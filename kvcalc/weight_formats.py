"""How weights are stored: bits an element, or blocks of elements with their scales, as exact ratios.

A plain dtype ('bf16', 'int4') is bits for every parameter, without scales. A format with blocks holds the matrices of
linear layers; what it leaves (norms, biases, routers, and unless it says so the embedding and lm_head) stays as it is.
Blocks at the edge of a matrix are counted by their share. A scale of a whole tensor is not counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.tuples import NamedTuple
from kvcalc.workload import DTYPE_BITS, parse_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

LINEAR = ("attention", "mlp", "experts", "shared experts")
OF_GGUF = (*LINEAR, "embedding", "lm_head")
EVERYTHING = ("everything",)
SOURCE_FP8 = "DeepSeek-V3 (arXiv:2412.19437) sec. 3.3: blocks of 128 x 128, and weight_scale_inv in fp32 for each"
SOURCE_TENSOR = "a scale for each matrix or row, which is not counted"
SOURCE_MX = "OCP Microscaling formats (MX) v1.0, table 1: blocks of 32 and an 8-bit scale"
SOURCE_NVFP4 = "NVFP4: blocks of 16 and a scale in fp8 e4m3; the fp32 scale of the tensor is not counted"
SOURCE_GROUP = "compressed-tensors pack-quantized, symmetric: a 16-bit scale a group"
SOURCE_ZERO = "AutoGPTQ and AutoAWQ: a 16-bit scale and a packed zero point a group; g_idx is not counted"
SOURCE_NF4 = (
    "QLoRA (arXiv:2305.14314) sec. 3: NF4 in blocks of 64, an fp32 constant each; double: fp8, and fp32 per 256"
)
SOURCE_GGUF = "ggml/src/ggml-common.h: the block structs of ggml"
SOURCE_STORED = "the types and shapes of the file's tensors, and ggml/src/ggml-common.h"


class Stored(NamedTuple):
    """Weights of one kind that a file stores in one type, and the bytes they take there."""

    kind: str
    type: str
    weights: int
    bytes: int


class WeightFormat(NamedTuple):
    """`bits` for every `block` weights of the `kinds` it holds; `rest_bits` for each other weight.

    `element_bits` is what one element is computed with at the least, for the peak of an accelerator. Routed experts are
    of another format where `experts` says so. Where `stored` says what the tensors of a file hold, that is counted, and
    neither `bits` nor `rest_bits`.
    """

    name: str
    block: int
    bits: int
    element_bits: int
    kinds: tuple[str, ...] = EVERYTHING
    rest_bits: int = 16
    source: str = ""
    stored: tuple[Stored, ...] = ()
    experts: WeightFormat | None = None


class Quantization(NamedTuple):
    """How a checkpoint stores its weights, by its own config, or tensor by tensor.

    `format` is a name of --weight-dtype, '' where it is not understood; `kept` are kinds that it leaves as they are;
    `experts` is the format of routed experts, '' where it is no other; `method` is the config's word for it, `note`
    what is to be said of it. `stored` is what the tensors of a file say, which is then counted instead of a format, and
    `parameters` how many parameters of the model they hold.
    """

    format: str = ""
    kept: tuple[str, ...] = ()
    method: str = ""
    note: str = ""
    stored: tuple[Stored, ...] = ()
    parameters: int = 0
    experts: str = ""


GGUF_BLOCKS = {  # weights of a block, its bytes, bits of an element; mxfp4 and nvfp4 of ggml take what FORMATS says
    "q4_0": (32, 18, 4),
    "q4_1": (32, 20, 4),
    "q5_0": (32, 22, 5),
    "q5_1": (32, 24, 5),
    "q8_0": (32, 34, 8),
    "q8_1": (32, 40, 8),
    "q2_k": (256, 84, 2),
    "q3_k": (256, 110, 3),
    "q4_k": (256, 144, 4),
    "q5_k": (256, 176, 5),
    "q6_k": (256, 210, 6),
    "q8_k": (256, 292, 8),
    "q1_0": (128, 18, 1),
    "iq1_s": (256, 50, 1),
    "iq1_m": (256, 56, 1),
    "iq2_xxs": (256, 66, 2),
    "iq2_xs": (256, 74, 2),
    "iq2_s": (256, 82, 2),
    "iq3_xxs": (256, 98, 3),
    "iq3_s": (256, 110, 3),
    "iq4_nl": (32, 18, 4),
    "iq4_xs": (256, 136, 4),
    "tq1_0": (256, 54, 1),
    "tq2_0": (256, 66, 2),
}
FORMATS = {
    "fp8_b128": WeightFormat("fp8_b128", 128 * 128, 8 * 128 * 128 + 32, 8, LINEAR, 16, SOURCE_FP8),
    "fp8_tensor": WeightFormat("fp8_tensor", 1, 8, 8, LINEAR, 16, SOURCE_TENSOR),
    "int8_tensor": WeightFormat("int8_tensor", 1, 8, 8, LINEAR, 16, SOURCE_TENSOR),
    "mxfp8": WeightFormat("mxfp8", 32, 8 * 32 + 8, 8, LINEAR, 16, SOURCE_MX),
    "mxfp6": WeightFormat("mxfp6", 32, 6 * 32 + 8, 6, LINEAR, 16, SOURCE_MX),
    "mxfp4": WeightFormat("mxfp4", 32, 4 * 32 + 8, 4, LINEAR, 16, SOURCE_MX),
    "nvfp4": WeightFormat("nvfp4", 16, 4 * 16 + 8, 4, LINEAR, 16, SOURCE_NVFP4),
    "nf4": WeightFormat("nf4", 64, 4 * 64 + 32, 4, LINEAR, 16, SOURCE_NF4),
    "nf4_double": WeightFormat("nf4_double", 64 * 256, 4 * 64 * 256 + 8 * 256 + 32, 4, LINEAR, 16, SOURCE_NF4),
    **{
        name: WeightFormat(name, block, 8 * size, bits, OF_GGUF, 32, SOURCE_GGUF)
        for name, (block, size, bits) in GGUF_BLOCKS.items()
    },
}
EXAMPLES = ("int4_g128", "int4_g128z", "int8_g128")  # of groups, whose size is anybody's
_GROUPS = r"int(?P<bits>[2-8])_g(?P<group>[0-9]{1,6})(?P<zero>z?)"
# What llama.cpp calls files of several types: each file says itself what its tensors are in.
MIXTURES = (
    *("q2_k_s", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m"),
    *("iq2_m", "iq3_xs", "iq3_m", "mxfp4_moe"),
)
OF_LLAMA_CPP = {"f64": "fp64", "f32": "fp32", "f16": "fp16", "i8": "int8"}


def weight_dtypes() -> Iterator[str]:
    """Every name of --weight-dtype; of groups, examples."""
    yield from DTYPE_BITS
    yield from FORMATS
    yield from EXAMPLES


def format_of(name: str) -> WeightFormat:
    """The format of a name that `parse_weight_dtype` knows. Raises KvcalcError for a mixture."""
    if name in FORMATS:
        return FORMATS[name]
    if name in MIXTURES:
        message = f"{name} is a mixture of block types, by tensor, and this model comes from no file of that name"
        raise KvcalcError(message, "one block type for all: q4_k, q6_k, iq4_xs")
    if match := re.fullmatch(_GROUPS, name):
        bits, group, zero = int(match["bits"]), int(match["group"]), bool(match["zero"])
        scales = 16 + bits * zero
        return WeightFormat(name, group, bits * group + scales, bits, LINEAR, 16, SOURCE_ZERO if zero else SOURCE_GROUP)
    bits = DTYPE_BITS[name]
    return WeightFormat(name, 1, bits, bits, source=f"{name} weights, without scales")


def parse_weight_dtype(text: str, option: str) -> str:
    """A known format's name: a dtype's, fp8_b128, int4_g128, int4_g128z, mxfp4, q4_k. Raises KvcalcError."""
    name = OF_LLAMA_CPP.get(text.lower(), text.lower())
    if name in FORMATS or name in MIXTURES:
        return name
    if match := re.fullmatch(_GROUPS, name):
        if int(match["group"]) > 0:
            return f"int{match['bits']}_g{int(match['group'])}{match['zero']}"
        raise KvcalcError(f"{option}: {text!r}: a group of no weights", "int4_g128: 4 bits and a scale every 128")
    try:
        return parse_dtype(name, option)
    except KvcalcError as error:
        known = list(weight_dtypes())
        raise KvcalcError(error.message, did_you_mean(text, known) or f"known: {' '.join(known)}") from None
