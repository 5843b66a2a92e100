"""`NamedTuple` as in `typing`, made in a third of the time: forty a start, and typing compiles every annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    class _Made(type):
        """Makes a named tuple of what a class body says."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.pop("__annotations__")  # as text: every module here says `from __future__ import annotations`
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            made.__annotations__ = made.__new__.__annotations__ = fields
            for told, value in body.items():
                if told not in ("__module__", "__dict__", "__weakref__"):
                    setattr(made, told, value)
            return made

    class NamedTuple(metaclass=_Made):
        """A plain frozen tuple with names."""
