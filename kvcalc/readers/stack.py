"""One stack of a file, the model's own or its encoder's, and the kind of each of its layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import did_you_mean
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.errors import ConfigError
    from kvcalc.readers.schema import StackFile
    from kvcalc.readers.text import Document, Place


class Stack(NamedTuple):
    """Layers that run one after the other, as a file says them; `at` is their place in it."""

    document: Document
    file: StackFile
    at: Place = ()

    def error(self, place: Place, message: str, hint: str = "") -> ConfigError:
        """Make an error at a key of the stack."""
        return self.document.error((*self.at, *place), message, hint)


def kinds_of(stack: Stack) -> list[str]:
    """Name the kind of each layer; '' is the layer that the top of the file describes."""
    file, total = stack.file, stack.file.num_hidden_layers
    if file.layer_types is None and file.layer_pattern is None:
        if file.layers is not None:
            hint = "layer_pattern: [local x5, global] repeats, layer_types: [dense x3, moe x58] is exact"
            raise stack.error(("layers",), "kinds of layers without their order", hint)
        return [""] * total
    if file.layer_types is not None and file.layer_pattern is not None:
        raise stack.error(("layer_pattern",), "layer_types and layer_pattern exclude each other")
    field = "layer_types" if file.layer_types is not None else "layer_pattern"
    runs = list(_runs(stack, field, file.layer_types or file.layer_pattern or []))
    listed = sum(times for _, times in runs)
    if not listed:
        raise stack.error((field,), f"{field} is empty")
    if listed > total or (field == "layer_types" and listed != total):
        hint = "" if field == "layer_pattern" else f"list {total}, or let layer_pattern repeat"
        message = f"{field} lists {listed} layers, but num_hidden_layers is {total}"
        raise stack.error((field,), message, hint)
    ordered = dict(runs)
    for kind in file.layers or {}:
        if kind not in ordered:
            raise stack.error(("layers", kind), f"no layer is of the kind {kind!r}", f"name it in {field}")
    if file.shares_kv:
        raise stack.error(("shares_kv",), "shares_kv stands with a kind of layer, not above them all")
    kinds = [kind for kind, times in runs for _ in range(times)]
    return [kinds[index % listed] for index in range(total)]


def _runs(stack: Stack, field: str, entries: list[str]) -> Iterator[tuple[str, int]]:
    """Read 'local x5' as five layers of a kind that is described."""
    known = stack.file.layers or {}
    for at, entry in enumerate(entries):
        match = re.fullmatch(r"(.*\S)\s+x([1-9][0-9]{0,4})", entry)  # linear: many blanks are no trap
        name = match[1] if match else entry
        if name not in known:
            hint = did_you_mean(name, known) or f"`layers` describes {', '.join(known) or 'none'}"
            raise stack.error((field, at), f"unknown kind of layer {name!r}", hint)
        yield name, int(match[2]) if match else 1
