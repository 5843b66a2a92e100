"""SGLang 0.5.23: slots of a token over all layers, whole pages of them, and what a request keeps whatever its length.

Sources: srt/model_executor/pool_configurator.py (shares of a window's pool, compute_swa_request_cap for what decode
holds of it), srt/mem_cache/kv_cache_configurator.py (tokens, slots of states, resolve_max_num_reqs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.reach import kept
from kvcalc.engines import Engine, Option, Pool, Reserve, Taking
from kvcalc.engines.gpus import CLASSES, class_of
from kvcalc.engines.layers import CHUNK, WINDOW, Rows, Vector, layers_of, waiting
from kvcalc.engines.ranks import WHOLE
from kvcalc.engines.settings import settings, told
from kvcalc.engines.sglang_slots import EVICTION_INTERVAL, ranks, ratio_of, slots_of, stages
from kvcalc.engines.waste import EVERY, ONE, Step, of_a_rank, waste
from kvcalc.quantity import Part, Quantity, Total

if TYPE_CHECKING:
    from kvcalc.engines import Settings
    from kvcalc.engines.ranks import Stage
    from kvcalc.engines.sglang_slots import Cell, Slots
    from kvcalc.hardware.accelerator import Accelerator
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Symbols
    from kvcalc.workload import Workload

SOURCE = "SGLang 0.5.23, pool_configurator.py: _compute_cell_size"
SOURCE_WINDOW = "SGLang 0.5.23, pool_configurator.py: HybridSWAPoolConfigurator, swa_full_tokens_ratio"
SOURCE_HELD = "SGLang 0.5.23, pool_configurator.py: compute_swa_request_cap, what a request holds of a window at most"
SOURCE_STATE = "SGLang 0.5.23, kv_cache_configurator.py: _handle_max_mamba_cache, one slot"
SOURCE_RING = "SGLang 0.5.23, pool_configurator.py: DSV4PoolConfigurator, _get_c128_state_fixed_bytes"
OPTIONS = {
    "page_size": Option(0, "tokens of a page; 0: 1, 64 beside an index, 256 with compressed rows"),
    "hybrid_swa": Option("auto", "a pool for windows; auto: as SGLang's list has it", ("auto", "on", "off")),
    "swa_full_tokens_ratio": Option("auto", "a window's tokens to those of full layers; auto: 0.8, or the model's own"),
    "mamba_full_memory_ratio": Option("0.9", "memory of states to that of tokens"),
    "enable_dp_attention": Option(False, "--dp divides the ranks of --tp, for attention alone; off: replicas"),
    "disable_radix_cache": Option(False, "no prefix cache: a request pins one slot of states, not three"),
    "gpu_class": Option("h100", "whose layout compressed rows have", CLASSES),
    "chunked_prefill_size": Option(0, "tokens of a step of prefill, for which fit sets memory aside; 0: by the memory"),
    "cuda_graph_max_bs": Option(0, "sequences that graphs are captured for, likewise; 0: by the memory"),
}
PINNED = 3  # slots of states that a request may pin for the prefix cache
LEAST_REQUESTS, MOST_REQUESTS = 2048, 4096  # request slots, where nobody says how many
SPARE_RINGS = 3  # beside those of requests: one slot more, and a ring and a row rounded up to one


def reserve(spec: ModelSpec, workload: Workload, stage: Stage = WHOLE) -> Reserve:
    """Bytes of the pool that a batch of requests of n tokens takes, and what of windows they hold while they decode."""
    chosen = settings(workload)
    slots = slots_of(layers_of(spec, "sglang"), spec.architecture, workload, chosen, spec.state_dtype, stage)
    reaches = {branch.label.removesuffix(" shared"): branch.reach for _, branch in spec.branches()}
    shared, every = _pages(slots, 1), _pages(slots, slots.sequence)
    reserved, held, steps, fractions = [], [], [], []
    for cell in slots.cells:
        needed = waiting(*cell.waits) if cell.waits else kept(reaches[cell.label])
        row, whole = (cell.each or one for one in (cell.row, cell.whole_row))
        full, sharing = (every, 1) if cell.all_tokens else (shared, slots.sequence)
        if cell.span:
            tokens, slot = _share(EVERY, cell, slots), _share(full, cell, slots)
            reserved.append(_windows(cell, slots, full))
            held.append(_window_held(cell, slots, full))
        else:
            windowed = reaches[cell.label].kind in (WINDOW, CHUNK)
            tokens, slot = EVERY if windowed else needed, _rows(full, cell)
            reserved.append(_part(cell, full))
            held.append(reserved[-1])
        if cell.span or cell.each:
            inner: Symbols = {"bytes": reserved[-1].node, "times": reserved[-1].times, "row": row, "slots": slot}
            inner = {**inner, "layers": cell.layers}
            name = f"all {cell.layers} {cell.label} layers"
            fractions.append(Part(1, name, Quantity("", "times*bytes - B*layers*row*slots", inner)))
        ours = of_a_rank(needed, sharing)
        tokens = of_a_rank(tokens, sharing)
        steps.append(Step(cell.layers, cell.label, whole, row, ours, tokens, slot, needed))
    for cell in slots.states:
        one = Quantity("states", "1", {}, SOURCE_STATE)
        numbers: Symbols = {"row": cell.row, "slots": one}
        reserved.append(Part(cell.layers, f"{cell.label} layer", Quantity("", "B*row*slots", numbers)))
        held.append(reserved[-1])
        steps.append(Step(cell.layers, cell.label, cell.whole_row, cell.row, ONE, ONE, ONE))
    for cell in slots.rings:
        rows = Quantity("tokens that wait", str(cell.rows), {}, SOURCE_RING)
        numbers = {"row": cell.each, "slots": rows}
        reserved.append(Part(cell.layers, cell.label, Quantity("", "B*row*slots", numbers)))
        held.append(reserved[-1])
        needed = waiting(*cell.waits or (1, 1))
        steps.append(Step(cell.layers, cell.label, cell.each, cell.each, needed, needed, rows))
    names = ["page_size"]
    names += ["hybrid_swa"] if any(reach.kind in (WINDOW, CHUNK) for reach in reaches.values()) else []
    names += ["swa_full_tokens_ratio"] if slots.windowed else []
    above, below = slots.ratio
    settled = {
        **chosen,
        "page_size": slots.page,
        "hybrid_swa": "on" if slots.windowed else "off",
        "swa_full_tokens_ratio": f"{above / below:g}",
    }
    padding = Total("padding", tuple(fractions)) if fractions else None
    wasted = waste(steps, ranks(workload).attention, padding)
    return Reserve(Total("", tuple(reserved)), Total("", tuple(held)), wasted, told(settled, *names))


def _pages(slots: Slots, of: int) -> Quantity:
    """Tokens of a request in whole pages, on one of the ranks that share them, or on so many of these together."""
    numbers: Symbols = {"page_size": slots.page}
    if slots.sequence == 1:
        return Quantity("tokens of whole pages", "ceil_div(n, page_size)*page_size", numbers, SOURCE)
    formula = "ceil_div(n, cp*page_size)*page_size" + ("*cp" if of > 1 else "")
    return Quantity("tokens of whole pages", formula, {**numbers, "cp": slots.sequence}, SOURCE)


def _rows(tokens: Quantity, cell: Cell) -> Quantity:
    """Rows of so many tokens."""
    if cell.per == 1:
        return tokens
    return Quantity("rows", "tokens//per*rows", {"tokens": tokens, "per": cell.per, "rows": cell.rows})


def _room(cell: Cell, slots: Slots) -> int:
    """Tokens of a window's pool that a request holds at most while it decodes: what is freed is so by the page."""
    return cell.span + EVICTION_INTERVAL + 2 * slots.page


def _share(tokens: Quantity, cell: Cell, slots: Slots) -> Quantity:
    """Rows of the windows' pool to so many of full layers; at least those that decode holds."""
    above, below = slots.ratio
    numbers: Symbols = {"tokens": tokens, "share": above, "of": below, "room": _room(cell, slots)}
    formula = "max(share*tokens//of, min(tokens, room))"
    if cell.per > 1:
        numbers, formula = {**numbers, "per": cell.per, "rows": cell.rows}, f"{formula}*rows//per"
    return Quantity("window's share", formula, numbers, SOURCE_WINDOW)


def _windows(cell: Cell, slots: Slots, tokens: Quantity) -> Part:
    """Bytes of like layers with windows: a token's bytes are not rounded by the layer."""
    above, below = slots.ratio
    numbers: Symbols = {"tokens": tokens, "share": above, "of": below * cell.per, "room": _room(cell, slots)}
    numbers = {**numbers, "row": cell.layers * cell.row, "per": cell.per}
    formula = "B*max(row*share*tokens//of, row*ceil_div(min(tokens, room), per))"
    return Part(1, f"all {cell.layers} {cell.label} layers", Quantity("", formula, numbers, SOURCE_WINDOW))


def _window_held(cell: Cell, slots: Slots, tokens: Quantity) -> Part:
    numbers: Symbols = {"tokens": tokens, "room": _room(cell, slots), "row": cell.row, "per": cell.per}
    formula = "B*row*ceil_div(min(tokens, room), per)"
    return Part(cell.layers, f"{cell.label} layer", Quantity("", formula, numbers, SOURCE_HELD))


def _part(cell: Cell, tokens: Quantity) -> Part:
    numbers: Symbols = {"row": cell.row, "slots": tokens}
    formula = "B*row*slots"
    if cell.per > 1:
        numbers, formula = {**numbers, "per": cell.per}, "B*row*(slots//per)"
    return Part(cell.layers, f"{cell.label} layer", Quantity("", formula, numbers))


def pool(spec: ModelSpec, workload: Workload, budget_bytes: int, stage: Stage = WHOLE) -> Pool:
    """Tokens that a budget holds. SGLang tells no concurrency: it takes requests as they fit, and takes them back."""
    chosen = settings(workload)
    slots = slots_of(layers_of(spec, "sglang"), spec.architecture, workload, chosen, spec.state_dtype, stage)
    context = spec.max_position_embeddings or workload.context_tokens
    tokens, windows = pool_of(slots, chosen, budget_bytes, context)
    states = state_slots(slots, chosen, budget_bytes)
    tokens *= slots.sequence
    takes = _whole(workload.context_tokens, slots.page * slots.sequence)
    batch = workload.batch
    fits = not slots.cells or batch * takes <= tokens
    for cell in slots.cells:
        if cell.span:
            fits = fits and batch * min(takes, _whole(cell.span, slots.page)) <= windows
    if states is not None:
        fits = fits and batch * (1 if chosen["disable_radix_cache"] else PINNED) <= states
    if slots.rings:
        fits = fits and batch <= request_slots(slots, budget_bytes, context)
    aside = aside_bytes(slots, chosen, budget_bytes, context)
    return Pool(fits, None, tokens, None, max(0, aside - batch * (slots.state_bytes + slots.ring_bytes)))


def _whole(tokens: int, page: int) -> int:
    return -(-tokens // page) * page


def state_slots(slots: Slots, chosen: Settings, budget_bytes: int) -> int | None:
    """Slots of states that a budget holds beside the tokens; None where there are no states."""
    if not slots.state_bytes:
        return None
    above, below = ratio_of(str(chosen["mamba_full_memory_ratio"]), "mamba_full_memory_ratio")
    return budget_bytes * above // ((above + below) * slots.state_bytes) - 1


def aside_bytes(slots: Slots, chosen: Settings, budget_bytes: int, context: int) -> int:
    """Of slots of states and of rings, spare ones too."""
    states = state_slots(slots, chosen, budget_bytes)
    if slots.rings:
        return (request_slots(slots, budget_bytes, context) + SPARE_RINGS) * slots.ring_bytes
    return 0 if states is None else (states + 1) * slots.state_bytes


def request_slots(slots: Slots, budget_bytes: int, context: int) -> int:
    """Requests whose rings have a place, as many as are assumed where nobody says how many run."""
    tokens = int(budget_bytes // slots.cell_size())
    return min(max(min(tokens * 512 // context, MOST_REQUESTS), LEAST_REQUESTS), tokens // 2)


def pool_of(slots: Slots, chosen: Settings, budget_bytes: int, context: int = 1) -> tuple[int, int]:
    """Tokens of full layers, and of windows where these have a pool of their own; whole pages."""
    rest = budget_bytes - aside_bytes(slots, chosen, budget_bytes, context)
    if not slots.cells:
        return 0, 0
    tokens = int(max(0, rest) // slots.cell_size()) // slots.page * slots.page
    above, below = slots.ratio
    return tokens, tokens * above // below // slots.page * slots.page


def buffer_bytes(slots: Slots, tokens: int) -> int:
    """What the pool's tensors take: a page more than the tokens, and whole pages of an index's keys."""
    rows = tokens + slots.page
    keyed = rows // slots.page * slots.page
    return sum(cell.layers * cell.row * (keyed if cell.label.startswith("index") else rows) for cell in slots.cells)


def of_device(accelerator: Accelerator) -> tuple[tuple[str, str], ...]:
    """The class of GPU."""
    return (("gpu_class", class_of(accelerator)),)


def taking(spec: ModelSpec, workload: Workload, memory_bytes: int) -> Taking:
    """mem_fraction_static, of what is set aside for activations and graphs, to three decimals as SGLang rounds it."""
    from kvcalc.engines.sglang_memory import fraction_of

    chosen = settings(workload)
    latent = any(isinstance(kind, Vector | Rows) for kind in layers_of(spec, "sglang"))
    share = fraction_of(
        memory_bytes,
        workload.tensor_parallel,
        int(chosen["chunked_prefill_size"]),
        int(chosen["cuda_graph_max_bs"]),
        latent=latent,
        stages=workload.pipeline_parallel,
        groups=workload.data_parallel if chosen["enable_dp_attention"] else 1,
    )
    return Taking(share, "mem_fraction_static of SGLang 0.5.23, arg_groups/memory_hook.py handle_gpu_memory_settings")


ENGINE = Engine(
    "sglang",
    kept,
    lambda store: store.formula,
    lambda state: state.formula,
    versions=("0.5.23",),
    options=OPTIONS,
    reserve=reserve,
    pool=pool,
    taking=taking,
    of_device=of_device,
    ranks=ranks,
    stages=stages,
    by_heads=True,
    even_experts=True,
)
