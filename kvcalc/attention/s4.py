"""S4 and S4D: a linear state space a channel, the same for every token."""

from __future__ import annotations

from typing import Annotated

from kvcalc.attention.memory import State, Store, Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE_S4 = "S4 (arXiv:2111.00396) sec. 3: diagonal plus low rank"
SOURCE_S4D = "S4D (arXiv:2206.11893) sec. 4: diagonal; a complex multiply is 6 real FLOPs, an add 2"


class S4(NamedTuple):
    """S4D, or S4 with a low-rank part: hidden_size channels, each with N real numbers: N/2 complex conjugate pairs.

    Shape of the state: [d, N]. What leaves the state is mixed by one matrix of d by 2*d with a bias and a gate.
    """

    state_size: Annotated[int, "N, real numbers of state a channel: twice the complex ones"]
    rank: Annotated[int, "rank R of the low-rank part; 0: diagonal, S4D"] = 0
    kind: str = "s4"

    @property
    def label(self) -> str:
        """S4D-N or S4-N."""
        return f"S4-{self.state_size}" if self.rank else f"S4D-{self.state_size}"

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return SOURCE_S4 if self.rank else SOURCE_S4D

    @property
    def elements_formula(self) -> str:
        """Nothing a token."""
        return "0"

    def symbols(self) -> dict[str, int]:
        """N, and R with a low-rank part."""
        return {"N": self.state_size, **({"R": self.rank} if self.rank else {})}

    def stores(self) -> tuple[Store, ...]:
        """Nothing."""
        return ()

    def states(self) -> tuple[State, ...]:
        """N numbers a channel."""
        return (State("state", "d*N", "state", self.source),)

    def work(self, mode: str) -> tuple[Work, ...]:
        """The recurrence of a step: A h, B u and their sum; C h. As a convolution training costs other FLOPs."""
        parts = [
            Work("state update", "token", "10*d*(N//2)", self.source, mixes=True),
            Work("state read-out", "token", "4*d*(N//2)", self.source, mixes=True),
            Work("out", "token", "2*d*2*d", self.source),
        ]
        if self.rank:
            parts.append(Work("low rank", "token", "16*R*d*(N//2)", self.source, mixes=True))
        return tuple(parts)

    def weights(self) -> tuple[Weights, ...]:
        """A and C, the time step and the skip a channel, the output; with a low rank also P and B."""
        parts = [
            Weights("A", "d*N"),
            Weights("C", "d*N"),
            Weights("time step and skip", "2*d"),
            Weights("out", "d*2*d + 2*d"),
        ]
        if self.rank:
            parts += [Weights("P", "R*d*N"), Weights("B", "d*N")]
        return tuple(parts)
