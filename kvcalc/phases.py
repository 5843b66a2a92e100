"""What runs through a model: a decode step, a prefill, an answer, each in symbols of the workload.

A phase is calls: so many sequences of so many new tokens, the pairs they attend over and the keys they touch. Heads
and latents know nothing of phases; a phase knows nothing of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kvcalc.attention.reach import pairs, retouched, seen, touched
from kvcalc.quantity import Quantity
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.attention.reach import Reach
    from kvcalc.workload import Workload


class Call(NamedTuple):
    """What one phase runs through the model, in symbols of the workload: `times` sequences of `tokens` new tokens.

    `encodes`: how often a sequence's encoder runs, '' where its output is cached.
    """

    times: str
    tokens: Quantity
    pairs: Callable[[Reach], Quantity]
    touched: Callable[[Reach], Quantity]
    mode: str
    encodes: str = ""

    @property
    def encoded(self) -> str:
        """How often the encoder runs for the whole batch; '' where it does not."""
        return self.times if self.encodes == "1" else f"{self.times}*{self.encodes}" if self.encodes else ""


class Phase(NamedTuple):
    """Calls, and how many tokens' logits they end in for the whole batch."""

    name: str
    calls: tuple[Call, ...]
    logits: str


def decode_phase(workload: Workload, n: str = "n", name: str = "decode") -> Phase:
    """The step that processes token n; without a cache it costs the prefill of n tokens."""
    if workload.kv_cache:
        one = Quantity("new tokens", "1")
        call = Call("B", one, lambda r: seen(r, n), lambda r: seen(r, n), workload.mla_decode)
    else:
        every = Quantity("tokens recomputed", n)
        call = Call("B", every, lambda r: pairs(r, "0", n), lambda r: touched(r, "0", n), workload.mla_prefill, "1")
    return Phase(name, (call,), "B")


def last_step_phase(workload: Workload) -> Phase:
    """The step that processes the answer's last token."""
    return decode_phase(workload, "n + T", "last_step")


def prefill_phase(workload: Workload) -> Phase:
    """P new tokens after K cached ones; a prefix shared by the batch is computed once."""
    start, encodes = ("K", "") if workload.cached_tokens else ("0", "1")
    prefix = workload.shared_prefix_tokens
    if prefix > workload.cached_tokens:
        once = _span("1", start, "S", workload.mla_prefill)
        return Phase("prefill", (once, _span("B", "S", "n", workload.mla_prefill, encodes)), "B")
    return Phase("prefill", (_span("B", start, "n", workload.mla_prefill, encodes),), "B")


def answer_phase(workload: Workload) -> Phase:
    """All T steps of an answer, tokens n+1 to n+T."""
    end = "n + T"
    if workload.kv_cache:
        steps = Quantity("new tokens", "T")
        call = Call("B", steps, lambda r: pairs(r, "n", end), lambda r: pairs(r, "n", end), workload.mla_decode)
    else:
        every = Quantity("tokens recomputed", "T*n + T*(T + 1)/2")
        again = partial(pairs, p="n", n=end, recomputed=True)
        call = Call("B", every, again, lambda r: retouched(r, "n", end), workload.mla_prefill, "T")
    return Phase("answer", (call,), "B*T")


def _span(times: str, start: str, end: str, mode: str, encodes: str = "") -> Call:
    """A prefill of the tokens after `start` up to `end`."""
    length = end if start == "0" else f"{end} - {start}"
    tokens = Quantity("new tokens", length)
    return Call(times, tokens, lambda r: pairs(r, start, end), lambda r: touched(r, start, length), mode, encodes)
