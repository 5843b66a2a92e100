"""A quantity explained in HTML: its tree of formulas, in symbols, with numbers, and what comes of them.

Where a number varies with the context or the batch it has a slot, which the page's script fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.amounts import kind_of
from kvcalc.explanation import symbols_of
from kvcalc.formula import Operation, parse, written
from kvcalc.quantity import Total, named, walk
from kvcalc.report.html import escape
from kvcalc.report.page.columns import WRITE, shared_out
from kvcalc.report.page.mathml import mathml, symbol
from kvcalc.report.page.reals import Reals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.analysis import Report
    from kvcalc.formula import Formula
    from kvcalc.formula import Node as Expression
    from kvcalc.quantity import Node, Quantity
    from kvcalc.report.page.reals import Real
    from kvcalc.report.page.script import Number, Program

STORED = ("cache_bytes_per_token", "state_bytes", "cache_bytes", "answer_cache_bytes")
RESERVED = ("reserved_bytes", "held_bytes")
DEVICES = ("weight_bytes_per_device", "reserved_bytes_total")
COMPUTED = tuple(
    f"{phase}_{part}_flops"
    for phase in ("decode", "prefill", "answer")
    for part in ("attention", "core", "projection", "model")
)
EXPLAINED = (
    *STORED,
    *RESERVED,
    "decode_cache_read_bytes",
    *COMPUTED,
    "parameters",
    "active_parameters",
    "weight_bytes",
    *DEVICES,
)
BOUNDS = ("decode_least_seconds", "prefill_least_seconds")
PEOPLE = {"bytes": "bytes", "FLOPs": "flops"}  # how a kind is written


def explained_keys(report: Report) -> list[str]:
    """The quantities that the page explains for this report."""
    workload = report.workload
    shared = shared_out(workload)
    left_out = (*(() if shared else DEVICES), *(RESERVED if workload.engine == "paper" and not shared else ()))
    return [key for key in EXPLAINED if report.value(key) is not None and key not in left_out]


def explanations(program: Program) -> str:
    """Every quantity of a report that is explained, and what the symbols mean."""
    report = program.report
    reals = Reals(program)
    bounds = [key for key in BOUNDS if key in report.bounds]
    keys = explained_keys(report)
    meanings = symbols_of(report, [*keys, *bounds])
    told = "".join(f"<dt><math>{symbol(name)}</math></dt><dd>{escape(text)}</dd>" for name, text in meanings.items())
    shown = "".join(_quantity(program, key, node) for key in keys if (node := report.quantities[key]) is not None)
    shown += "".join(_quantity(reals, key, report.bounds[key]) for key in bounds)
    return f'{shown}<h4>Symbols</h4><dl class="symbols">{told}</dl>'


def _quantity(program: Program | Reals, key: str, node: Node) -> str:
    as_ = "duration" if key in BOUNDS else PEOPLE.get(kind_of(key))
    people = ""
    if as_:
        number = program.number(node)
        people = f' <span class="people">({slot("span", number, WRITE[as_](number.value), as_)})</span>'
    lines = "".join(_nested(program, node))
    shown = " open" if key == "cache_bytes" else ""
    return f'<details class="quantity"{shown}><summary><code>{key}</code>{people}</summary>{lines}</details>'


def _nested(program: Program | Reals, node: Node) -> Iterator[str]:
    """The tree as lists within lists."""
    open_ = 0
    for depth, inner in walk(node):
        while open_ > depth + 1:
            yield "</li></ul>"
            open_ -= 1
        if open_ == depth + 1:
            yield "</li><li>"
        else:
            yield "<ul><li>"
            open_ += 1
        yield _line(program, inner)
    yield "</li></ul>" * open_


def _line(program: Program | Reals, node: Node) -> str:
    """Name = formula = with numbers = result, as far as these differ, then the source."""
    result = program.number(node)
    sides = list(_terms(program, node) if isinstance(node, Total) else _sides(program, node))
    sides.append(f"<math>{slot('mn', result, count(result.value))}</math>")
    shown = "".join(f' <span class="side">= {side}</span>' for side in sides)
    source = "" if isinstance(node, Total) or not node.source else f" <small>{escape(node.source)}</small>"
    return f'<span class="name">{escape(node.name)}</span>{shown}{source}'


def _terms(program: Program | Reals, total: Total) -> Iterator[str]:
    """A sum by the names of its parts, then by their numbers."""
    parts = [part for part in total.parts if part.times]
    if not parts:
        return
    times = [f"<mn>{part.times:,}</mn><mo>&times;</mo>" if part.times != 1 else "" for part in parts]
    names = [f"<mtext>{escape(named(part))}</mtext>" for part in parts]
    yield _joined([f"{often}{name}" for often, name in zip(times, names, strict=True)])
    if len(parts) == 1 and not times[0]:
        return
    numbers = [program.number(part.node) for part in parts]
    yield _joined(
        [f"{often}{slot('mn', number, count(number.value))}" for often, number in zip(times, numbers, strict=True)]
    )


def _joined(terms: list[str]) -> str:
    return " + ".join(f"<math>{term}</math>" for term in terms)


def _sides(program: Program | Reals, quantity: Quantity) -> Iterator[str]:
    formula = parse(quantity.formula)
    if isinstance(formula.body, int):
        return
    local = program.local(quantity)
    yield _formula(formula, local, numbers=False)
    if isinstance(formula.body, Operation):
        yield _formula(formula, local, numbers=True)


def _formula(formula: Formula, local: Mapping[str, Number | Real], *, numbers: bool) -> str:
    """The body, then what it defines: 'where m = min(n, W)', each with its own number in the form with numbers."""

    def show(name: str) -> str:
        return slot("mn", local[name], count(local[name].value)) if numbers else symbol(name)

    def shown(node: Expression) -> str:
        return mathml(node, show, "&times;" if numbers else "&sdot;")

    where = [f"<math>{symbol(d.symbol)}<mo>=</mo>{shown(d.node)}</math>" for d in formula.definitions]
    return f"<math>{shown(formula.body)}</math>" + (f" where {', '.join(where)}" if where else "")


def count(value: float) -> str:
    """A number inside a formula: a negative one in parentheses, six digits of what is no whole number."""
    whole, point, rest = written(abs(value)).partition(".")
    told = f"{int(whole):,}{point}{rest}" if whole.isdigit() else whole
    return told if value >= 0 else f"(-{told})"


def slot(tag: str, number: Number | Real, text: str, as_: str = "", class_: str = "") -> str:
    """A number that the script keeps; plain text of that element where it never varies and is in a formula."""
    told = f' class="{class_}"' if class_ else ""
    if as_:
        told += f' data-v="{number.ref}" data-as="{as_}"'
    elif number.at is not None:
        told += f' data-v="{number.ref}"'
    return f"<{tag}{told}>{text}</{tag}>"
