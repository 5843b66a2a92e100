"""Which engine, of which version, with which options: read from words, refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import ENGINES, engine_of
from kvcalc.errors import KvcalcError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvcalc.engines import Engine, Option, Setting, Settings
    from kvcalc.workload import Workload

MOST = 10**12
SWITCH = {"on": True, "off": False}

Pairs = tuple[tuple[str, str], ...]


def parse_engine(text: str) -> tuple[str, str]:
    """An engine's name and its version, '' for the newest, of 'vllm' or 'vllm@0.20'. Raises KvcalcError."""
    name, at, version = text.strip().partition("@")
    if name not in ENGINES:
        hint = did_you_mean(name, ENGINES) or f"one of {', '.join(ENGINES)}"
        raise KvcalcError(f"--engine: unknown engine {name!r:.60}", hint)
    if not at:
        return name, ""
    for known in engine_of(name).versions:
        if version and f"{known}.".startswith(f"{version}."):
            return name, known
    versions = ", ".join(engine_of(name).versions) or "none: it has no versions"
    raise KvcalcError(f"--engine: {name} of version {version!r:.60} is not modelled", f"known: {versions}")


def version_of(engine: str, version: str) -> str:
    """The version that is counted; '' for an engine that has none."""
    return version or next(iter(engine_of(engine).versions), "")


def parse_pairs(words: Iterable[str]) -> Pairs:
    """Options as pairs, of 'block_size=32' each. Raises KvcalcError where one is no pair, or given twice."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name or not value:
            raise KvcalcError(f"--engine-option: {word!r:.60} is no option", "write name=value: block_size=32")
        if name in pairs:
            raise KvcalcError(f"--engine-option: {name!r:.60} is given twice")
        pairs[name] = value
    return tuple(pairs.items())


def shared_out(pairs: Pairs, engines: Sequence[str]) -> dict[str, Pairs]:
    """The options of each of several engines: those that it knows. Raises KvcalcError for one that none knows."""
    known = {name: engine_of(name).options for name in engines}
    for name, _ in pairs:
        if not any(name in options for options in known.values()):
            every = sorted({word for options in known.values() for word in options})
            hint = did_you_mean(name, every) or (f"one of {', '.join(every)}" if every else "it has none")
            raise KvcalcError(f"--engine-option: {', '.join(engines)} has no option {name!r:.60}", hint)
    return {engine: tuple(pair for pair in pairs if pair[0] in options) for engine, options in known.items()}


def settings(workload: Workload) -> Settings:
    """Every option of the workload's engine, as given or by default. Raises KvcalcError for a value that is none."""
    engine = engine_of(workload.engine)
    given = shared_out(workload.engine_options, [engine.name])[engine.name]
    found: dict[str, Setting] = {name: option.default for name, option in engine.options.items()}
    rule, machine = engine.of_device, workload.machine
    by_device = rule(machine.accelerator) if rule is not None and machine is not None else ()
    pairs = (*by_device, *given)
    found.update({name: _value(engine, name, engine.options[name], text) for name, text in pairs})
    return found


def _value(engine: Engine, name: str, option: Option, text: str) -> Setting:
    if isinstance(option.default, bool):
        if text not in SWITCH:
            raise _wrong(engine, name, text, "on or off")
        return SWITCH[text]
    if isinstance(option.default, int):
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= 13 else -1
        if not option.least <= value <= MOST:
            raise _wrong(engine, name, text, f"a whole number from {option.least}")
        return value
    if option.words and text not in option.words:
        raise _wrong(engine, name, text, f"one of {', '.join(option.words)}")
    return text


def _wrong(engine: Engine, name: str, text: str, right: str) -> KvcalcError:
    return KvcalcError(f"--engine-option: {engine.name}'s {name} cannot be {text!r:.60}", right)


def told_engine(workload: Workload) -> str:
    """'vllm 0.33.0', or 'paper'."""
    return f"{workload.engine} {version_of(workload.engine, workload.engine_version)}".strip()


def told(chosen: Settings, *names: str) -> tuple[str, ...]:
    """Options as a note names them: 'block_size=16'."""
    words = {True: "on", False: "off"}
    return tuple(
        f"{name}={words[value] if isinstance(value, bool) else value}"
        for name in dict.fromkeys(names)
        for value in (chosen[name],)
    )
