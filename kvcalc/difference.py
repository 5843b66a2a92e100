"""What a change of configs does: every field that differs, and every number that differs by it, old -> new.

Two sides of a model meet in a Pair, are asked for the same workloads, and what differs is a Change. A number that does
not depend on a part of the workload, as parameters do on none of it, is told once and not for every context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.analysis import analyze
from kvcalc.rows import ASKED, RESULTS, Block, blocks_of
from kvcalc.tuples import NamedTuple
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvcalc.model import ModelSpec
    from kvcalc.request import Request
    from kvcalc.rows import Record, Row, Value

KEYS = (
    "model",
    "variant",
    "status",
    "old_file",
    "new_file",
    "line",
    "kind",
    "name",
    *ASKED,
    "old",
    "new",
    "difference",
    "percent",
)
STATUSES = ("changed", "renamed", "new", "deleted")
KINDS = ("file", "field", "quantity")
# cache_ratio is to another row of a comparison, and no number of one model.
COMPARED = tuple(key for key in RESULTS if key != "cache_ratio")

_DECODE = ("context_tokens", "batch", "kv_cache", "mla_decode", "mla_prefill", "encoder_tokens", "mtp")
_PREFILL = (
    "context_tokens",
    "batch",
    "prompt_tokens",
    "cached_tokens",
    "mla_prefill",
    "shared_prefix_tokens",
    "encoder_tokens",
    "mtp",
)
_CACHE = ("context_tokens", "batch", "kv_cache", "shared_prefix_tokens", "encoder_tokens", "engine", "mtp")
_DTYPES = ("cache_dtype", "state_dtype")
_ENGINE = ("on", "engine_version", "engine_options", *PARALLEL)
_PARTS = ("core", "projection", "attention", "model")
_MACHINE = (*_DTYPES, "kv_cache", "weight_dtype", "shared_prefix_tokens", "engine", *PARALLEL, "on")
# What each number depends on, of all that is asked; one that is not here, on everything.
DEPENDS: dict[str, tuple[str, ...]] = {
    "cache_elements_per_token": ("kv_cache", "engine", "mtp"),
    "cache_bytes_per_token": ("cache_dtype", "kv_cache", "engine", "mtp"),
    "cache_elements": _CACHE,
    "cache_bytes": (*_CACHE, *_DTYPES),
    "state_elements": ("batch", "kv_cache", "engine", "mtp"),
    "state_bytes": ("batch", "kv_cache", "engine", "mtp", *_DTYPES),
    "decode_cache_read_bytes": ("context_tokens", "batch", "kv_cache", "encoder_tokens", "engine", "mtp", *_DTYPES),
    "decode_intensity": (*_DECODE, "engine", *_DTYPES),
    "parameters": ("mtp",),
    "active_parameters": ("mtp",),
    "weight_bytes": ("weight_dtype", "mtp"),
    "receptive_field_tokens": ("mtp",),
    **dict.fromkeys(
        ("reserved_bytes", "held_bytes", "waste_ratio", "reserved_bytes_total"), (*_CACHE, *_DTYPES, *_ENGINE)
    ),
    **dict.fromkeys(("weight_bytes_per_device", "weight_bytes_total"), ("weight_dtype", "mtp", "engine", *_ENGINE)),
    **{
        f"{phase}_{what}": (*told, *_MACHINE)
        for phase, told in (("decode", _DECODE), ("prefill", _PREFILL))
        for what in ("least_seconds", "bound_by", "tokens_per_second_at_most")
    },
    "answer_cache_bytes": (*_CACHE, *_DTYPES, "generate_tokens"),
    **{f"decode_{part}_flops": _DECODE for part in _PARTS},
    **{f"prefill_{part}_flops": _PREFILL for part in _PARTS},
    **{f"{phase}_{part}_flops": (*_DECODE, "generate_tokens") for phase in ("last_step", "answer") for part in _PARTS},
}


class Side(NamedTuple):
    """A model's name, the file or name that it was read by, and the model, None where only its rows are known."""

    name: str
    file: str
    spec: ModelSpec | None = None


class Field(NamedTuple):
    """A field of a config that differs; `line` of the new file, 0 where it is not there; None: absent."""

    name: str
    line: int
    old: Value
    new: Value


class Pair(NamedTuple):
    """The same model before and after; None where there was or is none. `moved`: from one file to another."""

    old: Side | None
    new: Side | None
    fields: tuple[Field, ...] = ()
    moved: bool = False

    @property
    def status(self) -> str:
        """One of STATUSES."""
        if self.old is None or self.new is None:
            return "new" if self.old is None else "deleted"
        return "renamed" if self.moved else "changed"


class Change(NamedTuple):
    """One thing that differs. `asked` holds the part of the workload that a quantity depends on."""

    kind: str
    name: str
    line: int
    asked: Mapping[str, Value]
    old: Value
    new: Value

    @property
    def difference(self) -> int | float | None:
        """New less old, exact where both are whole; None where one is no number."""
        if isinstance(self.old, int | float) and isinstance(self.new, int | float):
            return self.new - self.old
        return None

    @property
    def percent(self) -> float | None:
        """The difference as a percentage of the old number; None where that is 0 or there is none."""
        difference = self.difference
        if difference is None or not isinstance(self.old, int | float) or not self.old:
            return None
        return 100 * difference / abs(self.old)


class Difference(NamedTuple):
    """All that differs in one model. `old_model` is its name before; files are None where there is no such side."""

    model: str
    old_model: str
    variant: str
    status: str
    old_file: str | None
    new_file: str | None
    changes: tuple[Change, ...]

    def of_kind(self, kind: str) -> list[Change]:
        """The changes of one of KINDS."""
        return [change for change in self.changes if change.kind == kind]

    @property
    def line(self) -> int:
        """The line of the first field that differs, 0 where there is none."""
        return min((change.line for change in self.changes if change.line), default=0)

    def rows(self) -> Iterator[Record]:
        """One flat record a change, with KEYS; null where something does not apply."""
        for change in self.changes:
            told = {
                **self._asdict(),
                **change._asdict(),
                **change.asked,
                "line": change.line or None,
                "difference": change.difference,
                "percent": change.percent,
            }
            yield {key: told.get(key) for key in KEYS}


class Diff(NamedTuple):
    """The models that differ."""

    models: tuple[Difference, ...]

    def rows(self) -> list[Record]:
        """One flat record a change: raw numbers, null where one does not apply."""
        return [record for model in self.models for record in model.rows()]

    def blocks(self) -> list[Block]:
        """The same as a block, which has its keys even where nothing differs."""
        return blocks_of(self.rows()) or [Block(0, {key: [] for key in KEYS})]


def diff(pairs: Iterable[Pair], requests: Iterable[Request]) -> Diff:
    """Ask both sides of every pair for the same workloads, and keep what differs.

    A context that follows from the model follows from the new one, where there is one. Raises KvcalcError where a
    workload contradicts itself.
    """
    asked = list(requests)
    return diff_rows((pair, "configured", [_row_pair(pair, request) for request in asked]) for pair in pairs)


def diff_rows(measured: Iterable[tuple[Pair, str, Sequence[tuple[Row | None, Row | None]]]]) -> Diff:
    """Compare rows with rows: a pair, its variant, and for each workload the old and the new row, None for none."""
    found = (_difference(pair, variant, rows) for pair, variant, rows in measured)
    return Diff(tuple(difference for difference in found if difference.changes))


def _row_pair(pair: Pair, request: Request) -> tuple[Row | None, Row | None]:
    old, new = (side.spec if side else None for side in (pair.old, pair.new))
    if (leading := new or old) is None:
        return None, None
    workload = request.of(leading)
    before, after = (analyze(spec, workload).rows()[0] if spec else None for spec in (old, new))
    return before, after


def _difference(pair: Pair, variant: str, rows: Sequence[tuple[Row | None, Row | None]]) -> Difference:
    old, new = pair.old or pair.new, pair.new or pair.old
    old_file, new_file = (side.file if side else None for side in (pair.old, pair.new))
    changes = [Change("field", field.name, field.line, {}, field.old, field.new) for field in pair.fields]
    if pair.status != "changed":
        changes.insert(0, Change("file", "path", 0, {}, old_file, new_file))
    changes += _quantities(rows)
    model, old_model = (side.name if side else "" for side in (new, old))
    return Difference(model, old_model, variant, pair.status, old_file, new_file, tuple(changes))


def _quantities(rows: Sequence[tuple[Row | None, Row | None]]) -> Iterator[Change]:
    """Every number that differs, each once for what it depends on; a number that one row lacks is not compared."""
    for name in COMPARED:
        told = set()
        for old, new in rows:
            if not all(name in row for row in (old, new) if row is not None):
                continue
            asked = {key: (new or old or {}).get(key) for key in ASKED if key in DEPENDS.get(name, ASKED)}
            before, after = (None if row is None else row[name] for row in (old, new))
            if before != after and (like := tuple(asked.values())) not in told:
                told.add(like)
                yield Change("quantity", name, 0, asked, before, after)
