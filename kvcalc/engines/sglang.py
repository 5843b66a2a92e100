"""SGLang 0.5.23: slots of a token over all layers, whole pages of them, and a slot of states for a request.

Sources: srt/model_executor/pool_configurator.py (bytes of a token, shares of a window's pool), srt/mem_cache/
kv_cache_configurator.py (tokens, slots of states), srt/configs/model_config.py get_num_kv_heads, is_hybrid_swa_model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.attention.reach import kept
from kvcalc.engines import Engine, Option, Pool, Reserve
from kvcalc.engines.layers import CHUNK, CROSS, WINDOW, KvHeads, Recurrent, Vector, layers_of, refuse
from kvcalc.engines.settings import settings, told
from kvcalc.engines.vllm_pages import model_bytes, rank_heads
from kvcalc.engines.waste import EVERY, ONE, Step, waste
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Part, Quantity, Total

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from kvcalc.engines import Settings
    from kvcalc.engines.layers import Kind
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Symbols
    from kvcalc.workload import Workload

SOURCE = "SGLang 0.5.23, pool_configurator.py: _compute_cell_size"
SOURCE_WINDOW = "SGLang 0.5.23, pool_configurator.py: HybridSWAPoolConfigurator, swa_full_tokens_ratio"
SOURCE_STATE = "SGLang 0.5.23, kv_cache_configurator.py: _handle_max_mamba_cache, one slot"
OPTIONS = {
    "page_size": Option(0, "tokens of a page; 0: 1, or 64 beside an index"),
    "hybrid_swa": Option("auto", "a pool for windows; auto: as SGLang's list has it", ("auto", "on", "off")),
    "swa_full_tokens_ratio": Option("0.8", "a window's tokens to those of full layers"),
    "mamba_full_memory_ratio": Option("0.9", "memory of states to that of tokens"),
}
# is_hybrid_swa_model's list by the models' names; of all models Llama 4 alone has chunks.
HONOURED = ("llama-4", "llama4", "gpt-oss", "mimo-v2", "step-3.5", "step-3.7", "gemma-4", "gemma4", "laguna")
STATES = ("mamba2", "gated_deltanet", "kda")
INDEXED_PAGE = 64
LATENT_FP8 = 656  # of 512 + 64 elements: e4m3, four scales, bf16 positions
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}


class Cell(NamedTuple):
    """Like layers: bytes of a token on a rank and on all of them; `share`: in the pool of windows, W tokens wide."""

    layers: int
    label: str
    row: int
    whole_row: int
    span: int = 0


class Slots(NamedTuple):
    """What SGLang makes of a model: cells, bytes of a request's states, its page, and a window's share of tokens."""

    cells: tuple[Cell, ...]
    states: tuple[Cell, ...]
    page: int
    ratio: tuple[int, int]

    @property
    def state_bytes(self) -> int:
        """Of one slot, all layers."""
        return sum(cell.layers * cell.row for cell in self.states)

    def cell_size(self) -> Fraction:
        """Bytes of a token over all layers, a window's layers by their share."""
        from fractions import Fraction

        share = Fraction(*self.ratio)
        return sum((cell.layers * cell.row * (share if cell.span else Fraction(1)) for cell in self.cells), Fraction(0))


def slots_of(kinds: Sequence[Kind], name: str, workload: Workload, chosen: Settings, state_dtype: str = "") -> Slots:
    """The slots of layers. Raises KvcalcError for layers that SGLang has another way with, or none that is known."""
    if workload.dtype_k or workload.dtype_v:
        raise KvcalcError("sglang: K and V are stored alike: --dtype-k and --dtype-v are not its", "--dtype, for both")
    if workload.dtype not in BYTES:
        raise KvcalcError(f"sglang: it has no cache of {workload.dtype}", f"--dtype: one of {', '.join(BYTES)}")
    tp, each = workload.tensor_parallel, BYTES[workload.dtype]
    indexed = any(isinstance(kind, Vector) and kind.role == "key" for kind in kinds)
    honoured = honours(kinds, name, chosen)
    cells, states = [], []
    for kind in kinds:
        if isinstance(kind, KvHeads):
            if kind.kind == CROSS:
                refuse("sglang", kind.label)
            row, whole = (h * (kind.d_k + kind.d_v) * each for h in (rank_heads(kind, tp), kind.kv_heads))
            span = kind.span if honoured and kind.kind in (WINDOW, CHUNK) else 0
            cells.append(Cell(kind.layers, kind.label, row, whole, span))
        elif isinstance(kind, Vector):
            row = kind.elements * each if kind.role == "latent" else kind.elements + 4 * -(-kind.elements // 128)
            if indexed and kind.role == "latent" and each == 1:
                plain = kind.elements - kind.rope
                row = plain + 4 * -(-plain // 128) + 2 * kind.rope
            cells.append(Cell(kind.layers, kind.label, row, row))
        else:
            states.append(_state(kind, workload, state_dtype))
    page = int(chosen["page_size"]) or (INDEXED_PAGE if indexed else 1)
    return Slots(
        tuple(cells), tuple(states), page, ratio_of(str(chosen["swa_full_tokens_ratio"]), "swa_full_tokens_ratio")
    )


def honours(kinds: Sequence[Kind], name: str, chosen: Settings) -> bool:
    """Whether windows have a pool of their own."""
    if chosen["hybrid_swa"] != "auto":
        return chosen["hybrid_swa"] == "on"
    chunked = any(isinstance(kind, KvHeads) and kind.kind == CHUNK for kind in kinds)
    return chunked or any(word in name.lower().replace("_", "-") for word in HONOURED)


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


def _state(kind: Recurrent, workload: Workload, state_dtype: str) -> Cell:
    """A layer's states of one request: fp32 unless told otherwise, the convolution in the model's dtype."""
    if kind.kind not in STATES:
        refuse("sglang", kind.label)
    tp, own = workload.tensor_parallel, workload.state_dtype or state_dtype or "fp32"
    each = {"fp32": 4, "bf16": 2, "fp16": 2}.get(own)
    if each is None:
        raise KvcalcError(f"sglang: it keeps no state of {own}", "--state-dtype fp32, bf16 or fp16")
    if kind.heads % tp or kind.channels % tp or (kind.groups > 1 and kind.groups % tp):
        raise KvcalcError(f"sglang: the heads or groups of {kind.label} do not divide by --tp {tp}")
    row, whole = (
        kind.conv_of_a_rank(ranks) * model_bytes(workload) + kind.recurrent // ranks * each for ranks in (tp, 1)
    )
    return Cell(kind.layers, kind.label, row, whole)


def reserve(spec: ModelSpec, workload: Workload) -> Reserve:
    """Bytes of the pool that a batch of requests of n tokens takes. Nothing of it is free again while they decode."""
    chosen = settings(workload)
    slots = slots_of(layers_of(spec, "sglang"), spec.name, workload, chosen, spec.state_dtype)
    reaches = {branch.label.removesuffix(" shared"): branch.reach for _, branch in spec.branches()}
    full = Quantity("tokens of whole pages", "ceil_div(n, page_size)*page_size", {"page_size": slots.page}, SOURCE)
    parts, steps, fractions = [], [], []
    for cell in slots.cells:
        needed = kept(reaches[cell.label])
        if cell.span:
            tokens, slot = _share(EVERY, cell, slots), _share(full, cell, slots)
            part, fraction = _windows(cell, slots, full, slot)
            parts.append(part)
            fractions.append(fraction)
        else:
            windowed = reaches[cell.label].kind in (WINDOW, CHUNK)
            tokens, slot = EVERY if windowed else needed, full
            parts.append(_part(cell, slot))
        steps.append(Step(cell.layers, cell.label, cell.whole_row, cell.row, needed, tokens, slot))
    for cell in slots.states:
        one = Quantity("states", "1", {}, SOURCE_STATE)
        parts.append(
            Part(cell.layers, f"{cell.label} layer", Quantity("", "B*row*slots", {"row": cell.row, "slots": one}))
        )
        steps.append(Step(cell.layers, cell.label, cell.whole_row, cell.row, ONE, ONE, ONE))
    reserved = Total("", tuple(parts))
    honoured = any(cell.span for cell in slots.cells)
    names = ["page_size"]
    names += ["hybrid_swa"] if any(reach.kind in (WINDOW, CHUNK) for reach in reaches.values()) else []
    names += ["swa_full_tokens_ratio"] if honoured else []
    settled = {**chosen, "page_size": slots.page, "hybrid_swa": "on" if honoured else "off"}
    padding = Total("padding", tuple(fractions)) if fractions else None
    wasted = waste(steps, workload.tensor_parallel, padding)
    return Reserve(reserved, reserved, wasted, told(settled, *names))


def _share(tokens: Quantity, cell: Cell, slots: Slots) -> Quantity:
    """Slots of the windows' pool to so many of full layers; at least those that the window needs."""
    above, below = slots.ratio
    numbers: Symbols = {"tokens": tokens, "share": above, "of": below, "W": cell.span}
    return Quantity("window's share", "max(share*tokens//of, min(tokens, W))", numbers, SOURCE_WINDOW)


def _windows(cell: Cell, slots: Slots, tokens: Quantity, share: Quantity) -> tuple[Part, Part]:
    """Bytes of like layers with windows, and what of them are fractions of a slot: a token's bytes are not rounded."""
    above, below = slots.ratio
    row = cell.layers * cell.row
    numbers: Symbols = {"tokens": tokens, "share": above, "of": below, "W": cell.span, "row": row}
    formula = "B*max(row*share*tokens//of, row*min(tokens, W))"
    all_layers = Quantity("", formula, numbers, SOURCE_WINDOW)
    name = f"all {cell.layers} {cell.label} layers"
    inner: Symbols = {"bytes": all_layers, "row": row, "slots": share}
    return Part(1, name, all_layers), Part(1, name, Quantity("", "bytes - B*row*slots", inner))


def _part(cell: Cell, slots: Quantity) -> Part:
    return Part(cell.layers, f"{cell.label} layer", Quantity("", "B*row*slots", {"row": cell.row, "slots": slots}))


def pool(spec: ModelSpec, workload: Workload, budget_bytes: int) -> Pool:
    """Tokens that a budget holds. SGLang tells no concurrency: it takes requests as they fit, and takes them back."""
    chosen = settings(workload)
    slots = slots_of(layers_of(spec, "sglang"), spec.name, workload, chosen, spec.state_dtype)
    tokens, _ = pool_of(slots, chosen, budget_bytes)
    states = state_slots(slots, chosen, budget_bytes)
    takes = -(-workload.context_tokens // slots.page) * slots.page
    return Pool(takes <= tokens and (states is None or states >= 1), None, tokens, None)


def state_slots(slots: Slots, chosen: Settings, budget_bytes: int) -> int | None:
    """Requests whose states a budget holds beside their tokens; None where there are no states."""
    if not slots.state_bytes:
        return None
    above, below = ratio_of(str(chosen["mamba_full_memory_ratio"]), "mamba_full_memory_ratio")
    return budget_bytes * above // ((above + below) * slots.state_bytes) - 1


def pool_of(slots: Slots, chosen: Settings, budget_bytes: int) -> tuple[int, int]:
    """Tokens of full layers, and of windows where these have a pool of their own; whole pages."""
    states = state_slots(slots, chosen, budget_bytes)
    rest = budget_bytes - (0 if states is None else (states + 1) * slots.state_bytes)
    if not slots.cells:
        return 0, 0
    tokens = int(rest // slots.cell_size()) // slots.page * slots.page
    above, below = slots.ratio
    return tokens, tokens * above // below // slots.page * slots.page


def buffer_bytes(slots: Slots, tokens: int) -> int:
    """What the pool's tensors take: a page more than the tokens, and whole pages of an index's keys."""
    rows = tokens + slots.page
    keyed = rows // slots.page * slots.page
    return sum(cell.layers * cell.row * (keyed if cell.label.startswith("index") else rows) for cell in slots.cells)


ENGINE = Engine(
    "sglang",
    kept,
    lambda store: store.formula,
    lambda state: state.formula,
    versions=("0.5.23",),
    options=OPTIONS,
    reserve=reserve,
    pool=pool,
)
