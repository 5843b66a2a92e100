"""A model and a workload become quantities: trees of named formulas, one for each number of the output.

What is stored is in storage.py, what is computed in flops.py, the weights in weights.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.latent import SOURCE_CROSSOVER
from kvcalc.attention.memory import TwoWays
from kvcalc.device_weights import device_weights
from kvcalc.engines import engine_of
from kvcalc.errors import KvcalcError
from kvcalc.flops import flops
from kvcalc.model import alone, predicting
from kvcalc.phases import answer_phase, decode_phase, last_step_phase, prefill_phase
from kvcalc.quantity import Part, Quantity, Total
from kvcalc.reserving import reserving
from kvcalc.rows import RATIOS, cache_dtype, row
from kvcalc.storage import cache_bytes, read_bytes, storage
from kvcalc.tuples import NamedTuple
from kvcalc.weight_bytes import weight_bytes
from kvcalc.weights import active_parameters, parameters

if TYPE_CHECKING:
    from kvcalc.model import ModelSpec
    from kvcalc.quantity import Node
    from kvcalc.rows import Row
    from kvcalc.workload import Workload


class Report(NamedTuple):
    """A model, a workload and every quantity of them by its row key. None: it does not apply.

    `scope` holds the workload's symbols and the value of every quantity, so that later ones name earlier ones. `bounds`
    are the formulas of the roofline, and `reals` their values, on a workload's machine.
    """

    spec: ModelSpec
    workload: Workload
    variant: str
    quantities: dict[str, Node | None]
    scope: dict[str, int]
    bounds: dict[str, Node] = {}  # noqa: RUF012  # never mutated: a NamedTuple default
    reals: dict[str, float] = {}  # noqa: RUF012  # the same

    def value(self, key: str) -> int | None:
        """The exact number of a row key; None where it does not apply."""
        return self.scope.get(key)

    def rows(self) -> list[Row]:
        """The one flat record of this report, with the keys that every output has."""
        return [row(self, self)]

    def _repr_html_(self) -> str:
        """The table of `kvcalc compare`, for a notebook."""
        from kvcalc.comparison import Comparison

        return Comparison((self,), (), ())._repr_html_()

    @property
    def name(self) -> str:
        """The model's name, with the variant where it is rebuilt."""
        return self.spec.name if self.variant == "configured" else f"{self.spec.name} as {self.variant}"

    @property
    def cache_dtype(self) -> str:
        """The dtypes of what is stored: 'bf16', 'int8/int4' for K and V; a latent is neither and takes --dtype."""
        return cache_dtype(self.spec, self.workload)

    @property
    def decode_intensity(self) -> float | None:
        """FLOPs of the decode core per byte of cache it reads."""
        return self.ratio("decode_intensity")

    def ratio(self, key: str) -> float | None:
        """One of RATIOS; None where it does not apply."""
        above, below = (self.value(part) for part in RATIOS[key])
        return above / below if above is not None and below else None


def analyze(spec: ModelSpec, workload: Workload, variant: str = "configured") -> Report:
    """Every quantity of one model under one workload. Raises KvcalcError where the workload contradicts itself."""
    workload.check()
    spec = predicting(spec, workload.mtp)
    quantities = formulas(spec, workload)
    scope = workload.scope()
    for key, node in quantities.items():
        if node is not None:
            scope[key] = node.evaluate(scope)
    report = Report(spec, workload, variant, quantities, scope)
    if workload.machine is None:
        return report
    from kvcalc.real import evaluate_reals

    bounds = real_formulas(spec, workload)
    return report._replace(bounds=bounds, reals=evaluate_reals(bounds, scope))


def real_formulas(spec: ModelSpec, workload: Workload) -> dict[str, Node]:
    """The bounds of the workload's machine over the numbers of `formulas`, for kvcalc.real; none without a machine."""
    if workload.machine is None:
        return {}
    from kvcalc.roofline import bounds

    return bounds(running(predicting(spec, workload.mtp), workload), workload, workload.machine)


def running(spec: ModelSpec, workload: Workload) -> ModelSpec:
    """What runs of a model under this workload."""
    return alone(spec) if reads_nothing(spec, workload) else spec


def formulas(spec: ModelSpec, workload: Workload) -> dict[str, Node | None]:
    """Every quantity as a formula over the workload's symbols and the quantities before it; None: it does not apply.

    Tokens and batch stay symbols. Of them the formulas depend only on whether tokens are cached, shared or generated,
    and on whether the shared prefix outgrows what is cached: one tree serves every context and batch.
    """
    engine = engine_of(workload.engine)
    spec = predicting(spec, workload.mtp)
    if spec.encoder and workload.shared_prefix_tokens:
        raise KvcalcError(
            f"--shared-prefix: {spec.name} reads an encoder, so that no two sequences have the same keys and values",
            "leave --shared-prefix out",
        )
    runs = running(spec, workload)
    quantities: dict[str, Node | None] = {
        "encoder_tokens": _encoder_tokens(spec, workload),
        **storage(spec, workload, engine),
        **flops(runs, decode_phase(workload)),
        **flops(runs, prefill_phase(workload)),
        "decode_cache_read_bytes": read_bytes(spec, workload, engine),
        "parameters": parameters(spec),
        "active_parameters": active_parameters(spec),
        "weight_bytes": weight_bytes(spec, workload),
        **device_weights(spec, workload),
        "receptive_field_tokens": _receptive_field(spec),
        "crossover_query_tokens": _crossover(spec, workload),
        **reserving(spec, workload, engine),
    }
    if workload.generate_tokens:
        quantities["answer_cache_bytes"] = cache_bytes(spec, workload, "n + T", engine)
        quantities.update(flops(runs, last_step_phase(workload)))
        quantities.update(flops(runs, answer_phase(workload)))
    if workload.machine is not None:
        from kvcalc.roofline import counted

        quantities.update(counted(runs, workload, engine, quantities, workload.machine))
    return {key: None if node is None else node._replace(name=key) for key, node in quantities.items()}


def reads_nothing(spec: ModelSpec, workload: Workload) -> bool:
    """Whether cross attention has no tokens to read: --encoder-tokens 0, or a decoder whose encoder is not told."""
    asked = spec.encoder_tokens if workload.encoder_tokens is None else workload.encoder_tokens
    return spec.encoded and asked == 0


def _encoder_tokens(spec: ModelSpec, workload: Workload) -> Node | None:
    """Tokens of the encoder: as asked, else the model's fixed length, else as many as the context; None without one."""
    if not spec.encoded:
        return None
    if workload.encoder_tokens is not None:
        return Quantity("", str(workload.encoder_tokens), {}, "--encoder-tokens")
    if spec.encoder_tokens is not None:
        return Quantity("", str(spec.encoder_tokens), {}, "the config's fixed length")
    return Quantity("", "n", {}, "as many as the context; --encoder-tokens sets another number")


def _receptive_field(spec: ModelSpec) -> Node | None:
    """W x layers where every layer has a window."""
    parts = []
    for layers, branch in spec.branches():
        if not branch.reach.rules.receptive:
            return None
        window = Quantity("window", branch.reach.rules.receptive, branch.reach.symbols(), branch.reach.rules.source)
        parts.append(Part(layers, f"{branch.label} layer", window))
    return Total("", tuple(parts)) if parts else None


def _crossover(spec: ModelSpec, workload: Workload) -> Node | None:
    """The most query tokens, n cached before them, for which absorbed MLA needs no more FLOPs than naive."""
    branches = [branch for _, branch in spec.branches()]
    memories = {branch.memory for branch in branches}
    full = all(branch.reach.kind == "full" for branch in branches)
    if len(memories) != 1 or not full or not workload.kv_cache:
        return None
    memory = memories.pop()
    if not isinstance(memory, TwoWays) or memory.crossover_formula is None:
        return None
    return Quantity("", memory.crossover_formula, memory.symbols(), SOURCE_CROSSOVER)
