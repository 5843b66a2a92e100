"""Classes of GPUs, whose kernels and defaults servers choose by: as data has it, else by the memory.

Source of the bounds: vLLM 0.33.0, engine/arg_utils.py get_batch_defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.hardware.accelerator import Accelerator

CLASSES = ("h100", "b200", "a100")  # Hopper, Blackwell, those before and small ones
MIDDLE, LARGE = 70 << 30, 160 << 30


def class_of(accelerator: Accelerator) -> str:
    """One of CLASSES. Large devices of other vendors have no Blackwell kernels."""
    if accelerator.gpu_class:
        return accelerator.gpu_class
    if accelerator.memory_bytes >= LARGE and accelerator.vendor == "NVIDIA":
        return "b200"
    return "h100" if accelerator.memory_bytes >= MIDDLE else "a100"
