"""What every file's format is built of: strict, no field unknown; numbers, names and text that are safe to show."""

from __future__ import annotations

from typing import Annotated

from pydantic import (  # noqa: TID253  # imported only once a file is read
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

Size = Annotated[int, Field(gt=0, le=10**9)]
SizeOrZero = Annotated[int, Field(ge=0, le=10**9)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$"
SYMBOL = r"^[A-Za-z_][A-Za-z_0-9]{0,99}(\^[A-Za-z]{1,99})?'{0,9}$"

# Free text reaches terminals and spreadsheets: it may steer neither.
TEXT = r"^[^=+\-@\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
Text = Annotated[str, Field(pattern=TEXT, max_length=500)]


def _written(value: object) -> object:
    """A whole number is a formula too: `parameters: 0`."""
    return str(value) if type(value) is int else value


FORMULA = r"^[^=+\-@\s\x00-\x1f\x7f-\x9f]"
Expression = Annotated[
    str,
    BeforeValidator(_written),
    Field(pattern=FORMULA),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": FORMULA}, {"type": "integer", "minimum": 0}]}),
]


class Strict(BaseModel):
    """No coercion, no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
