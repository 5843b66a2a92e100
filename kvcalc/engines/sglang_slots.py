"""SGLang 0.5.23: bytes of a token over all layers, windows' apart, and of what a request keeps whatever its length.

Sources: srt/model_executor/pool_configurator.py (_compute_cell_size, HybridSWAPoolConfigurator, DSV4PoolConfigurator),
srt/mem_cache/deepseek_v4_memory_pool.py (pages and rings of compressed rows), srt/configs/mamba_utils.py (states),
srt/configs/model_config.py get_num_kv_heads, srt/runtime_context.py derive_attn_tp_size, arg_groups/parallel_hook.py
and srt/distributed/utils.py get_pp_indices (ranks and stages; read, not run). Which models' windows are honoured:
sglang_models.json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.engines.layers import CHUNK, CROSS, WINDOW, KvHeads, Recurrent, Rows, Vector, refuse
from kvcalc.engines.ranks import WHOLE, alike, even_stages, on_stage, sizes
from kvcalc.engines.settings import settings
from kvcalc.engines.vllm_pages import model_bytes, rank_heads
from kvcalc.errors import KvcalcError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from kvcalc.engines import Settings
    from kvcalc.engines.layers import Kind
    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.workload import Workload

STATES = ("mamba2", "gated_deltanet", "kda", "short_conv")
INDEXED_PAGE = 64
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
F32 = 4
NO_CP = "leave --cp out"
EVICTION_INTERVAL = 128  # SGLANG_SWA_EVICTION_INTERVAL: tokens that gather before a window's oldest are freed
# Compressed rows, of DeepSeek-V4: the layout of FlashMLA.
ROWS_PAGE = 256
ROW_BYTES = {512: 584}  # a vector of so many elements
PAGE_MULTIPLE = 576
PAGE_RING, REQUEST_RING = (4, 2), (128, 1)  # tokens of a row and series whose ring is a page's, or a request's


class Cell(NamedTuple):
    """Like layers: bytes of `per` tokens on a rank and on all of them, `rows` rows as the model has them.

    `span`: in the pool of windows, so wide. `waits`: a ring of what becomes rows, of so many tokens and series.
    `all_tokens`: each of the ranks that share a sequence has all its tokens.
    """

    layers: int
    label: str
    row: int
    whole_row: int
    span: int = 0
    per: int = 1
    rows: int = 1
    each: int = 0
    waits: tuple[int, int] | None = None
    all_tokens: bool = False


class Slots(NamedTuple):
    """What SGLang makes of a model: cells, what a request keeps (states, rings), its page, and a window's share.

    `sequence` ranks share the tokens of each request.
    """

    cells: tuple[Cell, ...]
    states: tuple[Cell, ...]
    rings: tuple[Cell, ...]
    page: int
    ratio: tuple[int, int]
    sequence: int = 1

    @property
    def state_bytes(self) -> int:
        """Of one slot, all layers."""
        return sum(cell.layers * cell.row for cell in self.states)

    @property
    def ring_bytes(self) -> int:
        """Of one request, all layers."""
        return sum(cell.layers * cell.row for cell in self.rings)

    @property
    def windowed(self) -> bool:
        """Whether windows have a pool of their own."""
        return any(cell.span for cell in self.cells)

    def cell_size(self) -> Fraction:
        """Bytes of a token over all layers, a window's layers by their share."""
        from fractions import Fraction

        share = Fraction(*self.ratio)
        return sum(
            (
                Fraction(cell.layers * cell.row * (self.sequence if cell.all_tokens else 1), cell.per)
                * (share if cell.span else 1)
                for cell in self.cells
            ),
            Fraction(0),
        )


def ranks(workload: Workload) -> Ranks:
    """Replicas, or with enable_dp_attention groups of the --tp ranks that divide the batch; --cp ranks are of a group.

    Raises KvcalcError where one does not divide the other.
    """
    tp, pp, dp, ep, cp = sizes(workload)
    within = dp if settings(workload)["enable_dp_attention"] else 1
    if tp % within:
        raise KvcalcError(f"sglang: --dp {dp} does not divide --tp {tp}, whose ranks enable_dp_attention divides")
    if tp // within % cp:
        raise KvcalcError(f"sglang: --cp {cp} does not divide the {tp // within} ranks that share attention", NO_CP)
    if tp % ep:
        raise KvcalcError(f"sglang: --ep {ep} does not divide --tp {tp}", f"--ep {tp}, or a divisor of it")
    each = alike(tp, pp, dp, cp, devices=tp * pp * dp // within)
    return each._replace(attention=tp // within, embedding=tp // within, expert_groups=ep, expert_split=tp // ep)


def stages(layers: int, number: int) -> list[int]:
    """Layers of each stage; the last ones have one more."""
    return even_stages(layers, number)[::-1]


def slots_of(
    kinds: Sequence[Kind],
    architecture: str,
    workload: Workload,
    chosen: Settings,
    state_dtype: str = "",
    stage: Stage = WHOLE,
) -> Slots:
    """The slots of a stage's layers.

    Raises KvcalcError for layers that SGLang has another way with, or none that is known.
    """
    if workload.dtype_k or workload.dtype_v:
        raise KvcalcError("sglang: K and V are stored alike: --dtype-k and --dtype-v are not its", "--dtype, for both")
    if workload.dtype not in BYTES:
        raise KvcalcError(f"sglang: it has no cache of {workload.dtype}", f"--dtype: one of {', '.join(BYTES)}")
    ratio = _ratio(kinds, architecture, chosen)
    spread, each = ranks(workload), BYTES[workload.dtype]
    if any(isinstance(kind, Rows) for kind in kinds):
        if spread.sequence > 1 or spread.stages > 1:
            refuse("sglang under --pp or --cp", next(kind.label for kind in kinds if isinstance(kind, Rows)))
        return _rows_slots(kinds, chosen, ratio)
    tp = spread.attention // spread.sequence
    indexed = any(isinstance(kind, Vector) and kind.role == "key" for kind in kinds)
    honoured = honours(kinds, architecture, chosen)
    cells, states = [], []
    for kind in on_stage(kinds, stage):
        if isinstance(kind, KvHeads):
            if kind.kind == CROSS or kind.blocks:
                refuse("sglang", kind.label)
            row, whole = (h * (kind.d_k + kind.d_v) * each for h in (rank_heads(kind, tp), kind.kv_heads))
            span = kind.span if honoured and kind.kind in (WINDOW, CHUNK) else 0
            if span and spread.sequence > 1:
                raise KvcalcError(f"sglang: a pool of windows, as of {kind.label}, is not shared by --cp", NO_CP)
            cells.append(Cell(kind.layers, kind.label, row, whole, span))
        elif isinstance(kind, Vector):
            row = kind.elements * each if kind.role == "latent" else kind.elements + F32 * -(-kind.elements // 128)
            if indexed and kind.role == "latent" and each == 1:
                plain = kind.elements - kind.rope
                row = plain + F32 * -(-plain // 128) + 2 * kind.rope
            cells.append(Cell(kind.layers, kind.label, row, row, all_tokens=kind.role == "key"))
        elif isinstance(kind, Recurrent):
            states.append(_state(kind, workload, state_dtype, alone=len(kinds) == 1))
    page = int(chosen["page_size"]) or (INDEXED_PAGE if indexed else 1)
    return Slots(tuple(cells), tuple(states), (), page, ratio, spread.sequence)


def _rows_slots(kinds: Sequence[Kind], chosen: Settings, ratio: tuple[int, int]) -> Slots:
    """Whole pages of vectors, of rows and of index keys, in fp8 whatever --dtype; rings in fp32. Every rank has all."""
    if chosen["gpu_class"] == "b200":  # which has a layout of its own, KVLayout.V41
        refuse("sglang with gpu_class=b200", next(kind.label for kind in kinds if isinstance(kind, Rows)))
    page = int(chosen["page_size"]) or ROWS_PAGE
    if page % 128:
        raise KvcalcError(f"sglang: a page_size of {page} is no multiple of 128, which compressed rows take")
    span = next((kind.span for kind in kinds if isinstance(kind, Vector) and kind.role == "shared"), 0)
    cells, rings = [], []
    for kind in kinds:
        if isinstance(kind, Vector) and kind.role == "shared" and kind.elements in ROW_BYTES and not kind.shares:
            cells.append(_page(kind, page, page, ROW_BYTES[kind.elements])._replace(span=kind.span))
        elif isinstance(kind, Rows) and not kind.shares and (kind.role == "key" or kind.elements in ROW_BYTES):
            rows = page // kind.rate
            if kind.role == "row":
                cells.append(_page(kind, page, rows, ROW_BYTES[kind.elements]))
            else:
                key = kind.elements + F32 * (kind.elements // 128)
                cells.append(Cell(kind.layers, kind.label, rows * key, rows * key, 0, page, rows, key))
            row, name, waits = F32 * kind.waiting, f"ring of {kind.label}", (kind.rate, kind.series)
            ring = Cell(kind.layers, name, kind.ring * row, kind.ring * row, 0, page, kind.ring, row, waits)
            if waits == PAGE_RING:
                cells.append(ring._replace(span=span))
            elif waits == REQUEST_RING:
                rings.append(ring)
            else:
                refuse("sglang", kind.label)
        else:
            refuse("sglang", kind.label)
    return Slots(tuple(cells), (), tuple(rings), page, ratio)


def _page(kind: Vector | Rows, page: int, rows: int, row: int) -> Cell:
    padded = -(-rows * row // PAGE_MULTIPLE) * PAGE_MULTIPLE
    return Cell(kind.layers, kind.label, padded, padded, 0, page, rows, row)


def honours(kinds: Sequence[Kind], architecture: str, chosen: Settings) -> bool:
    """Whether windows have a pool of their own: by the architecture that a config names; chunks are Llama 4's alone."""
    if chosen["hybrid_swa"] != "auto":
        return chosen["hybrid_swa"] == "on"
    chunked = any(isinstance(kind, KvHeads) and kind.kind == CHUNK for kind in kinds)
    return chunked or architecture in models()["windows"]


def _ratio(kinds: Sequence[Kind], architecture: str, chosen: Settings) -> tuple[int, int]:
    told = str(chosen["swa_full_tokens_ratio"])
    if told == "auto":
        data = models()
        rows = any(isinstance(kind, Rows) for kind in kinds)
        told = data["share_beside_compressed_rows"] if rows else data["shares"].get(architecture, data["share"])
    return ratio_of(told, "swa_full_tokens_ratio")


def models() -> Any:
    """Architectures whose windows are honoured, and those whose windows' share is another."""
    import json
    import os

    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sglang_models.json")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def ratio_of(text: str, option: str) -> tuple[int, int]:
    """A decimal above 0 as a fraction, exact."""
    from fractions import Fraction

    try:
        found = Fraction(text) if len(text) < 20 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if not 0 < found <= 100:
        raise KvcalcError(f"--engine-option: sglang's {option} cannot be {text!r:.60}", "a number such as 0.8")
    return found.numerator, found.denominator


def _state(kind: Recurrent, workload: Workload, state_dtype: str, *, alone: bool) -> Cell:
    """A layer's states of one request: fp32 unless told otherwise, the convolution in the model's dtype.

    Mamba 1 is served where a model has nothing else, as Falcon Mamba.
    """
    if kind.kind not in STATES and not (kind.kind == "mamba1" and alone):
        refuse("sglang", kind.label)
    tp, own = ranks(workload).attention, workload.state_dtype or state_dtype or "fp32"
    each = {"fp32": 4, "bf16": 2, "fp16": 2}.get(own)
    if each is None:
        raise KvcalcError(f"sglang: it keeps no state of {own}", "--state-dtype fp32, bf16 or fp16")
    if not kind.divides(tp):
        raise KvcalcError(f"sglang: the heads or groups of {kind.label} do not divide by --tp {tp}")
    row, whole = (
        kind.conv_of_a_rank(ranks) * model_bytes(workload) + kind.recurrent // ranks * each for ranks in (tp, 1)
    )
    return Cell(kind.layers, kind.label, row, whole)
