"""A memory of the user's own: formulas in the symbols of its layer, read by the expression engine."""

from __future__ import annotations

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

NOTHING = "0"


class Custom(NamedTuple):
    """What one token leaves and what it costs, as formulas over `constants` and d, the hidden size."""

    elements_per_token: str
    work_per_pair: str
    work_per_token: str
    parameters: str
    constants: tuple[tuple[str, int], ...] = ()
    name: str = "custom"
    source: str = "the config's own formula"
    kind: str = "custom"
    state_elements: str = NOTHING

    @property
    def label(self) -> str:
        """The name the config gives it."""
        return self.name

    @property
    def elements_formula(self) -> str:
        """The config's formula."""
        return self.elements_per_token

    def symbols(self) -> dict[str, int]:
        """The config's symbols."""
        return dict(self.constants)

    def stores(self) -> tuple[Store, ...]:
        """One store, neither K nor V, where a token leaves anything."""
        if self.elements_per_token == NOTHING:
            return ()
        return (Store("elements", self.elements_per_token, "kv", self.source),)

    def states(self) -> tuple[State, ...]:
        """The config's fixed state, where it has one."""
        if self.state_elements == NOTHING:
            return ()
        return (State("state", self.state_elements, "state", self.source),)

    def work(self, mode: str) -> tuple[Work, ...]:
        """The config's work per pair and per token."""
        return (
            Work("pairs", "pair", self.work_per_pair, self.source),
            Work("tokens", "token", self.work_per_token, self.source),
        )

    def weights(self) -> tuple[Weights, ...]:
        """The config's parameters."""
        return (Weights("weights", self.parameters),)
