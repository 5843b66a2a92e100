"""Accelerators: what ships, its names, and the door of one's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import kvcalc
from kvcalc.hardware.accelerator import PEAK_BITS
from refusals import assert_refused, quickly
from screens import records, write

if TYPE_CHECKING:
    from pathlib import Path

MINE = """name: mine
memory: 80 GiB
bandwidth: 3.35 TB/s
peaks: {bf16: 989.5 TFLOPS, fp8: 1979 TFLOPs/s}
interconnect: {name: NVLink 4, bandwidth: 450 GB/s}
source: its data sheet
"""


def test_every_quantity_says_where_it_was_found_or_that_nobody_checked() -> None:
    shipped = kvcalc.accelerators()
    assert len({one.name for one in shipped}) == len(shipped) > 30
    for one in shipped:
        linked = ("interconnect",) if one.interconnect else ()
        assert dict(one.sources).keys() == {"memory", "bandwidth", "peaks", *linked}
        assert all(dict(one.sources).values())
        assert set(one.unverified) == {what for what, told in one.sources if "unverified" in told.split("; ")}
        assert one.peaks
        assert {name for name, _ in one.peaks} <= set(PEAK_BITS)
        assert all(type(rate) is int for _, rate in one.peaks)
        assert 10**10 < one.memory_bytes < 10**12
        assert 10**11 < one.bandwidth_bytes_per_second < 10**13


@pytest.mark.parametrize(
    ("words", "label"),
    {
        "8xH100": "8xH100-SXM",
        "h100": "1xH100-SXM",
        "8 x h100_sxm": "8xH100-SXM",
        "H100-SXM": "1xH100-SXM",
        "16*NVIDIA H200": "16xH200-SXM",
        "4x4090": "4xRTX-4090",
        "a100-80gb": "1xA100-SXM-80",
        "2xMI300X": "2xMI300X",
    }.items(),
)
def test_a_machine_by_its_words(words: str, label: str) -> None:
    assert kvcalc.parse_machine(words).label == label


def test_every_name_and_what_is_completed_is_accepted() -> None:
    from kvcalc.cli.completion import complete_machine

    for name in kvcalc.hardware_names():
        assert kvcalc.parse_machine(f"2x{name}").accelerator.name == name
    assert complete_machine("8xh100-n") == ["8xh100-nvl"]
    assert complete_machine("8xH100-N") == ["8xH100-NVL"]
    assert complete_machine("H200,2xTPU-v6") == ["H200,2xTPU-v6e"]


@pytest.mark.parametrize(
    ("words", "told"),
    {
        "a100": "A100-SXM-40 or A100-SXM-80",
        "8xH10": "H100-SXM or H100-PCIe",
        "B20": "B200",
        "MI300A": "did you mean MI300X",
        "0xH100": "0 devices",
        "1000001xH100": "1000001 devices",
        "8x": "names no accelerator",
        "\x1b[31m": "unknown accelerator",
        "-8xH100": "unknown accelerator",
    }.items(),
)
def test_a_machine_that_is_not_known_is_refused_with_what_was_meant(words: str, told: str) -> None:
    with pytest.raises(kvcalc.KvcalcError) as error:
        kvcalc.parse_machine(words)
    assert told in str(error.value)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    machine = kvcalc.parse_machine(f"4x{write(tmp_path, 'mine.yaml', MINE)}")
    one = machine.accelerator
    assert machine.label == "4xmine"
    assert (one.memory_bytes, one.bandwidth_bytes_per_second) == (80 * 2**30, 3_350_000_000_000)
    assert dict(one.peaks) == {"bf16": 989_500_000_000_000, "fp8": 1_979_000_000_000_000}
    assert (one.interconnect, one.interconnect_bytes_per_second) == ("NVLink 4", 450_000_000_000)
    assert dict(one.sources)["memory"] == "its data sheet"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("memory: 80 GiB", "memory: 80"), "has no unit"),
        (("memory: 80 GiB", "memory: 80 GiB/s"), "memory: '80 GiB/s' is no amount"),
        (("memory: 80 GiB", "memory: 80 GFLOPs"), "is a unit of FLOPs"),
        (("bandwidth: 3.35 TB/s", "bandwith: 3.35 TB/s"), "did you mean bandwidth"),
        (("bf16: 989.5 TFLOPS", "bf61: 989.5 TFLOPS"), "did you mean bf16"),
        (("bf16: 989.5 TFLOPS", "bf16: 0 TFLOPS"), "out of range"),
        (("peaks: {bf16: 989.5 TFLOPS, fp8: 1979 TFLOPs/s}", "peaks: {}"), "peaks"),
        (("name: mine", "name: '=mine'"), "name: '=mine' is not allowed"),
        (("source: its data sheet", "source: !!python/object:os.system x"), ""),
    ],
)
def test_a_wrong_file_is_refused_at_its_line(tmp_path: Path, changed: tuple[str, str], told: str) -> None:
    assert changed[0] in MINE
    path = write(tmp_path, "mine.yaml", MINE.replace(*changed))
    with pytest.raises(kvcalc.ConfigError) as error:
        kvcalc.parse_machine(path)
    assert told in str(error.value)
    assert error.value.line > 0


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(kvcalc.KvcalcError, match="cannot be read"):
        kvcalc.parse_machine(str(tmp_path / "none.yaml"))


def test_they_are_listed_in_every_format() -> None:
    listed = records("list hardware")
    assert [row["hardware"] for row in listed] == kvcalc.hardware_names()
    assert all(row.keys() == listed[0].keys() for row in listed)
    for name in ("table", "markdown", "csv", "tsv", "jsonl"):
        shown = quickly("list", "hardware", "--format", name)
        assert shown.code == 0
        assert all(one in shown.out.replace("\\", "") for one in kvcalc.hardware_names())
    assert quickly("list", "models").out == quickly("list").out
    assert json.loads(quickly("list", "-f", "json").out)[0].keys() == {"model", "attention", "layers", "source"}
    refused = quickly("list", "hardwear")
    assert refused.code == 2
    assert_refused(quickly("list", "hardware", "-o", ""), "names no file")
