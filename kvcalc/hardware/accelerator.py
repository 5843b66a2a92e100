"""An accelerator and a machine of several, plain and frozen."""

from __future__ import annotations

from kvcalc.tuples import NamedTuple

UNVERIFIED = "unverified"
PEAK_BITS = {  # bits an element of each kind of peak; a name ending in fp16acc accumulates in 16 bits
    "fp32": 32,
    "tf32": 32,
    "bf16": 16,
    "fp16": 16,
    "fp16_fp16acc": 16,
    "fp8": 8,
    "fp8_fp16acc": 8,
    "int8": 8,
    "fp6": 6,
    "fp4": 4,
    "int4": 4,
}


class Accelerator(NamedTuple):
    """One device: memory a program may use, bandwidth of that memory, dense peaks of matmuls in FLOPs a second.

    `peaks` are pairs of a name of PEAK_BITS and a rate without sparsity. `interconnect` is one direction of one
    device. `sources` are pairs of a quantity (memory, bandwidth, peaks, interconnect) and where it was found;
    `unverified` names those of them that nobody checked. `gpu_class`: whose kernels and defaults it has, as vLLM tells
    GPUs apart: 'b200' Blackwell, 'h100' Hopper, 'a100' those before and small ones; '' where nobody says.
    """

    name: str
    vendor: str
    memory_bytes: int
    bandwidth_bytes_per_second: int
    peaks: tuple[tuple[str, int], ...]
    interconnect: str = ""
    interconnect_bytes_per_second: int = 0
    sources: tuple[tuple[str, str], ...] = ()
    unverified: tuple[str, ...] = ()
    note: str = ""
    gpu_class: str = ""

    def peak(self, bits: int) -> tuple[str, int]:
        """The name and the rate of the fastest peak that holds elements of so many bits; else of its fastest."""
        wide = [(name, rate) for name, rate in self.peaks if PEAK_BITS[name] >= bits]
        return max(wide or self.peaks, key=lambda told: told[1])


class Machine(NamedTuple):
    """So many devices of one kind."""

    devices: int
    accelerator: Accelerator

    @property
    def label(self) -> str:
        """As the output names it: '8xH100-SXM'."""
        return f"{self.devices}x{self.accelerator.name}"

    @property
    def cautions(self) -> list[str]:
        """What is to be said about the numbers themselves."""
        told = []
        if self.accelerator.unverified:
            told.append(f"{self.accelerator.name}: {', '.join(self.accelerator.unverified)}: {UNVERIFIED}")
        if self.accelerator.note:
            told.append(f"{self.accelerator.name}: {self.accelerator.note}")
        return told
