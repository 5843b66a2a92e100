"""The world: a model as layers of branches, plain and frozen. It knows nothing of files, engines or printing.

NamedTuples rather than frozen dataclasses: defining one costs a tenth of the time at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.attention.memory import Memory
    from kvcalc.attention.reach import Reach
    from kvcalc.feedforward import FeedForward
    from kvcalc.rotary import Rope
    from kvcalc.weight_formats import Quantization


NOTHING = "0"  # a formula


class Branch(NamedTuple):
    """One choice on each axis. `shares_kv`: it reads the memory of the nearest earlier layer of its like.

    `shares_weights`: its weights are an earlier layer's, run again with a memory of its own.
    """

    memory: Memory
    reach: Reach
    shares_kv: bool = False
    shares_weights: bool = False

    @property
    def label(self) -> str:
        """'GQA-8', 'GQA-8 SWA-4096', 'MLA-512+64 shared'."""
        parts = [self.memory.label]
        if self.reach.kind != "full":
            parts.append(self.reach.label)
        if self.shares_kv:
            parts.append("shared")
        return " ".join(parts)


class Extra(NamedTuple):
    """A part of a model that is neither attention nor MLP nor norm: a name, its weights and its matmuls, by formulas.

    `work_per_token` counts FLOPs; `constants` are the symbols of both beside d, the hidden size. `at_head`: it stands
    before lm_head, and runs for the tokens whose logits are made. `library_once`: FLOPs that the Transformers library's
    own code spends on it instead, once a call; '' where it does as said. `crosses`: it stands behind cross attention,
    and is passed over where that has nothing to read. `library_parameters`: what that library allots for it beyond its
    parameters.
    """

    name: str
    parameters: str
    work_per_token: str = NOTHING
    constants: tuple[tuple[str, int], ...] = ()
    source: str = ""
    at_head: bool = False
    library_once: str = ""
    crosses: bool = False
    library_parameters: str = ""


class Layer(NamedTuple):
    """Branches of attention, what follows them (None: nothing), the norms of hidden size around them, and the rest."""

    branches: tuple[Branch, ...]
    feedforward: FeedForward | None
    norms: int
    extras: tuple[Extra, ...] = ()


class LayerGroup(NamedTuple):
    """Like layers: one layer and the indices, from 0, where it stands."""

    layer: Layer
    indices: tuple[int, ...]

    @property
    def layers(self) -> int:
        """How many layers these are."""
        return len(self.indices)


class EncoderSpec(NamedTuple):
    """The stack that reads the input of an encoder-decoder: its layers attend both ways and cache nothing.

    `norms` are those around the stack, `position_embeddings` learned rows.
    """

    hidden_size: int
    groups: tuple[LayerGroup, ...]
    norm: str
    norms: int = 0
    position_embeddings: int = 0
    extras: tuple[Extra, ...] = ()


class ModelSpec(NamedTuple):
    """A language model.

    `norm` is 'rmsnorm' (weights), 'layernorm' (weights and biases) or 'unweighted'. `position_embeddings` counts
    learned rows. `embedding_size` differs from hidden_size where the embedding is projected (OPT-350m);
    `lm_head_size` is lm_head's width where that is yet another (RemBERT). `max_position_embeddings` 0: none stated.
    `state_dtype` is the recurrent states', '' where the config does not say: fp32. `encoder_tokens` is the length of
    what cross attention reads unless the workload asks for another, None where it follows the context; without an
    `encoder` that is another model's output, a vision tower's say. `mtp` are the layers that predict later tokens,
    unless they run; `predicted` counts the tokens whose logits a step makes. `left_out` names what the file holds and
    is not counted. `architecture` is the class that a config names, by which servers choose; '' where none is named.
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
    lm_head_size: int = 0
    embedding_norm: bool = False
    final_norm: bool = True
    lm_head_bias: bool = False
    source: str = ""
    left_out: str = ""
    extras: tuple[Extra, ...] = ()
    encoder: EncoderSpec | None = None
    encoder_tokens: int | None = None
    state_dtype: str = ""
    mtp: tuple[LayerGroup, ...] = ()
    predicted: int = 1
    rope: Rope | None = None
    quantization: Quantization | None = None
    architecture: str = ""

    @property
    def layers(self) -> int:
        """Number of layers."""
        return sum(group.layers for group in self.groups)

    def branches(self, *, owners: bool = False) -> list[tuple[int, Branch]]:
        """Every kind of branch with its number of layers; `owners`: only those that store memory of their own."""
        found = branches_of(self.groups)
        return [(layers, branch) for layers, branch in found if not (owners and branch.shares_kv)]

    def feedforwards(self) -> list[tuple[int, FeedForward]]:
        """Every kind of feed-forward with its number of layers."""
        return feedforwards_of(self.groups)

    @property
    def encoded(self) -> bool:
        """Whether a layer reads what an encoder made."""
        return any(branch.reach.kind == "encoder" for _, branch in self.branches())

    @property
    def attention(self) -> str:
        """The label of its attention over all layers: 'GQA-16 (52 SWA-1024 + 10 full)'."""
        by_branch: dict[str, dict[str, int]] = {}
        for layers, branch in self.branches():
            if not branch.memory.work("naive"):
                continue  # what only waits to be compressed
            reach = branch.reach.label + (" shared" if branch.shares_kv else "")
            counts = by_branch.setdefault(branch.memory.label, {})
            counts[reach] = counts.get(reach, 0) + layers
        return " + ".join(_label(memory, reaches, len(by_branch) > 1) for memory, reaches in by_branch.items())


def predicting(spec: ModelSpec, mtp: str) -> ModelSpec:
    """The model with its prediction layers among the others, where they are 'on' and not among them yet."""
    if mtp == "off" or not spec.mtp:
        return spec
    more = sum(group.layers for group in spec.mtp)
    return spec._replace(groups=(*spec.groups, *spec.mtp), mtp=(), predicted=1 + more)


def alone(spec: ModelSpec) -> ModelSpec:
    """What runs of a model whose cross attention has nothing to read: layers of nothing else are skipped."""
    groups = []
    for group in spec.groups:
        own = tuple(branch for branch in group.layer.branches if branch.reach.kind != "encoder")
        if own or not group.layer.branches:
            extras = tuple(extra for extra in group.layer.extras if not extra.crosses)
            groups.append(group._replace(layer=group.layer._replace(branches=own, extras=extras)))
    return spec._replace(groups=tuple(groups), encoder=None)


def _label(memory: str, reaches: dict[str, int], several: bool) -> str:
    if len(reaches) > 1:
        return f"{memory} ({' + '.join(f'{count} {reach}' for reach, count in reaches.items())})"
    reach, count = next(iter(reaches.items()))
    label = memory if reach == "full" else f"{memory} {reach.removeprefix('full ')}"
    return f"{count} {label}" if several else label


def branches_of(groups: tuple[LayerGroup, ...]) -> list[tuple[int, Branch]]:
    """Every kind of branch with its number of layers."""
    layers: dict[Branch, int] = {}
    for group in groups:
        for branch in group.layer.branches:
            layers[branch] = layers.get(branch, 0) + group.layers
    return [(count, branch) for branch, count in layers.items()]


def feedforwards_of(groups: tuple[LayerGroup, ...]) -> list[tuple[int, FeedForward]]:
    """Every kind of feed-forward with its number of layers."""
    layers: dict[FeedForward, int] = {}
    for group in groups:
        if group.layer.feedforward is not None:
            layers[group.layer.feedforward] = layers.get(group.layer.feedforward, 0) + group.layers
    return [(count, feedforward) for feedforward, count in layers.items()]


def runs(indices: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return sorted indices as runs, first and last included."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found
