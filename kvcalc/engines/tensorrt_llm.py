"""TensorRT-LLM, by reading only: blocks of 32 tokens of every layer, windows or not.

Nothing of it was run. Read: tensorrt_llm/_torch/pyexecutor/resource_manager.py of 001541ba
(get_cache_bytes_per_token, calculate_max_num_blocks), mamba_cache_manager/common.py of 28295084 (states), mapping.py of
05ebebb2 (pp_layers, ep_experts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.reach import kept
from kvcalc.engines import Engine, Option, Pool, Reserve, Taking
from kvcalc.engines.layers import CHUNK, CROSS, WINDOW, KvHeads, Recurrent, Rows, Vector, layers_of, refuse
from kvcalc.engines.ranks import WHOLE, alike, has_only, on_stage, sizes
from kvcalc.engines.settings import settings, told
from kvcalc.engines.vllm_pages import model_bytes
from kvcalc.engines.waste import EVERY, ONE, Step, waste
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Part, Quantity, Total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.layers import Kind
    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.model import ModelSpec
    from kvcalc.workload import Workload

SOURCE = "TensorRT-LLM 001541ba, resource_manager.py: get_cache_bytes_per_token (read, not run)"
SOURCE_STATE = "TensorRT-LLM 28295084, mamba_cache_manager/common.py: a slot a request (read, not run)"
OPTIONS = {
    "tokens_per_block": Option(32, "tokens of a block", least=1),
}
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "fp8_e4m3": 1}


def rows_of(kinds: Sequence[Kind], workload: Workload, state_dtype: str = "") -> list[tuple[Kind, int, int]]:
    """Every kind of layer with the bytes of a token, or of a state, on a rank and on all of them."""
    if workload.dtype_k or workload.dtype_v:
        raise KvcalcError("tensorrt-llm: K and V are stored alike", "--dtype, for both")
    if workload.dtype not in BYTES:
        raise KvcalcError(f"tensorrt-llm: its cache of {workload.dtype} is not modelled", f"one of {', '.join(BYTES)}")
    tp, each = ranks(workload).attention, BYTES[workload.dtype]
    found: list[tuple[Kind, int, int]] = []
    for kind in kinds:
        if isinstance(kind, Recurrent):
            own = workload.state_dtype or state_dtype or "fp32"
            if kind.kind in ("linear", "rwkv") or own not in BYTES:
                refuse("tensorrt-llm", kind.label)
            if not kind.divides(tp):
                raise KvcalcError(f"tensorrt-llm: the heads or groups of {kind.label} do not divide by --tp {tp}")
            row, whole = (
                kind.conv_of_a_rank(ranks) * model_bytes(workload) + kind.recurrent // ranks * BYTES[own]
                for ranks in (tp, 1)
            )
            found.append((kind, row, whole))
        elif isinstance(kind, Rows) or (isinstance(kind, Vector) and kind.role == "shared"):
            refuse("tensorrt-llm", kind.label)
        elif kind.shares:
            continue
        elif isinstance(kind, KvHeads):
            if kind.kind == CROSS or kind.blocks or kind.d_k != kind.d_v:
                refuse("tensorrt-llm", kind.label)
            row, whole = (h * 2 * kind.d_k * each for h in (-(-kind.kv_heads // tp), kind.kv_heads))
            found.append((kind, row, whole))
        else:
            key = kind.elements + 4 * -(-kind.elements // 128)  # one byte an element, and a scale
            row = kind.elements * each if kind.role == "latent" else key
            found.append((kind, row, row))
    return found


def ranks(workload: Workload) -> Ranks:
    """Ranks of a Mapping. Attention data parallelism is over all tp ranks: each has whole attention, and its batch.

    Raises KvcalcError for a mapping that it has not, or that is not modelled.
    """
    tp, pp, dp, ep, _ = sizes(workload)
    has_only("tensorrt-llm", workload, ("tp", "pp", "dp", "ep"), "how it splits a cache by cp_size is not modelled")
    if dp not in (1, tp):
        message = (
            f"tensorrt-llm: attention is divided over all {tp} ranks of --tp, or the batch is: --dp {dp} is neither"
        )
        raise KvcalcError(message, f"--dp {tp}, for enable_attention_dp, or leave --dp out")
    if tp % ep:
        raise KvcalcError(f"tensorrt-llm: --ep {ep} does not divide --tp {tp}", "moe_tp_size x moe_ep_size is tp_size")
    each = alike(tp // dp, pp, dp, devices=tp * pp)
    return each._replace(expert_groups=ep, expert_split=tp // ep)


def reserve(spec: ModelSpec, workload: Workload, stage: Stage = WHOLE) -> Reserve:
    """Blocks of n tokens in every layer; windows only shorten them where max_attention_window is set."""
    chosen = settings(workload)
    block = int(chosen["tokens_per_block"])
    reaches = {branch.label: branch.reach for _, branch in spec.branches(owners=True)}
    parts, steps = [], []
    kinds = on_stage(layers_of(spec, "tensorrt-llm"), stage)
    for kind, row, whole in rows_of(kinds, workload, spec.state_dtype):
        if isinstance(kind, Recurrent):
            one = Quantity("states", "1", {}, SOURCE_STATE)
            step = Step(kind.layers, kind.label, whole, row, ONE, ONE, one)
        else:
            needed = kept(reaches[kind.label])
            whole_context = reaches[kind.label].kind in (WINDOW, CHUNK)
            every = EVERY if whole_context else needed
            rounded = Quantity(
                "tokens of whole blocks", "ceil_div(n, block_size)*block_size", {"block_size": block}, SOURCE
            )
            step = Step(kind.layers, kind.label, whole, row, needed, every, rounded)
        steps.append(step)
        parts.append(
            Part(step.layers, f"{step.label} layer", Quantity("", "B*row*slots", {"row": row, "slots": step.rounded}))
        )
    reserved = Total("", tuple(parts))
    return Reserve(reserved, reserved, waste(steps, ranks(workload).attention), told(chosen, "tokens_per_block"))


def pool(spec: ModelSpec, workload: Workload, budget_bytes: int, stage: Stage = WHOLE) -> Pool:
    """Tokens of whole blocks that a budget holds; the budget is what is left of free_gpu_memory_fraction."""
    block = int(settings(workload)["tokens_per_block"])
    rows = rows_of(on_stage(layers_of(spec, "tensorrt-llm"), stage), workload, spec.state_dtype)
    of_token = sum(kind.layers * row for kind, row, _ in rows if not isinstance(kind, Recurrent))
    states = sum(kind.layers * row for kind, row, _ in rows if isinstance(kind, Recurrent))
    rest = budget_bytes - states * (workload.batch + 1 if states else 0)
    blocks = max(0, rest) // (of_token * block) if of_token else 0
    takes = workload.batch * -(-workload.context_tokens // block)
    return Pool(rest > 0 and (not of_token or takes <= blocks), blocks, blocks * block, None)


def taking(_: ModelSpec, __: Workload, ___: int) -> Taking:
    """free_gpu_memory_fraction's default."""
    from fractions import Fraction

    why = "free_gpu_memory_fraction of what weights leave, TensorRT-LLM, llmapi KvCacheConfig (read, not run)"
    return Taking(Fraction("0.9"), why, after_weights=True)


ENGINE = Engine(
    "tensorrt-llm",
    kept,
    lambda store: store.formula,
    lambda state: state.formula,
    versions=("001541ba",),
    options=OPTIONS,
    reserve=reserve,
    by_reading=True,
    pool=pool,
    taking=taking,
    ranks=ranks,
    by_heads=True,
    even_experts=True,
)
