"""Formulas of a file: parts by formulas over symbols, and what each formula comes to, refused at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import FormulaError
from kvcalc.formula import parse
from kvcalc.model import Extra

if TYPE_CHECKING:
    from kvcalc.readers.schema import LayerFile
    from kvcalc.readers.text import Document, Place

OWN = "the config's own formula"


def extras_of(document: Document, file: LayerFile, hidden_size: int, place: Place) -> tuple[Extra, ...]:
    """The other parts that a stack or a kind of layer names."""
    found = []
    for at, extra in enumerate(file.extras):
        symbols = {**extra.symbols, "d": hidden_size}
        once, allotted = extra.library_once or "", extra.library_parameters or ""
        for field, formula in (("parameters", extra.parameters), ("work_per_token", extra.work_per_token)):
            evaluated(document, (*place, "extras", at, field), formula, symbols)
        for field, formula in (("library_once", once), ("library_parameters", allotted)):
            if formula:
                evaluated(document, (*place, "extras", at, field), formula, symbols)
        constants = tuple(extra.symbols.items())
        source = extra.source or OWN
        told = (extra.name, extra.parameters, extra.work_per_token, constants, source)
        found.append(Extra(*told, extra.at_head, once, extra.crosses, allotted))
    return tuple(found)


def evaluated(document: Document, place: Place, formula: str, symbols: dict[str, int]) -> int:
    """The value of a file's formula. Raises ConfigError at its place where it has none, or less than nothing."""
    field = place[-1]
    try:
        value = parse(formula).evaluate(symbols)
    except FormulaError as error:
        raise document.error(place, f"{field}: {error.message}", error.hint) from None
    if value < 0:
        raise document.error(place, f"{field}: the formula gives {value}, less than nothing")
    return value
