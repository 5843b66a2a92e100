"""Parameters of a language model: every weight once, part by part, and those that a token visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.model import branches_of, feedforwards_of
from kvcalc.quantity import Part, Quantity, Total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model import EncoderSpec, ModelSpec
    from kvcalc.quantity import Node, Symbols

SOURCE_EMBEDDING = "Attention Is All You Need (arXiv:1706.03762) sec. 3.4: a row of the vocabulary each"
SOURCE_NORM = "RMSNorm (arXiv:1910.07467): weights; LayerNorm (arXiv:1607.06450): weights and biases"

NORMS = {"rmsnorm": "d", "layernorm": "2*d", "unweighted": "0"}


def parameters(spec: ModelSpec) -> Node:
    """Every weight of the language model, tied ones once."""
    symbols: Symbols = {
        "d": spec.hidden_size,
        "V": spec.vocab_size,
        "d_w": spec.embedding_size,
        "d_o": spec.lm_head_size,
        "r": spec.position_embeddings,
    }
    embedding = "V*d_w" if spec.embedding_size else "V*d"
    other_head = bool(spec.lm_head_size)
    norm = NORMS[spec.norm]
    norms = spec.embedding_norm + spec.final_norm + sum(group.layer.norms * group.layers for group in spec.groups)
    outside = [
        (1, "embedding", embedding, SOURCE_EMBEDDING),
        (bool(spec.position_embeddings), "position embedding", "r*d", "learned positions: a row each"),
        (bool(spec.embedding_size) * (2 - other_head), "embedding projection", "d_w*d", "OPT word_embed_proj_dim"),
        (other_head, "lm_head projection", "d*d_o", "RemBERT output_embedding_size"),
        (not spec.tie_word_embeddings, "lm_head", "V*d_o" if other_head else embedding, SOURCE_EMBEDDING),
        (spec.lm_head_bias, "lm_head bias", "V", SOURCE_EMBEDDING),
        (norms, "norms", norm, SOURCE_NORM),
    ]
    parts = [
        Part(int(times), name, Quantity(name, formula, symbols, source))
        for times, name, formula, source in outside
        if times and formula != "0"
    ]
    return Total("", (*parts, *_layer_weights(spec), *(_encoder_weights(spec.encoder) if spec.encoder else ())))


def _encoder_weights(encoder: EncoderSpec) -> Iterator[Part]:
    """Everything of the encoder's own."""
    symbols: Symbols = {"d": encoder.hidden_size, "r": encoder.position_embeddings}
    norms = encoder.norms + sum(group.layer.norms * group.layers for group in encoder.groups)
    if encoder.position_embeddings:
        rows = Quantity("encoder position embedding", "r*d", symbols, "learned positions: a row each")
        yield Part(1, rows.name, rows)
    if norms and NORMS[encoder.norm] != "0":
        yield Part(norms, "encoder norms", Quantity("encoder norms", NORMS[encoder.norm], symbols, SOURCE_NORM))
    for part in _layer_weights(encoder):
        yield part._replace(what=f"encoder {part.what}")


def _layer_weights(stack: ModelSpec | EncoderSpec) -> Iterator[Part]:
    for layers, branch in branches_of(stack.groups):
        if branch.shares_weights:
            continue
        owned = [w for w in branch.memory.weights() if not (w.writes and branch.shares_kv)]
        symbols = {**branch.memory.symbols(), "d": stack.hidden_size}
        source = branch.memory.source
        weights = [Part(1, w.name, Quantity(w.name, w.formula, symbols, source)) for w in owned]
        yield Part(layers, f"{branch.label} layer", Total("", tuple(weights)))
    for layers, feedforward in feedforwards_of(stack.groups):
        symbols = {**feedforward.symbols(), "d": stack.hidden_size}
        source = feedforward.source
        weights = [Part(1, w.name, Quantity(w.name, w.formula, symbols, source)) for w in feedforward.weights()]
        yield Part(layers, f"{feedforward.label} layer", Total("", tuple(weights)))
    inside = [(group.layers, extra) for group in stack.groups for extra in group.layer.extras]
    for layers, extra in (*inside, *((1, extra) for extra in stack.extras)):
        symbols = {**dict(extra.constants), "d": stack.hidden_size}
        yield Part(layers, extra.name, Quantity(extra.name, extra.parameters, symbols, extra.source))


def active_parameters(spec: ModelSpec) -> Node:
    """The parameters less the experts a token does not visit."""
    stacks: list[ModelSpec | EncoderSpec] = [spec, *([spec.encoder] if spec.encoder else [])]
    idle = [
        Part(layers, weights.name, Quantity(weights.name, weights.formula, symbols, feedforward.source))
        for stack in stacks
        for layers, feedforward in feedforwards_of(stack.groups)
        for symbols in ({**feedforward.symbols(), "d": stack.hidden_size},)
        for weights in feedforward.idle_weights()
    ]
    idle += [
        Part(layers, weights.name, Quantity(weights.name, weights.idle, symbols, branch.memory.source))
        for stack in stacks
        for layers, branch in branches_of(stack.groups)
        for symbols in ({**branch.memory.symbols(), "d": stack.hidden_size},)
        for weights in branch.memory.weights()
        if weights.idle and not branch.shares_weights
    ]
    if not idle:
        return Quantity("", "parameters")
    return Quantity("", "parameters - i", {"i": Total("experts not visited", tuple(idle))})
