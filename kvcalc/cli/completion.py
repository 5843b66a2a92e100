"""What the shell completes: fast, for it is asked at every press of the tab key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kvcalc
from kvcalc.rows import RESULTS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def complete_model(incomplete: str) -> list[str]:
    """Complete bundled names; files are the shell's business."""
    return [name for name in kvcalc.names() if name.startswith(incomplete)]


def complete_dtype(incomplete: str) -> list[str]:
    """Complete one dtype."""
    return [name for name in kvcalc.DTYPE_BITS if name.startswith(incomplete)]


def complete_weight_dtype(incomplete: str) -> list[str]:
    """Complete one format of weights."""
    return [name for name in kvcalc.weight_dtypes() if name.startswith(incomplete)]


def complete_machine(incomplete: str) -> list[str]:
    """Complete the last of some machines, '8xH1' to '8xH100-SXM', '8xh1' to '8xh100-sxm'."""
    before, comma, last = incomplete.rpartition(",")
    devices, times, name = last.rpartition("x") if last[:1].isdigit() else ("", "", last)
    names = [known.lower() if name and name == name.lower() else known for known in kvcalc.hardware_names()]
    return [f"{before}{comma}{devices}{times}{known}" for known in names if known.startswith(name)]


def complete_quantity(incomplete: str) -> list[str]:
    """Complete what can be explained."""
    report = kvcalc.analyze(kvcalc.load("deepseek-v2"), kvcalc.Workload(1, generate_tokens=1))
    return [key for key in (*report.quantities, *kvcalc.RATIOS, *kvcalc.REALS) if key.startswith(incomplete)]


def complete_result(incomplete: str) -> list[str]:
    """Complete what can be plotted: the results of a row, and a short name of one."""
    return [key for key in (*RESULTS, "intensity") if key not in TEXTS and key.startswith(incomplete)]


def list_of(words: Sequence[str]) -> Callable[[str], list[str]]:
    """Complete the last of some words by commas: 'bf16,f' to 'bf16,fp8'; none of them twice."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{word}" for word in words if word.startswith(last) and word not in before.split(",")]

    return complete


def complete_variants(incomplete: str) -> list[str]:
    """Complete the last of a list of variants, the numbers being examples; none stands alone."""
    return list_of([word for word in kvcalc.VARIANTS if word != "none" or "," not in incomplete])(incomplete)


def complete_weight_dtypes(incomplete: str) -> list[str]:
    """Complete the last of a list of formats of weights."""
    return list_of(list(kvcalc.weight_dtypes()))(incomplete)


def complete_engines(incomplete: str) -> list[str]:
    """Complete the last of a list of engines."""
    return list_of(list(kvcalc.ENGINES))(incomplete)


def complete_dtypes(incomplete: str) -> list[str]:
    """Complete the last of a list of dtypes."""
    return list_of(list(kvcalc.DTYPE_BITS))(incomplete)
