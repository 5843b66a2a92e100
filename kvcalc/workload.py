"""What is asked of a model: tokens, batch, dtypes and modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from kvcalc.hardware.accelerator import Machine

MAX_TOKENS = 10**12

DTYPE_BITS = {
    "fp64": 64,
    "fp32": 32,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "fp8_e4m3": 8,
    "fp8_e5m2": 8,
    "int8": 8,
    "fp6": 6,
    "int6": 6,
    "int5": 5,
    "fp4": 4,
    "int4": 4,
    "int3": 3,
    "int2": 2,
    "int1": 1,
}
BLOCK_BYTES = {"q8_0": 34, "q5_1": 24, "q5_0": 22, "q4_1": 20, "q4_0": 18, "iq4_nl": 18}  # of 32 elements, in llama.cpp
CACHE_DTYPES = (*DTYPE_BITS, *BLOCK_BYTES)
MODES = ("absorbed", "naive")
PARALLEL = {  # field: its option
    "tensor_parallel": "tp",
    "pipeline_parallel": "pp",
    "data_parallel": "dp",
    "expert_parallel": "ep",
    "context_parallel": "cp",
}
SWITCH = ("on", "off")


class Workload(NamedTuple):
    """Tokens, batch, dtypes and modes.

    n = context_tokens counts the token being processed; `cached_tokens` of them came before the prefill;
    `generate_tokens` follow; `shared_prefix_tokens` are stored and computed once a batch. `encoder_tokens` None: the
    model's own fixed length, else as many as the context. `state_dtype` '': the model's own, else fp32;
    `weight_dtype` '': the config's own, else bf16. `engine` is whose cache is counted, of `engine_version`, '' being
    the newest, with `engine_options` as pairs of words. Devices: `tensor_parallel` share each layer,
    `pipeline_parallel` stages share the layers, `data_parallel` groups the batch, `expert_parallel` groups the experts,
    `context_parallel` devices a sequence's tokens; how they combine is the engine's. `mtp` 'on': layers that predict
    later tokens run too. `machine`: the least time on it is told as well; what these devices leave of it are replicas.
    """

    context_tokens: int
    cached_tokens: int = 0
    batch: int = 1
    generate_tokens: int = 0
    shared_prefix_tokens: int = 0
    kv_cache: bool = True
    dtype: str = "bf16"
    dtype_k: str = ""
    dtype_v: str = ""
    weight_dtype: str = ""
    mla_decode: str = "absorbed"
    mla_prefill: str = "naive"
    state_dtype: str = ""
    encoder_tokens: int | None = None
    engine: str = "paper"
    mtp: str = "off"
    engine_version: str = ""
    tensor_parallel: int = 1
    engine_options: tuple[tuple[str, str], ...] = ()
    machine: Machine | None = None
    pipeline_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: int = 1
    context_parallel: int = 1

    def check(self) -> None:
        """Raise KvcalcError where a number is out of range, a word unknown, or two of them contradict each other."""
        n, k, s = self.context_tokens, self.cached_tokens, self.shared_prefix_tokens
        for name, value, least in (
            ("context_tokens", n, 1),
            ("cached_tokens", k, 0),
            ("batch", self.batch, 1),
            ("generate_tokens", self.generate_tokens, 0),
            ("shared_prefix_tokens", s, 0),
            ("encoder_tokens", self.encoder_tokens or 0, 0),
            *((name, getattr(self, name), 1) for name in PARALLEL),
        ):
            if type(value) is not int or not least <= value <= MAX_TOKENS:
                raise KvcalcError(f"{name}: {value!r} is not a whole number from {least} to {MAX_TOKENS:,}")
        for name, word, known in (
            ("dtype", self.dtype, CACHE_DTYPES),
            ("dtype_k", self.dtype_k or self.dtype, CACHE_DTYPES),
            ("dtype_v", self.dtype_v or self.dtype, CACHE_DTYPES),
            ("state_dtype", self.state_dtype or "fp32", DTYPE_BITS),
            ("mla_decode", self.mla_decode, MODES),
            ("mla_prefill", self.mla_prefill, MODES),
            ("engine", self.engine, ENGINES),
            ("mtp", self.mtp, SWITCH),
        ):
            if word not in known:
                raise KvcalcError(
                    f"{name}: unknown {word!r}", did_you_mean(str(word), known) or f"one of {', '.join(known)}"
                )
        if self.weight_dtype and self.weight_dtype not in DTYPE_BITS:
            from kvcalc.weight_formats import parse_weight_dtype

            parse_weight_dtype(self.weight_dtype, "weight_dtype")
        if self.engine_version:
            from kvcalc.engines import engine_of

            known_versions = engine_of(self.engine).versions
            if self.engine_version not in known_versions:
                message = f"engine_version: {self.engine} of version {self.engine_version!r:.60} is not modelled"
                raise KvcalcError(message, f"known: {', '.join(known_versions) or 'none'}")
        if self.machine is not None:
            from kvcalc.memory_budget import deal

            deal(self, self.machine)
        if k >= n:
            raise KvcalcError(f"--cached {k} leaves no new token in --context {n}")
        if k and not self.kv_cache:
            raise KvcalcError("--cached makes no sense with --kv-cache off")
        if s >= n:
            raise KvcalcError(
                f"--shared-prefix {s} is not shorter than the context, {n} tokens",
                "each sequence has at least one token of its own",
            )
        if s and not self.kv_cache:
            raise KvcalcError("--shared-prefix shares what is cached: it makes no sense with --kv-cache off")

    @property
    def prompt_tokens(self) -> int:
        """New tokens of the prefill."""
        return self.context_tokens - self.cached_tokens

    @property
    def last_tokens(self) -> int:
        """Tokens at the end of the answer."""
        return self.context_tokens + self.generate_tokens

    def dtype_of(self, role: str) -> str:
        """The dtype of a role: 'k', 'v', or the cache's for what is neither."""
        return {"k": self.dtype_k, "v": self.dtype_v}.get(role) or self.dtype

    def bits(self, role: str) -> str:
        """Bits of e elements of a store's role, as a formula: so many each, or whole blocks of 32."""
        dtype = self.dtype_of(role)
        return f"{8 * BLOCK_BYTES[dtype]}*ceil_div(e, 32)" if dtype in BLOCK_BYTES else f"{DTYPE_BITS[dtype]}*e"

    def scope(self) -> dict[str, int]:
        """The workload's symbols for formulas."""
        return {
            "n": self.context_tokens,
            "K": self.cached_tokens,
            "B": self.batch,
            "S": self.shared_prefix_tokens,
            "T": self.generate_tokens,
        }


def parse_tokens(text: str, option: str, least: int = 1, unit: str = "tokens") -> int:
    """Exact tokens, or another `unit`, from `least`: of '4096', '32k' or '1m' (powers of 1024)."""
    digits, factor = text.strip().lower().replace("_", "").replace(",", ""), 1
    if digits[-1:] in ("k", "m"):
        digits, factor = digits[:-1], 1024 if digits[-1] == "k" else 1024**2
    size = int(digits) * factor if digits.isascii() and digits.isdigit() and len(digits) <= 13 else -1
    if not least <= size <= MAX_TOKENS:
        raise KvcalcError(
            f"{option}: {text!r} is not a number of {unit} from {least} to {MAX_TOKENS:,}",
            "write 32768, 32k (32 x 1024) or 1m (1024 x 1024)" if unit == "tokens" else f"{option} 8, for one",
        )
    return size


def parse_dtype(text: str, option: str, known: Collection[str] = DTYPE_BITS) -> str:
    """A known dtype's name."""
    name = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "half": "fp16"}.get(text.lower(), text.lower())
    if name not in known:
        hint = did_you_mean(text, known) or f"known: {' '.join(known)}"
        raise KvcalcError(f"{option}: unknown dtype {text!r}", hint)
    return name
