"""The keys of one header by their names without the architecture: numbers, and one for every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.readers.text import Document

if TYPE_CHECKING:
    from kvcalc.errors import ConfigError, NotUnderstoodError
    from kvcalc.readers.gguf import Header

MOST = 10**9


class Keys:
    """What a header says under `architecture.name`."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.architecture = str(header.values.get("general.architecture", ""))

    def error(self, message: str, hint: str = "") -> ConfigError:
        """What is wrong with the file."""
        return Document(self.header.path, {}, dict).error((), message, hint)

    def not_understood(self, message: str, hint: str = "") -> NotUnderstoodError:
        """What is not modelled."""
        return Document(self.header.path, {}, dict).not_understood((), message, hint)

    def full(self, name: str) -> str:
        """The key as the file has it."""
        return f"{self.architecture}.{name}"

    def raw(self, name: str) -> Any:
        """Whatever stands there; None where nothing does."""
        return self.header.values.get(self.full(name))

    def given(self, name: str) -> bool:
        """Whether the file says it."""
        return self.raw(name) is not None

    def number(self, name: str, *, most: int = MOST, absent: int | None = None) -> int:
        """A whole number from 0."""
        value = self.raw(name)
        value = absent if value is None else value
        if value is None:
            raise self.error(f"missing key {self.full(name)!r}")
        return self._whole(name, value, most)

    def each(self, name: str, total: int, absent: list[int] | None = None) -> list[int]:
        """A number for every layer: one for all, or a list."""
        value = self.raw(name)
        value = absent if value is None else value
        if not isinstance(value, list):
            return [self.number(name)] * total
        if len(value) < total:
            raise self.error(f"{self.full(name)}: {len(value)} numbers for {total} layers")
        return [self._whole(name, one, MOST) for one in value[:total]]

    def decimal(self, name: str, absent: float) -> float:
        """A number."""
        value = self.raw(name)
        value = absent if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"{self.full(name)}: not a number")
        return float(value)

    def _whole(self, name: str, value: Any, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.error(f"{self.full(name)}: {str(value)[:50]} is not a whole number up to {most:,}")
        return value
