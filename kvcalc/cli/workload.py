"""Options that say what is asked of a model, and how they become a Request."""

from __future__ import annotations

import inspect
from copy import copy
from typing import Annotated, Literal, get_args, get_origin

import typer
from typer.models import OptionInfo

import kvcalc
from kvcalc.cli.completion import (
    complete_dtype,
    complete_dtypes,
    complete_engines,
    complete_machine,
    complete_model,
    complete_variants,
    complete_weight_dtype,
    complete_weight_dtypes,
    list_of,
)

TOKENS = "TOKENS"


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A bundled name, a config or GGUF file, a model's folder, hf:org/name, or - for stdin.",
        autocompletion=complete_model,
    ),
]
ModelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Bundled names, config or GGUF files, model folders, hf:org/name, or - for stdin.",
        autocompletion=complete_model,
    ),
]


def load_models(sources: list[str]) -> list[kvcalc.ModelSpec]:
    """Read every model of every source; stdin can be read once."""
    if sources.count("-") > 1:
        raise kvcalc.KvcalcError("- is stdin, and can be given once")
    return [spec for source in sources for spec in kvcalc.load_all(source)]


VariantsOption = Annotated[
    str | None,
    typer.Option(
        "--variants",
        "-v",
        metavar="LIST",
        help="mha, gqa-8, mqa, mla, mla-512+64, mla-512+64/1536, swa-4096, by commas; or none. Default of "
        "compare and plot: all that make sense beside one model, none beside several; elsewhere none.",
        autocompletion=complete_variants,
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
        "--dtype",
        "-d",
        metavar="DTYPE",
        help="Of the cache: fp32 bf16 fp16 fp8 int8 int4 ..., as bits an element.",
        autocompletion=complete_dtype,
    ),
]
DtypeKOption = Annotated[
    str | None, typer.Option("--dtype-k", metavar="DTYPE", help="Of K alone.", autocompletion=complete_dtype)
]
DtypeVOption = Annotated[
    str | None, typer.Option("--dtype-v", metavar="DTYPE", help="Of V alone.", autocompletion=complete_dtype)
]
WeightDtypeOption = Annotated[
    str | None,
    typer.Option(
        "--weight-dtype",
        metavar="DTYPE",
        help="Of the weights: a dtype, or blocks with scales: fp8_b128 int4_g128 int4_g128z mxfp4 nvfp4 q4_k q8_0 "
        "... Default: the config's quantization_config, else bf16.",
        autocompletion=complete_weight_dtype,
    ),
]
StateDtypeOption = Annotated[
    str | None,
    typer.Option(
        "--state-dtype",
        metavar="DTYPE",
        help="Of recurrent states. Default: the config's own, else fp32.",
        autocompletion=complete_dtype,
    ),
]
EncoderTokensOption = Annotated[
    str | None,
    typer.Option(
        "--encoder-tokens",
        metavar=TOKENS,
        help="What cross attention reads. Default: the config's fixed length, else the context; 0: none.",
    ),
]
MlaDecodeOption = Annotated[
    Literal["absorbed", "naive"], typer.Option("--mla-decode", help="How decode attends over latents.")
]
MlaPrefillOption = Annotated[
    Literal["absorbed", "naive"], typer.Option("--mla-prefill", help="How prefill attends over latents.")
]

EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="LIST",
        help="Whose cache, and what it reserves: paper, what the model needs; transformers; vllm, vllm@0.20, "
        "vllm@0.11; sglang; llamacpp; tensorrt-llm, by reading only. Several by commas are rows side by side.",
        autocompletion=complete_engines,
    ),
]
TpOption = Annotated[
    str | None,
    typer.Option("--tp", metavar="N", help="Devices that share each layer; bytes reserved and held: of the fullest."),
]
PpOption = Annotated[
    str | None, typer.Option("--pp", metavar="N", help="Stages of a pipeline, which share the layers.")
]
DpOption = Annotated[
    str | None, typer.Option("--dp", metavar="N", help="Groups that divide the batch: replicas, or of attention alone.")
]
EpOption = Annotated[str | None, typer.Option("--ep", metavar="N", help="Groups that share whole experts.")]
CpOption = Annotated[
    str | None, typer.Option("--cp", metavar="N", help="Devices that share a sequence's tokens, as the engine has it.")
]
EngineOptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        metavar="NAME=VALUE",
        help="An engine's own: block_size=32, max_num_batched_tokens=2048, gpu_class=b200, swa_full=on ... Repeatable. "
        "Default: those of its server on an H100.",
    ),
]
OnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="HARDWARE",
        help="The least time on 8xH100, H200, or 2x./mine.yaml; several by commas or repeated: rows side by side. Its "
        "devices share the model, unless --tp says how many do. `kvcalc list hardware` names those known.",
        autocompletion=complete_machine,
    ),
]
MtpOption = Annotated[
    Literal["on", "off"],
    typer.Option("--mtp", help="on: layers that predict later tokens run, and cache, too."),
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
    weight_dtype: WeightDtypeOption = None,
    mla_decode: MlaDecodeOption = "absorbed",
    mla_prefill: MlaPrefillOption = "naive",
    state_dtype: StateDtypeOption = None,
    encoder_tokens: EncoderTokensOption = None,
    engine: EngineOption = "paper",
    mtp: MtpOption = "off",
    tp: TpOption = None,
    pp: PpOption = None,
    dp: DpOption = None,
    ep: EpOption = None,
    cp: CpOption = None,
    engine_option: EngineOptionOption = None,
    on: OnOption = None,
) -> kvcalc.Request:
    """Read the options as typed. Raises KvcalcError where they contradict each other."""
    return kvcalc.parse_request(locals())


LISTS = {complete_dtype: complete_dtypes, complete_weight_dtype: complete_weight_dtypes}


def _listed(parameter: inspect.Parameter) -> inspect.Parameter:
    """An option that takes one value as an option that takes a list of them, or a range."""
    if parameter.name in ("engine_option", "on"):  # a list already
        return parameter
    kind, option = get_args(parameter.annotation)
    listed: OptionInfo = copy(option)
    listed.metavar, listed.min, listed.max = "LIST", None, None
    if option.autocompletion in LISTS:
        listed.autocompletion = LISTS[option.autocompletion]
    if get_origin(kind) is Literal:
        listed.metavar, listed.autocompletion = ",".join(get_args(kind)), list_of(get_args(kind))
    return parameter.replace(annotation=Annotated[str | None, listed], default=None)


def make_grid(**options: str | list[str] | None) -> kvcalc.Grid:
    """Read the same options, each a list: 1k,8k or 1k:1m:x2. Raises KvcalcError where they contradict each other."""
    return kvcalc.parse_grid(options)


def grid_options() -> list[inspect.Parameter]:
    """The options that `make_grid` takes."""
    return [_listed(parameter) for parameter in inspect.signature(make_request, eval_str=True).parameters.values()]
