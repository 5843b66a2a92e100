"""vLLM: layers become specs, specs become groups of one page size, and a block is a page of each layer of a group.

Sources: vllm/v1/core/kv_cache_planning.py (0.33.0; kv_cache_utils.py in 0.20.0 and 0.11.0) for groups,
v1/kv_cache_interface.py for specs. States and the blocks beside them: vllm_states.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import vllm_pages as pages
from kvcalc.engines.layers import CHUNK, CROSS, FULL, WINDOW, KvHeads, Recurrent, Rows, Vector, layers_of, refuse
from kvcalc.engines.ranks import WHOLE, of_stage
from kvcalc.errors import KvcalcError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines import Settings
    from kvcalc.engines.layers import Kind
    from kvcalc.engines.ranks import Stage
    from kvcalc.model import ModelSpec
    from kvcalc.workload import Workload

STATE = "state"
STATES = ("mamba1", "mamba2", "gated_deltanet", "kda", "short_conv")  # linear attention too before 0.33
OLD = ("0.20.0", "0.11.0")


class Spec(NamedTuple):
    """Like layers: what they keep (`form`), `block` tokens of `row` bytes to a page of `page` bytes.

    A state is one row, and takes `blocks` pages whatever the length; its `checkpoint` every so many tokens, 0: none.
    `whole_row`: of all ranks together. `rate` tokens to a row; `series`: a ring of what waits to become such rows.
    `at`: where the layers stand.
    """

    layers: int
    label: str
    form: str
    span: int
    block: int
    row: int
    page: int
    whole_row: int
    blocks: int = 0
    like: tuple[int, ...] = ()
    latent: bool = False
    rate: int = 1
    series: int = 0
    at: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Of one page."""
        return 1 if self.form == STATE or not self.block else self.block if self.series else self.block // self.rate


class Group(NamedTuple):
    """Layers that share a table of blocks."""

    spec: Spec
    layers: int
    at: tuple[int, ...] = ()


class Plan(NamedTuple):
    """`block` is --block-size as vLLM settles it."""

    block: int
    specs: tuple[Spec, ...]
    groups: tuple[Group, ...]
    bytes_per_block: int


def plan(spec: ModelSpec, workload: Workload, chosen: Settings, version: str, stage: Stage = WHOLE) -> Plan:
    """The groups of a model, as far as they stand on a stage.

    Raises KvcalcError where this version's way with one of its layers is not known.
    """
    return projected(plan_of(layers_of(spec, "vllm"), workload, chosen, version, spec.state_dtype), stage)


def projected(made: Plan, stage: Stage) -> Plan:
    """The plan of a whole model as a stage has it: the same groups and pages, of its own layers."""
    if stage.whole:
        return made
    specs = [one._replace(at=of_stage(one.at, stage)) for one in made.specs]
    specs = [one._replace(layers=len(one.at)) for one in specs if one.at]
    groups = [group._replace(at=of_stage(group.at, stage)) for group in made.groups]
    if len(groups) == 1:
        bytes_per_block = sum(one.layers * one.page for one in specs)
    else:
        bytes_per_block = max(len(group.at) for group in groups) * made.specs[0].page
    groups = [group._replace(layers=len(group.at)) for group in groups]
    return Plan(made.block, tuple(specs), tuple(groups), bytes_per_block)


def plan_of(kinds: Sequence[Kind], workload: Workload, chosen: Settings, version: str, state_dtype: str = "") -> Plan:
    """The same of layers. `state_dtype` is the config's own, '' where it says none."""
    tp, gpu = workload.tensor_parallel, str(chosen["gpu_class"])
    if any(isinstance(kind, Rows) for kind in kinds):
        from kvcalc.engines.vllm_packed import packed_plan

        return packed_plan(kinds, workload, chosen, version)
    owners = [kind for kind in kinds if isinstance(kind, Recurrent) or not kind.shares]
    if not owners:
        raise KvcalcError("vllm: no layer of this model caches anything", "--engine paper counts nothing too")
    heads = [kind for kind in owners if isinstance(kind, KvHeads)]
    vectors = [kind for kind in owners if isinstance(kind, Vector)]
    states = [kind for kind in owners if isinstance(kind, Recurrent)]
    _check(heads, vectors, states, tp, version)
    if workload.context_parallel > 1:
        _check_shared(heads, tp, workload.context_parallel)
    if version in OLD and any(kind.blocks for kind in heads):
        refuse(f"vllm@{version}", next(kind.label for kind in heads if kind.blocks))
    dtype = pages.cache_dtype(workload, str(chosen["kv_cache_dtype"]))
    if dtype in pages.LATENTS and heads:
        refuse(f"vllm with kv_cache_dtype={dtype}", heads[0].label)
    kernel = pages.kernel_block(heads, vectors, dtype, gpu, old=version in OLD)
    block = int(chosen["block_size"]) or kernel
    if block % kernel:
        raise KvcalcError(f"vllm: a block_size of {block} is no multiple of {kernel}, which its kernels here take")
    made: list[Spec] = []
    indexed = any(kind.role == "key" for kind in vectors)
    hybrid = not chosen["disable_hybrid_kv_cache_manager"]
    some_full = any(kind.kind == FULL for kind in heads)
    for kind in owners:
        if isinstance(kind, KvHeads):
            made += _heads(kind, tp, dtype, block, version, windows=hybrid or not some_full)
        elif isinstance(kind, Vector):
            layout = "fp8_ds_mla" if version == "0.11.0" and indexed and kind.role == "latent" else dtype
            row = pages.vector_bytes(kind, layout, indexed=indexed, gpu=gpu)
            page = block * row
            made.append(Spec(kind.layers, kind.label, FULL, 0, block, row, page, row, latent=True, at=kind.at))
    if states:
        from kvcalc.engines.vllm_states import with_states

        made = with_states(owners, made, states, workload, chosen, version, state_dtype, kernel, block)
        block = max(one.block for one in made)
    return _grouped(block, made, version)


def _check(heads: list[KvHeads], vectors: list[Vector], states: list[Recurrent], tp: int, version: str) -> None:
    attending: list[KvHeads | Vector] = [*heads, *vectors]
    for kind in attending:
        if kind.query_heads % tp:
            raise KvcalcError(f"vllm: {kind.query_heads} attention heads do not divide by --tp {tp}")
    for state in states:
        if state.kind not in STATES and not (state.kind == "linear" and version in OLD):
            refuse("vllm", state.label)
        if not state.divides(tp):
            raise KvcalcError(f"vllm: the heads or groups of {state.label} do not divide by --tp {tp}")
        if state.kind == "kda" and version == "0.11.0":  # which has none
            refuse(f"vllm@{version}", state.label)


def _check_shared(heads: list[KvHeads], tp: int, cp: int) -> None:
    """Whether ranks can share a sequence's tokens: those that repeat heads of K and V, all of full reach."""
    for kind in heads:
        if kind.kind != FULL:
            raise KvcalcError(f"vllm: {kind.label} layers have no decode context parallelism", "leave --cp out")
        if tp <= kind.kv_heads or cp > tp // kind.kv_heads or kind.query_heads // kind.kv_heads % cp:
            message = (
                f"vllm: --cp {cp} shares what --tp repeats, and {tp} ranks repeat {kind.kv_heads} heads of K and V"
            )
            least = f"at least --tp {cp * kind.kv_heads}, and --cp a divisor of the query heads of one head"
            raise KvcalcError(f"{message} too seldom", least)


def _heads(kind: KvHeads, tp: int, dtype: str, block: int, version: str, *, windows: bool) -> list[Spec]:
    h = pages.rank_heads(kind, tp)
    d_v = kind.d_v
    if version == "0.11.0":  # one head size for both
        if d_v > kind.d_k:
            refuse("vllm@0.11.0", kind.label)
        d_v = kind.d_k
    form = kind.kind if windows or kind.kind == CROSS else FULL
    span = kind.span if form in (WINDOW, CHUNK) else 0

    def made(layers: int, layout: str, at: tuple[int, ...]) -> Spec:
        row, whole = (count * pages.head_bytes(layout, kind.d_k, d_v) for count in (h, kind.kv_heads))
        like = (h, kind.d_k, d_v, row)
        return Spec(layers, kind.label, form, span, block, row, block * row, whole, like=like, at=at)

    if dtype.startswith("turboquant"):
        if kind.kind != FULL:
            refuse(f"vllm with kv_cache_dtype={dtype}", kind.label)
        ends, half = min(kind.layers, pages.UNQUANTIZED_ENDS), pages.UNQUANTIZED_ENDS // 2
        inside = kind.at[half:-half]
        inner = [made(kind.layers - ends, dtype, inside)] if kind.layers > ends else []
        return [made(ends, "bf16", tuple(at for at in kind.at if at not in inside)), *inner]
    return [made(kind.layers, dtype, kind.at)]


def _grouped(block: int, made: list[Spec], version: str) -> Plan:
    """One group where all layers are of one type; else pages of one size, and groups of like size."""
    specs = tuple(made)
    if len({(one.form, one.span) for one in specs}) == 1:  # pages of whatever size add up
        layers = sum(one.layers for one in specs)
        at = tuple(sorted(at for one in specs for at in one.at))
        return Plan(block, specs, (Group(specs[0], layers, at),), sum(one.layers * one.page for one in specs))
    largest = max(one.page for one in specs)
    specs = tuple(_of_one_size(one, largest) for one in specs)
    buckets: dict[tuple[object, ...], list[Spec]] = {}
    for one in specs:
        buckets.setdefault(bucket_of(one), []).append(one)
    counts = [sum(one.layers for one in bucket) for bucket in buckets.values()]
    size = min(counts)
    if version != "0.11.0" and 2 * max(counts) < 3 * size:
        size = max(counts)
    groups = []
    for bucket, count in zip(buckets.values(), counts, strict=True):
        number = -(-count // size)
        where = tuple(sorted(at for one in bucket for at in one.at))
        groups += [Group(bucket[0], len(range(at, count, number)), where[at::number]) for at in range(number)]
    return Plan(block, specs, tuple(groups), max(group.layers for group in groups) * largest)


def bucket_of(spec: Spec) -> tuple[object, ...]:
    """What makes specs equal."""
    return spec.form, spec.span, spec.block, spec.like, spec.latent


def _of_one_size(spec: Spec, page: int) -> Spec:
    """The same in pages of this size: more tokens to a page where they fill it, else padding."""
    if spec.page == page:
        return spec
    if spec.form != STATE and page % spec.page == 0:
        return spec._replace(block=spec.block * (page // spec.page), page=page)
    if spec.latent:
        raise KvcalcError(f"vllm: pages of {spec.label} cannot be padded, and those of other layers are larger")
    return spec._replace(page=page)
