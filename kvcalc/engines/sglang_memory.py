"""SGLang 0.5.23: the share of a device that weights and pools take, where nobody says: what is left is for the rest.

Source: srt/arg_groups/memory_hook.py handle_gpu_memory_settings, reserve_for_graph_mb; cuda_graph_hook.py
generate_prefill_cuda_graph_batch_sizes. In MiB, as it counts. Not of multimodal models, whose share is less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from fractions import Fraction


class Class(NamedTuple):
    """Devices below so many GiB: tokens of a step of prefill, sequences of a decode graph below tp 4 and from it on."""

    below: int
    chunk: int
    few: int
    many: int


CLASSES = (
    Class(20, 2048, 8, 8),
    Class(35, 4096, 48, 160),
    Class(60, 4096, 32, 160),
    Class(90, 8192, 256, 512),
    Class(160, 8192, 256, 512),
    Class(1 << 40, 16384, 512, 512),
)
MIB = 1 << 20
STATIC_MIB, TOKEN_MIB, LEAST_TOKENS = 512, (3, 2), 2048
GROUP_MIB, MANY_MIB, MANY = (3, 1), (3, 2), 300  # of graphs with attention data parallelism
SEQUENCE_MIB, PREFILL_GRAPH_MIB, LATENT_GRAPHS_MIB = 2, 8, 1536
LATENT_GRAPH_TOKENS = 8192
LARGE_MIB, LARGE_LEAST_MIB = 60 * 1024, 10 * 1024
CAPTURED = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256))  # ranges of graphs' tokens


def fraction_of(
    memory_bytes: int,
    tp: int,
    chunk: int = 0,
    sequences: int = 0,
    *,
    latent: bool = False,
    stages: int = 1,
    groups: int = 1,
) -> Fraction:
    """The share, to three decimals. `latent`: a model of latents, whose graphs of prefill take more.

    `groups` of attention that divide the batch; that they divide a step's tokens too is not counted.
    """
    from fractions import Fraction

    memory = Fraction(memory_bytes, MIB)
    found = next(one for one in CLASSES if memory < one.below * 1024)
    tokens = chunk or found.chunk
    aside = STATIC_MIB + Fraction(*TOKEN_MIB) * max(tokens, LEAST_TOKENS) + Fraction(tp * stages, 8) * 1024
    graphed = sequences or (found.few if tp < 4 else found.many)
    aside += SEQUENCE_MIB * graphed
    if groups > 1:
        aside += graphed * groups * (Fraction(*GROUP_MIB) + (Fraction(*MANY_MIB) if graphed > MANY else 0))
    aside += LATENT_GRAPHS_MIB if latent else PREFILL_GRAPH_MIB * graphs(tokens)
    if memory > LARGE_MIB:
        aside = max(aside, Fraction(LARGE_LEAST_MIB))
    return max(Fraction(0), Fraction(round((memory - aside) / memory * 1000), 1000))


def graphs(tokens: int) -> int:
    """How many sizes of prefill are captured, up to so many tokens."""
    return sum(size <= tokens for span in (*CAPTURED, (4608, tokens + 1, 512)) for size in range(*span))
