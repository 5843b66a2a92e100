"""A report's formulas as JavaScript: one function of n and B over BigInt, every node that varies a line of it.

The lines are written from the trees that `explain` shows, and nothing else knows how to compute a number of the page.
The operations that are no operators of the language are in exact.js.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.formula import APPLY, Operation, parse
from kvcalc.quantity import Total
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvcalc.analysis import Report
    from kvcalc.formula import Node as Expression
    from kvcalc.quantity import Node, Quantity

INFIX = {"+": 1, "-": 1, "*": 2}
CALLS = {"/": "divide", "//": "floor", "%": "modulo", "**": "power"}  # the other functions keep their names


class Number(NamedTuple):
    """A value as the page is made, and its place in what the function returns; `at` None: it is always the same."""

    value: int
    at: int | None = None

    @property
    def code(self) -> str:
        """As a line of the function names it."""
        return f"t[{self.at}]" if self.at is not None else literal(self.value)

    @property
    def ref(self) -> str:
        """As an attribute of the page names it: '12', or '=4096'."""
        return f"={self.value}" if self.at is None else str(self.at)


class Program:
    """The function of one report, which grows by the nodes that are asked for."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.lines: list[str] = []
        self._places: dict[str, int] = {}
        scope = report.workload.scope()
        self._scope = {symbol: Number(value) for symbol, value in scope.items()}
        for symbol in ("n", "B"):
            self._scope[symbol] = self._line(symbol, scope[symbol], symbol)

    def key(self, key: str) -> Number | None:
        """The number of a row key; None where it does not apply."""
        node = self.report.quantities.get(key)
        return None if node is None else self.number(node)

    def number(self, node: Node | int) -> Number:
        """The number of a node; its line is written when it is first asked for."""
        if isinstance(node, int):
            return Number(node)
        if isinstance(node, Total):
            return self._sum([(part.times, self.number(part.node)) for part in node.parts if part.times], node.name)
        local = self.local(node)
        return self._evaluated(parse(node.formula).body, local, node.formula)

    def local(self, quantity: Quantity) -> dict[str, Number]:
        """The numbers of a formula's symbols, those that it defines itself among them."""
        formula = parse(quantity.formula)
        local = {
            symbol: self.number(quantity.symbols[symbol]) if symbol in quantity.symbols else self.around(symbol)
            for symbol in formula.symbols()
        }
        for definition in formula.definitions:
            local[definition.symbol] = self._evaluated(
                definition.node, local, f"{definition.symbol} = {definition.text}"
            )
        return local

    def text(self) -> str:
        """The function."""
        return "\n".join(["(n, B) => {", "  const t = [];", *(f"  {line}" for line in self.lines), "  return t;", "}"])

    def around(self, symbol: str) -> Number:
        """A symbol of the workload, or a quantity by its key."""
        if symbol not in self._scope:
            found = self.key(symbol)
            if found is None:
                raise KvcalcError(f"{symbol} has no number")
            self._scope[symbol] = found
        return self._scope[symbol]

    def _evaluated(self, node: Expression, local: Mapping[str, Number], text: str) -> Number:
        value = _value(node, local)
        if isinstance(node, str):
            return local[node]
        if not _varies(node, local):
            return Number(value)
        return self._line(_code(node, local), value, text)

    def _sum(self, terms: list[tuple[int, Number]], name: str) -> Number:
        """A total; its terms that never vary are one number."""
        fixed = sum(times * term.value for times, term in terms if term.at is None)
        varying = [(times, term) for times, term in terms if term.at is not None]
        if not varying:
            return Number(fixed)
        code = [term.code if times == 1 else f"{times}n*{term.code}" for times, term in varying]
        if fixed:
            code.append(literal(fixed))
        if code == [varying[0][1].code]:
            return varying[0][1]
        return self._line(" + ".join(code), fixed + sum(times * term.value for times, term in varying), "sum")

    def place(self, code: str, comment: str) -> int:
        """The place of a line in what the function returns; the same code stands there once."""
        if code not in self._places:
            self._places[code] = len(self._places)
            self.lines.append(f"t[{self._places[code]}] = {code}; // {' '.join(comment.split())}")
        return self._places[code]

    def _line(self, code: str, value: int, comment: str) -> Number:
        return Number(value, self.place(code, comment))


def literal(value: int) -> str:
    """A whole number as JavaScript writes it."""
    return f"{value}n" if value >= 0 else f"({value}n)"


def functions(programs: Iterable[Program]) -> str:
    """Every report's function, in their order."""
    return "const PROGRAMS = [\n" + ",\n".join(program.text() for program in programs) + ",\n];\n"


def _code(node: Expression, local: Mapping[str, Number]) -> str:
    """An expression over numbers that have lines already."""
    if isinstance(node, str):
        return local[node].code
    if not isinstance(node, Operation):
        return literal(node)
    left, right = _code(node.left, local), _code(node.right, local)
    if node.operator not in INFIX:
        return f"{CALLS.get(node.operator, node.operator)}({left}, {right})"
    binding = INFIX[node.operator]
    if _binding(node.left) < binding:
        left = f"({left})"
    if _binding(node.right) <= binding:
        right = f"({right})"
    return f"{left}{node.operator}{right}" if binding == INFIX["*"] else f"{left} {node.operator} {right}"


def _binding(node: Expression) -> int:
    """How tight an expression holds together; what is called or named needs no parentheses."""
    return INFIX.get(node.operator, 9) if isinstance(node, Operation) else 9


def _value(node: Expression, local: Mapping[str, Number]) -> int:
    if isinstance(node, Operation):
        return APPLY[node.operator](_value(node.left, local), _value(node.right, local))
    return local[node].value if isinstance(node, str) else node


def _varies(node: Expression, local: Mapping[str, Number]) -> bool:
    if isinstance(node, Operation):
        return _varies(node.left, local) or _varies(node.right, local)
    return isinstance(node, str) and local[node].at is not None
