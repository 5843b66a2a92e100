"""What is no whole number, the least times of a machine, as lines of the same functions: doubles, as in kvcalc.real.

The operations are those of floating point, in the order of the tree, so that each number is the one of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.formula import Operation, parse
from kvcalc.quantity import Total
from kvcalc.real import REAL
from kvcalc.report.page.script import Number
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.formula import Node as Expression
    from kvcalc.quantity import Node, Quantity
    from kvcalc.report.page.script import Program


class Real(NamedTuple):
    """A value of floating point as the page is made, and its place in what the function returns."""

    value: float
    at: int

    @property
    def ref(self) -> str:
        """As an attribute of the page names it."""
        return str(self.at)


CALLS = {"min": "Math.min", "max": "Math.max"}


class Reals:
    """The numbers of a report's bounds, written into its program as they are asked for."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._bounds = program.report.bounds

    def key(self, key: str) -> Number | Real | None:
        """The number of a bound by its key; None without a machine."""
        return self.number(self._bounds[key]) if key in self._bounds else None

    def number(self, node: Node | int) -> Number | Real:
        """The number of a node, which may be a whole one."""
        if isinstance(node, int):
            return Number(node)
        if not isinstance(node, Total):
            return self._evaluated(parse(node.formula).body, self.local(node), node.formula)
        code, value = "0", 0.0
        for part in node.parts:
            if part.times:
                inner = self.number(part.node)
                code = f"({code} + {part.times}*{_double(inner)})"
                value += part.times * float(inner.value)
        return Real(value, self.program.place(code, "sum"))

    def local(self, quantity: Quantity) -> dict[str, Number | Real]:
        """The numbers of a formula's symbols."""
        return {
            symbol: self.number(quantity.symbols[symbol])
            if symbol in quantity.symbols
            else self.key(symbol) or self.program.around(symbol)
            for symbol in parse(quantity.formula).symbols()
        }

    def _evaluated(self, node: Expression, local: Mapping[str, Number | Real], text: str) -> Number | Real:
        if isinstance(node, str):
            return local[node]
        if isinstance(node, int):
            return Number(node)
        code, value = _code(node, local)
        return Real(value, self.program.place(code, text))


def _code(node: Expression, local: Mapping[str, Number | Real]) -> tuple[str, float]:
    """An expression, every operation of it in parentheses, and its value."""
    if isinstance(node, Operation):
        (left, a), (right, b) = _code(node.left, local), _code(node.right, local)
        value: float = REAL[node.operator](a, b)
        if node.operator in CALLS:
            return f"{CALLS[node.operator]}({left}, {right})", value
        return f"({left} {node.operator} {right})", value
    number = local[node] if isinstance(node, str) else Number(node)
    return _double(number), float(number.value)


def _double(number: Number | Real) -> str:
    """A number as a double."""
    if isinstance(number, Real):
        return f"t[{number.at}]"
    return repr(float(number.value)) if number.at is None else f"Number({number.code})"
