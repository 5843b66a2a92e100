"""Options that say what is asked of a model, and how they become a Request."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import kvcalc
from kvcalc import KvcalcError, Request, Workload, parse_dtype, parse_tokens

TOKENS = "TOKENS"


def complete_model(incomplete: str) -> list[str]:
    """Complete bundled names; files are the shell's business."""
    return [name for name in kvcalc.names() if name.startswith(incomplete)]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A bundled name, a config file, a model's folder, or - for stdin.",
        autocompletion=complete_model,
    ),
]
ModelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Bundled names, config files, model folders, or - for stdin.",
        autocompletion=complete_model,
    ),
]
VariantsOption = Annotated[
    str | None,
    typer.Option(
        "--variants",
        "-v",
        metavar="LIST",
        help="mha, gqa-8, mqa, mla, mla-512+64, mla-512+64/1536, swa-4096, by commas; or none. compare's default: "
        "all that make sense beside one model, none beside several.",
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context",
        "-c",
        metavar=TOKENS,
        help="Tokens in all, n: 32768, 32k, 1m. Default 32k, or max_position_embeddings where that is smaller.",
    ),
]
PromptOption = Annotated[str | None, typer.Option("--prompt", metavar=TOKENS, help="New tokens of the prefill.")]
CachedOption = Annotated[
    str | None, typer.Option("--cached", metavar=TOKENS, help="Tokens cached before the prefill; n = cached + prompt.")
]
GenerateOption = Annotated[
    str | None, typer.Option("--generate", metavar=TOKENS, help="Tokens of an answer after n: its totals as well.")
]
BatchOption = Annotated[
    int, typer.Option("--batch", "-b", metavar="N", min=1, max=10**9, help="Sequences; totals are for all.")
]
SharedPrefixOption = Annotated[
    str | None,
    typer.Option("--shared-prefix", metavar=TOKENS, help="First tokens that the batch stores and computes once."),
]
KvCacheOption = Annotated[
    Literal["on", "off"], typer.Option("--kv-cache", help="off: every step recomputes all tokens before it.")
]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype", "-d", metavar="DTYPE", help="Of the cache: fp32 bf16 fp16 fp8 int8 int4 ..., as bits an element."
    ),
]
DtypeKOption = Annotated[str | None, typer.Option("--dtype-k", metavar="DTYPE", help="Of K alone.")]
DtypeVOption = Annotated[str | None, typer.Option("--dtype-v", metavar="DTYPE", help="Of V alone.")]
WeightDtypeOption = Annotated[str, typer.Option("--weight-dtype", metavar="DTYPE", help="Of the weights.")]
MlaDecodeOption = Annotated[
    Literal["absorbed", "naive"], typer.Option("--mla-decode", help="How decode attends over latents.")
]
MlaPrefillOption = Annotated[
    Literal["absorbed", "naive"], typer.Option("--mla-prefill", help="How prefill attends over latents.")
]


def make_request(
    *,
    context: ContextOption = None,
    prompt: PromptOption = None,
    cached: CachedOption = None,
    generate: GenerateOption = None,
    batch: BatchOption = 1,
    shared_prefix: SharedPrefixOption = None,
    kv_cache: KvCacheOption = "on",
    dtype: DtypeOption = "bf16",
    dtype_k: DtypeKOption = None,
    dtype_v: DtypeVOption = None,
    weight_dtype: WeightDtypeOption = "bf16",
    mla_decode: MlaDecodeOption = "absorbed",
    mla_prefill: MlaPrefillOption = "naive",
) -> Request:
    """Read the options as typed. Raises KvcalcError where they contradict each other."""
    n, k = _context(context, prompt, cached)
    workload = Workload(
        context_tokens=n or 0,
        cached_tokens=k,
        batch=batch,
        generate_tokens=parse_tokens(generate, "--generate") if generate is not None else 0,
        shared_prefix_tokens=parse_tokens(shared_prefix, "--shared-prefix") if shared_prefix is not None else 0,
        kv_cache=kv_cache == "on",
        dtype=parse_dtype(dtype, "--dtype"),
        dtype_k=parse_dtype(dtype_k, "--dtype-k") if dtype_k is not None else "",
        dtype_v=parse_dtype(dtype_v, "--dtype-v") if dtype_v is not None else "",
        weight_dtype=parse_dtype(weight_dtype, "--weight-dtype"),
        mla_decode=mla_decode,
        mla_prefill=mla_prefill,
    )
    return Request(workload, n)


def _context(context: str | None, prompt: str | None, cached: str | None) -> tuple[int | None, int]:
    """Return n, or None for the model's default, and the tokens cached before the prefill: n = K + P."""
    n = parse_tokens(context, "--context") if context is not None else None
    p = parse_tokens(prompt, "--prompt") if prompt is not None else None
    k = parse_tokens(cached, "--cached", 0) if cached is not None else 0
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
