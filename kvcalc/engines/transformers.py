"""What the Transformers library's own cache holds between steps, after token n: cache_utils.py of 5.23."""

from __future__ import annotations

from kvcalc.attention.reach import between
from kvcalc.engines import Engine

ENGINE = Engine(
    "transformers", between, lambda store: store.library or store.formula, lambda state: state.library or state.formula
)
