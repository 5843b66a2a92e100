"""The attentions of one layer of a file: each a memory and a reach, its own or the layer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.kinds import REACHES, class_of
from kvcalc.attention.reach import Chunk, Full, Window
from kvcalc.model import Branch
from kvcalc.readers.memories import memory_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.attention.reach import Reach
    from kvcalc.readers.schema import LayerFile
    from kvcalc.readers.stack import Stack
    from kvcalc.readers.text import Place


def reach_of(stack: Stack, own: LayerFile, place: Place) -> Reach:
    """The reach that a layer says. Raises ConfigError where it says two."""
    if own.sliding_window and own.attention_chunk_size:
        raise stack.error(
            (*place, "attention_chunk_size"), "sliding_window and attention_chunk_size exclude each other"
        )
    if own.dilation and not own.sliding_window:
        raise stack.error((*place, "dilation"), "dilation without a sliding_window")
    if own.attention_chunk_size:
        return Chunk(own.attention_chunk_size)
    return Window(own.sliding_window, own.dilation or 1) if own.sliding_window else Full()


def branches_of(stack: Stack, own: LayerFile, place: Place, reach: Reach) -> Iterator[Branch]:
    """Each attention of a layer; one that says null has none, a kind of layer that says nothing has the file's."""
    speaks = {"attention", "branches"} & own.model_fields_set
    said, place = (own, place) if speaks or own is stack.file else (stack.file, ())
    if said.attention is not None and said.branches is not None:
        raise stack.error((*place, "branches"), "attention and branches exclude each other")
    if said.branches is not None:
        if not said.branches:
            raise stack.error((*place, "branches"), "branches is empty", "attention: null is a layer without one")
        listed = [((*place, "branches", at), one) for at, one in enumerate(said.branches)]
    elif said.attention is not None:
        listed = [((*place, "attention"), said.attention)]
    elif "attention" in said.model_fields_set:
        return
    else:
        hint = "attention: {kind: heads, num_attention_heads: .., num_key_value_heads: .., head_dim: ..}"
        raise stack.error((), "missing field 'attention'", hint)
    for at, one in listed:
        given = one.reach
        seen = reach if given is None else class_of(REACHES, given.kind)(**given.model_dump())
        _check_direction(stack, seen, at)
        memory = memory_of(stack, one, at)
        seen = seen if memory.stores() else Full()  # a state sees what it was given
        yield Branch(memory, seen, own.shares_kv or one.shares_kv, one.shares_weights)


def _check_direction(stack: Stack, reach: Reach, place: Place) -> None:
    """An encoder attends both ways, a decoder causally: not every reach can do both."""
    if stack.at and not reach.rules.both_ways:
        hint = "{kind: band, left: .., right: ..} is a window to both sides"
        raise stack.error((*place, "reach"), f"{reach.label}: an encoder attends both ways", hint)
    if not stack.at and not reach.rules.seen:
        raise stack.error((*place, "reach"), f"{reach.label}: only an encoder attends both ways")
