"""What an expert would say aloud about a config: every code, and the lints, which these imports register."""

from __future__ import annotations

from kvcalc.checks import heads, positions, ranks, sizes, windows
from kvcalc.checks.codes import BUDGETS, CHANGES, READING, Code
from kvcalc.checks.lint import LINTS

__all__ = ["CODES", "Code", "heads", "positions", "ranks", "sizes", "windows"]

CODES: dict[str, Code] = {**READING, **{lint.code: lint.about for lint in sorted(LINTS)}, **BUDGETS, **CHANGES}
