"""The layer map: which layers store what. A table of like layers for the reader, places and bytes for the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.detail import feedforward_label, indices_label, of_a_layer
from kvcalc.engines import engine_of
from kvcalc.quantity import Quantity
from kvcalc.report.html import escape
from kvcalc.report.page.explained import slot
from kvcalc.report.theme import LIGHT
from kvcalc.report.units import bytes_binary
from kvcalc.storage import Bits
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model import Branch
    from kvcalc.report.page.script import Number, Program


class Kind(NamedTuple):
    """Like branches of like layers, and the bytes that one sequence keeps in one of these layers."""

    label: str
    feedforward: str
    indices: tuple[int, ...]
    numbers: dict[str, Number | None]
    bytes: Number


def kinds(program: Program) -> Iterator[Kind]:
    """Every kind of a report, in the order of the layers."""
    report = program.report
    for group in report.spec.groups:
        for branch in group.layer.branches:
            found = of_a_layer(report, group, branch)
            numbers = {key: None if node is None else program.number(node) for key, node in found.items()}
            kept = program.number(_bytes(program, branch, found["kept_tokens"]))
            yield Kind(branch.label, feedforward_label(group), group.indices, numbers, kept)


def _bytes(program: Program, branch: Branch, tokens: Quantity | None) -> Quantity:
    """What one sequence keeps in one layer."""
    report = program.report
    if branch.shares_kv or not report.workload.kv_cache:
        return Quantity("", "0")
    count = Bits(report.spec, report.workload, engine_of(report.workload.engine))
    symbols = {"b": count.of_a_token(branch.memory), "t": tokens or 0, "s": count.of_a_sequence(branch.memory)}
    return Quantity("", "ceil_div(b*t + s, 8)", symbols)


def layer_map(program: Program, at: int) -> str:
    """One model's map: the picture, and the table that says the same."""
    spec = program.report.spec
    name = escape(spec.name)
    found = list(kinds(program))
    lines = "".join(_row(kind, colour) for kind, colour in zip(found, _colours(found), strict=True))
    return (
        f'<section class="map" data-report="{at}"><h3>{name}</h3><div class="picture"></div>'
        f'<p class="ends scripted" aria-hidden="true"><span>layer 0</span>'
        f"<span>layer {spec.layers - 1}</span></p>"
        '<div class="wide" role="region" tabindex="0" '
        f'aria-label="Layers of {name}"><table><caption>What one layer of each kind stores and keeps for one '
        "sequence</caption><thead><tr>"
        '<th scope="col">attention</th><th scope="col">layers</th>'
        '<th scope="col" class="number">elements a token</th><th scope="col" class="number">tokens kept</th>'
        '<th scope="col" class="number">tokens a decode step reads</th>'
        '<th scope="col" class="number">fixed state</th><th scope="col" class="number">one layer keeps</th>'
        '<th scope="col">MLP</th>'
        f"</tr></thead><tbody>{lines}</tbody></table></div></section>"
    )


def _row(kind: Kind, colour: int) -> str:
    cells = "".join(
        _cell(kind.numbers[key], as_)
        for key, as_ in (
            ("elements_per_token_per_layer", "count"),
            ("kept_tokens", "count"),
            ("decode_read_tokens", "count"),
            ("state_bytes_per_layer", "bytes"),
        )
    )
    return (
        f'<tr><th scope="row"><span class="key k{colour}"></span>{escape(kind.label)}</th>'
        f'<td class="places">{len(kind.indices)}: {indices_label(kind.indices)}</td>'
        f"{cells}{_cell(kind.bytes, 'bytes')}<td>{escape(kind.feedforward)}</td></tr>"
    )


def _cell(number: Number | None, as_: str) -> str:
    if number is None:
        return '<td class="number">-</td>'
    text = bytes_binary(number.value) if as_ == "bytes" else f"{number.value:,}"
    return slot("td", number, text, as_, "number")


def _colours(found: list[Kind]) -> list[int]:
    """One for each kind of attention, whatever MLP follows it."""
    labels = list(dict.fromkeys(kind.label for kind in found))
    return [labels.index(kind.label) % len(LIGHT.colors) for kind in found]


def picture(program: Program) -> list[dict[str, Any]]:
    """What the script draws: of each kind its layers, its colour and the bytes of one layer."""
    found = list(kinds(program))
    return [
        {"label": kind.label, "layers": kind.indices, "colour": colour, "bytes": kind.bytes.ref}
        for kind, colour in zip(found, _colours(found), strict=True)
    ]
