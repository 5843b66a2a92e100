"""The comparison of the page: which columns it has, and each cell as text, with what the script needs to keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.formula import parse
from kvcalc.glossary import MEANINGS
from kvcalc.report.comparison import cache_formula
from kvcalc.report.html import escape
from kvcalc.report.page.mathml import mathml, symbol
from kvcalc.report.page.reals import Reals
from kvcalc.report.theme import LIGHT
from kvcalc.report.units import bytes_binary, count, decimal, duration, ratio
from kvcalc.rows import RATIOS, TEXTS
from kvcalc.tuples import NamedTuple
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.analysis import Report
    from kvcalc.report.page.script import Program
    from kvcalc.rows import Row
    from kvcalc.workload import Workload

WRITE: dict[str, Callable[[Any], str]] = {  # as the page's script does, by its names
    "count": count,
    "bytes": bytes_binary,
    "decimal": decimal,
    "flops": lambda value: f"{decimal(value)}FLOPs" if value >= 1000 else f"{value:,} FLOPs",
    "ratio": ratio,
    "duration": duration,
    "word": str,
}


class Shown(NamedTuple):
    """One column of numbers: its header, the row's key, how it is written, and the unit."""

    header: str
    key: str
    as_: str
    unit: str


CACHE = (
    Shown("cache", "cache_bytes", "bytes", ""),
    Shown("ratio", "cache_ratio", "ratio", ""),
)
TOKEN = (
    Shown("bytes a token", "cache_bytes_per_token", "count", ""),
    Shown("elements a token", "cache_elements_per_token", "count", ""),
)
STATE = (Shown("fixed state", "state_bytes", "bytes", ""),)
RESERVED = (
    Shown("reserved", "reserved_bytes", "bytes", "a device"),
    Shown("held", "held_bytes", "bytes", "a device"),
    Shown("reserved to paper", "waste_ratio", "ratio", ""),
)
COST = (
    Shown("decode attention", "decode_attention_flops", "decimal", "FLOPs"),
    Shown("prefill attention", "prefill_attention_flops", "decimal", "FLOPs"),
    Shown("answer attention", "answer_attention_flops", "decimal", "FLOPs"),
    Shown("decode model", "decode_model_flops", "decimal", "FLOPs"),
    Shown("prefill model", "prefill_model_flops", "decimal", "FLOPs"),
    Shown("decode reads", "decode_cache_read_bytes", "bytes", ""),
    Shown("decode intensity", "decode_intensity", "decimal", "FLOPs/B"),
)
DEVICES = (
    Shown("weights a device", "weight_bytes_per_device", "bytes", ""),
    Shown("reserved in all", "reserved_bytes_total", "bytes", "all devices"),
)
ROOFLINE = (
    Shown("decode at least", "decode_least_seconds", "duration", ""),
    Shown("tokens/s at most", "decode_tokens_per_second_at_most", "decimal", "decode"),
    Shown("decode bound by", "decode_bound_by", "word", ""),
    Shown("prefill at least", "prefill_least_seconds", "duration", ""),
    Shown("prefill bound by", "prefill_bound_by", "word", ""),
)
WEIGHTS = (
    Shown("parameters", "parameters", "count", ""),
    Shown("active parameters", "active_parameters", "count", ""),
    Shown("weights", "weight_bytes", "bytes", ""),
)


def firsts(told: Sequence[object]) -> list[int]:
    """Where something is told that was not told before."""
    return [at for at, one in enumerate(told) if one not in told[:at]]


def shared_out(workload: Workload) -> bool:
    """Whether several devices share the model."""
    return any(getattr(workload, size) > 1 for size in PARALLEL)


def columns(reports: Sequence[Report]) -> list[Shown]:
    """The columns that have something to say of these reports."""
    shared = any(shared_out(one.workload) for one in reports)
    reserves = shared or any(one.workload.engine != "paper" for one in reports)
    on = any(one.workload.machine for one in reports)
    beside = [*(DEVICES if shared else ()), *(ROOFLINE if on else ())]
    asked = [*CACHE, *(RESERVED if reserves else ()), *TOKEN, *STATE, *COST, *WEIGHTS, *beside]
    empty = {"state_bytes"} if not any(one.value("state_bytes") for one in reports) else set()
    if not reports[0].workload.generate_tokens:
        empty.add("answer_attention_flops")
    return [column for column in asked if column.key not in empty]


def reference(program: Program, first: Program, key: str) -> str:
    """Where the script finds a number: '12', '=4096', 'a/b' one over another, '' where it does not apply.

    'a>b' is a word, what bounds a phase.
    """
    if key == "cache_ratio":
        above, below = program.key("cache_bytes"), first.key("cache_bytes")
        where = "" if below is None or below.at is None else "0:"
        return f"{above.ref}/{where}{below.ref}" if above and below else ""
    if key in RATIOS:
        above, below = (program.key(part) for part in RATIOS[key])
        return f"{above.ref}/{below.ref}" if above and below else ""
    if key in TEXTS:
        sides = [Reals(program).key(key.replace("bound_by", f"{what}_seconds")) for what in ("compute", "memory")]
        return ">".join(side.ref for side in sides if side)
    number = Reals(program).key(key) or program.key(key)
    return number.ref if number else ""


def comparison(programs: Sequence[Program], rows: Sequence[Row], labels: Sequence[str]) -> str:
    """The table: a row a report, headers that sort, numbers that the script keeps."""
    shown = columns([program.report for program in programs])
    at = next(at for at, column in enumerate(shown) if column in TOKEN) + len(TOKEN)  # its formula stands behind
    heads = [_head(column) for column in shown]
    heads.insert(at, f'<th scope="col">a token, as a formula</th>{_sorted_by("attention")}')
    lines = []
    for which, (program, row) in enumerate(zip(programs, rows, strict=True)):
        cells = [_cell(program, programs[0], row, column) for column in shown]
        formula = mathml(parse(cache_formula(program.report)).body, symbol)
        cells.insert(at, f"<td><math>{formula}</math></td><td>{escape(program.report.spec.attention)}</td>")
        name = f'<span class="key k{which % len(LIGHT.colors)}"></span>{escape(labels[which])}'
        lines.append(f'<tr data-report="{which}"><th scope="row">{name}</th>{"".join(cells)}</tr>')
    return (
        '<div class="wide" role="region" aria-label="Table of the comparison" tabindex="0"><table id="table">'
        '<caption>Totals are for all sequences, what a token stores is of one: <span class="setting"></span></caption>'
        f"<thead><tr>{_sorted_by('which')}{''.join(heads)}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _sorted_by(text: str) -> str:
    return f'<th scope="col"><button type="button" class="sort">{text}</button></th>'


def _head(column: Shown) -> str:
    unit = f"<small>{column.unit}</small>" if column.unit else ""
    title = escape(f"{column.key}: {MEANINGS[column.key]}")
    return (
        f'<th scope="col" class="number" title="{title}"><button type="button" class="sort">{column.header}</button>'
        f"{unit}</th>"
    )


def _cell(program: Program, first: Program, row: Row, column: Shown) -> str:
    ref = reference(program, first, column.key)
    value = row[column.key]
    text = WRITE[column.as_](value) if value is not None else "-"
    return f'<td class="number" data-v="{ref}" data-as="{column.as_}">{text}</td>' if ref else f"<td>{text}</td>"
