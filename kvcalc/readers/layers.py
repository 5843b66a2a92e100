"""The layers of a stack: each built once, like ones together, the caches that they share checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import did_you_mean
from kvcalc.feedforward import Dense, Experts
from kvcalc.model import Extra, Layer, LayerGroup
from kvcalc.readers.branches import branches_of, reach_of
from kvcalc.readers.extras import extras_of
from kvcalc.readers.schema import DenseFile
from kvcalc.readers.stack import kinds_of

if TYPE_CHECKING:
    from kvcalc.feedforward import FeedForward
    from kvcalc.readers.schema import LayerFile, MoeFile, MtpFile
    from kvcalc.readers.stack import Stack
    from kvcalc.readers.text import Place

SOURCE_MTP = "DeepSeek-V3 (arXiv:2412.19437) sec. 2.2: hidden state and next token's embedding, each behind a norm"
MTP_PROJECTION = Extra("mtp-projection", "2*d*d", "4*d*d", (), SOURCE_MTP)
MTP_NORMS = 3
MAX_PARTS = 600  # layers that differ, their attentions and extras: published models have tens


def groups_of(stack: Stack) -> tuple[LayerGroup, ...]:
    """Like layers together, in order of first appearance."""
    file = stack.file
    kinds = kinds_of(stack)
    built = {kind: _layer(stack, kind) for kind in dict.fromkeys(kinds)}
    layers = [built[kind] for kind in kinds]
    if shared := file.num_kv_shared_layers:
        if shared >= len(layers):
            raise stack.error(("num_kv_shared_layers",), f"{shared} layers share a cache, but there are {len(layers)}")
        tail = [
            layer._replace(branches=tuple(branch._replace(shares_kv=True) for branch in layer.branches))
            for layer in layers[-shared:]
        ]
        layers[-shared:] = tail
    _check_sharing(stack, layers, kinds)
    indices: dict[Layer, list[int]] = {}
    for index, layer in enumerate(layers):
        indices.setdefault(layer, []).append(index)
    parts = sum(1 + len(layer.branches) + len(layer.extras) for layer in indices)
    if parts + len(file.extras) > MAX_PARTS:
        message = (
            f"layers that differ have {parts + len(file.extras):,} attentions and other parts, more than {MAX_PARTS}"
        )
        raise stack.error(("layers",) if file.layers else (), message)
    return tuple(LayerGroup(layer, tuple(where)) for layer, where in indices.items())


def predicting_of(stack: Stack, mtp: MtpFile) -> tuple[LayerGroup, ...]:
    """The layers that predict later tokens: the model's last, or a kind that is named, behind a projection."""
    last = kinds_of(stack)[-1]
    if mtp.layer is not None and mtp.layer not in (stack.file.layers or {}):
        hint = did_you_mean(mtp.layer, stack.file.layers or {})
        raise stack.error(("mtp", "layer"), f"unknown kind of layer {mtp.layer!r}", hint)
    made = _layer(stack, mtp.layer or last)
    layer = made._replace(
        branches=tuple(branch._replace(shares_kv=False) for branch in made.branches),
        norms=made.norms + MTP_NORMS,
        extras=(*made.extras, MTP_PROJECTION),
    )
    first = stack.file.num_hidden_layers
    return (LayerGroup(layer, tuple(range(first, first + mtp.num_layers))),)


def _layer(stack: Stack, kind: str) -> Layer:
    own: LayerFile = (stack.file.layers or {})[kind] if kind else stack.file
    place: Place = ("layers", kind) if kind else ()
    speaks = bool({"sliding_window", "dilation", "attention_chunk_size"} & own.model_fields_set)
    reach = reach_of(stack, own, place) if speaks or not kind else reach_of(stack, stack.file, ())
    branches = tuple(branches_of(stack, own, place, reach))
    carried = [told["carries_query"] for told in (b.memory._asdict() for b in branches) if "carries_query" in told]
    if carried and sum(carried) != 1:
        message = f"{sum(carried)} of {len(carried)} branches carry the query, which is one's to count"
        raise stack.error((*place, "branches"), message, "carries_query: true in one of them")
    norms = stack.file.norms_per_layer if own.norms_per_layer is None else own.norms_per_layer
    extras = extras_of(stack.document, own, stack.file.hidden_size, (*stack.at, *place)) if kind else ()
    return Layer(branches, _feedforward(stack, own, place), norms, extras)


def _feedforward(stack: Stack, own: LayerFile, place: Place) -> FeedForward | None:
    said = own if "mlp" in own.model_fields_set else stack.file
    mlp = said.mlp
    if mlp is None and "mlp" in said.model_fields_set:
        return None
    if mlp is None:
        hint = "mlp: {kind: dense, intermediate_size: .., gated: true}; null: none"
        raise stack.error((), "missing field 'mlp'", hint)
    if isinstance(mlp, DenseFile):
        return Dense(mlp.intermediate_size, mlp.gated, mlp.bias, mlp.shares_weights)
    return _experts(stack, mlp, (*place, "mlp") if own.mlp else ("mlp",))


def _experts(stack: Stack, mlp: MoeFile, place: Place) -> Experts:
    if mlp.num_experts_per_tok > mlp.num_experts:
        raise stack.error(
            (*place, "num_experts_per_tok"),
            f"num_experts_per_tok {mlp.num_experts_per_tok} is more than num_experts {mlp.num_experts}",
        )
    return Experts(
        num_experts=mlp.num_experts,
        num_experts_per_tok=mlp.num_experts_per_tok,
        moe_intermediate_size=mlp.moe_intermediate_size,
        gated=mlp.gated,
        shared_intermediate_size=mlp.shared_intermediate_size or 0,
        shared_gate=mlp.shared_gate,
        shared_bias=mlp.shared_bias,
        expert_bias=mlp.expert_bias,
        router_bias=mlp.router_bias,
        latent_size=mlp.latent_size or 0,
        latent_norm=mlp.latent_norm,
        matrix_router=mlp.matrix_router,
        runs_all=mlp.runs_all,
    )


def _check_sharing(stack: Stack, layers: list[Layer], kinds: list[str]) -> None:
    """A layer that shares a cache needs an earlier owner with the same memory and reach."""
    owned = set()
    for index, layer in enumerate(layers):
        for branch in layer.branches:
            alike = (branch.memory, branch.reach)
            if not branch.shares_kv:
                owned.add(alike)
            elif alike not in owned or branch.memory._asdict()["kind"] == "custom":
                place: Place = ("layers", kinds[index]) if kinds[index] else ()
                raise stack.error(
                    (*place, "shares_kv"),
                    f"layer {index} ({branch.label}) shares a cache, but no earlier layer of its like has one",
                )
