"""llama.cpp 0c1e57098: cells for every token of the context, allocated whole at the start.

Sources: src/llama-context.cpp (n_ctx), src/llama-kv-cache.cpp and src/llama-kv-cache-iswa.cpp (cells, rows),
src/llama-memory-recurrent.cpp and src/llama-hparams.cpp n_embd_r, n_embd_s (states), src/llama-kv-cache-dsa.cpp (an
index's keys), src/llama-kv-cache-dsv4.cpp (compressed rows; read, not run), src/llama-model.cpp load_tensors (layers
over devices; read, not run), ggml's block types.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kvcalc.attention.reach import kept
from kvcalc.engines import Engine, Option, Pool, Reserve
from kvcalc.engines.layers import CHUNK, CROSS, FULL, WINDOW, KvHeads, Recurrent, Rows, Vector, layers_of, waiting
from kvcalc.engines.ranks import WHOLE, alike, has_only, on_stage
from kvcalc.engines.settings import settings, told
from kvcalc.engines.waste import EVERY, ONE, Step, waste
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.workload import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines import Settings
    from kvcalc.engines.layers import Kind
    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.workload import Workload

SOURCE = "llama.cpp 0c1e57098, llama-context.cpp: n_ctx_seq, in cells of 256"
SOURCE_WINDOW = "llama.cpp 0c1e57098, llama-kv-cache-iswa.cpp: size_swa"
SOURCE_STATE = "llama.cpp 0c1e57098, llama-memory-recurrent.cpp: f32, a row a sequence"
SOURCE_ROWS = "llama.cpp 0c1e57098, llama-kv-cache-dsv4.cpp: rows in cells of 256 (read, not run)"
SOURCE_RING = "llama.cpp 0c1e57098, llama-kv-cache-dsv4.cpp: llama_dsv4_comp_state, f32 (read, not run)"
OPTIONS = {
    "n_ctx": Option(0, "tokens of all sequences; 0: batch times context"),
    "n_seq_max": Option(0, "sequences; 0: the batch"),
    "kv_unified": Option(False, "one stream of cells for all sequences"),
    "n_ubatch": Option(512, "tokens of one step, which a window keeps too", least=1),
    "swa_full": Option(False, "windows keep every token"),
    "flash_attn": Option(True, "off: V is stored transposed, its rows as wide as the widest"),
}
CELLS = 256
PLAIN = {"fp32": 4, "bf16": 2, "fp16": 2}
F32 = 4


def row_bytes(dtype: str, elements: int) -> int:
    """Bytes of a row of elements: whole blocks of 32, or plain."""
    if dtype in PLAIN:
        return PLAIN[dtype] * elements
    if dtype not in BLOCK_BYTES:
        known = ", ".join((*PLAIN, *BLOCK_BYTES))
        raise KvcalcError(f"llamacpp: it has no cache of {dtype}", f"--dtype: one of {known}")
    if elements % 32:
        raise KvcalcError(
            f"llamacpp: {dtype} is of blocks of 32 elements, and a row here has {elements}", "--dtype bf16"
        )
    return BLOCK_BYTES[dtype] * elements // 32


def rows_of(kinds: Sequence[Kind], workload: Workload, chosen: Settings) -> list[tuple[Kind, int]]:
    """Every kind of layer that has cells or a state of its own, and the bytes of one cell of it, or of the state."""
    type_k, type_v = (workload.dtype_of(role) for role in "kv")
    flash = bool(chosen["flash_attn"])
    owners = [kind for kind in kinds if isinstance(kind, Recurrent) or not kind.shares]
    heads = [kind for kind in owners if isinstance(kind, KvHeads) and kind.kind != CROSS]
    if not flash and type_v in BLOCK_BYTES and heads:
        raise KvcalcError(f"llamacpp: V of {type_v} needs flash attention", "leave flash_attn=off out")
    widest = max((kind.kv_heads * kind.d_v for kind in heads), default=0)
    found: list[tuple[Kind, int]] = []
    for kind in owners:
        if isinstance(kind, Recurrent):
            found.append((kind, F32 * (kind.conv_of_a_rank(1) + kind.recurrent)))
        elif not isinstance(kind, KvHeads):
            row = row_bytes(type_k, kind.elements)  # one vector, kept as K; there is no V
            if isinstance(kind, Vector) and kind.role == "block key":
                row += row_bytes(type_v, next(one.d_v for one in heads))  # llama_kv_cache_msa: and V beside heads
            found.append((kind, row))
        elif kind.kind != CROSS:  # of those the encoder's output is kept, outside the cache
            width = kind.kv_heads * kind.d_v if flash else widest
            found.append((kind, row_bytes(type_k, kind.kv_heads * kind.d_k) + row_bytes(type_v, width)))
    return found


def honours(kinds: Sequence[Kind], chosen: Settings) -> bool:
    """Whether windows keep less: where other layers are full.

    Windows on every layer are Mistral 7B's and Phi-3's, which run as architectures that have none.
    """
    heads = [kind for kind in kinds if isinstance(kind, KvHeads)]
    mixed = any(kind.kind == FULL for kind in heads) and any(kind.kind in (WINDOW, CHUNK) for kind in heads)
    return mixed and not chosen["swa_full"]


def cells_of(kind: Kind, chosen: Settings, *, windowed: bool) -> Quantity:
    """Cells of one layer, all sequences: streams times cells, as a formula of n and B."""
    numbers: dict[str, int | Node] = {}
    sequences = int(chosen["n_seq_max"])
    numbers["sequences"] = sequences or Quantity("sequences", "B")
    context = int(chosen["n_ctx"])
    numbers["context"] = context or Quantity("tokens of all sequences", "B*n")
    unified = bool(chosen["kv_unified"])
    one = "ceil_div(context, 256)*256" if unified else "ceil_div(ceil_div(context, 256)*256//sequences, 256)*256"
    cells = Quantity("cells of a sequence", one, numbers, SOURCE)
    apart = isinstance(kind, Rows) or (isinstance(kind, Vector) and kind.span > 0)  # a stream a sequence, always
    unified = unified and not apart
    if isinstance(kind, Rows):
        numbers_of_rows: dict[str, int | Node] = {"cells": cells, "m": kind.rate}
        formula = "ceil_div(ceil_div(cells, m), 256)*256"
        cells = Quantity("cells of rows", formula, numbers_of_rows, SOURCE_ROWS)
    elif isinstance(kind, KvHeads | Vector) and _slides(kind, chosen, windowed=windowed):
        window: dict[str, int | Node] = {"cells": cells, "W": kind.span, "n_ubatch": int(chosen["n_ubatch"])}
        window["sequences"] = numbers["sequences"]
        wide = "W*sequences" if unified else "W"
        cells = Quantity(
            "cells of a window", f"ceil_div(min(cells, {wide} + n_ubatch), 256)*256", window, SOURCE_WINDOW
        )
    if unified:
        return cells
    return Quantity("cells of all sequences", "sequences*cells", {"sequences": numbers["sequences"], "cells": cells})


def ranks(workload: Workload) -> Ranks:
    """It splits a model by layers alone. Raises KvcalcError for every other way."""
    if workload.tensor_parallel > 1:
        raise KvcalcError("llamacpp: it splits a model by layers, not by heads", f"--pp {workload.tensor_parallel}")
    has_only("llamacpp", workload, ("pp",), "it splits a model by layers: --pp")
    return alike(1, workload.pipeline_parallel)


def stages(layers: int, devices: int) -> list[int]:
    """Layers on each of several devices of one size; lm_head counts as a layer, and stands on the last."""
    on = [at * devices // (layers + 1) for at in range(layers)]
    return [on.count(device) for device in range(devices)]


def reserve(spec: ModelSpec, workload: Workload, stage: Stage = WHOLE) -> Reserve:
    """Everything is allocated at the start, and held. Raises KvcalcError where n_ctx or n_seq_max leave no room."""
    chosen = settings(workload)
    n, batch = workload.context_tokens, workload.batch
    if not has_room(chosen, n, batch):
        given = ", ".join(told(chosen, *(name for name in ("n_ctx", "n_seq_max") if chosen[name])))
        message = f"llamacpp: with {given} there is no room for {batch:,} x {n:,} tokens"
        raise KvcalcError(message, f"n_ctx={max(batch, int(chosen['n_seq_max'])) * n}, which its sequences share")
    kinds = layers_of(spec, "llamacpp")
    windowed = honours(kinds, chosen)
    reaches = {branch.label: branch.reach for _, branch in spec.branches(owners=True)}
    parts, steps, rounding = [], [], []
    for whole, row in rows_of(kinds, workload, chosen):
        (kind,) = on_stage([whole], stage) or (None,)
        if kind is None:
            continue
        needed, admitted = ONE, ONE
        if isinstance(kind, Rows):
            sequences = int(chosen["n_seq_max"]) or Quantity("sequences", "B")
            ring = Quantity("ring", "sequences*ring", {"sequences": sequences, "ring": kind.ring}, SOURCE_RING)
            bound: dict[str, int | Node] = {"row": F32 * kind.waiting, "cells": ring}
            waits = waiting(kind.rate, kind.series)
            name = f"ring of {kind.label}"
            parts.append(Part(kind.layers, name, Quantity("", "row*cells", bound)))
            formula = "row*(cells - B*kept)"
            rounding.append(Part(kind.layers, name, Quantity("", formula, {**bound, "kept": waits})))
            steps.append(Step(kind.layers, name, F32 * kind.waiting, F32 * kind.waiting, waits, waits, waits))
        if isinstance(kind, Recurrent):
            sequences = int(chosen["n_seq_max"]) or Quantity("sequences", "B")
            held = Quantity("states", "sequences", {"sequences": sequences}, SOURCE_STATE)
        else:
            held = cells_of(kind, chosen, windowed=windowed)
            needed = kept(reaches[kind.label])
            admitted = needed if isinstance(kind, Rows) else _admitted(kind, chosen, windowed=windowed)
        name = f"{kind.label} layer"
        parts.append(Part(kind.layers, name, Quantity("", "row*cells", {"row": row, "cells": held})))
        numbers: dict[str, int | Node] = {"row": row, "cells": held, "kept": admitted}
        rounding.append(Part(kind.layers, name, Quantity("", "row*(cells - B*kept)", numbers)))
        steps.append(Step(kind.layers, kind.label, row, row, needed, admitted, admitted))
    reserved = Total("", tuple(parts))
    wasted = waste(steps, 1, rounding=Total("rounding", tuple(rounding)))
    return Reserve(reserved, reserved, wasted, _mattered(kinds, chosen, windowed))


def _slides(kind: KvHeads | Vector, chosen: Settings, *, windowed: bool) -> bool:
    """Whether such layers keep a window and no more."""
    if isinstance(kind, Vector):
        return kind.span > 0 and not chosen["swa_full"]
    return windowed and kind.kind in (WINDOW, CHUNK)


def _admitted(kind: Kind, chosen: Settings, *, windowed: bool) -> Quantity:
    """Tokens of a sequence that are kept, before cells are rounded up."""
    if isinstance(kind, KvHeads | Vector) and _slides(kind, chosen, windowed=windowed):
        numbers = {"W": kind.span, "n_ubatch": int(chosen["n_ubatch"])}
        return Quantity("window in flight", "min(n, W + n_ubatch)", numbers)
    return EVERY


def _mattered(kinds: Sequence[Kind], chosen: Settings, windowed: bool) -> tuple[str, ...]:
    shared = any(isinstance(kind, Vector) and kind.span for kind in kinds)
    names = ["n_ubatch"] if windowed or shared else []
    spans = any(isinstance(kind, KvHeads) and kind.kind in (WINDOW, CHUNK) for kind in kinds)
    names += ["swa_full"] if shared or (spans and (windowed or chosen["swa_full"])) else []
    names += [name for name, option in OPTIONS.items() if chosen[name] != option.default]
    return told(chosen, *names)


def pool(spec: ModelSpec, workload: Workload, budget_bytes: int, stage: Stage = WHOLE) -> Pool:
    """The whole is allocated or it is not: what fits is the cells of these sequences."""
    chosen, n, batch = settings(workload), workload.context_tokens, workload.batch
    if not has_room(chosen, n, batch):
        return Pool(False, None, 0, None)
    fits = reserve(spec, workload, stage).reserved.evaluate({"n": n, "B": batch}) <= budget_bytes
    return Pool(fits, None, math.prod(cells_at(chosen, n, batch)) if fits else 0, None)


def cells_at(chosen: Settings, n: int, batch: int) -> tuple[int, int]:
    """Streams, and the cells of each that keep every token."""
    context = -(-(int(chosen["n_ctx"]) or batch * n) // CELLS) * CELLS
    sequences = int(chosen["n_seq_max"]) or batch
    return (1, context) if chosen["kv_unified"] else (sequences, -(-(context // sequences) // CELLS) * CELLS)


def has_room(chosen: Settings, n: int, batch: int) -> bool:
    """Whether so many sequences of n tokens have cells."""
    streams, cells = cells_at(chosen, n, batch)
    return batch <= (int(chosen["n_seq_max"]) or batch) and n * (batch if streams == 1 else 1) <= cells


ENGINE = Engine(
    "llamacpp",
    kept,
    lambda store: store.formula,
    lambda state: state.formula,
    versions=("0c1e57098",),
    options=OPTIONS,
    reserve=reserve,
    pool=pool,
    ranks=ranks,
    stages=stages,
    spread="pipeline_parallel",
)
