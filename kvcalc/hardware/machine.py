"""What --on says: '8xH100', 'h200', or '2x./mine.yaml', a file of one's own."""

from __future__ import annotations

import re

from kvcalc.errors import KvcalcError
from kvcalc.hardware.accelerator import Machine
from kvcalc.hardware.shipped import accelerator_of

MAX_DEVICES = 1_000_000
_COUNTED = re.compile(r"(?:(?P<devices>[0-9]{1,12})\s*[xX*]\s*)?(?P<name>.*)", re.DOTALL)
_SUFFIXES = (".yaml", ".yml", ".json")


def parse_machine(text: str, where: str = "--on") -> Machine:
    """A machine by its words. Raises KvcalcError for an unknown accelerator, and for a file that is wrong."""
    match = _COUNTED.fullmatch(text.strip())
    name = match["name"].strip() if match else ""
    if match is None or not name:
        raise KvcalcError(f"{where}: {text!r:.60} names no accelerator", "write 8xH100, H200, or 2x./mine.yaml")
    devices = int(match["devices"] or 1)
    if not 1 <= devices <= MAX_DEVICES:
        raise KvcalcError(f"{where}: {text!r:.60}: {devices} devices", f"from 1 to {MAX_DEVICES:,}")
    if name.lower().endswith(_SUFFIXES):
        from kvcalc.readers.hardware import read_accelerator

        return Machine(devices, read_accelerator(name))
    return Machine(devices, accelerator_of(name, where))


def parse_machines(texts: list[str]) -> list[Machine]:
    """Every machine of a repeated option, each of which may list several by commas; none twice."""
    words = [word for text in texts for word in text.split(",")]
    return list(dict.fromkeys(parse_machine(word) for word in words))
