"""kvcalc against the second derivation: one random model at a time, and every number of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kvcalc.analysis import analyze, formulas
from kvcalc.errors import KvcalcError
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.workload import Workload

if TYPE_CHECKING:
    from kvcalc.model import ModelSpec
    from second.served import Ask
    from second.totals import Load

Made = dict[str, Any]
Numbers = Mapping[str, int | None]


def read(made: Made) -> ModelSpec:
    """The document by kvcalc's own reader."""
    return read_native(Document("random.yaml", made, dict))


def workload(load: Load) -> Workload:
    """The same load in kvcalc's words."""
    told = load._asdict()
    names = {
        "n": "context_tokens",
        "cached": "cached_tokens",
        "prefix": "shared_prefix_tokens",
        "answer": "generate_tokens",
    }
    words = {names.get(name, name): value for name, value in told.items() if name not in ("mtp", "library")}
    return Workload(**words, mtp="on" if load.mtp else "off", engine="transformers" if load.library else "paper")


def differences(made: Made, load: Load, ours: Numbers) -> dict[str, tuple[Any, Any]]:
    """Every number that differs, as kvcalc and the second derivation have it."""
    report = analyze(read(made), workload(load))
    return {key: (report.value(key), number) for key, number in ours.items() if report.value(key) != number}


def of_arrays(made: Made, load: Load) -> dict[str, tuple[Any, Any]]:
    """The arrays that a sweep evaluates against one workload after another."""
    from kvcalc.arrays import evaluate_arrays

    spec, asked = read(made), workload(load)
    contexts, batches = [load.n, load.n + 1, load.n + 4097, 10**9], [load.batch, 1000]
    told = evaluate_arrays(formulas(spec, asked), asked.scope(), contexts, batches)
    found: dict[str, tuple[Any, Any]] = {}
    at = 0
    for n in contexts:
        for batch in batches:
            report = analyze(spec, asked._replace(context_tokens=n, batch=batch))
            for key, column in told.items():
                swept = column[at] if isinstance(column, list) else column
                if swept != report.value(key):
                    found[key] = (swept, report.value(key))
            at += 1
    return found


def of_an_engine(made: Made, ask: Ask, ours: Numbers | None) -> dict[str, tuple[Any, Any]]:
    """The same of what an engine reserves; where one side refuses, None here, so must the other."""
    engine, _, version = ask.engine.partition("@")
    asked = Workload(
        ask.n,
        batch=ask.batch,
        dtype=ask.dtype,
        engine=engine,
        engine_version=version,
        engine_options=ask.more,
        tensor_parallel=ask.tp,
        pipeline_parallel=ask.pp,
        data_parallel=ask.dp,
        encoder_tokens=ask.encoder_tokens,
    )
    spec = read(made)
    try:
        report = analyze(spec, asked)
    except KvcalcError as error:
        return {} if ours is None else {f"refused: {error.message}": (None, ours["reserved_bytes"])}
    if ours is None:
        return {"not refused": (report.value("reserved_bytes"), None)}
    return {key: (report.value(key), number) for key, number in ours.items() if report.value(key) != number}
