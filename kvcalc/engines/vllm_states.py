"""vLLM: states beside attention, whose block is raised until the largest of them fits into a page.

Sources: vllm/platforms/interface.py _align_hybrid_block_size (blocks beside states), model_executor/layers/mamba/
mamba_utils.py (the states' sizes and dtypes), v1/kv_cache_interface.py MambaSpec (spare blocks).
"""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING

from kvcalc.engines import vllm_pages as pages
from kvcalc.engines.layers import Recurrent, refuse
from kvcalc.engines.vllm_plan import OLD, STATE, Spec
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.engines import Settings
    from kvcalc.engines.layers import Kind
    from kvcalc.workload import Workload

LATENT_BESIDE_STATES = 128  # the least block of a latent beside states
GDN_ALIGN, KDA_ALIGN = 64, 16  # tokens between checkpoints of a state that prefix caching keeps


def with_states(
    owners: list[Kind],
    attending: list[Spec],
    states: list[Recurrent],
    workload: Workload,
    chosen: Settings,
    version: str,
    state_dtype: str,
    kernel: int,
    block: int,
) -> list[Spec]:
    """States take a page as attention does, whose block is raised until the largest state fits into one.

    Before 0.33 models with states have no prefix cache unless it is asked for, and 0.11 has it for none.
    """
    caching = bool(chosen["enable_prefix_caching"]) and bool(attending) and version not in OLD
    if version in OLD and ("enable_prefix_caching", "on") in workload.engine_options:
        refuse(f"vllm@{version} with enable_prefix_caching", states[0].label)
    drafts = int(chosen["num_speculative_tokens"])
    sizes = [_state_bytes(kind, workload, state_dtype, workload.tensor_parallel, drafts) for kind in states]
    wholes = [_state_bytes(kind, workload, state_dtype, 1, drafts) for kind in states]
    if attending:
        row, least = attending[0].row, max(kernel, block)
        if any(one.latent for one in attending) and version not in OLD:
            least = max(least, LATENT_BESIDE_STATES)
        aligns = [_align(kind) for kind in states]
        if caching and all(aligns):
            least = lcm(least, *aligns)
        raised = least * -(-max(sizes) // (least * row))
        block = max(block, kernel * -(-raised // kernel))
    made = []
    at = dict(zip((id(kind) for kind in states), zip(sizes, wholes, strict=True), strict=True))
    again = iter(attending)
    for kind in owners:
        if not isinstance(kind, Recurrent):
            spec = next(again)
            made.append(spec._replace(block=block, page=block * spec.row))
            continue
        size, whole = at[id(kind)]
        page = block * attending[0].row if attending else size
        spare = 0 if version == "0.11.0" else drafts
        blocks = 1 + spare if not caching else 2 + spare + (_align(kind) > 0)
        like = (size, kind.recurrent, kind.channels, blocks)  # specs of other shapes are not equal
        made.append(Spec(kind.layers, kind.label, STATE, 0, block, size, page, whole, blocks, like, at=kind.at))
    return made


def _align(kind: Recurrent) -> int:
    """Tokens between the checkpoints of a state, 0 where it keeps none: then there is no spare block for one either."""
    if kind.kind == "gated_deltanet":
        return GDN_ALIGN
    if kind.kind == "kda":
        return KDA_ALIGN if kind.low_rank_queries else 0
    return 1 if kind.kind == "mamba2" else 0


def _state_bytes(kind: Recurrent, workload: Workload, state_dtype: str, tp: int, drafts: int) -> int:
    """A layer's state on one rank: the convolution in the model's dtype, the recurrent state in its own."""
    own = workload.state_dtype or state_dtype
    each = {"fp32": 4, "bf16": 2, "fp16": 2}.get(own or "bf16")
    if each is None:
        raise KvcalcError(f"vllm: it keeps no state of {own}", "--state-dtype fp32, bf16 or fp16")
    if not own:
        each = 4 if kind.kind == "kda" else pages.model_bytes(workload)
    drafts = drafts if kind.kind in ("mamba2", "gated_deltanet") else 0
    return kind.conv_of_a_rank(tp, drafts) * pages.model_bytes(workload) + kind.recurrent // tp * each
