"""What a user asks for, in words: the options of a workload, read the same from a command line and from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.engines.settings import parse_engine, parse_pairs, shared_out
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.tuples import NamedTuple
from kvcalc.workload import CACHE_DTYPES, DTYPE_BITS, MODES, PARALLEL, SWITCH, Workload, parse_dtype, parse_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvcalc.engines.settings import Pairs
    from kvcalc.hardware.accelerator import Machine
    from kvcalc.model import ModelSpec

DEFAULT_CONTEXT_TOKENS = 32768
# Every option by its name and the least it takes; the rest is words. `--shared-prefix` is the option shared_prefix.
SIZES = {
    "context": 1,
    "prompt": 1,
    "cached": 0,
    "generate": 1,
    "batch": 1,
    "shared_prefix": 1,
    "encoder_tokens": 0,
    **dict.fromkeys(PARALLEL.values(), 1),
}
DTYPES = ("dtype", "dtype_k", "dtype_v", "weight_dtype", "state_dtype")
CACHE = ("dtype", "dtype_k", "dtype_v")
WORDS = {"kv_cache": SWITCH, "mla_decode": MODES, "mla_prefill": MODES, "mtp": SWITCH}
TEXTS = ("engine", "engine_option", "on")  # vllm, vllm@0.20; block_size=32; 8xH100; several by commas
NAMED = ("batch", *DTYPES, "mla_decode", "mla_prefill", "encoder_tokens", "mtp")  # as the workload's own fields
OPTIONS = (*SIZES, *DTYPES, *WORDS, *TEXTS)


class Request(NamedTuple):
    """A workload whose context may still follow from the model: None takes the model's default.

    `beside`: the same, asked of further engines and on further machines.
    """

    workload: Workload
    context_tokens: int | None = None
    beside: tuple[Workload, ...] = ()

    def of(self, spec: ModelSpec) -> Workload:
        """The workload for this model, of the first engine."""
        return self.each(spec)[0]

    def each(self, spec: ModelSpec) -> list[Workload]:
        """The workload for this model, of every engine on every machine."""
        limit = spec.max_position_embeddings or DEFAULT_CONTEXT_TOKENS
        tokens = self.context_tokens or min(DEFAULT_CONTEXT_TOKENS, limit)
        workloads = [workload._replace(context_tokens=tokens) for workload in (self.workload, *self.beside)]
        for workload in workloads:
            workload.check()
        return workloads


def parse_request(options: Mapping[str, str | int | Sequence[str] | None]) -> Request:
    """Read options by name, None and absence being the default. Raises KvcalcError where they contradict each other.

    `engine` and `on` may be several by commas, and `engine_option` a list; each engine gets the options that it knows.
    """
    given = {name: value for name, value in options.items() if value is not None and name not in TEXTS}
    read = {name: parse_option(name, value) for name, value in given.items() if isinstance(value, str | int)}
    engines = parse_engines(str(options.get("engine") or "paper"))
    machines = parse_on(options.get("on"))
    requests = [
        request_of({**read, "engine": engine, "engine_option": pairs, "on": machine})
        for engine, pairs in zip(engines, options_of_engines(options.get("engine_option"), engines), strict=True)
        for machine in machines
    ]
    first = requests[0]
    return first._replace(beside=tuple(request.workload for request in requests[1:]))


def parse_engines(text: str) -> tuple[str, ...]:
    """Engines by commas, each once: 'paper,vllm@0.20'."""
    return tuple(dict.fromkeys(str(parse_option("engine", word)) for word in text.split(",")))


def parse_on(given: str | int | Sequence[str] | None) -> tuple[Machine | None, ...]:
    """Machines by commas, each once: '8xH100,H200'; None alone where none is given."""
    if given is None:
        return (None,)
    from kvcalc.hardware.machine import parse_machines

    return tuple(parse_machines([str(given)] if isinstance(given, str | int) else list(given)))


def options_of_engines(given: str | int | Sequence[str] | None, engines: Sequence[str]) -> list[Pairs]:
    """The options of each engine: those that it knows. Raises KvcalcError for one that none of them knows."""
    if not given:
        return [()] * len(engines)
    words = str(given).split(",") if isinstance(given, str | int) else given
    names = [engine.partition("@")[0] for engine in engines]
    parts = shared_out(parse_pairs(words), names)
    return [parts[name] for name in names]


def parse_option(name: str, value: str | int) -> int | str | Pairs | Machine:
    """One option's value: exact tokens, a known dtype, machine or word. Raises KvcalcError with what would be right."""
    flag = flag_of(name)
    if name in SIZES:
        return parse_tokens(str(value), flag, SIZES[name], unit_of(name))
    if name == "weight_dtype":
        from kvcalc.weight_formats import parse_weight_dtype

        return parse_weight_dtype(str(value), flag)
    if name in DTYPES:
        return parse_dtype(str(value), flag, CACHE_DTYPES if name in CACHE else DTYPE_BITS)
    if name == "engine":
        engine, version = parse_engine(str(value))
        return f"{engine}@{version}" if version else engine
    if name == "on":
        from kvcalc.hardware.machine import parse_machine

        return parse_machine(str(value))
    if name == "engine_option":
        return parse_pairs(str(value).split(","))
    if name not in WORDS:
        raise KvcalcError(f"unknown option {name!r}", did_you_mean(name, OPTIONS) or f"one of {', '.join(OPTIONS)}")
    if value not in WORDS[name]:
        raise KvcalcError(f"{flag}: unknown word {value!r}", f"one of {', '.join(WORDS[name])}")
    return value


def flag_of(name: str) -> str:
    """An option as the command line writes it: --shared-prefix."""
    return f"--{name.replace('_', '-')}"


def unit_of(name: str) -> str:
    """What a size counts."""
    units = {"batch": "sequences", "pp": "stages", "dp": "groups", "ep": "groups", "tp": "devices", "cp": "devices"}
    return units.get(name, "tokens")


def request_of(read: Mapping[str, Any]) -> Request:
    """The request that options already read make together. All devices of a machine share the model, but for tp."""
    n, k = _context(read.get("context"), read.get("prompt"), read.get("cached", 0))
    named = {name: read[name] for name in NAMED if name in read}
    engine, version = parse_engine(read.get("engine", "paper"))
    machine: Machine | None = read.get("on")
    workload = Workload(
        context_tokens=n or 0,
        cached_tokens=k,
        generate_tokens=read.get("generate", 0),
        shared_prefix_tokens=read.get("shared_prefix", 0),
        kv_cache=read.get("kv_cache", "on") == "on",
        engine=engine,
        engine_version=version,
        engine_options=read.get("engine_option", ()),
        machine=machine,
        **_ways(read, engine, machine),
        **named,
    )
    return Request(workload, n)


def _ways(read: Mapping[str, Any], engine: str, machine: Machine | None) -> dict[str, Any]:
    """How devices share the model: as asked, else all of a machine in the way that the engine spreads."""
    asked = {field: read[option] for field, option in PARALLEL.items() if option in read}
    if machine is None or asked:
        return asked
    from kvcalc.engines import engine_of

    return {engine_of(engine).spread: machine.devices}


def _context(n: int | None, p: int | None, k: int) -> tuple[int | None, int]:
    """Return n, or None for the model's default, and the tokens cached before the prefill: n = K + P."""
    if p is not None:
        if n is not None and n != k + p:
            raise KvcalcError(
                f"--context {n} is not --cached {k} + --prompt {p} = {k + p}", "leave --context out: it follows"
            )
        return k + p, k
    if k and n is None:
        raise KvcalcError("--cached needs --prompt, the new tokens after the cached ones")
    if n is not None and k >= n:
        raise KvcalcError(f"--cached {k} leaves no new token in --context {n}")
    return n, k
