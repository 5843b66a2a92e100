"""One model in depth, as flat facts: by groups of like layers, by parts of the parameters and of the FLOPs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.analysis import analyze
from kvcalc.attention.reach import seen
from kvcalc.engines import engine_of
from kvcalc.model import runs
from kvcalc.quantity import Quantity, Total
from kvcalc.rope import supports
from kvcalc.rows import RATIOS
from kvcalc.storage import Bits, Elements
from kvcalc.tuples import NamedTuple
from kvcalc.weight_bytes import weight_format
from kvcalc.workload import MODES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.analysis import Report
    from kvcalc.model import Branch, LayerGroup
    from kvcalc.quantity import Symbols


class Fact(NamedTuple):
    """One number: of which section, of which part of the model, what it is."""

    section: str  # layers | parameters | weights | flops | summary | rope | recompute
    part: str
    layers: str  # '0..4 6..10', or '' for the whole model
    quantity: str
    value: int | float | None


NONE = Quantity("", "0")
OF_A_LAYER = (
    "elements_per_token_per_layer",
    "kept_tokens",
    "decode_read_tokens",
    "state_elements_per_layer",
    "state_bytes_per_layer",
    "cache_elements_per_sequence",
)


def facts(report: Report, *, recompute: bool = False) -> list[Fact]:
    """Everything `kvcalc show` says, in its order; `recompute`: and what keeping less than the cache costs."""
    if recompute:
        from kvcalc.recompute import trades

        more = [Fact("recompute", trade.way, "", trade.quantity, trade.value) for trade in trades(report)]
        return [*facts(report), *more]
    stored = [*_stored(report)]
    return [*_layers(report), *_parameters(report), *stored, *_flops(report), *_summary(report), *_rope(report)]


def indices_label(indices: tuple[int, ...]) -> str:
    """'0..4 6..10': no spreadsheet takes it for a date."""
    return " ".join(str(first) if first == last else f"{first}..{last}" for first, last in runs(indices))


def _layers(report: Report) -> Iterator[Fact]:
    """What each group of like layers stores, keeps and reads."""
    for group in report.spec.groups:
        where = indices_label(group.indices)
        for branch in group.layer.branches:
            part = f"{branch.label} / {feedforward_label(group)}"
            yield Fact("layers", part, where, "layers", group.layers)
            for quantity, node in of_a_layer(report, group, branch).items():
                yield Fact("layers", part, where, quantity, None if node is None else node.evaluate(report.scope))
    for group in report.spec.encoder.groups if report.spec.encoder else ():
        for branch in group.layer.branches:
            part, where = f"encoder {branch.label} / {feedforward_label(group)}", indices_label(group.indices)
            yield Fact("layers", part, where, "layers", group.layers)
            yield from (Fact("layers", part, where, quantity, 0) for quantity in OF_A_LAYER)


def feedforward_label(group: LayerGroup) -> str:
    """What follows the attention of these layers."""
    return group.layer.feedforward.label if group.layer.feedforward else "no MLP"


def of_a_layer(report: Report, group: LayerGroup, branch: Branch) -> dict[str, Quantity | None]:
    """OF_A_LAYER as formulas of the workload; None where it does not apply."""
    spec, workload = report.spec, report.workload
    engine = engine_of(workload.engine)
    owned = workload.kv_cache and not branch.shares_kv
    stores = bool(branch.memory.stores())
    symbols = {**branch.memory.symbols(), "d": spec.hidden_size}
    per_token = Quantity("", branch.memory.elements_formula, symbols) if owned else NONE
    tokens = engine.tokens(branch.reach, "n") if owned else NONE
    elements, bits = (
        count.of_a_sequence(branch.memory) if owned else NONE
        for count in (Elements(spec, engine), Bits(spec, workload, engine))
    )
    kept: Symbols = {"L": group.layers, "e": per_token, "t": tokens, "s": elements}
    return {
        "elements_per_token_per_layer": per_token,
        "kept_tokens": tokens if stores else None,
        "decode_read_tokens": (seen(branch.reach) if workload.kv_cache else NONE) if stores else None,
        "state_elements_per_layer": Quantity("", "s", {"s": elements}),
        "state_bytes_per_layer": Quantity("", "ceil_div(s, 8)", {"s": bits}),
        "cache_elements_per_sequence": Quantity("", "L*(e*t + s)" if stores else "L*s", kept),
    }


def _parameters(report: Report) -> Iterator[Fact]:
    found: dict[str, int] = {}
    for part, value in _parts(report, "parameters"):
        found[part] = found.get(part, 0) + value
    for part, value in found.items():
        yield Fact("parameters", part, "", "parameters", value)


def _stored(report: Report) -> Iterator[Fact]:
    """What the tensors of a file hold, by kind and type, where that is what is counted."""
    own = report.spec.quantization
    counted = bool(own) and bool(weight_format(report.spec, report.workload).stored)
    for one in own.stored if own and counted else ():
        part = f"{one.kind} / {one.type}"
        yield Fact("weights", part, "", "weights", one.weights)
        yield Fact("weights", part, "", "bytes", one.bytes)


def _flops(report: Report) -> Iterator[Fact]:
    """The same parts for a decode step and for the prefill: scores, values, q ... o, MLP or experts, lm_head."""
    phases = {phase: _flops_of(report, phase) for phase in ("decode", "prefill")}
    names = dict.fromkeys(name for found in phases.values() for name in found)
    kinds = ("core: ", "projection: ")
    order = sorted(names, key=lambda name: next((at for at, kind in enumerate(kinds) if name.startswith(kind)), 2))
    for phase, found in phases.items():
        for name in order:
            yield Fact("flops", name, "", f"{phase}_flops", found.get(name, 0))


def _flops_of(report: Report, phase: str) -> dict[str, int]:
    """Parts of one phase by name."""
    found: dict[str, int] = {}
    for kind in ("core", "projection"):
        for name, value in _work(report, f"{phase}_{kind}_flops"):
            found[f"{kind}: {name}"] = found.get(f"{kind}: {name}", 0) + value
    for name, value in _parts(report, f"{phase}_model_flops"):
        if not name.startswith("attention "):
            found[name] = found.get(name, 0) + value
    return found


def _work(report: Report, key: str) -> Iterator[tuple[str, int]]:
    """Matmuls of attention by name, over all layers."""
    node = report.quantities[key]
    for branch in node.parts if isinstance(node, Total) else ():
        for part in branch.node.parts if isinstance(branch.node, Total) else ():
            yield part.what, branch.times * part.node.evaluate(report.scope)


def _parts(report: Report, key: str) -> Iterator[tuple[str, int]]:
    node = report.quantities[key]
    scope = report.scope
    if isinstance(node, Total):
        for part in node.parts:
            name = part.what.removesuffix(" layer")
            yield name, part.times * part.node.evaluate(scope)


def _summary(report: Report) -> Iterator[Fact]:
    """Every number of the rows, and both ways for MLA to decode."""
    for key in report.quantities:
        if (value := report.value(key)) is not None:
            yield Fact("summary", report.spec.name, "", key, value)
    for key in RATIOS:
        if (ratio := report.ratio(key)) is not None:
            yield Fact("summary", report.spec.name, "", key, ratio)
    if report.value("crossover_query_tokens") is not None and report.workload.kv_cache:
        for mode in MODES:
            flops = analyze(report.spec, report.workload._replace(mla_decode=mode)).value("decode_attention_flops")
            yield Fact("summary", report.spec.name, "", f"decode_attention_{mode}_flops", flops)


def _rope(report: Report) -> Iterator[Fact]:
    """The context that the RoPE base of each kind of layer supports, null where that is any."""
    for one in supports(report.spec):
        told = {
            "rope_base": one.base,
            "rope_rotated_elements": one.rotated,
            "rope_head_elements": one.head_dim,
            "rope_claimed_tokens": one.needs_tokens or None,
            "rope_supported_tokens": one.supported_tokens,
        }
        for quantity, value in told.items():
            yield Fact("rope", one.part, "", quantity, value)
