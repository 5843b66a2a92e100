"""vLLM 0.33.0, 0.20.0 and 0.11.0: blocks of all layers of a group, reserved for the worst of a request's life.

Sources: vllm/v1/kv_cache_interface.py max_memory_usage_bytes (blocks a request may claim), v1/core/
single_type_kv_cache_manager.py (what decode holds), v1/core/kv_cache_utils.py get_max_concurrency_for_kv_cache_config
and the check of memory (the pool), config/vllm.py max_in_flight_tokens, engine/arg_utils.py get_batch_defaults,
distributed/utils.py get_pp_indices, model_executor/layers/fused_moe/config.py FusedMoEParallelConfig.make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.reach import kept
from kvcalc.engines import Engine, Option, Pool, Reserve, Taking
from kvcalc.engines.gpus import CLASSES, LARGE, class_of
from kvcalc.engines.layers import CHUNK, CROSS, WINDOW, waiting
from kvcalc.engines.ranks import WHOLE, alike, sizes
from kvcalc.engines.settings import settings, told, version_of
from kvcalc.engines.vllm_pages import KV_CACHE_DTYPES
from kvcalc.engines.vllm_plan import OLD, STATE, Plan, Spec, bucket_of, plan
from kvcalc.engines.waste import EVERY, ONE, Step, of_a_rank, waste
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Part, Quantity, Total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines import Settings
    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.hardware.accelerator import Accelerator
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.workload import Workload

VERSIONS = ("0.33.0", *OLD)
SOURCE_BLOCKS = "vLLM {}, v1/kv_cache_interface.py: max_memory_usage_bytes"
SOURCE_HELD = "vLLM {}, v1/core/single_type_kv_cache_manager.py: blocks outside the window are free again"
SOURCE_PAGE = "vLLM {}, v1/core/kv_cache_{}.py: one page of each layer of the largest group"
OPTIONS = {
    "block_size": Option(0, "tokens of a block; 0: as few as the attention backend takes"),
    "gpu_class": Option("h100", "whose defaults and backends", CLASSES),
    "usage": Option("server", "whose defaults: vllm serve, or the LLM class", ("server", "llm")),
    "max_num_batched_tokens": Option(0, "tokens of one step; 0: the default of the GPU's class"),
    "async_scheduling": Option(True, "a step is scheduled while the one before runs"),
    "enable_prefix_caching": Option(True, "states keep blocks for it"),
    "disable_hybrid_kv_cache_manager": Option(False, "windows keep every token"),
    "kv_cache_dtype": Option("auto", "layout of the cache; auto: of --dtype", KV_CACHE_DTYPES),
    "num_speculative_tokens": Option(0, "drafted tokens, for which states keep blocks"),
}
BATCHED = {  # by class of GPU, for the server and for LLM(): get_batch_defaults
    "h100": (8192, 16384),
    "b200": (16384, 16384),
    "a100": (2048, 8192),
}


UTILIZATION = {"0.33.0": "0.92", "0.20.0": "0.92", "0.11.0": "0.9"}


def batched_tokens(chosen: Settings) -> int:
    """max_num_batched_tokens, as given or by the GPU's class."""
    return int(chosen["max_num_batched_tokens"]) or BATCHED[str(chosen["gpu_class"])][chosen["usage"] == "llm"]


def of_device(accelerator: Accelerator) -> tuple[tuple[str, str], ...]:
    """The class of GPU; large ones that are none of Blackwell compute as many tokens a step."""
    word = class_of(accelerator)
    options = (("gpu_class", word),)
    if word == "b200" or accelerator.memory_bytes < LARGE:
        return options
    return (*options, ("max_num_batched_tokens", str(BATCHED["b200"][0])))


def taking(_: ModelSpec, workload: Workload, __: int) -> Taking:
    """gpu_memory_utilization's default of this version."""
    from fractions import Fraction

    version = version_of("vllm", workload.engine_version)
    share = Fraction(UTILIZATION.get(version, UTILIZATION[VERSIONS[0]]))
    return Taking(share, f"gpu_memory_utilization of vLLM {version}, config/cache.py")


def in_flight_tokens(chosen: Settings, version: str) -> int:
    """Tokens that may be computed before a window's oldest blocks are free: a step of each stage, one more if async."""
    steps = 1 if version in OLD else int(chosen.get("pp", 1)) + bool(chosen["async_scheduling"])
    return steps * batched_tokens(chosen)


def blocks_of(spec: Spec, chosen: Settings, version: str) -> Quantity:
    """Blocks of one layer that one request may claim."""
    source = SOURCE_BLOCKS.format(version)
    flight = in_flight_tokens(chosen, version)
    numbers = {"block_size": spec.block}
    if spec.form == WINDOW:
        numbers |= {"W": spec.span, "in_flight": flight}
        return Quantity("blocks", "ceil_div(min(W - 1 + in_flight, n), block_size) + 1", numbers, source)
    if spec.form == CHUNK:
        numbers |= {"C": spec.span, "in_flight": flight}
        return Quantity("blocks", "ceil_div(min(C + in_flight, n), block_size)", numbers, source)
    if spec.form == CROSS:
        # max_num_encoder_input_tokens is max_num_batched_tokens; a longer input is taken where that is raised to it
        whole: dict[str, int | Node] = {"n_enc": Quantity("encoder tokens", "encoder_tokens")}
        whole |= {**numbers, "batched": batched_tokens(chosen)}
        return Quantity("blocks", "ceil_div(max(batched, n_enc), block_size)", whole, source)
    if spec.form == STATE:
        return Quantity("blocks", str(spec.blocks), {}, source)
    shared = int(chosen.get("cp", 1))
    if shared > 1:
        return Quantity("blocks", "ceil_div(ceil_div(n, cp), block_size)", {**numbers, "cp": shared}, source)
    return Quantity("blocks", "ceil_div(n, block_size)", numbers, source)


def held_blocks_of(spec: Spec, chosen: Settings, version: str) -> Quantity:
    """Blocks of one layer that one request holds, at most, while it decodes."""
    source = SOURCE_HELD.format(version)
    most = blocks_of(spec, chosen, version)
    if spec.form == WINDOW:
        return Quantity("blocks", "min(ceil_div(n, block_size), ceil_div(W, block_size) + 1)", most.symbols, source)
    if spec.form == CHUNK:
        return Quantity("blocks", "min(ceil_div(n, block_size), ceil_div(C, block_size))", most.symbols, source)
    if spec.form == CROSS:
        return Quantity("blocks", "ceil_div(n_enc, block_size)", most.symbols, source)
    return Quantity("blocks", "1", {}, source) if spec.form == STATE else most


def ranks(workload: Workload) -> Ranks:
    """Stages of tp ranks, each dp times; experts are shared by all ranks of a stage. --cp ranks are of the tp.

    Raises KvcalcError where vLLM has no such ranks.
    """
    tp, pp, dp, ep, cp = sizes(workload)
    if tp % cp:
        message = f"vllm: --cp {cp} does not divide --tp {tp}: ranks that share a sequence are of them"
        raise KvcalcError(message, "decode_context_parallel_size divides tensor_parallel_size")
    if ep not in (1, tp * dp):
        message = f"vllm: experts are of all {tp * dp} devices of --tp times --dp, or not divided: --ep {ep} is neither"
        hint = f"--ep {tp * dp}, for --enable-expert-parallel" if tp * dp > 1 else f"--tp {ep} --ep {ep}"
        raise KvcalcError(message, f"{hint}, or leave --ep out")
    each = alike(tp, pp, dp, cp)
    if ep == 1:
        return each._replace(expert_split=tp * dp)
    shared = 1 if tp > 1 and dp > 1 else tp  # use_sequence_parallel_moe: whole on every rank
    return each._replace(shared_experts=shared, expert_groups=ep, expert_split=1)


def stages(layers: int, stages: int) -> list[int]:
    """Layers of each stage: get_pp_indices gives what is over to the stages before the last, the latest first."""
    over = layers % stages
    return [layers // stages + (stages - 1 - over <= at < stages - 1) for at in range(stages)]


def _settled(workload: Workload) -> Settings:
    """Every option, and the sizes that blocks depend on."""
    return {**settings(workload), "pp": workload.pipeline_parallel, "cp": workload.context_parallel}


def reserve(spec: ModelSpec, workload: Workload, stage: Stage = WHOLE) -> Reserve:
    """What `vllm serve` sets aside to admit the batch, and what that holds once it decodes."""
    chosen, version = _settled(workload), version_of("vllm", workload.engine_version)
    made = plan(spec, workload, chosen, version, stage)
    return Reserve(
        _of_groups(made, chosen, version, held=False),
        _of_groups(made, chosen, version, held=True),
        _waste(spec, workload, made, chosen, version),
        _mattered(made, chosen, version),
    )


def _of_groups(made: Plan, chosen: Settings, version: str, *, held: bool) -> Total:
    module = "utils" if version in OLD else "planning"
    page = Quantity("bytes of a block", str(made.bytes_per_block), {}, SOURCE_PAGE.format(version, module))
    parts: dict[Spec, int] = {}
    for group in made.groups:
        parts[group.spec] = parts.get(group.spec, 0) + 1
    blocks = held_blocks_of if held else blocks_of
    return Total(
        "",
        tuple(
            Part(count, f"group of {one.label} layers", _claimed(page, blocks(one, chosen, version)))
            for one, count in parts.items()
        ),
    )


def _claimed(page: Quantity, blocks: Quantity) -> Quantity:
    return Quantity("", "B*bytes_per_block*blocks", {"bytes_per_block": page, "blocks": blocks})


def _waste(spec: ModelSpec, workload: Workload, made: Plan, chosen: Settings, version: str) -> Total:
    """What is reserved beyond the paper's bytes: from one to the other, step by step, so that the steps add up."""
    reaches = {branch.label: branch.reach for _, branch in spec.branches(owners=True)}
    steps = []
    for one in made.specs:
        blocks = blocks_of(one, chosen, version)
        if one.form == STATE:
            spare = Quantity("states", str(one.blocks))
            steps.append(Step(one.layers, one.label, one.whole_row, one.row, ONE, ONE, spare))
            continue
        of_all = waiting(one.rate, one.series) if one.series else kept(reaches[one.label])
        needed = of_a_rank(of_all, workload.context_parallel)
        whole = EVERY if reaches[one.label].kind in (WINDOW, CHUNK) else needed  # a window that is kept whole
        admitted = {
            WINDOW: Quantity("window in flight", "min(W - 1 + in_flight, n)", blocks.symbols),
            CHUNK: Quantity("window in flight", "min(C + in_flight, n)", blocks.symbols),
            CROSS: Quantity("encoder's room", "max(batched, n_enc)", blocks.symbols),
        }.get(one.form, whole)
        rounded = Quantity("tokens", "blocks*block_size", {"blocks": blocks, "block_size": one.rows})
        steps.append(Step(one.layers, one.label, one.whole_row, one.row, needed, admitted, rounded, of_all))
    return waste(steps, workload.tensor_parallel, _padding(made, chosen, version))


def _padding(made: Plan, chosen: Settings, version: str) -> Total | None:
    """Bytes of pages that hold nothing: of those that were too small, and of layers that their groups lack."""
    if len(made.groups) == 1:
        return None
    groups: dict[Spec, int] = {}
    for group in made.groups:
        groups[group.spec] = groups.get(group.spec, 0) + 1
    parts = []
    for spec, count in groups.items():
        filled = sum(one.layers * one.row * one.rows for one in made.specs if bucket_of(one) == bucket_of(spec))
        numbers = {"groups": count, "bytes_per_block": made.bytes_per_block, "filled": filled}
        blocks = blocks_of(spec, chosen, version)
        formula = "B*blocks*(groups*bytes_per_block - filled)"
        parts.append(Part(1, f"{spec.label} layers", Quantity("", formula, {**numbers, "blocks": blocks})))
    return Total("padding", tuple(parts))


def _mattered(made: Plan, chosen: Settings, version: str) -> tuple[str, ...]:
    """The options that the number depends on, as they are settled."""
    forms = {one.form for one in made.specs}
    settled = {**chosen, "block_size": made.block, "max_num_batched_tokens": batched_tokens(chosen)}
    names = ["block_size"]
    if forms & {WINDOW, CHUNK, CROSS}:
        names.append("max_num_batched_tokens")
        if version not in OLD and forms & {WINDOW, CHUNK}:
            names.append("async_scheduling")
    if STATE in forms:
        names.append("enable_prefix_caching")
    names += [name for name, option in OPTIONS.items() if chosen[name] != option.default]
    return told(settled, *names)


def pool(spec: ModelSpec, workload: Workload, budget_bytes: int, stage: Stage = WHOLE) -> Pool:
    """What a budget becomes, as this version logs it and checks it at its start."""
    chosen, version = _settled(workload), version_of("vllm", workload.engine_version)
    made = plan(spec, workload, chosen, version, stage)
    tokens = workload.context_tokens
    encoder = spec.encoder_tokens if workload.encoder_tokens is None else workload.encoder_tokens
    scope = {"n": tokens, "B": 1, "encoder_tokens": tokens if encoder is None else encoder}
    return pool_of(made, chosen, version, scope, budget_bytes, workload.batch)


def pool_of(
    made: Plan, chosen: Settings, version: str, scope: Mapping[str, int], budget_bytes: int, batch: int = 1
) -> Pool:
    """Blocks; one of them is never used from 0.33 on, and the size that is logged follows from the concurrency."""
    each = [blocks_of(group.spec, chosen, version).evaluate(scope) for group in made.groups]
    blocks = budget_bytes // made.bytes_per_block
    concurrency = blocks / sum(each)
    if version in OLD:
        tokens = [scope["n"] if group.spec.form == STATE else group.spec.block for group in made.groups]
        tokens_of_a_block = min(tokens) * int(chosen.get("cp", 1))  # a state's is as long as the context
        size = blocks // len(made.groups) * tokens_of_a_block
        return Pool(startup_bytes(made, chosen, version, scope) <= budget_bytes, blocks, size, concurrency)
    fits = batch * sum(each) * made.bytes_per_block <= budget_bytes - made.bytes_per_block
    return Pool(fits, blocks, int(concurrency * scope["n"]), concurrency)


def startup_bytes(made: Plan, chosen: Settings, version: str, scope: Mapping[str, int]) -> int:
    """What the layers need one by one, which 0.20 and 0.11 compare with the budget."""
    return sum(one.layers * one.page * blocks_of(one, chosen, version).evaluate(scope) for one in made.specs)


ENGINE = Engine(
    "vllm",
    kept,
    lambda store: store.formula,
    lambda state: state.formula,
    versions=VERSIONS,
    options=OPTIONS,
    reserve=reserve,
    pool=pool,
    taking=taking,
    of_device=of_device,
    ranks=ranks,
    stages=stages,
    by_heads=True,
)
