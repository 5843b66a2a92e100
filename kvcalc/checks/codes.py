"""Codes that are no lint's: files that are wrong, budgets that are exceeded, numbers that changed."""

from __future__ import annotations

from kvcalc.tuples import NamedTuple


class Code(NamedTuple):
    """What a code stands for: `title` names the matter, `reason` says why it matters, `severity` how it is taken."""

    title: str
    reason: str
    severity: str = "warning"


READING = {
    "KV001": Code(
        "a config that is wrong",
        "A field is missing, misspelt or out of range: nothing computed from the file would be right.",
        "error",
    ),
    "KV002": Code(
        "a model that is not understood",
        "Its model type, a layer type or a flag makes of it a model that kvcalc does not know, and it does not guess.",
        "error",
    ),
}
UNSILENCED = frozenset(READING)
BUDGETS = {
    "KV201": Code("a number above its maximum", "A budget file allows less, and somebody counted on that.", "error"),
    "KV202": Code("a number below its minimum", "A budget file asks for more, and somebody counted on that.", "error"),
    "KV203": Code(
        "a number that rose too much",
        "A budget file allows only so much of a rise in one change, so that growth is decided and not drifted into.",
        "error",
    ),
    "KV204": Code(
        "a budget for a number that the model does not have",
        "What does not apply is neither within a limit nor beyond it: the budget guards nothing.",
        "error",
    ),
    "KV205": Code(
        "a budget that no model is under",
        "Its glob is the name of no model that was checked: after a renaming, a budget guards nothing.",
    ),
    "KV206": Code(
        "nothing to compare a rise with",
        "The model is new: a budget of its rise will hold it from the next change on.",
        "note",
    ),
}
CHANGES = {
    "KV301": Code(
        "numbers changed",
        "A change of the config changes what the model costs: a reviewer sees it before it merges.",
        "note",
    ),
}
