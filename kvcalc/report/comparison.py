"""The comparison as a table: what an architect wants at a glance first, the rest as the width allows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.engines.settings import told_engine
from kvcalc.formula import parse
from kvcalc.quantity import Total
from kvcalc.report.roofline import FOOTER, roofline_columns
from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, count, decimal, ratio, spread, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.analysis import Report
    from kvcalc.comparison import Comparison
    from kvcalc.quantity import Node
    from kvcalc.rows import Row


def comparison_table(comparison: Comparison) -> Table:
    """One line a report."""
    rows, reports = comparison.rows(), comparison.reports
    contexts = {report.workload.context_tokens for report in reports}
    models = len({report.spec.name for report in reports}) > 1
    several = models or any(report.variant == "configured" for report in reports[1:])
    rebuilt = any(report.variant != "configured" for report in reports)

    def text(header: str, key: str, rank: int) -> Column:
        return Column(header, tuple(str(row[key]) for row in rows), numeric=False, rank=rank)

    def number(header: str, key: str, write: Callable[[int | None], str], rank: int) -> Column:
        return Column(header, tuple(write(_whole(row, key)) for row in rows), rank=rank)

    engines = len({(row["engine"], row["engine_version"]) for row in rows}) > 1
    machines = len({row["on"] for row in rows}) > 1
    beside = engines or machines
    shared = any(spread(row) for row in rows)
    differs = engines or any(row["engine"] != "paper" for row in rows)  # from what papers count
    reserves = differs or shared
    wasted = Column("reserved\nto paper", tuple(ratio(_float(row, "waste_ratio")) for row in rows), rank=1)
    columns = [
        *([text("model", "model", 0 if models else 8)] if several else []),
        *([_engines(rows)] if engines else []),
        *([text("on", "on", 0)] if machines else []),
        *([text("variant", "variant", 0)] if rebuilt or not several else []),
        Column("cache a token", tuple(cache_formula(report) for report in reports), numeric=False, rank=5),
        text("attention", "attention", 7),
        *([number("context\ntokens", "context_tokens", count, 0)] if len(contexts) > 1 else []),
        number("elements\na token", "cache_elements_per_token", count, 1),
        number("bytes\na token", "cache_bytes_per_token", count, 6),
        *([number("fixed\nstate", "state_bytes", bytes_binary, 3)] if any(row["state_bytes"] for row in rows) else []),
        number("cache", "cache_bytes", bytes_binary, 0),
        *([number("reserved", "reserved_bytes", bytes_binary, 0 if differs else 1)] if reserves else []),
        *([number("held", "held_bytes", bytes_binary, 1)] if differs else []),
        *([wasted] if differs else []),
        *([number("weights\non a device", "weight_bytes_per_device", bytes_binary, 2)] if shared else []),
        *([number("reserved\non all", "reserved_bytes_total", bytes_binary, 5)] if shared else []),
        Column("ratio", tuple(ratio(_float(row, "cache_ratio")) for row in rows), rank=2),
        number("decode\nattention\nFLOPs", "decode_attention_flops", decimal, 3),
        number("prefill\nattention\nFLOPs", "prefill_attention_flops", decimal, 4),
        *(
            [number("answer\nattention\nFLOPs", "answer_attention_flops", decimal, 4)]
            if reports[0].workload.generate_tokens
            else []
        ),
        number("decode\nmodel\nFLOPs", "decode_model_flops", decimal, 9),
        number("prefill\nmodel\nFLOPs", "prefill_model_flops", decimal, 10),
        Column("decode\nFLOPs/B", tuple(decimal(_float(row, "decode_intensity")) for row in rows), rank=11),
        number("parameters", "parameters", count, 8),
        number("cache\nbytes", "cache_bytes", count, 12),
        number("weights", "weight_bytes", bytes_binary, 13),
        *roofline_columns(rows),
    ]
    title = _title(reports[0], contexts, several=several and (models or not beside), engines=engines, machines=machines)
    return Table(title, tuple(columns), FOOTER if rows[0]["on"] else ())


def _engines(rows: list[Row]) -> Column:
    """Each row's engine and its version."""
    names = tuple(f"{row['engine']} {row['engine_version'] or ''}".strip() for row in rows)
    return Column("engine", names, numeric=False)


def cache_formula(report: Report) -> str:
    """The formula of elements per token in the papers' symbols, over all layers: '2*n_kv*d_h*l'.

    A symbol that is not the same number in all layers is written as its numbers: '9*2*4*d_h + 39*2*8*d_h'.
    """
    node = report.quantities["cache_elements_per_token"]
    parts = getattr(node, "parts", ())
    if not parts:
        return "0"
    counts: dict[tuple[str, tuple[tuple[str, int], ...]], int] = {}
    for part in parts:
        formula, numbers = _flat(part.node)
        used = parse(formula).symbols()
        like = (formula, tuple((symbol, told) for symbol, told in numbers if symbol in used))
        if formula != "0":
            counts[like] = counts.get(like, 0) + part.times
    told: dict[str, set[int]] = {}
    for _, numbers in counts:
        for symbol, number in numbers:
            told.setdefault(symbol, set()).add(number)
    terms = []
    for (formula, numbers), times in counts.items():
        apart = {symbol: number for symbol, number in numbers if len(told[symbol]) > 1}
        terms.append((times, _product(parse(formula).with_numbers(apart))))
    if len(terms) == 1 and terms[0][0] == report.spec.layers:
        return f"{terms[0][1]}*l"
    return " + ".join(f"{times}*{written}" for times, written in terms) or "0"


def _flat(node: Node) -> tuple[str, tuple[tuple[str, int], ...]]:
    """One formula and its numbers: a sum of parts, or what a reach makes of the elements e, written out."""
    if isinstance(node, Total):
        inner = [_flat(part.node) for part in node.parts]
        return " + ".join(formula for formula, _ in inner), tuple(sorted({pair for _, told in inner for pair in told}))
    numbers = {symbol: told for symbol, told in node.symbols.items() if isinstance(told, int)}
    formula = node.formula
    for symbol, told in node.symbols.items():
        if not isinstance(told, int):
            text, more = _flat(told)
            formula = re.sub(rf"\b{symbol}\b", text, formula)
            numbers.update(more)
    return formula, tuple(sorted(numbers.items()))


def _product(formula: str) -> str:
    """The formula as a factor of a product, without blanks."""
    tight = formula.replace(" ", "")
    return f"({tight})" if "+" in tight or "-" in tight else tight


def _title(report: Report, contexts: set[int], *, several: bool, engines: bool, machines: bool) -> str:
    workload = report.workload
    parts = [] if several else [report.spec.name]
    if len(contexts) == 1:
        parts.append(f"context {tokens(workload.context_tokens)}")
    if workload.cached_tokens:
        parts.append(f"{workload.cached_tokens:,} cached + {workload.prompt_tokens:,} new")
    if workload.generate_tokens:
        parts.append(f"answer {tokens(workload.generate_tokens)}")
    return ", ".join([*parts, *_setting(report, engines=engines, machines=machines)])


def _setting(report: Report, *, engines: bool, machines: bool) -> list[str]:
    workload = report.workload
    told = [f"batch {workload.batch:,}", f"cache {report.cache_dtype}"]
    if workload.shared_prefix_tokens:
        told.append(f"shared prefix {tokens(workload.shared_prefix_tokens)}")
    if workload.engine != "paper" and not engines:
        told.append(f"engine {told_engine(workload)}")
    if workload.machine is not None and not machines:
        told.append(f"on {workload.machine.label}")
    shared = workload.machine.devices if workload.machine else 1
    ways = spread(workload._asdict()) or "1 devices"
    if ways != f"{shared} devices" and not machines:
        told.append(f"{ways} a replica" if shared > 1 else ways)
    if report.spec.predicted > 1:
        told.append("with prediction layers")
    if not workload.kv_cache:
        told.append("no KV cache")
    return told


def _whole(row: Row, key: str) -> int | None:
    value = row[key]
    return value if isinstance(value, int) else None


def _float(row: Row, key: str) -> float | None:
    value = row[key]
    return value if isinstance(value, float) else None
