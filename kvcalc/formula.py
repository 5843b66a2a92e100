"""Formulas in the papers' symbols: parsed once, then evaluated, or printed with the numbers put in.

    2*n_kv*d_h                                     elements per token of grouped-query attention
    m*(m + 1)/2 + (n - m)*W where m = min(n, W)    (query, key) pairs under a sliding window

Integers only. `/` divides exactly or fails, `//` rounds down, `%` is the remainder, `**` the power; the functions
are min, max and ceil_div. A symbol may carry a superscript or primes as in the papers: d_h^R, d_c'. Nothing is ever
handed to Python's eval: users' formulas come through here too, and size, depth and magnitude are limited.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isqrt
from operator import add, itemgetter, mul, sub
from typing import TYPE_CHECKING, Any

from kvcalc.errors import FormulaError, did_you_mean
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    Node: TypeAlias = "int | str | Operation"
    Operations: TypeAlias = Mapping[str, Callable[[Any, Any], Any]]  # by operator or function name

MAX_CHARACTERS = 1000
MAX_DEPTH = 40
MAX_BITS = 1024

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+)|(?P<name>[A-Za-z_][A-Za-z_0-9]*(?:\^[A-Za-z]+)?'*)|(?P<op>\*\*|//|[-+*/%(),=])|(?P<bad>\S))"
)
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "**": 4}
_NEGATION = 3


class Token(NamedTuple):
    """A piece of a formula's text and its column, from 1."""

    kind: str
    text: str
    column: int


class Operation(NamedTuple):
    """An operator or function over two nodes. A node is also a number or a symbol's name."""

    operator: str
    left: Node
    right: Node


class Definition(NamedTuple):
    """One `symbol = formula` of a where clause."""

    symbol: str
    node: Node
    text: str
    value: Callable[[Mapping[str, int]], int]


class Formula(NamedTuple):
    """A parsed formula: its text, its body and the `where` definitions in their order."""

    text: str
    body: Node
    value: Callable[[Mapping[str, int]], int]
    definitions: tuple[Definition, ...]

    def evaluate(self, symbols: Mapping[str, int]) -> int:
        """The exact value. Raises FormulaError on an unknown symbol, an inexact division or a huge number."""
        try:
            value = self.value(self._with_definitions(symbols) if self.definitions else symbols)
        except KeyError as error:
            raise FormulaError(f"unknown symbol {error.args[0]!r}", did_you_mean(error.args[0], symbols)) from None
        if value.bit_length() > MAX_BITS:
            raise FormulaError("the result is too large a number")
        return value

    def _with_definitions(self, symbols: Mapping[str, int]) -> dict[str, int]:
        local = dict(symbols)
        for definition in self.definitions:
            value = local[definition.symbol] = definition.value(local)
            if value.bit_length() > MAX_BITS:  # or each could square the one before
                raise FormulaError(f"{definition.symbol} is too large a number")
        return local

    def evaluate_with(self, symbols: Mapping[str, Any], operations: Operations) -> Any:
        """The value where symbols stand for something else than numbers, arrays say, that `operations` work on."""
        local = dict(symbols)
        for definition in self.definitions:
            local[definition.symbol] = _walked(definition.node, local, operations)
        return _walked(self.body, local, operations)

    def symbols(self) -> tuple[str, ...]:
        """The symbols the formula takes, in order of appearance."""
        defined = {definition.symbol for definition in self.definitions}
        found: dict[str, None] = {}
        for node in (self.body, *(definition.node for definition in self.definitions)):
            found.update(dict.fromkeys(_names(node)))
        return tuple(name for name in found if name not in defined)

    def with_numbers(self, symbols: Mapping[str, int]) -> str:
        """The formula's own text with each symbol replaced by its number."""
        local = self._with_definitions(symbols)
        shown = [f"{d.symbol} = {_substitute(d.text, local)} = {local[d.symbol]}" for d in self.definitions]
        body = _substitute(self.text.partition(" where ")[0], local)
        return f"{body} where {', '.join(shown)}" if shown else body


@lru_cache(maxsize=512)
def parse(text: str) -> Formula:
    """Read a formula. Raises FormulaError with the column of what is wrong."""
    if len(text) > MAX_CHARACTERS:
        raise FormulaError(f"a formula of {len(text)} characters is too long", f"at most {MAX_CHARACTERS}")
    main, _, where = text.partition(" where ")
    parser = _Parser(main)
    body = parser.expression(0, 0)
    parser.end()
    definitions = []
    for part in _split_definitions(where) if where else ():
        name, _, definition = part.partition("=")
        inner = _Parser(definition)
        node = inner.expression(0, 0)
        inner.end()
        definitions.append(Definition(name.strip(), node, definition.strip(), _compiled(node)))
    return Formula(text, body, _compiled(body), tuple(definitions))


def _split_definitions(where: str) -> list[str]:
    """Split `a = min(n, W), b = 2*a` at the commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(where):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(where[start:at])
            start = at + 1
    return [*parts, where[start:]]


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind is None:
            continue
        if kind == "bad":
            hint = "write ** for a power" if match["bad"] == "^" else ""
            raise FormulaError(f"{text!r}: unexpected {match['bad']!r} at column {match.start(kind) + 1}", hint)
        yield Token(kind, match[kind], match.start(kind) + 1)


class _Parser:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _fail(self, wanted: str) -> FormulaError:
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            return FormulaError(f"{self._text!r}: unexpected {token.text!r} at column {token.column}, {wanted}")
        return FormulaError(f"{self._text!r}: ends too early, {wanted}")

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._fail("expected an operator")

    def expression(self, binding: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise FormulaError(f"{self._text[:40]!r}...: nested too deeply", f"at most {MAX_DEPTH} levels")
        left = self._operand(depth)
        while (power := _BINDING.get(self._peek(), 0)) > binding:
            operator = self._tokens[self._at].text
            self._at += 1
            right = self.expression(power - 1 if operator == "**" else power, depth + 1)
            left = Operation(operator, left, right)
        return left

    def _operand(self, depth: int) -> Node:
        if self._at >= len(self._tokens):
            raise self._fail("expected a number, a symbol or a parenthesis")
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "number":
            if len(token.text) > 30:
                raise FormulaError(f"the number {token.text[:12]}... is too large")
            return int(token.text)
        if token.text == "-":
            return Operation("-", 0, self.expression(_NEGATION, depth + 1))
        if token.text == "(":
            inside = self.expression(0, depth + 1)
            self._expect(")")
            return inside
        if token.kind == "name" and self._peek() == "(":
            return self._call(token, depth)
        if token.kind == "name":
            return token.text
        self._at -= 1
        raise self._fail("expected a number, a symbol or a parenthesis")

    def _call(self, token: Token, depth: int) -> Node:
        if token.text not in _FUNCTIONS:
            hint = did_you_mean(token.text, _FUNCTIONS) or f"the functions are {', '.join(_FUNCTIONS)}"
            raise FormulaError(f"{self._text!r}: unknown function {token.text!r} at column {token.column}", hint)
        self._expect("(")
        first = self.expression(0, depth + 1)
        if token.text == "isqrt":
            self._expect(")")
            return Operation(token.text, first, 2)
        self._expect(",")
        second = self.expression(0, depth + 1)
        self._expect(")")
        return Operation(token.text, first, second)

    def _expect(self, text: str) -> None:
        if self._peek() != text:
            raise self._fail(f"expected {text!r}")
        self._at += 1


def _divide(a: int, b: int) -> int:
    if b == 0:
        raise FormulaError("division by zero")
    quotient, remainder = divmod(a, b)
    if remainder:
        raise FormulaError(f"{a} is not divisible by {b}", "write // to round down")
    return quotient


def _floor(a: int, b: int) -> int:
    if b == 0:
        raise FormulaError("division by zero")
    return a // b


def _remainder(a: int, b: int) -> int:
    if b == 0:
        raise FormulaError("division by zero")
    return a % b


def _power(a: int, b: int) -> int:
    if b < 0:
        raise FormulaError(f"a negative power: {a}**{b}")
    if b * a.bit_length() > MAX_BITS:
        raise FormulaError("the power is too large a number")
    return int(a**b)


def _square_root(a: int, _: int) -> int:
    if a < 0:
        raise FormulaError(f"the square root of {a}")
    return isqrt(a)


_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "isqrt": _square_root,
    "min": min,
    "max": max,
    "ceil_div": lambda a, b: -_floor(-a, b),
}
APPLY: dict[str, Callable[[int, int], int]] = {
    "+": add,
    "-": sub,
    "*": mul,
    "/": _divide,
    "//": _floor,
    "%": _remainder,
    "**": _power,
    **_FUNCTIONS,
}


def _compiled(node: Node) -> Callable[[Mapping[str, int]], int]:
    """Return a node as a function of its symbols: closures, a third of the time of walking the tree anew."""
    if isinstance(node, int):
        return lambda _: node
    if isinstance(node, str):
        return itemgetter(node)
    apply, left, right = APPLY[node.operator], _compiled(node.left), _compiled(node.right)
    return lambda symbols: apply(left(symbols), right(symbols))


def _walked(node: Node, symbols: Mapping[str, Any], operations: Operations) -> Any:
    """Evaluate a node by walking it."""
    if isinstance(node, Operation):
        left, right = (_walked(side, symbols, operations) for side in (node.left, node.right))
        return operations[node.operator](left, right)
    return symbols[node] if isinstance(node, str) else node


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Operation):
        yield from _names(node.left)
        yield from _names(node.right)


def written(value: float) -> str:
    """A number as explanations write it: a whole one in full."""
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1 << 53)
    return str(int(value)) if whole else f"{value:.6g}"


def _substitute(text: str, symbols: Mapping[str, float]) -> str:
    def number(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None or name not in symbols:
            return match[0]
        value = symbols[name]
        return match[0].replace(name, written(value) if value >= 0 else f"({written(value)})")

    return _TOKEN.sub(number, text)
