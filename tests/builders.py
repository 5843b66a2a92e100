"""Models made for tests."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

import pytest

import kvcalc
from kvcalc.analysis import analyze
from kvcalc.attention.heads import Heads
from kvcalc.attention.latent import Latent
from kvcalc.attention.memory import Memory
from kvcalc.attention.reach import Full, Reach
from kvcalc.feedforward import Dense, FeedForward
from kvcalc.model import Branch, Layer, LayerGroup, ModelSpec
from kvcalc.readers.huggingface import to_native
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.workload import Workload


def kinds() -> dict[object, list[str]]:
    """The bundled models by what their layers remember and how far they reach."""
    found: dict[object, list[str]] = {}
    for name in kvcalc.names():
        branches = kvcalc.load(name).branches()
        found.setdefault(frozenset((type(one.memory), one.reach.kind) for _, one in branches), []).append(name)
    return found


ONE_OF_A_KIND = [names[0] for names in kinds().values()]
THE_REST = [name for name in kvcalc.names() if name not in ONE_OF_A_KIND]
each_kind_or_all = pytest.mark.parametrize(
    "names", [ONE_OF_A_KIND, pytest.param(THE_REST, marks=pytest.mark.long)], ids=["kinds", "all"]
)
TRUTH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "truth")


def heads(n_h: int, n_kv: int, d_h: int, d_v: int | None = None) -> Heads:
    """K and V heads."""
    return Heads(n_h, n_kv, d_h, d_v or d_h)


def model(
    *branches: Branch | Memory,
    reach: Reach | None = None,
    hidden_size: int = 64,
    vocab_size: int = 100,
    feedforward: FeedForward | None = None,
    norm: str = "rmsnorm",
    tied: bool = False,
    position_embeddings: int = 0,
) -> ModelSpec:
    """A model of one layer a branch; a memory alone gets `reach`, full by default."""
    groups: dict[Layer, list[int]] = {}
    for index, branch in enumerate(branches):
        made = branch if isinstance(branch, Branch) else Branch(branch, reach or Full())
        groups.setdefault(Layer((made,), feedforward or Dense(128, gated=True), 2), []).append(index)
    return ModelSpec(
        name="test",
        hidden_size=hidden_size,
        vocab_size=vocab_size,
        groups=tuple(LayerGroup(layer, tuple(where)) for layer, where in groups.items()),
        norm=norm,
        tie_word_embeddings=tied,
        position_embeddings=position_embeddings,
    )


def mla(n_h: int = 4, d_c: int = 16, d_r: int = 4, d_n: int = 8, d_v: int = 8, d_cq: int = 0) -> Latent:
    """A latent."""
    return Latent(n_h, d_c, d_r, d_n, d_v, d_cq)


def value(spec: ModelSpec, key: str, workload: Workload) -> int:
    """One quantity of a model."""
    found = analyze(spec, workload).value(key)
    assert found is not None
    return found


def from_config(config: dict[str, Any], name: str = "test") -> ModelSpec:
    """A Hugging Face config, read through both doors."""
    document = Document("config.json", config, dict)
    return read_native(to_native(document, name)[0])


@cache
def records(file: str) -> list[dict[str, Any]]:
    """A recorded truth, JSON or JSON lines."""
    with open(os.path.join(TRUTH, file), encoding="utf-8") as text:
        if file.endswith(".jsonl"):
            return [json.loads(line) for line in text]
        found: list[dict[str, Any]] = json.load(text)
        return found
