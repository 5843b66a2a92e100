"""What a figure is: series over an x axis, the room there is for them, roofs; plain and frozen, and never rounded."""

from __future__ import annotations

from kvcalc.tuples import NamedTuple

MAX_SERIES = 14  # as many as colour, dash and marker together tell apart
MAX_POINTS = 10_000


class Axis(NamedTuple):
    """What an axis counts: a key of the rows (of a roofline `intensity` and `flops_per_second`), its words, its unit.

    `unit` is bytes, FLOPs, FLOP/s, FLOPs/byte, tokens, elements, parameters, sequences, devices, or '' for a ratio.
    `log` is the base of a logarithmic axis, 2 or 10; 0: it is linear, from 0.
    """

    key: str
    title: str
    unit: str
    log: int


class Point(NamedTuple):
    """One number of the rows, exact, at one x. `group`: of a roofline 'decode' or 'prefill'.

    `told` is what else is to be said of it, as pairs of a name and words.
    """

    x: float
    y: float
    group: str = ""
    told: tuple[tuple[str, str], ...] = ()


class Series(NamedTuple):
    """Points in the order of x; the label says how it differs from the others, and no two are the same."""

    label: str
    points: tuple[Point, ...]


class Band(NamedTuple):
    """Room for a cache, in the unit of y: triples of x, the least and the most that any of its series has.

    One machine leaves the variants of one model a little more or less, by their weights.
    """

    label: str
    points: tuple[tuple[float, int, int], ...]


class Roof(NamedTuple):
    """FLOPs a second that can be attained at an intensity: pairs of x and y, of which the second is the ridge."""

    label: str
    points: tuple[tuple[float, float], ...]


class Figure(NamedTuple):
    """Everything a picture says, and what its reader should know beside it.

    `notes` and `warnings` are for stderr; `subtitle` says what holds for every point: dtype, batch, engine.
    """

    title: str
    subtitle: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    bands: tuple[Band, ...] = ()
    roofs: tuple[Roof, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def points(self) -> list[tuple[Series, Point]]:
        """Every point with its series."""
        return [(series, point) for series in self.series for point in series.points]
