"""Rotary positions as a model has them: the base, what of a head rotates, and how frequencies are scaled."""

from __future__ import annotations

from kvcalc.tuples import NamedTuple

FOLLOWED = ("linear", "yarn", "llama3")


class Scaling(NamedTuple):
    """How frequencies are changed for a longer context: `kind` as Hugging Face's rope_type."""

    kind: str
    factor: float = 1.0
    original_max_position_embeddings: int = 0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    truncate: bool = True

    @property
    def followed(self) -> bool:
        """Whether the bound takes it into account; of the others it is the bound before scaling."""
        return self.kind in FOLLOWED


class Rope(NamedTuple):
    """Rotary positions: the base of layers of full reach, and of those with a window where that is another.

    `local_base` 0: the same, scaled alike. `full_layers` False: layers of full reach have no positions (Llama 4).
    """

    base: float
    partial_rotary_factor: float = 1.0
    local_base: float = 0.0
    scaling: Scaling | None = None
    full_layers: bool = True
