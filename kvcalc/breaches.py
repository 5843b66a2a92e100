"""Where B(m) = sum of cos(m*theta_i) is below 0: found without leaving a distance out, and followed as the base grows.

Both stand on bounds that are sums over pairs. A stretch of h tokens to each side of m: a fast pair is worth no less
than -1 in it, a slow one no less than it is at m, minus h*theta_i. A base that grows: Taylor's of B in ln b to the
third order, whose remainder is bounded by what every sine and cosine is at most.
"""

from __future__ import annotations

from math import cos, sin
from operator import mul
from typing import TYPE_CHECKING

from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROUNDING = 1e-9  # far above that of a sum of cosines, far below what it decides


def first_breach(thetas: Sequence[float], first: int, last: int, still: float = 0) -> int | None:
    """The first m from `first` to `last` with B(m) < 0, None where there is none. `still`: pairs that add 1 each.

    `thetas` fall. What has room over a stretch is left behind as a stretch; single distances are tried one by one.
    """
    rooms: dict[int, tuple[Sequence[float], float]] = {0: (thetas, 0.0)}
    m, h = first, 0
    while m <= last:
        if h not in rooms:
            fast = sum([h * theta > 1 for theta in thetas])
            rooms[h] = thetas[fast:], fast + h * sum(thetas[fast:]) + ROUNDING
        slow, room = rooms[h]
        middle = m + h
        value = still + sum([cos(middle * theta) for theta in slow])
        if not h:
            if value < 0:
                return m
            m, h = m + 1, 1
        elif value > room:
            m, h = middle + h + 1, max(h + 1, h * 5 // 4)
        else:
            h //= 2
    return None


class Breaches(NamedTuple):
    """B and how it changes with ln b at one base of a grid, `grid` from point to point, of which `left` are left."""

    thetas: list[float]
    rates: list[float]  # theta*e, where theta = b^-e
    curves: list[float]  # theta*e^2
    squares: list[float]  # (theta*e)^2
    thirds: tuple[float, float, float]  # of m^3, m^2 and m: no third derivative is larger
    grid: float
    left: int

    def lasts(self, m: int) -> int:
        """How many points of the grid, this one the first, have B(m) < 0 for certain; 0: not even this one."""
        phases = [m * theta for theta in self.thetas]
        cosines = [cos(phase) for phase in phases]
        depth = -sum(cosines)
        if depth <= 0:
            return 0
        sines, grid = [sin(phase) for phase in phases], self.grid
        first = m * _products(sines, self.rates) * grid
        second = -m * (m * _products(cosines, self.squares) + _products(sines, self.curves)) * grid**2 / 2
        cubes, squares, ones = self.thirds
        third = m * (m * (m * cubes + squares) + ones) * grid**3 / 6
        points = 1
        while points < self.left and depth > points * (first + points * (second + points * third)) + ROUNDING:
            points += 1
        return points


def breaches_at(base: float, exponents: Sequence[float], grid: float, left: int) -> Breaches:
    """Breaches at a base, whose pairs turn by b^-e a token."""
    thetas = [base**-e for e in exponents]
    rates = [theta * e for theta, e in zip(thetas, exponents, strict=True)]
    curves = [rate * e for rate, e in zip(rates, exponents, strict=True)]
    squares = [rate * rate for rate in rates]
    thirds = (_products(squares, rates), 3 * _products(rates, curves), _products(curves, exponents))
    return Breaches(thetas, rates, curves, squares, thirds, grid, left)


def _products(left: Iterable[float], right: Iterable[float]) -> float:
    total: float = sum(map(mul, left, right))
    return total
