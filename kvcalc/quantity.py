"""A quantity is a named formula with its model's numbers bound to its symbols; a total is a sum of named parts.

What is left free (n, p, s, B ...) is the workload's and comes in a scope at evaluation, so one tree serves every
workload: evaluated for its value, walked by `steps` for its explanation, and evaluated over whole arrays of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.formula import parse, written
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    from kvcalc.formula import Operations

    Scope: TypeAlias = Mapping[str, int]
    Node: TypeAlias = "Quantity | Total"
    Symbols: TypeAlias = Mapping[str, int | Node]


class Quantity(NamedTuple):
    """One formula. A symbol is bound to a number or to a quantity of its own; the rest come from the scope."""

    name: str
    formula: str
    symbols: Symbols = {}  # noqa: RUF012  # never mutated: a NamedTuple default
    source: str = ""

    def evaluate(self, scope: Scope) -> int:
        """The exact value in this scope."""
        return parse(self.formula).evaluate(self.bind(scope))

    def bind(self, scope: Scope) -> dict[str, int]:
        """The scope with this quantity's own symbols put in; inner quantities are evaluated in the scope around."""
        local = dict(scope)
        for symbol, value in self.symbols.items():
            local[symbol] = value if isinstance(value, int) else value.evaluate(scope)
        return local


class Part(NamedTuple):
    """`times` times a quantity, as in '52 layers of this kind'."""

    times: int
    what: str
    node: Node


class Total(NamedTuple):
    """A sum of named parts."""

    name: str
    parts: tuple[Part, ...]

    def evaluate(self, scope: Scope) -> int:
        """The exact sum in this scope."""
        return sum(part.times * part.node.evaluate(scope) for part in self.parts if part.times)


def evaluate_with(node: Node, scope: Mapping[str, Any], operations: Operations, known: dict[int, Any]) -> Any:
    """The value in a scope of something else than numbers. `known` holds, by id, nodes met before in this scope."""
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, Total):
        value: Any = 0
        for part in node.parts:
            if part.times:
                inner = evaluate_with(part.node, scope, operations, known)
                value = operations["+"](value, operations["*"](part.times, inner))
    else:
        local = dict(scope)
        for symbol, bound in node.symbols.items():
            local[symbol] = bound if isinstance(bound, int) else evaluate_with(bound, scope, operations, known)
        value = parse(node.formula).evaluate_with(local, operations)
    known[id(node)] = value
    return value


class Step(NamedTuple):
    """One line of an explanation: `depth` is its place in the tree."""

    depth: int
    name: str
    formula: str
    with_numbers: str
    result: int | float
    source: str


def steps(node: Node, scope: Mapping[str, Any], operations: Operations | None = None) -> Iterator[Step]:
    """Explain a quantity from the top down. What is shown is what was computed: it is the same tree.

    `operations` are those it was computed with, None: those of whole numbers.
    """

    def value_of(inner: Node) -> int | float:
        value: int | float = (
            evaluate_with(inner, scope, operations, {}) if operations is not None else inner.evaluate(scope)
        )
        return value

    for depth, inner in walk(node):
        if isinstance(inner, Total):
            terms = [(f"{part.times} x " if part.times != 1 else "", part) for part in inner.parts if part.times]
            formula = " + ".join(f"{times}{named(part)}" for times, part in terms) or "0"
            numbers = " + ".join(f"{times}{written(value_of(part.node))}" for times, part in terms) or "0"
            yield Step(depth, inner.name, formula, numbers, value_of(inner), "")
            continue
        local = dict(scope)
        for symbol, bound in inner.symbols.items():
            local[symbol] = bound if isinstance(bound, int) else value_of(bound)
        numbers = parse(inner.formula).with_numbers(local)
        yield Step(depth, inner.name, inner.formula, numbers, value_of(inner), inner.source)


def walk(node: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Every node of a tree that an explanation shows, from the top down, with its depth and under its name there."""
    yield depth, node
    if isinstance(node, Total):
        for part in node.parts:
            if part.times:
                yield from walk(part.node._replace(name=named(part)), depth + 1)
        return
    used = set(parse(node.formula).symbols())
    for symbol, inner in node.symbols.items():
        if symbol in used and not isinstance(inner, int):
            known = inner if inner.name == symbol else inner._replace(name=f"{symbol}: {inner.name}")
            yield from walk(known, depth + 1)


def named(part: Part) -> str:
    """What a part of a total is called."""
    return part.what or part.node.name


def symbols_in(node: Node) -> Iterator[str]:
    """Every symbol in the formulas of a tree."""
    if isinstance(node, Total):
        for part in node.parts:
            yield from symbols_in(part.node)
        return
    yield from parse(node.formula).symbols()
    for inner in node.symbols.values():
        if not isinstance(inner, int):
            yield from symbols_in(inner)


def rebound(node: Node, symbol: str, to: Node) -> Node:
    """The same tree where a symbol that was the scope's stands for another quantity."""
    if isinstance(node, Total):
        parts = (part._replace(node=rebound(part.node, symbol, to)) for part in node.parts)
        return node._replace(parts=tuple(parts))
    symbols: dict[str, int | Node] = {
        name: inner if isinstance(inner, int) else rebound(inner, symbol, to) for name, inner in node.symbols.items()
    }
    if symbol not in symbols and symbol in parse(node.formula).symbols():
        symbols[symbol] = to
    return node._replace(symbols=symbols)
