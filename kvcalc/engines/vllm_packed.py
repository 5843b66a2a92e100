"""vLLM 0.33: layers whose pages differ in size, packed into blocks as wide as the widest group; DeepSeek-V4's.

Sources: vllm/v1/core/kv_cache_planning.py _get_packed_kv_cache_groups and _approximate_gcd (groups),
_get_kv_cache_bytes_per_block; models/deepseek_v4/attention.py and compressor.py get_kv_cache_spec,
v1/attention/backends/mla/sparse_swa.py DeepseekV4SWACache (pages, of the fp8_ds_mla layout).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.layers import FULL, WINDOW, Rows, Vector, refuse
from kvcalc.engines.vllm_plan import OLD, Group, Plan, Spec, bucket_of
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines import Settings
    from kvcalc.engines.layers import Kind
    from kvcalc.workload import Workload

BLOCK = 256  # the only one that its sparse kernels take, and multiples of it
WINDOW_BLOCK = 64
ROW_BYTES = {512: 584}  # a vector of so many elements: 448 in fp8, 64 rotated ones in bf16, 7 scales, 1 byte of padding
PAGE_MULTIPLE = 576
RING_BLOCKS = {(4, 2): 4, (128, 1): 8}  # by tokens of a row and series of vectors: tokens of a block of what waits
F32 = 4
DTYPES = ("auto", "fp8", "fp8_e4m3", "fp8_ds_mla")


def packed_plan(kinds: Sequence[Kind], workload: Workload, chosen: Settings, version: str) -> Plan:
    """The groups of layers with compressed rows. Every rank has all of them. Raises KvcalcError for other layers."""
    if version in OLD:
        refuse(f"vllm@{version}", next(kind.label for kind in kinds if isinstance(kind, Rows)))
    if chosen["kv_cache_dtype"] not in DTYPES or workload.dtype not in ("bf16", "fp16", "fp8", "fp8_e4m3"):
        raise KvcalcError(
            "vllm: compressed rows are stored as fp8_ds_mla alone", "leave --dtype and kv_cache_dtype out"
        )
    if workload.dtype_k or workload.dtype_v:
        raise KvcalcError("vllm: K and V are stored alike: --dtype-k and --dtype-v are not its", "--dtype, for both")
    if workload.pipeline_parallel > 1 or workload.context_parallel > 1:
        ways = "--pp" if workload.pipeline_parallel > 1 else "--cp"
        refuse(f"vllm with {ways}", next(kind.label for kind in kinds if isinstance(kind, Rows)))
    if chosen["disable_hybrid_kv_cache_manager"]:
        refuse("vllm with disable_hybrid_kv_cache_manager", kinds[0].label)
    block = int(chosen["block_size"]) or BLOCK
    if block % BLOCK:
        raise KvcalcError(f"vllm: a block_size of {block} is no multiple of {BLOCK}, which its kernels here take")
    made: list[Spec] = []
    for kind in kinds:
        if isinstance(kind, Vector) and kind.role == "shared" and kind.elements in ROW_BYTES and not kind.shares:
            if kind.query_heads % workload.tensor_parallel:
                told = f"{kind.query_heads} attention heads do not divide by --tp {workload.tensor_parallel}"
                raise KvcalcError(f"vllm: {told}")
            made.append(_spec(kind, WINDOW, kind.span, WINDOW_BLOCK, ROW_BYTES[kind.elements]))
        elif isinstance(kind, Rows) and (kind.rate, kind.series) in RING_BLOCKS and not kind.shares:
            made += _rows(kind, block)
        else:
            refuse("vllm", kind.label)
    groups, widest = _grouped(made)
    return Plan(block, tuple(made), groups, widest)


def _rows(kind: Rows, block: int) -> list[Spec]:
    """Rows, and the ring of what waits to become one, in blocks of so many tokens that its pages are as large."""
    if kind.role == "row" and kind.elements not in ROW_BYTES:
        refuse("vllm", kind.label)
    row = ROW_BYTES[kind.elements] if kind.role == "row" else kind.elements + 4 * -(-kind.elements // 128)
    ring = RING_BLOCKS[kind.rate, kind.series]
    return [
        _spec(kind, FULL, 0, block, row, rate=kind.rate),
        _spec(kind, WINDOW, kind.ring, ring, F32 * kind.waiting, rate=kind.rate, series=kind.series),
    ]


def _spec(kind: Vector | Rows, form: str, span: int, block: int, row: int, *, rate: int = 1, series: int = 0) -> Spec:
    plain = row * (block if series else block // rate)
    page = -(-plain // PAGE_MULTIPLE) * PAGE_MULTIPLE
    return Spec(kind.layers, kind.label, form, span, block, row, page, row, rate=rate, series=series)


def _grouped(made: list[Spec]) -> tuple[tuple[Group, ...], int]:
    """Groups, and the bytes of the widest: a block of each has so many.

    Buckets of one layer of every page size, again and again, are split so that groups have as many of those patterns.
    """
    buckets: dict[tuple[object, ...], dict[int, int]] = {}  # layers by page size
    first: dict[tuple[object, ...], Spec] = {}
    for one in made:
        key = bucket_of(one)
        first.setdefault(key, one)
        pages = buckets.setdefault(key, {})
        pages[one.page] = pages.get(one.page, 0) + one.layers
    balanced = {key for key, pages in buckets.items() if len(set(pages.values())) == 1}
    patterns = {key: max(buckets[key].values()) for key in balanced}
    least = max((patterns[key] for key in balanced if len(buckets[key]) > 1), default=0)
    repeats = _least_padding(list(patterns.values()), least) if least else 0
    number = {key: -(-patterns[key] // repeats) if repeats and key in balanced else 1 for key in buckets}
    loose = [key for key in buckets if not repeats and first[key].form == WINDOW]  # as few layers as fit into a block
    anchor = max(
        sum(
            -(-layers // (sum(pages.values()) if key in loose else number[key])) * page
            for page, layers in pages.items()
        )
        for key, pages in buckets.items()
    )
    for key in loose:
        number[key] = -(-sum(buckets[key].values()) // max(anchor // first[key].page, 1))
    groups: list[Group] = []
    widest = 0
    for key, pages in buckets.items():
        for at in range(number[key]):
            whole = number[key] == 1
            each = {page: layers if whole else len(range(at, layers, number[key])) for page, layers in pages.items()}
            groups.append(Group(first[key], sum(each.values())))
            widest = max(widest, sum(page * layers for page, layers in each.items()))
    return tuple(groups), widest


def _least_padding(counts: list[int], least: int) -> int:
    """The divisor from `least` on that the counts are rounded up to with the least padding, the largest of equals."""
    found = range(least, max(least, *counts) + 1)
    return min(found, key=lambda divisor: (sum(-count % divisor for count in counts), -divisor))
