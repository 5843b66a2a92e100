"""Attention as an RNN: what it costs to keep less than the cache and make the rest anew.

Softmax attention over the past is a recurrence whose state is a running (value, normaliser), with a running maximum
where exp would overflow: d_v + 2 elements a head, whatever the context. What it runs over must come from somewhere:
from each layer's stored inputs, from the tokens alone in one step (use_cache=False), or from nothing at all, which
evaluates the leaves of a tree. Source: kexue.fm/archives/10017; the recurrence is FlashAttention's (arXiv:2205.14135).
"""

from __future__ import annotations

from math import comb, lgamma, log
from typing import TYPE_CHECKING

from kvcalc.analysis import analyze
from kvcalc.attention.reach import kept, seen
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.analysis import Report
    from kvcalc.model import Branch, ModelSpec
    from kvcalc.quantity import Node, Symbols

SOURCE = "kexue.fm/archives/10017: attention as an RNN of quadratic complexity"
SOURCE_FLASH = "FlashAttention (arXiv:2205.14135) sec. 3.1: running maximum, sum and output"
EXACT_DIGITS = 18


class Trade(NamedTuple):
    """One number of the trade: `way` says what is kept, `formula` is per layer where it is a sum over layers."""

    way: str
    quantity: str
    formula: str
    value: int | float | None
    source: str


def trades(report: Report) -> list[Trade]:
    """The ways to keep less, each with what it holds and what a decode step then costs."""
    spec, scope = report.spec, report.scope
    branches = [(layers, branch) for layers, branch in spec.branches(owners=True) if _is_softmax(branch)]
    if not branches:
        return []
    return [
        Trade("cache", "cache_elements", "the cache", report.value("cache_elements"), ""),
        Trade("cache", "decode_attention_flops", "a step over it", report.value("decode_attention_flops"), ""),
        *_state(report, branches),
        *_inputs(report, branches),
        *_nothing_kept(report),
        Trade("nothing stored", "working_elements", "2*d*l", 2 * spec.hidden_size * spec.layers * scope["B"], SOURCE),
        *_leaves(spec, scope["n"]),
    ]


def _is_softmax(branch: Branch) -> bool:
    return branch.memory._asdict()["kind"] in ("heads", "mla") and branch.reach.kind != "encoder"


def _state(report: Report, branches: list[tuple[int, Branch]]) -> Iterator[Trade]:
    """The recurrence's own state, which every way below needs while a step runs."""
    parts = []
    for layers, branch in branches:
        symbols = branch.memory.symbols()
        formula = f"B*n_h*({'d_v' if 'd_v' in symbols else 'd_h'} + 2)"
        parts.append(Part(layers, branch.label, Quantity("state", formula, symbols, SOURCE_FLASH)))
    yield _total("running state", "state_elements", parts, report)


def _inputs(report: Report, branches: list[tuple[int, Branch]]) -> Iterator[Trade]:
    """Each layer's inputs are stored, and K and V of every token made anew at every step."""
    held: list[Part] = []
    work: list[Part] = []
    for layers, branch in branches:
        tokens = kept(branch.reach)
        widths = {**branch.memory.symbols(), "d": report.spec.hidden_size}
        symbols: Symbols = {**widths, "t": tokens, "x": seen(branch.reach)}
        held.append(Part(layers, branch.label, Quantity("inputs", "B*t*d", symbols, SOURCE)))
        amounts: dict[str, list[str]] = {
            "a": [],
            "r": [],
            "o": [],
        }  # FLOPs a pair, to make K and V of a token anew, and of the new token
        for one in branch.memory.work("naive"):
            amount = "a" if one.per == "pair" else "r" if one.writes or one.per == "key" else "o"
            amounts[amount].append(f"({one.formula})")
        sums = {name: Quantity(name, " + ".join(terms), symbols, SOURCE) for name, terms in amounts.items()}
        step = Quantity("step", "B*(a*x + r*t + o)", {**symbols, **sums}, SOURCE)
        work.append(Part(layers, branch.label, step))
    yield _total("inputs stored", "input_elements", held, report)
    yield _total("inputs stored", "step_attention_flops", work, report)


def _nothing_kept(report: Report) -> Iterator[Trade]:
    """No cache: a step is the prefill of all tokens, whose activations are held while it runs."""
    spec = report.spec
    without = analyze(spec, report.workload._replace(kv_cache=False, shared_prefix_tokens=0))
    held = Quantity("activations", "B*n*d", {"d": spec.hidden_size}, SOURCE)
    told = Trade("use_cache=False", "activation_elements", held.formula, held.evaluate(report.scope), SOURCE)
    flops = without.value("decode_attention_flops")
    yield told
    yield Trade("use_cache=False", "step_attention_flops", "the prefill of n tokens", flops, SOURCE)


def _leaves(spec: ModelSpec, n: int) -> Iterator[Trade]:
    """Layer l at token n needs layer l-1 at every token up to it: the leaves of that tree."""
    layers, formula = spec.layers, "C(n + l - 1, l)"
    digits = (lgamma(n + layers) - lgamma(layers + 1) - lgamma(n)) / log(10)
    exact = comb(n + layers - 1, layers) if digits < EXACT_DIGITS else None
    yield Trade("nothing stored", "leaf_evaluations", formula, exact, SOURCE)
    yield Trade("nothing stored", "leaf_evaluations_log10", f"log10 {formula}", round(digits, 3), SOURCE)


def _total(way: str, quantity: str, parts: list[Part], report: Report) -> Trade:
    formulas = dict.fromkeys(_formula(part.node) for part in parts)
    total = Total(quantity, tuple(parts))
    sources = dict.fromkeys(part.node.source for part in parts if isinstance(part.node, Quantity))
    return Trade(way, quantity, "; ".join(formulas), total.evaluate(report.scope), ", ".join(sources))


def _formula(node: Node) -> str:
    return node.formula if isinstance(node, Quantity) else node.name
