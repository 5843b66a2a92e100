"""The native file format, as pydantic models: strict, no field unknown, nothing that makes a model defaulted.

An absent optional field means that the model does not have the thing: no bias, no window, no query LoRA.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field  # noqa: TID253  # imported only once a file is read

from kvcalc.readers.attention import AttentionFile  # noqa: TC001  # pydantic reads it
from kvcalc.readers.strict import NAME, SYMBOL, Expression, Size, SizeOrZero, Strict, Text

MAX_LAYERS = 10_000
ARCHITECTURE = r"^[A-Za-z][A-Za-z0-9_]{0,99}$"


class ExtraFile(Strict):
    """A part that is neither attention nor MLP nor norm, by formulas over `symbols` and d (hidden_size)."""

    name: str = Field(pattern=NAME, description="its label in the output")
    parameters: Expression = Field(description="its parameters")
    work_per_token: Expression = Field("0", description="FLOPs of its matmuls for one token")
    symbols: dict[Annotated[str, Field(pattern=SYMBOL)], SizeOrZero] = Field(
        {}, description="whole numbers that the formulas name; d is hidden_size"
    )
    source: Text | None = Field(None, description="where the formulas come from")
    at_head: bool = Field(default=False, description="stands before lm_head: runs for the tokens whose logits are made")
    crosses: bool = Field(default=False, description="stands behind cross attention: runs where that has what to read")
    library_once: Expression | None = Field(
        None, description="FLOPs that the Transformers library spends on it instead, once a call"
    )
    library_parameters: Expression | None = Field(
        None, description="parameters that the Transformers library allots for it beyond its own"
    )


class DenseFile(Strict):
    """An MLP."""

    kind: Literal["dense"] = Field(description="one MLP, which every token visits")
    intermediate_size: Size = Field(description="width of the MLP")
    gated: bool = Field(description="true: three matrices, as in SwiGLU; false: two")
    bias: bool = Field(default=False, description="biases on its projections")
    shares_weights: bool = Field(default=False, description="weights of an earlier layer, run again")


class MoeFile(Strict):
    """A mixture of experts."""

    kind: Literal["moe"] = Field(description="experts, of which a token visits some")
    num_experts: Size = Field(description="routed experts")
    num_experts_per_tok: Size = Field(description="routed experts that a token visits")
    moe_intermediate_size: Size = Field(description="width of one routed expert")
    gated: bool = Field(description="true: three matrices an expert, as in SwiGLU; false: two")
    shared_intermediate_size: Size | None = Field(None, description="width of all shared experts together")
    shared_gate: bool = Field(default=False, description="a learned gate on the shared experts")
    shared_bias: bool = Field(default=False, description="biases in the shared experts")
    expert_bias: bool = Field(default=False, description="biases in the routed experts")
    router_bias: bool = Field(default=False, description="a bias on the router")
    latent_size: Size | None = Field(None, description="width that routed experts read, where it is not hidden_size")
    latent_norm: bool = Field(default=False, description="a norm on what routed experts wrote in that width")
    matrix_router: bool = Field(default=True, description="false: the router is no matrix, and stands in extras")
    runs_all: bool = Field(default=False, description="the Transformers library runs every expert on every token")


MlpFile = Annotated[DenseFile | MoeFile, Field(discriminator="kind")]


class LayerFile(Strict):
    """One kind of layer; what it does not say it takes from the top of the file."""

    attention: AttentionFile | None = Field(
        None, description="what a token leaves in the cache: heads, mla, a state ...; null: no attention"
    )
    branches: list[AttentionFile] | None = Field(None, description="several attentions side by side in one layer")
    mlp: MlpFile | None = Field(None, description="what follows attention: dense or moe; null: nothing")
    sliding_window: Size | None = Field(None, description="tokens seen, the current one included")
    dilation: Size | None = Field(None, description="of a sliding window: every dilation-th token is seen")
    attention_chunk_size: Size | None = Field(None, description="block-chunked local attention")
    shares_kv: bool = Field(default=False, description="reads the cache of the nearest earlier layer of its like")
    norms_per_layer: Annotated[int, Field(ge=0, le=16)] | None = Field(
        None, description="norms of hidden_size in one layer"
    )
    extras: list[ExtraFile] = Field([], description="what else a layer has; above them all: what the model has")


class StackFile(LayerFile):
    """Layers that run one after the other."""

    hidden_size: Size = Field(description="width of the residual stream")
    num_hidden_layers: Annotated[int, Field(gt=0, le=MAX_LAYERS)] = Field(description="number of layers")
    norm: Literal["rmsnorm", "layernorm", "unweighted"] = Field(
        description="weights of each norm: hidden_size, twice that with layernorm's biases, or none"
    )
    norms_per_layer: Annotated[int, Field(ge=0, le=16)] = Field(description="norms of hidden_size in one layer")
    final_norm: bool = Field(default=True, description="a norm after the last layer")
    embedding_norm: bool = Field(default=False, description="a norm after the embedding")
    position_embeddings: Size | None = Field(None, description="rows of a learned position table")
    num_kv_shared_layers: Size | None = Field(None, description="the last layers, which share an earlier one's cache")
    layers: dict[Annotated[str, Field(pattern=NAME)], LayerFile] | None = Field(
        None, description="kinds of layers by a name of your own"
    )
    layer_types: list[str] | None = Field(None, description="a kind for every layer; 'dense x3' stands for three")
    layer_pattern: list[str] | None = Field(None, description="kinds repeated over all layers")


class EncoderStackFile(StackFile):
    """The encoder of an encoder-decoder: it attends both ways and caches nothing."""


class MtpFile(Strict):
    """Layers that predict the tokens after the next: each the model's layer behind a projection of 2*d to d.

    A norm of hidden_size on each of the two inputs and one after the layer; embedding and lm_head are the model's.
    """

    num_layers: Annotated[int, Field(ge=0, le=64)] = Field(description="such layers, one a later token; 0: none")
    layer: str | None = Field(None, description="its kind, of `layers`; absent: that of the model's last layer")


Number = Annotated[float, Field(ge=0, le=1e12)]


class ScalingFile(Strict):
    """Frequencies changed for a longer context, in the words of a Hugging Face rope_scaling."""

    kind: str = Field(pattern=NAME, description="linear, yarn, llama3; others are named and not followed")
    factor: Number = Field(1.0, description="how many times the context grows")
    original_max_position_embeddings: SizeOrZero = Field(0, description="tokens before scaling")
    beta_fast: Number = Field(32.0, description="yarn: turns above which a pair is left alone")
    beta_slow: Number = Field(1.0, description="yarn: turns below which a pair is interpolated")
    low_freq_factor: Number = Field(1.0, description="llama3: turns below which a pair is interpolated")
    high_freq_factor: Number = Field(4.0, description="llama3: turns above which a pair is left alone")
    truncate: bool = Field(default=True, description="yarn: the ramp's ends are whole pairs")


class RopeFile(Strict):
    """Rotary positions, which change no number but the context that their base supports."""

    base: Number = Field(description="rope_theta")
    partial_rotary_factor: Number = Field(1.0, description="how much of a head is rotated")
    local_base: Number = Field(0.0, description="the base of layers with a window, where that is another")
    scaling: ScalingFile | None = Field(None, description="rope_scaling of the layers that have no base of their own")
    full_layers: bool = Field(default=True, description="false: only layers with a window or chunk have positions")


class StoredFile(Strict):
    """Weights of one kind that the tensors of a file store in one type."""

    kind: Literal[
        "attention",
        "mlp",
        "experts",
        "shared experts",
        "router",
        "embedding",
        "positions",
        "lm_head",
        "vectors",
        "buffers",
    ] = Field(description="what they are weights of; vectors: norms, biases, tables; buffers: no parameters")
    type: str = Field(pattern=NAME, description="what ggml calls it: q4_k, f32")
    weights: Annotated[int, Field(ge=0, le=10**18)] = Field(description="how many")
    bytes: Annotated[int, Field(ge=0, le=10**18)] = Field(description="what they take")


class QuantizationFile(Strict):
    """How the weights are stored, where --weight-dtype does not say otherwise."""

    format: str | None = Field(None, pattern=NAME, description="as --weight-dtype: fp8_b128, int4_g128, mxfp4, q4_k")
    kept: list[Literal["attention", "mlp", "experts", "shared experts"]] = Field(
        [], description="what the format leaves in bf16, of the linear layers"
    )
    method: Text | None = Field(None, description="what the config calls it")
    note: Text | None = Field(None, description="what to say of it")
    stored: list[StoredFile] = Field([], description="what the tensors of a file hold, counted instead of a format")
    parameters: Annotated[int, Field(ge=0, le=10**18)] = Field(
        0, description="the model's parameters that these tensors hold; with `stored` alone"
    )
    experts: str | None = Field(None, pattern=NAME, description="a format that routed experts alone have: mxfp4")


class ModelFile(StackFile):
    """A model. Field names are those of Hugging Face configs."""

    name: str = Field(pattern=NAME, description="the model's name in the output")
    source: Text | None = Field(None, description="where its numbers come from")
    vocab_size: Size = Field(description="rows of the embedding, padding included")
    max_position_embeddings: Size | None = Field(None, description="tokens it was made for; beyond them is a warning")
    tie_word_embeddings: bool = Field(description="whether lm_head is the embedding")
    word_embed_proj_dim: Size | None = Field(None, description="where embeddings are not hidden_size wide")
    lm_head_proj_dim: Size | None = Field(None, description="where lm_head is as wide as neither of them")
    lm_head_bias: bool = Field(default=False, description="a bias on lm_head")
    left_out: Text | None = Field(
        None, description="what the model has and this file leaves out, such as a vision tower"
    )
    architecture: str | None = Field(
        None, pattern=ARCHITECTURE, description="the class that a config names, by which servers choose"
    )
    state_dtype: Literal["fp32", "bf16", "fp16"] | None = Field(None, description="of recurrent states; absent: fp32")
    encoder: EncoderStackFile | None = Field(
        None, description="what cross attention reads; absent: another model's output"
    )
    encoder_tokens: SizeOrZero | None = Field(
        None, description="tokens that cross attention reads, where they are fixed; 0: none unless asked for"
    )
    mtp: MtpFile | None = Field(None, description="multi-token prediction: layers that run with --mtp on alone")
    rope: RopeFile | None = Field(None, description="rotary positions: the base and what scales it")
    quantization: QuantizationFile | None = Field(None, description="how the weights are stored; absent: in bf16")
