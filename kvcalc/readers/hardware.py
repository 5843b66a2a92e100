"""The door of one's own accelerators: a YAML file says what `kvcalc list hardware` says of those that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError  # noqa: TID253  # imported only once a file is read

from kvcalc.amounts import parse_amount
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.hardware.accelerator import PEAK_BITS, Accelerator
from kvcalc.readers.complaint import first_error
from kvcalc.readers.strict import NAME, Strict, Text
from kvcalc.readers.text import read_documents

if TYPE_CHECKING:
    from kvcalc.readers.text import Document, Place

MAX_AMOUNT = 10**24


def _written(value: object) -> object:
    """A number as its digits."""
    return repr(value) if type(value) in (int, float) else value


Amount = Annotated[str, BeforeValidator(_written)]


class InterconnectFile(Strict):
    """What links one device to the others."""

    name: Text = Field(description="such as NVLink 4")
    bandwidth: Amount = Field(description="of one device in one direction, with its unit: 450 GB/s")


class AcceleratorFile(Strict):
    """One accelerator."""

    name: str = Field(pattern=NAME, description="its name in the output")
    vendor: Text | None = Field(None, description="who makes it")
    memory: Amount = Field(description="what a program may use of it, with its unit: 80 GiB")
    bandwidth: Amount = Field(description="of its memory, with its unit: 3.35 TB/s")
    peaks: dict[str, Amount] = Field(
        min_length=1, description=f"dense FLOPs a second by dtype, as 989.5 TFLOPS: {', '.join(PEAK_BITS)}"
    )
    gpu_class: Literal["h100", "b200", "a100"] | None = Field(
        None,
        description="whose kernels and defaults vLLM has for it: b200 Blackwell, h100 Hopper, a100 those before and "
        "small ones; absent: by its memory",
    )
    interconnect: InterconnectFile | None = Field(None, description="what links it to others")
    source: Text | None = Field(None, description="where the numbers come from")
    note: Text | None = Field(None, description="what to say wherever it is used")


def read_accelerator(path: str) -> Accelerator:
    """Read a file of one accelerator. Raises ConfigError at what is wrong, with what would be right."""
    documents = read_documents(path)
    if len(documents) > 1:
        raise documents[1].error((), "a second document: a hardware file is one accelerator")
    document = documents[0]
    try:
        file = AcceleratorFile.model_validate(document.data)
    except ValidationError as error:
        raise first_error(document, error, AcceleratorFile) from None
    for dtype in file.peaks:
        if dtype not in PEAK_BITS:
            hint = did_you_mean(dtype, PEAK_BITS) or f"one of {', '.join(PEAK_BITS)}"
            raise document.error(("peaks", dtype), f"peaks: unknown dtype {dtype!r:.60}", hint)
    link = file.interconnect
    given = ("memory", "bandwidth", "peaks", *(["interconnect"] if link else []))
    return Accelerator(
        name=file.name,
        vendor=file.vendor or "",
        memory_bytes=_amount(document, ("memory",), file.memory, "bytes"),
        bandwidth_bytes_per_second=_amount(document, ("bandwidth",), file.bandwidth, "bytes"),
        peaks=tuple((dtype, _amount(document, ("peaks", dtype), told, "flops")) for dtype, told in file.peaks.items()),
        interconnect=link.name if link else "",
        interconnect_bytes_per_second=(
            _amount(document, ("interconnect", "bandwidth"), link.bandwidth, "bytes") if link else 0
        ),
        sources=tuple((what, file.source) for what in given if file.source),
        note=file.note or "",
        gpu_class=file.gpu_class or "",
    )


def _amount(document: Document, place: Place, written: str, kind: str) -> int:
    """Whole bytes or FLOPs; what is per second may say so."""
    text = written.strip()
    if place != ("memory",):
        text = text.removesuffix("/s").strip()
        if kind == "flops" and text.upper().endswith("FLOPS"):
            text = f"{text[:-5]}FLOPs"
    try:
        amount = parse_amount(text, kind, str(place[-1]))
    except KvcalcError as error:
        right = {"bytes": "with a unit: 80 GiB, 3.35 TB/s", "flops": "with a unit: 989.5 TFLOPS"}[kind]
        raise document.error(place, error.message, right) from None
    if text[-1:].isdigit():
        raise document.error(place, f"{place[-1]}: {written!r:.60} has no unit", "80 GiB, 3.35 TB/s, 989.5 TFLOPS")
    if amount.denominator != 1 or not 1 <= amount <= MAX_AMOUNT:
        raise document.error(place, f"{place[-1]}: {written!r:.60} is out of range", f"whole, from 1 to {MAX_AMOUNT:,}")
    return int(amount)
