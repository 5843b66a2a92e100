"""`show` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.settings import told_engine
from kvcalc.recompute import trades
from kvcalc.report.recompute import recompute_table
from kvcalc.report.rope import support_table
from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, count, decimal, spread, tokens
from kvcalc.rope import supports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.analysis import Report
    from kvcalc.detail import Fact
    from kvcalc.readers.load import Origin

SAID = {
    "cache_elements_per_token": "elements that one new token stores",
    "cache_bytes_per_token": "bytes that one new token stores",
    "state_elements": "elements of fixed states, whatever the context",
    "cache_elements": "elements kept at this context",
    "cache_bytes": "cache at this context",
    "reserved_bytes": "reserved on a device by the engine",
    "held_bytes": "held of that in steady decode",
    "reserved_bytes_total": "reserved on all devices",
    "decode_cache_read_bytes": "cache that a decode step reads",
    "decode_intensity": "intensity of decode attention (core FLOPs a byte read)",
    "parameters": "parameters",
    "active_parameters": "parameters that a token visits",
    "weight_bytes": "weights",
    "weight_bytes_per_device": "weights on the device with most of them",
    "weight_bytes_total": "weights on all devices",
    "receptive_field_tokens": "receptive field, W x layers, tokens",
    "crossover_query_tokens": "most query tokens for which absorbed MLA is no dearer than naive",
    "decode_attention_absorbed_flops": "decode step, attention in all, MLA absorbed, FLOPs",
    "decode_attention_naive_flops": "decode step, attention in all, MLA naive, FLOPs",
    "answer_cache_bytes": "cache at the end of the answer",
    "answer_model_flops": "the whole answer, FLOPs",
    "last_step_model_flops": "its last step, FLOPs",
}
RESERVED = ("reserved_bytes", "held_bytes")
ON_ALL = ("reserved_bytes_total", "weight_bytes_per_device", "weight_bytes_total")


def detail_tables(report: Report, facts: Sequence[Fact], *, recompute: bool = False) -> list[Table]:
    """Layers, parameters, FLOPs and what sums them up."""
    found = supports(report.spec)
    return [
        _layers(report, facts),
        _parameters(facts),
        *_stored(facts),
        _flops(facts),
        _summary(report, facts),
        *([support_table(found)] if found else []),
        *([recompute_table(trades(report))] if recompute else []),
    ]


def _layers(report: Report, facts: Sequence[Fact]) -> Table:
    groups: dict[tuple[str, str], dict[str, int | None]] = {}
    for fact in facts:
        if fact.section == "layers":
            value = fact.value if isinstance(fact.value, int) else None
            groups.setdefault((fact.part, fact.layers), {})[fact.quantity] = value

    def numbers(header: str, quantity: str, rank: int, write: Callable[[int | None], str] = count) -> Column:
        return Column(header, tuple(write(group[quantity]) for group in groups.values()), rank=rank)

    spec, workload = report.spec, report.workload
    title = f"{report.name}: {spec.attention}, {spec.layers} layers, context {tokens(workload.context_tokens)}"
    shared = spread(workload._asdict())
    title += f", engine {told_engine(workload)}" if workload.engine != "paper" else ""
    title += f", {shared}" if shared else ""
    left_out = (f"The {spec.left_out} are left out: the numbers are the language model's.",) if spec.left_out else ()
    source = (f"Source: {spec.source}",) if spec.source else ()
    columns = (
        numbers("layers", "layers", 0),
        Column("attention", tuple(part.partition(" / ")[0] for part, _ in groups), numeric=False),
        numbers("stores elements\na token and layer", "elements_per_token_per_layer", 1),
        numbers("keeps\ntokens", "kept_tokens", 2),
        numbers("reads\ntokens", "decode_read_tokens", 3),
        *(
            [
                numbers("state\nelements", "state_elements_per_layer", 2),
                numbers("state", "state_bytes_per_layer", 3, bytes_binary),
            ]
            if any(group["state_elements_per_layer"] for group in groups.values())
            else []
        ),
        numbers("cache elements\na sequence", "cache_elements_per_sequence", 4),
        Column("MLP", tuple(part.partition(" / ")[2] for part, _ in groups), numeric=False, rank=5),
        Column("where", tuple(where for _, where in groups), numeric=False, rank=6),
    )
    return Table(title, columns, (*source, *left_out))


def _parameters(facts: Sequence[Fact]) -> Table:
    found = [(fact.part, int(fact.value or 0)) for fact in facts if fact.section == "parameters"]
    total = _in_all(facts, "parameters")
    names = (*(part for part, _ in found), "total")
    values = (*(value for _, value in found), total)
    columns = (
        Column("parameters", names, numeric=False),
        Column("number", tuple(count(value) for value in values)),
        Column("share", tuple(_percent(value, total) for value in values), rank=1),
    )
    return Table("", columns)


def _stored(facts: Sequence[Fact]) -> list[Table]:
    """What the tensors of a file hold, the most bytes first."""
    parts: dict[str, dict[str, int]] = {}
    for fact in facts:
        if fact.section == "weights":
            parts.setdefault(fact.part, {})[fact.quantity] = int(fact.value or 0)
    if not parts:
        return []
    held = sorted(parts.items(), key=lambda part: -part[1]["bytes"])
    total = {key: sum(part[key] for _, part in held) for key in ("weights", "bytes")}
    rows = [(*part.partition(" / ")[::2], told) for part, told in [*held, ("total / ", total)]]
    columns = (
        Column("weights in the file", tuple(kind for kind, _, _ in rows), numeric=False),
        Column("type", tuple(kind for _, kind, _ in rows), numeric=False),
        Column("number", tuple(count(told["weights"]) for _, _, told in rows)),
        Column("bits each", tuple(_bits(told) for _, _, told in rows), rank=2),
        Column("size", tuple(bytes_binary(told["bytes"]) for _, _, told in rows)),
        Column("bytes, exact", tuple(count(told["bytes"]) for _, _, told in rows), rank=1),
    )
    return [Table("", columns)]


def _bits(told: dict[str, int]) -> str:
    return f"{8 * told['bytes'] / told['weights']:.2f}" if told["weights"] else "-"


def _in_all(facts: Sequence[Fact], quantity: str) -> int:
    """A number of the whole model."""
    return next(int(fact.value or 0) for fact in facts if (fact.section, fact.quantity) == ("summary", quantity))


def _percent(value: int, total: int) -> str:
    return f"{100 * value / total:.1f} %" if total else "-"


def _flops(facts: Sequence[Fact]) -> Table:
    parts: dict[str, dict[str, int]] = {}
    for fact in facts:
        if fact.section == "flops":
            parts.setdefault(fact.part, {})[fact.quantity] = int(fact.value or 0)
    totals = {phase: sum(part.get(phase, 0) for part in parts.values()) for phase in ("decode_flops", "prefill_flops")}
    rows = [*parts.items(), ("total", totals)]
    columns = [Column("FLOPs", tuple(name for name, _ in rows), numeric=False)]
    for phase, header in (("decode_flops", "decode step"), ("prefill_flops", "prefill")):
        values = [values.get(phase, 0) for _, values in rows]
        columns.append(Column(header, tuple(decimal(value) for value in values)))
        columns.append(Column("share", tuple(_percent(value, totals[phase]) for value in values), rank=1))
        columns.append(Column(f"{header}, exact", tuple(count(value) for value in values), rank=2))
    return Table("", tuple(columns))


def _summary(report: Report, facts: Sequence[Fact]) -> Table:
    told = [fact for fact in facts if fact.section == "summary" and fact.quantity in SAID]
    shared = spread(report.workload._asdict())
    if report.workload.engine == "paper" and not shared:
        told = [fact for fact in told if fact.quantity not in RESERVED]
    if not shared:
        told = [fact for fact in told if fact.quantity not in ON_ALL]
    told = [fact for fact in told if fact.value or fact.quantity != "state_elements"]
    columns = (
        Column("in all", tuple(SAID[fact.quantity] for fact in told), numeric=False),
        Column("", tuple(_value(fact) for fact in told)),
        Column("exact", tuple(count(fact.value) if isinstance(fact.value, int) else "" for fact in told), rank=1),
    )
    return Table("", columns)


def _value(fact: Fact) -> str:
    if fact.quantity.endswith("_bytes") or fact.quantity in ON_ALL:
        return bytes_binary(int(fact.value or 0))
    if fact.quantity.endswith("_flops") or isinstance(fact.value, float):
        return decimal(fact.value)
    return count(int(fact.value or 0))


def origin_table(name: str, origins: Sequence[Origin]) -> Table:
    """Where every number of a model came from."""
    columns = (
        Column("field", tuple(origin.field for origin in origins), numeric=False),
        Column("value", tuple(origin.value for origin in origins)),
        Column("from", tuple(origin.origin for origin in origins), numeric=False),
    )
    return Table(f"{name}: where each number came from", columns)
