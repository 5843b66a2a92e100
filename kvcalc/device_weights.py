"""Weights on devices: which of them stand on a stage, over how many devices each is divided, and what is repeated.

Sources, as engines/ has them: linear layers of the down projections and of the index are ReplicatedLinear in vLLM 0.33
and SGLang; K and V of a head are on every rank that has no head of its own; the embedding is on the first stage, the
last norm and lm_head on the last, and a tied embedding on both (models/llama.py of either).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import engine_of
from kvcalc.engines.ranks import stage_model, stages_of
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.reserving import fullest
from kvcalc.weight_bytes import held, rate, weight_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.weight_bytes import Held
    from kvcalc.weight_formats import WeightFormat
    from kvcalc.workload import Workload

ON_EACH = ("vectors", "router", "positions")
DOWN = ("q down", "kv down", "index q", "index k", "RoPE key")
KEYS_AND_VALUES = ("k", "v", "k bias", "v bias", "tied k and v")
EXPERTS = ("routed experts", "routed experts' bias")


def device_weights(spec: ModelSpec, workload: Workload) -> dict[str, Node]:
    """Bytes on the device that has most of them, and on all. They follow weight_bytes. Raises KvcalcError."""
    engine = engine_of(workload.engine)
    ranks = engine.ranks(workload)
    _check_experts(spec, workload)
    if ranks.devices == 1:
        same = Quantity("", "weight_bytes")
        return {"weight_bytes_per_device": same, "weight_bytes_total": same}
    stages = stages_of(spec, ranks, engine.stages)
    everywhere = [Part(1, stage.label, _in_all(spec, workload, ranks, stage)) for stage in stages]
    return {
        "weight_bytes_per_device": fullest(stages, [on_a_device(spec, workload, stage) for stage in stages]),
        "weight_bytes_total": everywhere[0].node if len(everywhere) == 1 else Total("", tuple(everywhere)),
    }


def _check_experts(spec: ModelSpec, workload: Workload) -> None:
    groups = workload.expert_parallel
    if groups == 1:
        return
    experts = [count for _, part in spec.feedforwards() if (count := getattr(part, "num_experts", 0))]
    if not experts:
        raise KvcalcError(f"--ep {groups}: {spec.name} has no experts", "leave --ep out")
    if engine_of(workload.engine).even_experts and any(count % groups for count in experts):
        raise KvcalcError(f"{workload.engine}: --ep {groups} does not divide the {min(experts)} experts of {spec.name}")


def on_a_device(spec: ModelSpec, workload: Workload, stage: Stage) -> Node:
    """Bytes on the fullest device of a stage, each part's share rounded up."""
    ranks = engine_of(workload.engine).ranks(workload)
    shares = ((one.kind, _share(one, workload, ranks)) for one in on_a_stage(spec, stage))
    return _bytes(weight_format(spec, workload), shares)


def _in_all(spec: ModelSpec, workload: Workload, ranks: Ranks, stage: Stage) -> Node:
    """Bytes on all devices of a stage."""
    copies = ((one.kind, _copies(one, workload, ranks)) for one in on_a_stage(spec, stage))
    return _bytes(weight_format(spec, workload), copies)


def _bytes(stored: WeightFormat, weights: Iterable[tuple[str, Part]]) -> Node:
    """Bytes of weights by their kinds, each kind rounded up once."""
    kinds: dict[str, list[Part]] = {}
    for kind, part in weights:
        kinds.setdefault(kind, []).append(part)
    parts = []
    for kind, found in kinds.items():
        bits, block = rate(stored, kind)
        source = stored.experts.source if stored.experts and kind == "experts" else stored.source
        told = Quantity("", f"ceil_div({bits}*w, {block})", {"w": Total("weights", tuple(found))}, source)
        parts.append(Part(1, f"bytes of {kind}", told))
    return Total("", tuple(parts))


def on_a_stage(spec: ModelSpec, stage: Stage) -> Iterator[Held]:
    """Every weight of a stage by part. Layers that predict later tokens have an embedding beside them."""
    if stage.whole:
        yield from held(spec)
        return
    first, last = stage.number == 1, stage.number == stage.of
    model = stage_model(spec, stage)._replace(
        embedding_norm=spec.embedding_norm and first,
        final_norm=spec.final_norm and last,
        extras=tuple(extra for extra in spec.extras if (last if extra.at_head else first)),
    )
    again = spec.tie_word_embeddings or spec.predicted > 1
    for one in held(model):
        times = one.part.times
        times = {
            "embedding": int(first or (last and again)),
            "position embedding": int(first),
            "embedding projection": first + (last and times > 1),
            **dict.fromkeys(("lm_head", "lm_head bias", "lm_head projection"), int(last)),
        }.get(one.part.what, times)
        if times:
            yield one._replace(part=one.part._replace(times=times))


def _divided(one: Held, workload: Workload, ranks: Ranks) -> int:
    """Over how many devices of a stage a part is divided; 1: each has it whole."""
    if one.kind in ON_EACH:
        return 1
    if engine_of(workload.engine).by_heads and one.where == "attention":
        if one.part.what in DOWN:
            return 1
        heads = one.part.node.symbols.get("n_kv") if isinstance(one.part.node, Quantity) else None
        if one.part.what in KEYS_AND_VALUES and isinstance(heads, int):
            return min(heads, ranks.attention // ranks.sequence)
    return {
        "experts": ranks.expert_split,
        "mlp": ranks.mlp,
        "shared experts": ranks.shared_experts,
        "embedding": ranks.embedding,
        "lm_head": ranks.lm_head,
    }.get(one.kind, ranks.attention)


def _share(one: Held, workload: Workload, ranks: Ranks) -> Part:
    """A part's weights on the fullest device of a stage."""
    name, over = _name(one), _divided(one, workload, ranks)
    whole = Total(name, (one.part,))
    if one.part.what in EXPERTS and ranks.expert_groups > 1 and isinstance(one.part.node, Quantity):
        experts = Quantity("", "E", one.part.node.symbols).evaluate({})
        formula = "ceil_div(w//E*ceil_div(E, ep), ranks)"
        told: dict[str, int | Node] = {"w": whole, "E": experts, "ep": ranks.expert_groups, "ranks": over}
        mine = -(-experts // ranks.expert_groups)
        return Part(1, f"{name}: {mine} of {experts}{_over(over, over)}", Quantity("", formula, told))
    if over == 1:
        each = ", whole on each device" if ranks.of_a_stage > 1 else ""
        return Part(1, f"{name}{each}", whole)
    shared = Quantity("", "ceil_div(w, ranks)", {"w": whole, "ranks": over})
    return Part(1, f"{name}{_over(over, ranks.of_a_stage)}", shared)


def _over(ranks: int, devices: int) -> str:
    if ranks == 1:
        return ""
    return f" over {ranks} devices" if ranks == devices else f" over {ranks} of {devices} devices"


def _copies(one: Held, workload: Workload, ranks: Ranks) -> Part:
    """A part's weights on all devices of a stage."""
    name, over = _name(one), _divided(one, workload, ranks)
    if one.part.what in EXPERTS:
        over *= ranks.expert_groups
    if ranks.of_a_stage % over == 0:
        return Part(ranks.of_a_stage // over, name, Total(name, (one.part,)))
    told: dict[str, int | Node] = {"w": Total(name, (one.part,)), "devices": ranks.of_a_stage, "ranks": over}
    return Part(1, name, Quantity("", "ceil_div(w*devices, ranks)", told))


def _name(one: Held) -> str:
    return one.part.what if one.of == one.part.what else f"{one.part.what} of {one.of}"
