"""Rows as a Parquet file: every integer exact, each column of the narrowest type that holds all of it.

Text is string, yes and no are bool, fractions are float64. Integers are int64, decimal128(38, 0) where one of them is
beyond it, and decimal256(76, 0) beyond that. A column of both (`show`'s value) is float64, and where an integer in it
is beyond 2^53 a decimal with all digits of its fractions. One of null alone is int64, or float64 where its key is a
ratio's.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.glossary import MEANINGS
from kvcalc.report.spool import spooled
from kvcalc.rows import FRACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from kvcalc.report.spool import Seen, Spool
    from kvcalc.rows import Block, Value

ROWS_A_GROUP = 1 << 16


def write(blocks: Iterable[Block], file: BinaryIO) -> list[str]:
    """Write the rows as they come; no warning is ever due. Raises KvcalcError where pyarrow is absent."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise KvcalcError("writing .parquet needs pyarrow", "pip install 'kvcalc[parquet]'") from None
    with spooled(blocks) as spool:
        schema = pyarrow.schema(
            [
                pyarrow.field(key, _type(spool, key, seen), metadata={"description": MEANINGS.get(key, "")})
                for key, seen in spool.columns.items()
            ]
        )
        with ParquetWriter(file, schema) as writer:
            for group in _groups(spool.blocks()):
                tables = [pyarrow.table([_array(block, field) for field in schema], schema=schema) for block in group]
                writer.write_table(pyarrow.concat_tables(tables), row_group_size=ROWS_A_GROUP)
    return []


def _groups(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Blocks in groups of about ROWS_A_GROUP rows: small row groups are slow to read."""
    group: list[Block] = []
    for block in blocks:
        if group and sum(one.length for one in group) + block.length > ROWS_A_GROUP:
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _type(spool: Spool, key: str, seen: Seen) -> Any:  # pyarrow has no types
    """The narrowest type that holds every value of a column."""
    import pyarrow

    if seen.is_text:
        return pyarrow.string()
    if seen.kinds == {bool}:
        return pyarrow.bool_()
    if float in seen.kinds and int in seen.kinds and not seen.within(1 << 53):
        return _decimal(key, seen, *_digits(spool, key))
    if float in seen.kinds or (not seen.kinds and key in FRACTIONS):
        return pyarrow.float64()
    return pyarrow.int64() if seen.within((1 << 63) - 1) else _decimal(key, seen)


def _decimal(key: str, seen: Seen, before: int = 0, places: int = 0) -> Any:
    """A decimal with room for the integers, and for these many digits before and after the point."""
    import pyarrow

    digits = max(len(str(max(-seen.least, seen.most))), before) + places
    if digits > 76:
        raise KvcalcError(f"{key}: numbers of {digits} digits are more than a .parquet file holds", "use .csv")
    return pyarrow.decimal128(38, places) if digits <= 38 else pyarrow.decimal256(76, places)


def _digits(spool: Spool, key: str) -> tuple[int, int]:
    """Digits before and after the point of the fractions in a column, as few as give the same double again."""
    before = after = 0
    for block in spool.blocks():
        for value in _values(block, key):
            if isinstance(value, float):
                exact = Decimal(repr(value))
                before, after = max(before, exact.adjusted() + 1), max(after, -int(exact.as_tuple().exponent))
    return before, after


def _values(block: Block, key: str) -> list[Value]:
    told = block.columns[key]
    return told if isinstance(told, list) else [told]


def _array(block: Block, field: Any) -> Any:
    """One column of one block; what all rows have in common is converted once."""
    import pyarrow

    values: list[Any] = _values(block, field.name)
    if pyarrow.types.is_decimal(field.type):
        values = [Decimal(repr(value)) if isinstance(value, float) else value for value in values]
    elif pyarrow.types.is_string(field.type):
        values = [value if value is None else str(value) for value in values]
    array = pyarrow.array(values, field.type)
    return array if isinstance(block.columns[field.name], list) else pyarrow.repeat(array[0], block.length)
