"""Formulas over floating point, for what is no whole number: seconds, and experts that are expected.

The same trees of formulas as everywhere, evaluated with these operations. With numpy they run over whole columns, and
every number is the one that it is alone: operations that numpy may round otherwise run one number at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.quantity import evaluate_with, symbols_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.formula import Operations
    from kvcalc.quantity import Node

REAL: Operations = {
    "+": lambda a, b: float(a) + float(b),
    "-": lambda a, b: float(a) - float(b),
    "*": lambda a, b: float(a) * float(b),
    "/": lambda a, b: float(a) / float(b),
    "**": lambda a, b: float(a) ** float(b),
    "min": lambda a, b: min(float(a), float(b)),
    "max": lambda a, b: max(float(a), float(b)),
}


def evaluate_reals(nodes: Mapping[str, Node], scope: Mapping[str, float]) -> dict[str, float]:
    """Every formula in this scope; later ones may name earlier ones."""
    known: dict[int, Any] = {}
    local, found = dict(scope), {}
    for key, node in nodes.items():
        found[key] = local[key] = float(evaluate_with(node, local, REAL, known))
    return found


def used_by(nodes: Mapping[str, Node]) -> set[str]:
    """The symbols in their formulas."""
    return {symbol for node in nodes.values() for symbol in symbols_in(node)}


def evaluate_rows(
    nodes: Mapping[str, Node], columns: Mapping[str, int | list[int]], length: int
) -> dict[str, list[float]]:
    """Every formula on every row, of columns that are one number or a list of them."""
    used = used_by(nodes)
    found: dict[str, list[float]] = {key: [] for key in nodes}
    for row in _rows({key: told for key, told in columns.items() if key in used}, length):
        for key, value in evaluate_reals(nodes, row).items():
            found[key].append(value)
    return found


def _rows(columns: Mapping[str, int | list[int]], length: int) -> Iterator[dict[str, float]]:
    for at in range(length):
        yield {key: told[at] if isinstance(told, list) else told for key, told in columns.items()}
