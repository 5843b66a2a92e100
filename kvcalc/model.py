"""The world: a model as layers of branches, plain and frozen. It knows nothing of files, engines or printing.

NamedTuples rather than frozen dataclasses: defining one costs a tenth of the time at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvcalc.attention.memory import Memory
    from kvcalc.attention.reach import Reach
    from kvcalc.feedforward import FeedForward


class Branch(NamedTuple):
    """One choice on each axis. `shares_kv`: it reads the memory of the nearest earlier layer of its like."""

    memory: Memory
    reach: Reach
    shares_kv: bool = False

    @property
    def label(self) -> str:
        """'GQA-8', 'GQA-8 SWA-4096', 'MLA-512+64 shared'."""
        parts = [self.memory.label]
        if self.reach.kind != "full":
            parts.append(self.reach.label)
        if self.shares_kv:
            parts.append("shared")
        return " ".join(parts)


class Layer(NamedTuple):
    """Branches of attention, what follows them (None: nothing), and the norms of hidden size around them."""

    branches: tuple[Branch, ...]
    feedforward: FeedForward | None
    norms: int


class LayerGroup(NamedTuple):
    """Like layers: one layer and the indices, from 0, where it stands."""

    layer: Layer
    indices: tuple[int, ...]

    @property
    def layers(self) -> int:
        """How many layers these are."""
        return len(self.indices)


class ModelSpec(NamedTuple):
    """A language model.

    `norm` is 'rmsnorm' (weights), 'layernorm' (weights and biases) or 'unweighted'. `position_embeddings` counts
    learned rows. `embedding_size` differs from hidden_size where the embedding is projected (OPT-350m).
    `max_position_embeddings` 0: none stated. `left_out` names what the file holds and is not counted.
    """

    name: str
    hidden_size: int
    vocab_size: int
    groups: tuple[LayerGroup, ...]
    norm: str
    tie_word_embeddings: bool
    max_position_embeddings: int = 0
    position_embeddings: int = 0
    embedding_size: int = 0
    embedding_norm: bool = False
    final_norm: bool = True
    lm_head_bias: bool = False
    source: str = ""
    left_out: str = ""

    @property
    def layers(self) -> int:
        """Number of layers."""
        return sum(group.layers for group in self.groups)

    def branches(self, *, owners: bool = False) -> list[tuple[int, Branch]]:
        """Every kind of branch with its number of layers; `owners`: only those that store memory of their own."""
        layers: dict[Branch, int] = {}
        for group in self.groups:
            for branch in group.layer.branches:
                if not (owners and branch.shares_kv):
                    layers[branch] = layers.get(branch, 0) + group.layers
        return [(count, branch) for branch, count in layers.items()]

    def feedforwards(self) -> list[tuple[int, FeedForward]]:
        """Every kind of feed-forward with its number of layers."""
        layers: dict[FeedForward, int] = {}
        for group in self.groups:
            if group.layer.feedforward is not None:
                layers[group.layer.feedforward] = layers.get(group.layer.feedforward, 0) + group.layers
        return [(count, feedforward) for feedforward, count in layers.items()]

    @property
    def attention(self) -> str:
        """The label of its attention over all layers: 'GQA-16 (52 SWA-1024 + 10 full)'."""
        by_branch: dict[str, dict[str, int]] = {}
        for layers, branch in self.branches():
            reach = branch.reach.label + (" shared" if branch.shares_kv else "")
            counts = by_branch.setdefault(branch.memory.label, {})
            counts[reach] = counts.get(reach, 0) + layers
        return " + ".join(_label(memory, reaches, len(by_branch) > 1) for memory, reaches in by_branch.items())


def _label(memory: str, reaches: dict[str, int], several: bool) -> str:
    if len(reaches) > 1:
        return f"{memory} ({' + '.join(f'{count} {reach}' for reach, count in reaches.items())})"
    reach, count = next(iter(reaches.items()))
    label = memory if reach == "full" else f"{memory} {reach.removeprefix('full ')}"
    return f"{count} {label}" if several else label


def runs(indices: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return sorted indices as runs, first and last included."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found
