"""What the model needs while a token is processed, as papers count it."""

from __future__ import annotations

from kvcalc.attention.reach import kept
from kvcalc.engines import Engine

ENGINE = Engine("paper", kept, lambda store: store.formula, lambda state: state.formula)
