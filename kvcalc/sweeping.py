"""A grid of workloads for each model, row after row: the rows of `compare`, its formulas built once for all of them.

With numpy they are evaluated over whole arrays, without it row by row: the same integers.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from kvcalc.analysis import formulas, real_formulas
from kvcalc.comparison import CONTEXTS_DIFFER, cautions, machine_notes, with_variants
from kvcalc.quantity import symbols_in
from kvcalc.real import evaluate_rows
from kvcalc.request import Request
from kvcalc.reserving import engine_notes
from kvcalc.rows import KEYS, PHASES, RATIOS, Block, asked, longer
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from kvcalc.grid import Grid, Setting
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.rows import Column, Row
    from kvcalc.variants import Variant
    from kvcalc.workload import Workload

    Quantities: TypeAlias = Mapping[str, Node | None]
    Evaluate: TypeAlias = Callable[
        [Quantities, Mapping[str, int], Sequence[int], Sequence[int]], Mapping[str, int | list[int]]
    ]
    EvaluateReals: TypeAlias = Callable[
        [Mapping[str, Node], Mapping[str, int | list[int]], int], Mapping[str, list[float]]
    ]

ROWS_A_BLOCK = 16_384
SLOW_ROWS = 20_000


class Asked(NamedTuple):
    """A model, and the contexts it is asked for."""

    spec: ModelSpec
    contexts: tuple[int, ...]


class Plan(NamedTuple):
    """One model under one workload but for its contexts and batches. The ratio is to the cache of `reference`."""

    asked: Asked
    variant: str
    workload: Workload
    batches: tuple[int, ...]
    reference: Asked

    @property
    def length(self) -> int:
        """Rows."""
        return len(self.asked.contexts) * len(self.batches)


class Sweep(NamedTuple):
    """Everything asked for, computed as it is read."""

    plans: tuple[Plan, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def length(self) -> int:
        """Rows in all."""
        return sum(plan.length for plan in self.plans)

    def blocks(self) -> Iterator[Block]:
        """The rows as blocks, in the order of models, variants, settings, contexts and batches."""
        evaluate, evaluate_reals = _evaluate_arrays() or (evaluate_each, evaluate_rows)
        for plan in self.plans:
            yield from _blocks(plan, evaluate, evaluate_reals)

    def rows(self) -> Iterator[Row]:
        """Each row, with the keys and the numbers that `compare` has for it."""
        for block in self.blocks():
            yield from block.rows()


def sweep(specs: Sequence[ModelSpec], grid: Grid, variants: Sequence[Variant] = ()) -> Sweep:
    """Plan every workload of the grid for each model and its variants.

    As in `compare`, ratios are to the configured model, with several models to the first one. Raises KvcalcError where
    a workload contradicts itself.
    """
    plans: list[Plan] = []
    notes: dict[str, None] = {}
    warnings: list[str] = []
    for spec in specs:
        models, told = with_variants(spec, variants)
        notes.update(dict.fromkeys(told))
        largest = [_ends(spec, setting)[1] for setting in grid.settings]
        warnings += cautions(spec, largest)
        notes.update(dict.fromkeys((*engine_notes(spec, largest), *machine_notes(spec, largest))))
        for model, name in models:
            for setting in grid.settings:
                ours = _asked(model, setting)
                reference = _asked(specs[0] if len(specs) > 1 else spec, setting)
                plans.append(Plan(ours, name, setting.workload, setting.batches, reference))
    if len({plan.asked.contexts for plan in plans if plan.workload == plans[0].workload}) > 1:
        notes[CONTEXTS_DIFFER] = None
    made = Sweep(tuple(plans), tuple(notes), tuple(warnings))
    if made.length > SLOW_ROWS and _evaluate_arrays() is None:
        notes["without numpy this takes many times as long: pip install 'kvcalc[fast]'"] = None
    return made._replace(notes=tuple(notes))


def _ends(spec: ModelSpec, setting: Setting) -> tuple[Workload, Workload]:
    """The workloads of the smallest and of the largest context and batch: where these make sense all between do."""
    ends = []
    for pick in (min, max):
        n = pick(setting.contexts) if setting.contexts else None
        workload = setting.workload._replace(batch=pick(setting.batches))
        ends.append(Request(workload, n).of(spec))
    return ends[0], ends[1]


def _asked(spec: ModelSpec, setting: Setting) -> Asked:
    return Asked(spec, setting.contexts or (_ends(spec, setting)[0].context_tokens,))


def _evaluate_arrays() -> tuple[Evaluate, EvaluateReals] | None:
    """How to evaluate over arrays, whole numbers and others; None without numpy."""
    try:
        from kvcalc.arrays import evaluate_arrays, evaluate_real_arrays
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        return None
    return evaluate_arrays, evaluate_real_arrays


def evaluate_each(
    quantities: Quantities, scope: Mapping[str, int], contexts: Sequence[int], batches: Sequence[int]
) -> dict[str, int | list[int]]:
    """Every quantity at every context and batch, row by row; one number where it depends on neither."""
    varying = {"n", "B"}
    nodes = {key: node for key, node in quantities.items() if node is not None}
    for key, node in nodes.items():
        if not varying.isdisjoint(symbols_in(node)):
            varying.add(key)
    found: dict[str, int | list[int]] = {}
    local = {**scope, "n": contexts[0], "B": batches[0]}
    for key, node in nodes.items():
        local[key] = node.evaluate(local)
        found[key] = [] if key in varying else local[key]
    lists = [(key, nodes[key], told) for key, told in found.items() if isinstance(told, list)]
    for local["n"] in contexts:
        for local["B"] in batches:
            for key, node, told in lists:
                local[key] = node.evaluate(local)
                told.append(local[key])
    return found


def _blocks(plan: Plan, evaluate: Evaluate, evaluate_reals: EvaluateReals) -> Iterator[Block]:
    spec, workload = plan.asked.spec, plan.workload
    quantities, bounds = formulas(spec, workload), real_formulas(spec, workload)
    itself = plan.reference == plan.asked
    base = {key: formulas(plan.reference.spec, workload)[key] for key in ("encoder_tokens", "cache_bytes")}
    for rows, across in _tiles(len(plan.asked.contexts), len(plan.batches)):
        contexts, batches = plan.asked.contexts[rows], plan.batches[across]
        found = evaluate(quantities, workload.scope(), contexts, batches)
        reference = found if itself else evaluate(base, workload.scope(), plan.reference.contexts[rows], batches)
        ratios = {key: _quotients(found[above], found[below]) for key, (above, below) in RATIOS.items()}
        ratios["cache_ratio"] = _quotients(found["cache_bytes"], reference["cache_bytes"])
        length, labels = len(contexts) * len(batches), _asked_columns(plan, contexts, batches)
        told = {**labels, **found, **ratios}
        if bounds:
            n: list[int] = [one for one in contexts for _ in batches]
            columns = {**workload.scope(), **found, "n": n, "B": [*batches] * len(contexts)}
            reals = evaluate_reals(bounds, columns, length)
            told.update(reals)
            for phase in PHASES:
                computing, moving = (reals[f"{phase}_{what}_seconds"] for what in ("compute", "memory"))
                told[f"{phase}_bound_by"] = [longer(*pair) for pair in zip(computing, moving, strict=True)]
        yield Block(length, {key: told.get(key) for key in KEYS})


def _tiles(contexts: int, batches: int) -> Iterator[tuple[slice, slice]]:
    """Parts of the grid of at most ROWS_A_BLOCK rows, in the order of the rows."""
    across = min(batches, ROWS_A_BLOCK)
    down = ROWS_A_BLOCK // across
    for top in range(0, contexts, down):
        for left in range(0, batches, across):
            yield slice(top, top + down), slice(left, left + across)


def _asked_columns(plan: Plan, contexts: Sequence[int], batches: Sequence[int]) -> dict[str, Column]:
    """What the rows are about: the columns that vary as lists."""
    workload = plan.workload._replace(context_tokens=contexts[0], batch=batches[0])
    told: dict[str, Column] = {**asked(plan.asked.spec, plan.variant, workload)}
    if len(contexts) > 1:
        told["context_tokens"] = [n for n in contexts for _ in batches]
        told["prompt_tokens"] = [n - workload.cached_tokens for n in contexts for _ in batches]
    if len(batches) > 1:
        told["batch"] = [*batches] * len(contexts)
    return told


def _quotients(above: int | list[int], below: int | list[int]) -> Column:
    """Each above by its below, None where that is 0."""
    if not isinstance(above, list) and not isinstance(below, list):
        return above / below if below else None
    sides = (side if isinstance(side, list) else repeat(side) for side in (above, below))
    return [a / b if b else None for a, b in zip(*sides, strict=False)]  # repeat has no end
