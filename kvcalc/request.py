"""What a user asks for, in words: the options of a workload, read the same from a command line and from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.workload import MODES, SWITCH, Workload, parse_dtype, parse_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model import ModelSpec

DEFAULT_CONTEXT_TOKENS = 32768
# Every option by its name and the least it takes; the rest is words. `--shared-prefix` is the option shared_prefix.
SIZES = {"context": 1, "prompt": 1, "cached": 0, "generate": 1, "batch": 1, "shared_prefix": 1, "encoder_tokens": 0}
DTYPES = ("dtype", "dtype_k", "dtype_v", "weight_dtype", "state_dtype")
WORDS = {"kv_cache": SWITCH, "mla_decode": MODES, "mla_prefill": MODES, "engine": tuple(ENGINES), "mtp": SWITCH}
NAMED = (
    "batch",
    *DTYPES,
    "mla_decode",
    "mla_prefill",
    "encoder_tokens",
    "engine",
    "mtp",
)  # as the workload's own fields
OPTIONS = (*SIZES, *DTYPES, *WORDS)


class Request(NamedTuple):
    """A workload whose context may still follow from the model: None takes the model's default."""

    workload: Workload
    context_tokens: int | None = None

    def of(self, spec: ModelSpec) -> Workload:
        """The workload for this model."""
        limit = spec.max_position_embeddings or DEFAULT_CONTEXT_TOKENS
        tokens = self.context_tokens or min(DEFAULT_CONTEXT_TOKENS, limit)
        workload = self.workload._replace(context_tokens=tokens)
        workload.check()
        return workload


def parse_request(options: Mapping[str, str | int | None]) -> Request:
    """Read options by name, None and absence being the default. Raises KvcalcError where they contradict each other."""
    read = {name: parse_option(name, value) for name, value in options.items() if value is not None}
    return request_of(read)


def parse_option(name: str, value: str | int) -> int | str:
    """One option's value: exact tokens, a known dtype or a known word. Raises KvcalcError with what would be right."""
    flag = flag_of(name)
    if name in SIZES:
        return parse_tokens(str(value), flag, SIZES[name], unit_of(name))
    if name == "weight_dtype":
        from kvcalc.weight_formats import parse_weight_dtype

        return parse_weight_dtype(str(value), flag)
    if name in DTYPES:
        return parse_dtype(str(value), flag)
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
    return "sequences" if name == "batch" else "tokens"


def request_of(read: Mapping[str, Any]) -> Request:
    """The request that options already read make together."""
    n, k = _context(read.get("context"), read.get("prompt"), read.get("cached", 0))
    named = {name: read[name] for name in NAMED if name in read}
    workload = Workload(
        context_tokens=n or 0,
        cached_tokens=k,
        generate_tokens=read.get("generate", 0),
        shared_prefix_tokens=read.get("shared_prefix", 0),
        kv_cache=read.get("kv_cache", "on") == "on",
        **named,
    )
    return Request(workload, n)


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
