"""Figures as data and as charts: their numbers are those of sweep, fit and show, and no text is an instruction."""

from __future__ import annotations

import json
import math
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

import kvcalc
from kvcalc.figures.figure import MAX_SERIES
from kvcalc.report.chart import chart
from kvcalc.report.theme import DARK, LIGHT, SHAPES, Theme
from kvcalc.roofline import least_times

if TYPE_CHECKING:
    from collections.abc import Callable

MACHINE = kvcalc.parse_machine("8xH100")


def models(*names: str) -> list[kvcalc.ModelSpec]:
    return [kvcalc.load(name) for name in names]


@pytest.mark.parametrize("y", ["cache_bytes", "decode_core_flops", "decode_intensity", "prefill_model_flops"])
def test_a_series_has_the_numbers_of_sweep(y: str) -> None:
    grid = kvcalc.parse_grid({"context": "1k:128k:x4", "dtype": "bf16,fp8"})
    figure = kvcalc.plot(models("llama-3.1-8b", "gemma-3-27b"), grid, y=y)
    rows = list(kvcalc.sweep(models("llama-3.1-8b", "gemma-3-27b"), grid).rows())
    assert [(point.x, point.y) for _, point in figure.points] == [(row["context_tokens"], row[y]) for row in rows]
    assert all(type(point.y) is type(rows[0][y]) for _, point in figure.points)


def test_ratios_among_models_are_to_the_first() -> None:
    grid = kvcalc.parse_grid({"context": "1k:8k:x2"})
    specs = models("llama-3.1-8b", "gemma-3-27b")
    figure = kvcalc.plot(specs, grid, y="cache_ratio")
    assert [point.y for _, point in figure.points] == [row["cache_ratio"] for row in kvcalc.sweep(specs, grid).rows()]


def test_by_default_one_model_shows_its_variants_up_to_its_own_limit() -> None:
    (spec,) = models("deepseek-v2")
    figure = kvcalc.plot([spec], kvcalc.parse_grid({}))
    compared = kvcalc.compare([spec], kvcalc.parse_request({"context": str(spec.max_position_embeddings)}), None)
    last = [series.points[-1] for series in figure.series]
    assert {point.x for point in last} == {spec.max_position_embeddings}
    assert [point.y for point in last] == [row["cache_bytes"] for row in compared.rows()]


@pytest.mark.parametrize("engine", ["paper", "vllm", "sglang"])
@pytest.mark.parametrize("name", ["llama-3.1-70b", "gemma-3-27b"])
def test_the_room_is_what_fit_leaves_for_the_cache(name: str, engine: str) -> None:
    (spec,) = models(name)
    figure = kvcalc.plot([spec], kvcalc.parse_grid({"engine": engine, "on": "8xH100"}), (), y="reserved_bytes")
    question = kvcalc.parse_question({"engine": engine, "batch": 1})
    (answer,) = kvcalc.fits(spec, question, [kvcalc.Place(MACHINE)]).answers
    room = answer.budget.pool
    assert {(low, high) for band in figure.bands for _, low, high in band.points} == {(room, room)}
    (configured, *_) = figure.series
    most = spec.max_position_embeddings if answer.context is None else answer.context
    assert all((point.y <= room) == (point.x <= most) for point in configured.points)


@pytest.mark.parametrize("options", [("8GiB", "0.9"), ("1000000000", None), (None, "50%")])
def test_the_room_follows_what_is_set_aside(options: tuple[str | None, str | None]) -> None:
    (spec,) = models("llama-3.1-70b")
    grid = kvcalc.parse_grid({"on": "8xH100", "engine": "vllm"})
    (band,) = kvcalc.plot([spec], grid, (), "context", "reserved_bytes", *kvcalc.parse_aside(*options)).bands
    places = kvcalc.parse_places(["8xH100"], None, *options)
    (answer,) = kvcalc.fits(spec, kvcalc.parse_question({"engine": "vllm", "batch": 1}), places).answers
    assert {edge for _, *edges in band.points for edge in edges} == {answer.budget.pool}


def test_along_tp_the_room_is_that_of_fit_with_as_many() -> None:
    (spec,) = models("llama-3.1-70b")
    figure = kvcalc.plot([spec], kvcalc.parse_grid({"on": "8xH200", "engine": "sglang"}), (), "tp")
    (series,) = figure.series
    assert [point.x for point in series.points] == [1, 2, 4, 8]
    (band,) = figure.bands
    for devices, low, high in band.points:
        question = kvcalc.parse_question({"engine": "sglang", "context": 1024, "tp": str(int(devices))})
        places = kvcalc.parse_places([f"{int(devices)}xH200"], None, None, None)
        (answer,) = kvcalc.fits(spec, question, places).answers
        assert (low, high) == (answer.budget.pool, answer.budget.pool)
    assert [x for x, *_ in band.points] == [2, 4, 8]
    assert "llama-3.1-70b: its weights leave no room for a cache on 1 of 8xH200-SXM" in figure.notes


def test_several_machines_are_lines_with_least_times() -> None:
    grid = kvcalc.parse_grid({"on": "H100,4xH200", "batch": "1:64:x4"})
    specs = models("llama-3.1-8b")
    figure = kvcalc.plot(specs, grid, (), "batch", "decode_least_seconds")
    assert [series.label for series in figure.series] == ["1xH100-SXM", "4xH200-SXM"]
    rows = list(kvcalc.sweep(specs, grid).rows())
    assert [point.y for _, point in figure.points] == [row["decode_least_seconds"] for row in rows]
    assert figure.bands == ()


def test_a_variant_that_an_engine_does_not_run_is_left_out_and_told() -> None:
    figure = kvcalc.plot(models("gemma-3-27b"), kvcalc.parse_grid({"engine": "sglang"}))
    assert "mla" not in [series.label for series in figure.series]
    assert any("mla is left out: sglang: how it stores" in note for note in figure.notes)
    grid = kvcalc.parse_grid({"engine": "vllm", "on": "8xH100"})
    notes = kvcalc.plot(models("deepseek-v3"), grid, x="tp").notes
    assert sum("swa-4096 is left out" in note for note in notes) == 1


def test_a_roofline_has_the_least_times() -> None:
    (spec,) = models("deepseek-v3")
    figure = kvcalc.plot_roofline([spec], kvcalc.parse_grid({"batch": "1,8,64", "on": "8xH100"}), ())
    want = []
    for phase in (0, 1):
        for batch in (1, 8, 64):
            report = kvcalc.analyze(spec, kvcalc.Workload(32768, batch=batch))
            bound = least_times(report, MACHINE)[phase]
            want.append((bound.intensity, bound.flops / bound.seconds, bound.phase))
    (series,) = figure.series
    assert [(point.x, point.y, point.group) for point in series.points] == want
    bandwidth = 8 * MACHINE.accelerator.bandwidth_bytes_per_second
    highest = max(y for roof in figure.roofs for _, y in roof.points)
    for point in series.points:  # none is above its roof
        assert point.y <= min(point.x * bandwidth, highest) * (1 + 1e-12)


def test_a_chart_holds_the_numbers_and_nothing_that_is_no_json() -> None:
    figure = kvcalc.plot(models("deepseek-v2"), kvcalc.parse_grid({"on": "8xH100"}))
    for dark in (False, True):
        spec = chart(figure, dark)
        assert json.loads(json.dumps(spec)) == spec
        values = spec["data"]["values"]
        assert [(row["series"], row["x"], row["y"]) for row in values] == [
            (series.label, point.x, point.y) for series, point in figure.points
        ]


def test_what_marks_a_series_is_its_own() -> None:
    assert len(set(SHAPES)) == MAX_SERIES == len(SHAPES)
    grid = kvcalc.parse_grid({"dtype": "bf16,fp8", "batch": "1:64:x2"})
    spec = chart(kvcalc.plot(models("llama-3.1-8b"), grid))
    looks = [layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"]]
    scale = looks[0]["shape"]["scale"]
    assert len(set(scale["domain"])) == len(set(scale["range"])) == 14
    colors, dashes = looks[0]["color"]["scale"]["range"], {row["series"]: row["dash"] for row in spec["data"]["values"]}
    told = {(color, str(dashes[name])) for name, color in zip(scale["domain"], colors, strict=True)}
    assert len(told) == 14  # a line alone tells too


DEFICIENT = {  # Machado, Oliveira and Fernandes 2009, at severity 1, over linear RGB
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(color: str) -> list[float]:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIELAB under D65."""
    r, g, b = (min(max(part, 0), 1) for part in rgb)
    across, deep = 0.4124 * r + 0.3576 * g + 0.1805 * b, 0.0193 * r + 0.1192 * g + 0.9505 * b
    parts = (across / 0.95047, luminance([r, g, b]), deep / 1.08883)
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in parts)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def luminance(rgb: list[float]) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


@pytest.mark.parametrize("theme, grounds", [(LIGHT, ("#ffffff", "#f6f8fa")), (DARK, ("#14171c", "#0d1117", "#161b22"))])
def test_colours_stand_apart_for_every_eye(theme: Theme, grounds: tuple[str, ...]) -> None:
    """Any two by 15 of CIELAB, and each from the grounds of plots, pages and their cards by 3 to 1 of contrast."""
    for color in theme.colors:
        for ground in grounds:
            low, high = sorted(luminance(linear(one)) + 0.05 for one in (color, ground))
            assert high / low > 3, (color, ground)
    for kind, matrix in DEFICIENT.items():
        seen = [
            lab([sum(part * weight for part, weight in zip(linear(color), row, strict=True)) for row in matrix])
            for color in theme.colors
        ]
        assert min(math.dist(one, other) for one, other in combinations(seen, 2)) > 15, kind


def test_a_hostile_name_is_data() -> None:
    hostile = "</script><img src=x onerror=alert(1)>' + datum.x + '\x1b[31m"
    spec = chart(kvcalc.plot([models("gpt2")[0]._replace(name=hostile), *models("opt-125m")], kvcalc.parse_grid({})))

    def expressions(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [str(node[key]) for key in ("labelExpr", "filter", "test", "expr", "calculate") if key in node]
            return own + [found for key, value in node.items() if key != "values" for found in expressions(value)]
        return [found for value in node for found in expressions(value)] if isinstance(node, list) else []

    assert expressions(spec)
    assert not any("alert" in found for found in expressions(spec))


@pytest.mark.parametrize(
    "options, y, told",
    [
        ({}, "cache_byte", "did you mean cache_bytes"),
        ({"context": "1:100000:1"}, None, "points are too many"),
        ({"batch": "1:15:1"}, None, "15 series are more than one can tell apart"),
        ({}, "answer_core_flops", "have none"),
    ],
)
def test_what_no_picture_shows_is_refused(options: dict[str, str], y: str | None, told: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=told):
        kvcalc.plot(models("llama-3.1-8b"), kvcalc.parse_grid(options), y=y)


@pytest.mark.parametrize("draw", [kvcalc.plot, kvcalc.plot_roofline])
def test_models_of_one_name_are_told_apart(draw: Callable[..., kvcalc.Figure]) -> None:
    """Files that people name alike, in plots and rooflines."""
    specs = [spec._replace(name="mine") for spec in models("gpt2", "opt-125m", "bloom")]
    assert [series.label for series in draw(specs, kvcalc.parse_grid({"on": "H100", "context": "64"})).series] == [
        "mine",
        "mine (2)",
        "mine (3)",
    ]


def test_what_no_time_is_drawn_of_says_nothing_of_times() -> None:
    specs, grid = models("qwen3-30b-a3b"), kvcalc.parse_grid({"on": "8xH100"})
    told = [kvcalc.plot(specs, grid, y=y).notes for y in ("cache_bytes", "decode_least_seconds")]
    assert [any("experts touched" in note for note in notes) for notes in told] == [False, True]
