"""Lints of reach: windows and chunks that are not what they seem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.checks.lint import REACHES, Remark, lint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.checks.lint import Subject

SHAPES = {"sliding_window": "window", "attention_chunk_size": "chunk"}


@lint(
    "KV101",
    "a window that no layer uses",
    "A sliding_window or attention_chunk_size that stands there without effect reads as a bounded cache, and the cache "
    "grows with every token.",
)
def unused_window(subject: Subject) -> Iterator[Remark]:
    """KV101."""
    if subject.is_native:
        used = {place for place, _, _ in subject.reaches()}
        for field in REACHES:
            if subject.native.get(field) and (field,) not in used:
                message = f"{field} {subject.native[field]:,} is used by no layer"
                yield Remark(subject.mark((field,)), message, "every kind of layer has a reach of its own")
        return
    from kvcalc.readers.huggingface import language_model

    document = subject.loaded.document
    model = language_model(document)
    place, fields, known = model.place, model.fields, model.known()
    reached = {branch.reach.kind for _, branch in subject.spec.branches()}
    for field in REACHES:
        size = fields.get(field)
        if type(size) is int and size > 0 and SHAPES[field] not in reached:
            if field not in known:
                why = f"the model type {fields.get('model_type', document.data['model_type'])} has none: it is ignored"
            elif "use_sliding_window" in known and fields.get("use_sliding_window") is not True:
                given = "false" if "use_sliding_window" in fields else "absent, which is false"
                why = f"use_sliding_window is {given}"
            else:
                why = "no layer is of a kind that has it: see layer_types, max_window_layers"
            yield Remark(document.mark((*place, field)), f"{field} {size:,} is used by no layer", why)


@lint(
    "KV102",
    "a window that never slides",
    "A window or chunk as long as the longest context saves nothing: the layer keeps every token, as a full one does.",
)
def window_never_slides(subject: Subject) -> Iterator[Remark]:
    """KV102."""
    limit = subject.spec.max_position_embeddings
    for place, field, span in subject.reaches():
        if 0 < limit <= span:
            spanned = f"{field} spans {span:,} tokens"
            message = f"{spanned}, and max_position_embeddings is {limit:,}: nothing ever leaves the cache"
            yield Remark(subject.mark(place), message, "take it out, or make it smaller")


@lint(
    "KV109",
    "a receptive field shorter than the context",
    "Where every layer is windowed, a token hears of another only through the layers between: beyond their sum nothing "
    "reaches the last layer, however long a context is fed.",
)
def short_sight(subject: Subject) -> Iterator[Remark]:
    """KV109."""
    limit, field = subject.spec.max_position_embeddings, subject.report.value("receptive_field_tokens")
    if field is not None and field < limit:
        places = [place for place, _, _ in subject.reaches()]
        message = f"all layers together see {field:,} tokens back, and max_position_embeddings is {limit:,}"
        yield Remark(subject.mark(*places), message, "a layer with full reach, or a wider window, sees all")
