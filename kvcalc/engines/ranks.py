"""How an engine spreads a model: over how many devices each part of it is divided, and which layers stand where."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.engines.layers import Kind
    from kvcalc.model import ModelSpec
    from kvcalc.workload import Workload


class Ranks(NamedTuple):
    """Numbers of devices: in all, of `stages` stages; of each stage over how many a part is divided.

    Over the stage's other devices a part is repeated. `attention`: its heads; `sequence`: of these, those that share a
    sequence's tokens; `groups` divide the batch; `mlp`, `shared_experts`, `embedding`, `lm_head`: matrices of these.
    Of experts each device has those of one of `expert_groups`, each of them divided by `expert_split`.
    """

    devices: int
    stages: int
    attention: int
    sequence: int
    groups: int
    mlp: int
    shared_experts: int
    embedding: int
    lm_head: int
    expert_groups: int
    expert_split: int

    @property
    def of_a_stage(self) -> int:
        """Devices of one stage."""
        return self.devices // self.stages


class Stage(NamedTuple):
    """A stage of a pipeline, `number` of `of` from 1: layers from `first` on, before `end`."""

    number: int = 1
    of: int = 1
    first: int = 0
    end: int = 0

    @property
    def label(self) -> str:
        """As explanations name it."""
        layers = f"layers {self.first} to {self.end - 1}" if self.end > self.first else "no layers"
        return f"stage {self.number} of {self.of}, {layers}"

    @property
    def whole(self) -> bool:
        """Whether it is the whole model."""
        return self.of == 1


WHOLE = Stage()
OPTIONS = ("tp", "pp", "dp", "ep", "cp")


def alike(tp: int, stages: int = 1, groups: int = 1, sequence: int = 1, *, devices: int = 0) -> Ranks:
    """Ranks that divide every part by tp, experts too; as many devices as these make unless told."""
    devices = devices or tp * stages * groups
    return Ranks(devices, stages, tp, sequence, groups, tp, tp, tp, tp, 1, tp)


def evenly(workload: Workload) -> Ranks:
    """An even share, whatever the ways: replicas and those that share a sequence repeat the weights, others do not."""
    tp, pp, dp, ep, cp = sizes(workload)
    if tp * dp * cp % ep:
        raise KvcalcError(
            f"--ep {ep} does not divide the {tp * dp * cp} devices that --tp, --dp and --cp make", "leave --ep out"
        )
    even = alike(tp * pp, groups=dp, devices=tp * pp * dp * cp)
    return even._replace(expert_split=max(tp, ep) * pp)


def sizes(workload: Workload) -> tuple[int, int, int, int, int]:
    """--tp, --pp, --dp, --ep and --cp."""
    return (
        workload.tensor_parallel,
        workload.pipeline_parallel,
        workload.data_parallel,
        workload.expert_parallel,
        workload.context_parallel,
    )


def has_only(engine: str, workload: Workload, options: Sequence[str], hint: str) -> None:
    """Raise KvcalcError where another of the five options is asked for than an engine has."""
    for option, size in zip(OPTIONS, sizes(workload), strict=True):
        if size > 1 and option not in options:
            raise KvcalcError(f"{engine}: --{option} is not its", hint)


def even_stages(layers: int, stages: int) -> list[int]:
    """Layers of each stage where the first ones have one more."""
    return [layers // stages + (at < layers % stages) for at in range(stages)]


def stages_of(spec: ModelSpec, ranks: Ranks, split: Callable[[int, int], list[int]]) -> tuple[Stage, ...]:
    """The stages of a model. Layers that predict later tokens stand behind the last. Raises KvcalcError."""
    if ranks.stages == 1:
        return (WHOLE._replace(end=spec.layers),)
    layers = spec.layers - (spec.predicted - 1)
    if ranks.stages > layers:
        raise KvcalcError(f"--pp {ranks.stages}: {spec.name} has {layers} layers, and a stage at least one")
    if spec.encoder or spec.encoded:
        raise KvcalcError(f"--pp: how {spec.name} and its encoder become stages is not modelled", "leave --pp out")
    parts = [branch for _, branch in spec.branches()] + [part for _, part in spec.feedforwards()]
    if any(getattr(part, "shares_weights", False) for part in parts):
        raise KvcalcError(f"--pp: layers of {spec.name} share weights across stages", "leave --pp out")
    ends = [0]
    for count in split(layers, ranks.stages):
        ends.append(ends[-1] + count)
    ends[-1] = spec.layers
    return tuple(Stage(at + 1, ranks.stages, first, end) for at, (first, end) in enumerate(pairwise(ends)))


def on_stage(kinds: Sequence[Kind], stage: Stage) -> list[Kind]:
    """Kinds of layers as far as they stand on a stage."""
    if stage.whole:
        return list(kinds)
    staged = [kind._replace(at=of_stage(kind.at, stage)) for kind in kinds]
    return [kind._replace(layers=len(kind.at)) for kind in staged if kind.at]


def of_stage(indices: Sequence[int], stage: Stage) -> tuple[int, ...]:
    """Those of these layers that stand on a stage."""
    return tuple(at for at in indices if stage.first <= at < stage.end)


def stage_model(spec: ModelSpec, stage: Stage) -> ModelSpec:
    """The layers of a stage as a model; what stands outside the layers is as it was."""
    if stage.whole:
        return spec
    groups = (group._replace(indices=of_stage(group.indices, stage)) for group in spec.groups)
    return spec._replace(groups=tuple(group for group in groups if group.indices))
