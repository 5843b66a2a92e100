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

# Free text reaches terminals and spreadsheets: it may steer neither. Nor may it turn a line around (U+202E and its
# like), or hold what nobody sees (U+200B, U+2060); what joins letters, U+200C and U+200D, may stand.
_STEERS = r"\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
TEXT = rf"^[^=+\-@\s{_STEERS}][^{_STEERS}]*$"
_TAGS = "\U000e0000-\U000e007f"  # unseen letters; not every reader of a JSON Schema takes these in a pattern
Text = Annotated[
    str,
    Field(pattern=TEXT.replace("]*$", f"{_TAGS}]*$"), max_length=500),
    WithJsonSchema({"type": "string", "pattern": TEXT, "maxLength": 500}),
]


def _written(value: object) -> object:
    """A whole number is a formula too: `parameters: 0`."""
    return str(value) if type(value) is int else value


FORMULA = rf"^[^=+\-@\s{_STEERS}]"
Expression = Annotated[
    str,
    BeforeValidator(_written),
    Field(pattern=FORMULA),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": FORMULA}, {"type": "integer", "minimum": 0}]}),
]


class Strict(BaseModel):
    """No coercion, no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
