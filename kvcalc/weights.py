"""Parameters of a language model: every weight once, part by part, and those that a token visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.quantity import Part, Quantity, Total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node, Symbols

SOURCE_EMBEDDING = "Attention Is All You Need (arXiv:1706.03762) sec. 3.4: a row of the vocabulary each"
SOURCE_NORM = "RMSNorm (arXiv:1910.07467): weights; LayerNorm (arXiv:1607.06450): weights and biases"


def parameters(spec: ModelSpec) -> Node:
    """Every weight of the language model, tied ones once."""
    symbols: Symbols = {
        "d": spec.hidden_size,
        "V": spec.vocab_size,
        "d_w": spec.embedding_size,
        "r": spec.position_embeddings,
    }
    embedding = "V*d_w" if spec.embedding_size else "V*d"
    norm = {"rmsnorm": "d", "layernorm": "2*d", "unweighted": "0"}[spec.norm]
    norms = spec.embedding_norm + spec.final_norm + sum(group.layer.norms * group.layers for group in spec.groups)
    outside = [
        (1, "embedding", embedding, SOURCE_EMBEDDING),
        (bool(spec.position_embeddings), "position embedding", "r*d", "learned positions: a row each"),
        (2 * bool(spec.embedding_size), "embedding projection", "d_w*d", "OPT word_embed_proj_dim"),
        (not spec.tie_word_embeddings, "lm_head", embedding, SOURCE_EMBEDDING),
        (spec.lm_head_bias, "lm_head bias", "V", SOURCE_EMBEDDING),
        (norms, "norms", norm, SOURCE_NORM),
    ]
    parts = [
        Part(int(times), name, Quantity(name, formula, symbols, source))
        for times, name, formula, source in outside
        if times and formula != "0"
    ]
    return Total("", (*parts, *_layer_weights(spec)))


def _layer_weights(spec: ModelSpec) -> Iterator[Part]:
    for layers, branch in spec.branches():
        owned = [w for w in branch.memory.weights() if not (w.writes and branch.shares_kv)]
        symbols = {**branch.memory.symbols(), "d": spec.hidden_size}
        source = branch.memory.source
        weights = [Part(1, w.name, Quantity(w.name, w.formula, symbols, source)) for w in owned]
        yield Part(layers, f"{branch.label} layer", Total("", tuple(weights)))
    for layers, feedforward in spec.feedforwards():
        symbols = {**feedforward.symbols(), "d": spec.hidden_size}
        source = feedforward.source
        weights = [Part(1, w.name, Quantity(w.name, w.formula, symbols, source)) for w in feedforward.weights()]
        yield Part(layers, f"{feedforward.label} layer", Total("", tuple(weights)))


def active_parameters(spec: ModelSpec) -> Node:
    """The parameters less the experts a token does not visit."""
    idle = [
        Part(layers, weights.name, Quantity(weights.name, weights.formula, symbols, feedforward.source))
        for layers, feedforward in spec.feedforwards()
        for symbols in ({**feedforward.symbols(), "d": spec.hidden_size},)
        for weights in feedforward.idle_weights()
    ]
    if not idle:
        return Quantity("", "parameters")
    return Quantity("", "parameters - i", {"i": Total("experts not visited", tuple(idle))})
