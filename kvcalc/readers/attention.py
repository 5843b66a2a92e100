"""The formats of attention: a memory, and a reach of its own where the layer's is not it.

Most are made of a named tuple, which says all. Each is made when a file first names its kind: of nearly fifty a file
names two or three.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, create_model  # noqa: TID253  # imported only once a file is read
from pydantic_core import PydanticKnownError, core_schema

from kvcalc.attention.kinds import MEMORIES, REACHES, class_of
from kvcalc.readers.strict import NAME, SYMBOL, Expression, Size, SizeOrZero, Strict, Text

if TYPE_CHECKING:
    from collections.abc import Callable


class OneOf:
    """A choice of formats, told apart by their kind."""

    def __init__(self, kinds: dict[str, tuple[str, str]], format_of: Callable[[str], type[Strict]]) -> None:
        self.kinds = kinds
        self.format_of = format_of

    def formats(self, kind: object = None) -> list[type[Strict]]:
        """The format of a kind; all of them where there is none such."""
        known = isinstance(kind, str) and kind in self.kinds
        return [self.format_of(one) for one in ([str(kind)] if known else self.kinds)]

    def validated(self, value: Any) -> Strict:  # a document's value
        """What pydantic makes of its own unions, with the same complaints."""
        if not isinstance(value, dict):
            raise PydanticKnownError("dict_type")
        if "kind" not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
        kind = value["kind"]
        if not isinstance(kind, str) or kind not in self.kinds:
            expected = ", ".join(f"'{one}'" for one in self.kinds)
            told = {"discriminator": "'kind'", "tag": str(kind), "expected_tags": expected}
            raise PydanticKnownError("union_tag_invalid", told)
        return self.format_of(kind).model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # pydantic's hook
        """Let pydantic ask us."""
        return core_schema.no_info_plain_validator_function(self.validated)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:  # pydantic's hook
        """Say every format: a JSON Schema is of all kinds."""
        union: Any = Union[tuple(self.formats())]  # noqa: UP007  # built at run time
        return handler(TypeAdapter(Annotated[union, Field(discriminator="kind")]).core_schema)


def _made(kinds: dict[str, tuple[str, str]], kind: str, base: type[Strict]) -> type[Strict]:
    """The format of a kind whose named tuple says all: its fields, what they are, and their defaults."""
    made = class_of(kinds, kind)
    fields: dict[str, Any] = {"kind": (Literal[kind], Field(description=(made.__doc__ or "").partition("\n")[0]))}
    for name, hint in get_type_hints(made, include_extras=True).items():
        if name == "kind":
            continue
        told, *meaning = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        absent = made._field_defaults.get(name, ...)
        number = SizeOrZero if absent == 0 else Size  # 0 is what stands for nothing, where absence does
        fields[name] = (number if told is int else told, Field(absent, description=meaning[0] if meaning else None))
    return create_model(f"{made.__name__}File", __base__=base, __doc__=made.__doc__, **fields)


@cache
def reach_format(kind: str) -> type[Strict]:
    """The format of a reach."""
    return _made(REACHES, kind, Strict)


@cache
def attention_format(kind: str) -> type[Strict]:
    """The format of a memory, with what every attention may say beside it."""
    return WRITTEN.get(kind) or _made(MEMORIES, kind, AttentionBase)


ReachFile = Annotated[Any, OneOf(REACHES, reach_format)]
AttentionFile = Annotated[Any, OneOf(MEMORIES, attention_format)]


class AttentionBase(Strict):
    """What every attention may say beside its memory."""

    reach: ReachFile | None = Field(None, description="which tokens it sees, where the layer's own reach is not it")
    shares_kv: bool = Field(default=False, description="reads the cache of the nearest earlier attention of its like")
    shares_weights: bool = Field(default=False, description="weights of an earlier layer, with a cache of its own")


class HeadsFile(AttentionBase):
    """K and V heads: MHA, GQA, MQA."""

    kind: Literal["heads"] = Field(description="MHA, GQA or MQA, by the number of K and V heads")
    num_attention_heads: Size = Field(description="query heads")
    num_key_value_heads: Size = Field(description="K and V heads: 1 is MQA, as many as query heads MHA")
    head_dim: Size = Field(description="elements of one head")
    v_head_dim: Size | None = Field(None, description="where V's heads are not head_dim wide")
    bias: list[Literal["q", "k", "v", "o", "g"]] = Field(
        [], description="the projections that have a bias; g: the output gate's"
    )
    qk_norm: Literal["per_head", "full"] | None = Field(None, description="weights of d_k, or of all heads")
    qk_norm_bias: bool = Field(default=False, description="biases on the norms of queries and keys")
    output_gate: bool = Field(default=False, description="q_proj doubled into a gate on the output")
    sinks: bool = Field(default=False, description="one learned logit a head (gpt-oss)")
    differential: bool = Field(default=False, description="two softmaxes, subtracted, over the values of two heads")
    head_gate: bool = Field(default=False, description="one gate a head on the output, by a projection of its own")
    v_from_k: bool = Field(default=False, description="V is made by k_proj too, though K and V are both cached")
    kv_hidden_size: Size | None = Field(None, description="what K and V are made from, where it is not hidden_size")
    q_hidden_size: Size | None = Field(None, description="what queries are made from, where it is not hidden_size")
    merged: bool = Field(default=False, description="one softmax with the layer's other attention, by its weights")
    broadcast: bool = Field(default=False, description="the Transformers library caches K and V of every query head")
    remade: bool = Field(default=False, description="the Transformers library caches neither: made at every step")


class MlaFile(AttentionBase):
    """Multi-head latent attention."""

    kind: Literal["mla"] = Field(description="multi-head latent attention, as in DeepSeek-V2")
    num_attention_heads: Size = Field(description="query heads")
    kv_lora_rank: Size = Field(description="elements of the latent that is cached")
    qk_rope_head_dim: SizeOrZero = Field(description="elements of the cached RoPE key; 0: no decoupled RoPE key")
    qk_nope_head_dim: Size = Field(description="elements of a head's key without RoPE")
    v_head_dim: Size = Field(description="elements of a head's value")
    q_lora_rank: Size | None = Field(None, description="elements of the query's latent; absent: no query LoRA")
    attention_bias: bool = Field(default=False, description="biases on the down and output projections")
    output_gate: Literal["hidden", "per_head", "query"] | None = Field(
        None, description="gates on the output: a value each or a head each from the hidden state, or of q's latent"
    )
    sinks: bool = Field(default=False, description="one learned logit a head")
    rope_key_norm: bool = Field(default=False, description="a norm on the RoPE key")
    head_scaling: bool = Field(default=False, description="a scale and a bias of each head's scores")


class CustomFile(AttentionBase):
    """A memory by formulas over `symbols` and d (hidden_size): integers, + - * / // % ** min max ceil_div isqrt."""

    kind: Literal["custom"] = Field(description="a variant of your own, by formulas")
    name: str = Field(pattern=NAME, description="its label in the output")
    symbols: dict[Annotated[str, Field(pattern=SYMBOL)], SizeOrZero] = Field(
        description="whole numbers that the formulas name; d is hidden_size"
    )
    elements_per_token: Expression = Field(description="elements one token leaves in one layer")
    state_elements: Expression = Field("0", description="elements one sequence keeps in one layer, whatever its length")
    work_per_pair: Expression = Field(description="FLOPs per (query, key) pair in one layer")
    work_per_token: Expression = Field(description="FLOPs per token of one layer's projections; 0 if there are none")
    parameters: Expression = Field(description="parameters of one layer's attention; 0 if there are none")
    source: Text | None = Field(None, description="where the formulas come from")


WRITTEN: dict[str, type[Strict]] = {"heads": HeadsFile, "mla": MlaFile, "custom": CustomFile}
