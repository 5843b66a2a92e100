"""What llama.cpp's keys and tensors mean in native fields.

Keys say how many heads there are and how far they look; the shapes of the tensors say all the rest: biases, norms,
gates, experts, ties. What is read of attention must hold as many parameters as its tensors do, or the file is refused:
so an architecture that is not what it seems is never guessed. Sources: the gguf package's constants.py, llama.cpp
src/llama-model.cpp.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kvcalc import weights
from kvcalc.errors import did_you_mean
from kvcalc.readers.llama_cpp.architectures import ARCHITECTURES, REFUSED
from kvcalc.readers.llama_cpp.keys import Keys
from kvcalc.readers.llama_cpp.layers import blocks_of, layers_of, norm_of
from kvcalc.readers.llama_cpp.likeness import MODEL_TYPES, likeness_of, unused
from kvcalc.readers.llama_cpp.rotary import rope_of
from kvcalc.readers.llama_cpp.stored import format_name, in_attention, kind_of, stored_in, within
from kvcalc.readers.text import Document
from kvcalc.tuples import NamedTuple
from kvcalc.weight_bytes import held

if TYPE_CHECKING:
    from kvcalc.model import ModelSpec
    from kvcalc.readers.gguf import Header
    from kvcalc.readers.huggingface import Origins
    from kvcalc.readers.text import Place

MAX_LAYERS = 512  # llama.cpp's LLAMA_MAX_LAYERS
NATIVE = "describe it in native YAML: see README, Configs"
ORIGINS = {  # of native fields, the keys that say them
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "max_position_embeddings": "context_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "v_head_dim": "attention.value_length",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "state_size": "ssm.state_size",
    "time_step_rank": "ssm.time_step_rank",
    "conv_kernel": "ssm.conv_kernel",
    "n_groups": "ssm.group_count",
    "index_n_heads": "attention.indexer.head_count",
    "index_head_dim": "attention.indexer.key_length",
    "top_k": "attention.indexer.top_k",
    "base": "rope.freq_base",
    "local_base": "rope.freq_base_swa",
    "kind": "rope.scaling.type",
    "factor": "rope.scaling.factor",
}


class Translation(NamedTuple):
    """A header in native words, with the blocks that predict later tokens and run with --mtp on alone."""

    native: dict[str, Any]
    origins: Origins
    predicting: range


def to_native(header: Header, name: str) -> Translation:
    """Translate a header. Raises ConfigError, or NotUnderstoodError for an architecture that is not known."""
    keys = Keys(header)
    _check(keys)
    if keys.architecture in MODEL_TYPES:
        native, origins = likeness_of(keys, name)
        return Translation({**native, "source": _source(keys)}, origins, range(0))
    blocks = keys.number("block_count", most=MAX_LAYERS)
    total = blocks - keys.number("nextn_predict_layers", absent=0)
    if total < 1:
        raise keys.error(f"{keys.full('nextn_predict_layers')}: no layer is left of {blocks}")
    native = _document(keys, name, total, blocks)
    found: Origins = {}
    _remember(keys, native, (), found)
    return Translation(native, found, range(total, blocks))


def with_weights(header: Header, told: Translation, spec: ModelSpec) -> Translation:
    """Add how the tensors store their weights.

    Raises NotUnderstoodError where they hold another number of parameters of attention than was read of them; any
    other difference is told in the note.
    """
    tensors, keys = within(header, told.predicting), Keys(header)
    architecture, idle = keys.architecture, unused(keys)
    weighed = {name: one for name, one in tensors.items() if kind_of(architecture, name, one) != "buffers"}
    known = sum(part.evaluate() for part in held(spec) if part.where == "attention")
    found = sum(one.elements for name, one in weighed.items() if in_attention(name) and name not in idle)
    if known != found:
        message = f"the tensors of its attention hold {found:,} parameters; as kvcalc reads it, they are {known:,}"
        raise Document(header.path, {}, dict).not_understood((), message, NATIVE)
    stored = stored_in(architecture, tensors)
    parameters, elements = weights.parameters(spec).evaluate({}), sum(one.elements for one in weighed.values())
    quantization: dict[str, Any] = {"method": "gguf", "format": format_name(header, stored), "stored": stored}
    quantization["parameters"] = parameters
    if parameters != elements:
        quantization["note"] = f"its tensors hold {elements:,} weights, and kvcalc reads {parameters:,} parameters"
    origins = {**told.origins, ("quantization",): "the types of its tensors"}
    return told._replace(native={**told.native, "quantization": quantization}, origins=origins)


def _check(keys: Keys) -> None:
    name = keys.architecture
    if name in REFUSED:
        raise keys.not_understood(f"general.architecture {name!r}: {REFUSED[name]}", NATIVE)
    if name not in ARCHITECTURES and name not in MODEL_TYPES:
        hint = did_you_mean(name, [*ARCHITECTURES, *MODEL_TYPES]) or NATIVE
        message = f"general.architecture {name!r} is not understood, and kvcalc does not guess"
        raise keys.not_understood(message, hint)
    embedding = keys.header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise keys.error("no tensors of a model: a vocabulary alone, or a part of a file")


def _document(keys: Keys, name: str, total: int, blocks: int) -> dict[str, Any]:
    """The native fields of all layers."""
    top, parts = keys.header.tensors, blocks_of(keys.header.tensors, total)
    native: dict[str, Any] = {
        "name": name,
        "source": _source(keys),
        "hidden_size": keys.number("embedding_length"),
        "num_hidden_layers": total,
        "vocab_size": top["token_embd.weight"].shape[-1],
        "tie_word_embeddings": "output.weight" not in top,
        "norm": norm_of(parts),
        "final_norm": "output_norm.weight" in top,
        "embedding_norm": "token_embd_norm.weight" in top,
        "lm_head_bias": "output.bias" in top,
    }
    if "position_embd.weight" in top:
        native["position_embeddings"] = top["position_embd.weight"].shape[-1]
    if keys.given("context_length"):
        native["max_position_embeddings"] = keys.number("context_length")
    if rope := rope_of(keys, total):
        native["rope"] = rope
    if blocks > total:
        native["mtp"] = {"num_layers": blocks - total}
    native.update(layers_of(keys, parts))
    return native


def _source(keys: Keys) -> str:
    """Where the numbers come from, and what of the tensors is no parameter."""
    text, tensors = f"the GGUF header of {os.path.basename(keys.header.path)}", keys.header.tensors
    tables = [one.elements for name, one in tensors.items() if kind_of(keys.architecture, name, one) == "buffers"]
    return f"{text}; {sum(tables):,} elements of its tensors are tables, no parameters" if tables else text


def _remember(keys: Keys, told: dict[str, Any], place: Place, origins: Origins) -> None:
    """Say of each field which key it came from; what no key says, the shapes of the tensors do."""
    for name, value in told.items():
        if isinstance(value, dict):
            _remember(keys, value, (*place, name), origins)
        elif name != "name":
            key = ORIGINS.get(name, "")
            said = keys.raw(key) if key else None
            origin = f"{keys.full(key)}: {str(said)[:60]}" if said is not None else "its tensors' shapes"
            origins[(*place, name)] = origin
