"""The native file format, as pydantic models: strict, no field unknown, nothing that makes a model defaulted.

An absent optional field means that the model does not have the thing: no bias, no window, no query LoRA.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field  # noqa: TID253  # imported only once a file is read

Size = Annotated[int, Field(gt=0, le=10**9)]
SizeOrZero = Annotated[int, Field(ge=0, le=10**9)]
MAX_LAYERS = 10_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
SYMBOL = r"^[A-Za-z_][A-Za-z_0-9]*(\^[A-Za-z]+)?'*$"

# Free text reaches terminals and spreadsheets: it may steer neither.
TEXT = r"^[^=+\-@\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
Text = Annotated[str, Field(pattern=TEXT, max_length=500)]


def _written(value: object) -> object:
    """A whole number is a formula too: `parameters: 0`."""
    return str(value) if type(value) is int else value


Expression = Annotated[str, BeforeValidator(_written), Field(pattern=r"^[^=+\-@\s\x00-\x1f\x7f-\x9f]")]


class Strict(BaseModel):
    """No coercion, no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HeadsFile(Strict):
    """K and V heads: MHA, GQA, MQA."""

    kind: Literal["heads"]
    num_attention_heads: Size
    num_key_value_heads: Size
    head_dim: Size
    v_head_dim: Size | None = Field(None, description="where V's heads are not head_dim wide")
    bias: list[Literal["q", "k", "v", "o"]] = Field([], description="the projections that have a bias")
    qk_norm: Literal["per_head", "full"] | None = Field(None, description="weights of d_k, or of all heads")
    output_gate: bool = Field(default=False, description="q_proj doubled into a gate on the output")
    sinks: bool = Field(default=False, description="one learned logit a head (gpt-oss)")


class MlaFile(Strict):
    """Multi-head latent attention."""

    kind: Literal["mla"]
    num_attention_heads: Size
    kv_lora_rank: Size
    qk_rope_head_dim: SizeOrZero = Field(description="0: no decoupled RoPE key")
    qk_nope_head_dim: Size
    v_head_dim: Size
    q_lora_rank: Size | None = None
    attention_bias: bool = False


class CustomFile(Strict):
    """A memory by formulas over `symbols` and d (hidden_size): integers, + - * / // % ** min max ceil_div isqrt."""

    kind: Literal["custom"]
    name: str = Field(pattern=NAME)
    symbols: dict[Annotated[str, Field(pattern=SYMBOL)], SizeOrZero]
    elements_per_token: Expression = Field(description="elements one token leaves in one layer")
    work_per_pair: Expression = Field(description="FLOPs per (query, key) pair in one layer")
    work_per_token: Expression = Field(description="FLOPs per token of one layer's projections; 0 if there are none")
    parameters: Expression = Field(description="parameters of one layer's attention; 0 if there are none")
    source: Text | None = None


class DenseFile(Strict):
    """An MLP."""

    kind: Literal["dense"]
    intermediate_size: Size
    gated: bool
    bias: bool = False


class MoeFile(Strict):
    """A mixture of experts."""

    kind: Literal["moe"]
    num_experts: Size
    num_experts_per_tok: Size
    moe_intermediate_size: Size
    gated: bool
    shared_intermediate_size: Size | None = Field(None, description="width of all shared experts together")
    shared_gate: bool = False
    shared_bias: bool = False
    expert_bias: bool = False
    router_bias: bool = False


AttentionFile = Annotated[HeadsFile | MlaFile | CustomFile, Field(discriminator="kind")]
MlpFile = Annotated[DenseFile | MoeFile, Field(discriminator="kind")]


class LayerFile(Strict):
    """One kind of layer; what it does not say it takes from the top of the file."""

    attention: AttentionFile | None = None
    mlp: MlpFile | None = None
    sliding_window: Size | None = Field(None, description="tokens seen, the current one included")
    dilation: Size | None = Field(None, description="of a sliding window: every dilation-th token is seen")
    attention_chunk_size: Size | None = Field(None, description="block-chunked local attention")
    shares_kv: bool = Field(default=False, description="reads the cache of the nearest earlier layer of its like")


class ModelFile(LayerFile):
    """A model. Field names are those of Hugging Face configs."""

    name: str = Field(pattern=NAME)
    source: Text | None = None
    hidden_size: Size
    num_hidden_layers: Annotated[int, Field(gt=0, le=MAX_LAYERS)]
    vocab_size: Size
    max_position_embeddings: Size | None = None
    tie_word_embeddings: bool
    norm: Literal["rmsnorm", "layernorm", "unweighted"]
    norms_per_layer: Annotated[int, Field(ge=0, le=16)]
    final_norm: bool = True
    embedding_norm: bool = False
    position_embeddings: Size | None = Field(None, description="rows of a learned position table")
    word_embed_proj_dim: Size | None = Field(None, description="where embeddings are not hidden_size wide")
    lm_head_bias: bool = False
    num_kv_shared_layers: Size | None = Field(None, description="the last layers, which share an earlier one's cache")
    layers: dict[Annotated[str, Field(pattern=NAME)], LayerFile] | None = Field(
        None, description="kinds of layers by a name of your own"
    )
    layer_types: list[str] | None = Field(None, description="a kind for every layer; 'dense x3' stands for three")
    layer_pattern: list[str] | None = Field(None, description="kinds repeated over all layers")
    left_out: Text | None = Field(
        None, description="what the model has and this file leaves out, such as a vision tower"
    )
