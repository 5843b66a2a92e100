"""Formulas as MathML: fractions, powers and roots, symbols with their indices; or with the numbers put in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.formula import Operation
from kvcalc.report.html import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.formula import Node

SIGNS = {"+": "+", "-": "&minus;", "*": "&sdot;"}
BINDING = {"+": 1, "-": 1, "*": 2, "%": 2, "**": 4}
GREEK = ("alpha", "beta", "gamma", "delta", "lambda", "sigma", "tau")  # as HTML names them too
_SYMBOL = re.compile(rf"(?P<base>[A-Za-z]|{'|'.join(GREEK)})(?:_(?P<below>[A-Za-z0-9]+))?")


def mathml(node: Node, show: Callable[[str], str], times: str = SIGNS["*"]) -> str:
    """An expression, its symbols as `show` writes them, with this sign of multiplication."""
    if isinstance(node, str):
        return show(node)
    if not isinstance(node, Operation):
        return f"<mn>{node:,}</mn>"
    left, right = mathml(node.left, show, times), mathml(node.right, show, times)
    if node.operator in ("/", "//"):
        quotient = f"<mfrac><mrow>{left}</mrow><mrow>{right}</mrow></mfrac>"
        return quotient if node.operator == "/" else _within("&lfloor;", quotient, "&rfloor;")
    if node.operator == "ceil_div":
        return _within("&lceil;", f"<mfrac><mrow>{left}</mrow><mrow>{right}</mrow></mfrac>", "&rceil;")
    if node.operator == "isqrt":
        return _within("&lfloor;", f"<msqrt>{left}</msqrt>", "&rfloor;")
    if node.operator in ("min", "max"):
        return f"<mi>{node.operator}</mi>{_within('(', f'{left}<mo>,</mo>{right}', ')')}"
    binding = BINDING[node.operator]
    if node.operator == "**":
        base = left if _binding(node.left) > binding else _within("(", left, ")")
        return f"<msup><mrow>{base}</mrow><mrow>{right}</mrow></msup>"
    if node.operator == "-" and node.left == 0:
        left = ""
    elif _binding(node.left) < binding:
        left = _within("(", left, ")")
    if _binding(node.right) < binding + (node.operator != "+"):
        right = _within("(", right, ")")
    sign = {"*": times, "%": "mod"}.get(node.operator) or SIGNS[node.operator]
    return f"{left}<mo>{sign}</mo>{right}"


def symbol(name: str) -> str:
    """A symbol of the papers, d_h^R or d_c', with its indices; any other name as it is."""
    plain = name.rstrip("'")
    body, _, above = plain.partition("^")
    match = _SYMBOL.fullmatch(body)
    primes = "&prime;" * (len(name) - len(plain))
    if match is None:
        shown = f"<mi>{escape(body)}</mi>"
        below = None
    else:
        shown = f"<mi>{f'&{base};' if (base := match['base']) in GREEK else base}</mi>"
        below = match["below"]
    over = (f"<mi>{escape(above)}</mi>" if above else "") + (f"<mo>{primes}</mo>" if primes else "")
    if below and over:
        return f"<msubsup>{shown}<mi>{below}</mi><mrow>{over}</mrow></msubsup>"
    if below:
        return f"<msub>{shown}<mi>{below}</mi></msub>"
    return f"<msup>{shown}<mrow>{over}</mrow></msup>" if over else shown


def _within(left: str, inner: str, right: str) -> str:
    return f"<mrow><mo>{left}</mo>{inner}<mo>{right}</mo></mrow>"


def _binding(node: Node) -> int:
    """How tight an expression holds together, 9 for what needs no parentheses."""
    return BINDING.get(node.operator, 9) if isinstance(node, Operation) else 9
