"""Whole numbers by the array, exact: a formula evaluated for thousands of workloads at once, with numpy.

An array knows bounds of its numbers, and every operation the bounds of its result. Where these fit into 64 bits so
does the result, and numpy's integers are exact; where they might not, Python's integers take over, slower and exact.
Numbers that depend on fewer axes than others stay small: numpy broadcasts them where they meet.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from kvcalc.errors import FormulaError
from kvcalc.formula import APPLY, MAX_BITS
from kvcalc.quantity import evaluate_with
from kvcalc.real import REAL, used_by
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from kvcalc.quantity import Node

    Numbers: TypeAlias = "int | Exact"

MOST = 2**63 - 1


class Exact(NamedTuple):
    """An array of int64 or, beyond them, of Python's integers; all of its numbers lie in least..most."""

    values: Any  # numpy's arrays of two dtypes
    least: int
    most: int


def evaluate_arrays(
    quantities: Mapping[str, Node | None], scope: Mapping[str, int], contexts: Sequence[int], batches: Sequence[int]
) -> dict[str, int | list[int]]:
    """Every quantity at every context and batch, a context's batches together; one number where it depends on neither.

    Shapes: contexts [contexts, 1], batches [1, batches], and what depends on both [contexts, batches].
    """
    local: dict[str, Numbers] = {**scope, "n": _array(contexts, (-1, 1)), "B": _array(batches, (1, -1))}
    known: dict[int, Numbers] = {}
    found: dict[str, int | list[int]] = {}
    for key, node in quantities.items():
        if node is not None:
            local[key] = evaluate_with(node, local, OPERATIONS, known)
            found[key] = _listed(local[key], (len(contexts), len(batches)))
    return found


def evaluate_real_arrays(
    nodes: Mapping[str, Node], columns: Mapping[str, int | list[int]], length: int
) -> dict[str, list[float]]:
    """The formulas of kvcalc.real on every row at once: the numbers of `evaluate_rows`, to the last bit."""
    used = used_by(nodes)
    local: dict[str, Any] = {key: np.array(told, dtype=float) for key, told in columns.items() if key in used}
    known: dict[int, Any] = {}
    found = {}
    for key, node in nodes.items():
        local[key] = evaluate_with(node, local, REAL_ARRAYS, known)
        values: list[float] = np.broadcast_to(local[key], (length,)).tolist()
        found[key] = values
    return found


def _array(numbers: Sequence[int], shape: tuple[int, int]) -> Exact:
    least, most = min(numbers), max(numbers)
    return Exact(np.array(numbers, dtype=np.int64 if _fits(least, most) else object).reshape(shape), least, most)


def _listed(numbers: Numbers, shape: tuple[int, int]) -> int | list[int]:
    """Every number in the order of the rows; one where all are the same."""
    if isinstance(numbers, int):
        return numbers
    if numbers.most.bit_length() > MAX_BITS and int(numbers.values.max()).bit_length() > MAX_BITS:
        raise FormulaError("the result is too large a number")
    found: list[int] = np.broadcast_to(numbers.values, shape).ravel().tolist()
    return found


def _bounds(numbers: Numbers) -> tuple[int, int]:
    return (numbers, numbers) if isinstance(numbers, int) else (numbers.least, numbers.most)


def _values(numbers: Numbers) -> Any:
    return numbers if isinstance(numbers, int) else numbers.values


def _fits(least: int, most: int) -> bool:
    return least >= -MOST and most <= MOST  # so that what fits can change its sign


def _operation(
    name: str, over: Callable[[Any, Any], Any], ends: Callable[[int, int, int, int], tuple[int, ...]]
) -> Callable[[Numbers, Numbers], Numbers]:
    """One operation of formulas: `over` arrays, and where the ends of its result may lie, given those of its sides."""
    plain = APPLY[name]

    def apply(a: Numbers, b: Numbers) -> Numbers:
        if isinstance(a, int) and isinstance(b, int):
            return plain(a, b)
        sides = (*_bounds(a), *_bounds(b))
        found = ends(*sides)
        least, most = min(found), max(found)
        left, right = _values(a), _values(b)
        if not _fits(min(least, *sides), max(most, *sides)):
            left, right = (side if isinstance(side, int) else side.astype(object) for side in (left, right))
        values = over(left, right)
        if values.dtype == object and _fits(least, most):
            values = values.astype(np.int64)
        return Exact(values, least, most)

    return apply


def _checked(divisor: Any) -> None:
    if np.any(np.equal(divisor, 0)):
        raise FormulaError("division by zero")


def _floor(a: Any, b: Any) -> Any:
    _checked(b)
    return a // b


def _quotient(a: Any, b: Any) -> Any:
    _checked(b)
    found = a // b
    if np.any(found * b != a):
        APPLY["/"](*_first(a, b, found * b != a))  # raises with the numbers
    return found


def _first(a: Any, b: Any, where: Any) -> tuple[int, int]:
    """The first pair that is marked."""
    at = np.unravel_index(int(np.argmax(where)), np.shape(where))
    return int(np.broadcast_to(a, np.shape(where))[at]), int(np.broadcast_to(b, np.shape(where))[at])


def _remainder(a: Any, b: Any) -> Any:
    _checked(b)
    return a % b


def _divided(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    """The ends of a quotient: at the ends of the divisor, and at the ones next to zero where it spans that."""
    divisors = {e for e in (c, d, -1 if c < 0 else c, 1 if d > 0 else d) if e and c <= e <= d} or {1}
    return tuple(end // divisor for end in (a, b) for divisor in divisors)


def _powers(a: int, b: int, _c: int, d: int) -> tuple[int, ...]:
    """The ends of a power, refused where one number alone would refuse it."""
    top = APPLY["**"](max(abs(a), abs(b), 1), max(d, 0))
    return (-top if a < 0 else 0, top)


def _each(name: str) -> Callable[[Any, Any], Any]:
    """One number at a time, for what formulas seldom do."""
    plain = np.frompyfunc(lambda a, b: APPLY[name](int(a), int(b)), 2, 1)
    return lambda a, b: np.asarray(plain(a, b))


OPERATIONS: dict[str, Callable[[Numbers, Numbers], Numbers]] = {
    name: _operation(name, over, ends)
    for name, over, ends in (
        ("+", np.add, lambda a, b, c, d: (a + c, b + d)),
        ("-", np.subtract, lambda a, b, c, d: (a - d, b - c)),
        ("*", np.multiply, lambda a, b, c, d: (a * c, a * d, b * c, b * d)),
        ("//", _floor, _divided),
        ("/", _quotient, _divided),
        ("%", _remainder, lambda _a, _b, c, d: (min(c, 0), max(d, 0))),
        ("**", _each("**"), _powers),
        ("min", np.minimum, lambda a, b, c, d: (min(a, c), min(b, d))),
        ("max", np.maximum, lambda a, b, c, d: (max(a, c), max(b, d))),
        ("ceil_div", lambda a, b: -_floor(-a, b), lambda a, b, c, d: tuple(-e for e in _divided(-b, -a, c, d))),
        ("isqrt", _each("isqrt"), lambda a, b, _c, _d: (isqrt(max(a, 0)), isqrt(max(b, 0)))),
    )
}


def _real(side: Any) -> Any:
    """A number as floating point; an array is that already."""
    return float(side) if isinstance(side, int) else side


def _over_reals(over: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: over(_real(a), _real(b))


_power = np.frompyfunc(REAL["**"], 2, 1)  # one number at a time: numpy's own may round otherwise
REAL_ARRAYS: dict[str, Callable[[Any, Any], Any]] = {
    "+": _over_reals(np.add),
    "-": _over_reals(np.subtract),
    "*": _over_reals(np.multiply),
    "/": _over_reals(np.divide),
    "**": _over_reals(lambda a, b: np.asarray(_power(a, b), dtype=float)),
    "min": _over_reals(np.minimum),
    "max": _over_reals(np.maximum),
}
