"""The reach of cross attention: the encoder's tokens, all of them and always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.reach import Rules
from kvcalc.quantity import Quantity
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.quantity import Symbols

SOURCE = "Attention Is All You Need (arXiv:1706.03762) sec. 3.2.3: keys and values from the encoder's output"
ENCODER = Rules(
    seen="n_enc",
    kept="n_enc",
    pairs="n*n_enc",
    recomputed="n_enc*n*(n + 1)/2",
    touched="n_enc",
    retouched="n*n_enc",
    receptive="",
    source=SOURCE,
    stored="0",
    shared="0",
    dense="n_enc",
)


class Encoder(NamedTuple):
    """Every token of the encoder; its keys and values are made once and never grow."""

    kind: str = "encoder"

    @property
    def rules(self) -> Rules:
        """Its formulas."""
        return ENCODER

    @property
    def label(self) -> str:
        """As tables show it."""
        return "cross"

    def symbols(self) -> Symbols:
        """n_enc, which is a quantity of the model's: a fixed length, or the workload's."""
        return {"n_enc": Quantity("encoder tokens", "encoder_tokens")}
