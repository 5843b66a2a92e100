"""What tests/strategies.py makes is valid, of every kind that there is, and everything asked of it has an answer."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings

from kvcalc.analysis import analyze
from kvcalc.attention.kinds import MEMORIES, REACHES
from kvcalc.model import EncoderSpec, ModelSpec
from kvcalc.readers.write import to_native
from kvcalc.workload import Workload
from strategies import asked, read, spec

MODELS = 600


def kinds_in(stack: ModelSpec | EncoderSpec) -> set[str]:
    """The kinds of memory and reach of a stack."""
    branches = [branch for group in stack.groups for branch in group.layer.branches]
    return {kind for branch in branches for kind in (str(branch.memory._asdict()["kind"]), branch.reach.kind)}


def test_models_of_every_kind_are_made() -> None:
    seen: set[str] = set()
    for seed in range(MODELS):
        made = spec(random.Random(seed).randint)  # noqa: S311  # no secret
        seen |= kinds_in(made) | (kinds_in(made.encoder) if made.encoder else set())
    assert seen == {*MEMORIES, *REACHES}


def test_every_model_is_written_and_read_again_the_same() -> None:
    for seed in range(MODELS):
        made = spec(random.Random(seed).randint)  # noqa: S311  # no secret
        assert read(to_native(made)) == made, seed


@given(asked())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
def test_every_model_answers_every_workload(asks: tuple[ModelSpec, Workload]) -> None:
    made, workload = asks
    row = analyze(made, workload).rows()[0]
    assert all(number >= 0 for key, number in row.items() if isinstance(number, int))
