"""What llama.cpp's keys and tensors mean in native fields.

Keys say how many heads there are and how far they look; the shapes of the tensors say all the rest: biases, norms,
gates, experts, ties. What is read must hold as many parameters as the tensors do, or it is refused: so an architecture
that is not what it seems is never guessed. Sources: the gguf package's constants.py, llama.cpp src/llama-model.cpp.
"""

from __future__ import annotations

import os
import re
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc import weights
from kvcalc.errors import did_you_mean
from kvcalc.readers.huggingface import order_of
from kvcalc.readers.schema import MAX_LAYERS
from kvcalc.readers.text import Document

if TYPE_CHECKING:
    from kvcalc.errors import ConfigError, NotUnderstoodError
    from kvcalc.model import ModelSpec
    from kvcalc.readers.gguf import Header
    from kvcalc.readers.huggingface import Origins
    from kvcalc.readers.text import Place

# Every n-th layer sees all, the others slide; 1: all slide. 0: none does, and a window is not understood.
ARCHITECTURES = {
    "bloom": 0,
    "command-r": 0,
    "deci": 0,
    "deepseek": 0,
    "deepseek2": 0,
    "exaone": 0,
    "falcon": 0,
    "gemma": 0,
    "gemma2": 2,
    "gemma3": 6,
    "glm4": 0,
    "gpt-oss": 2,
    "gpt2": 0,
    "gptneox": 0,
    "granite": 0,
    "granitemoe": 0,
    "internlm2": 0,
    "llama": 0,
    "mamba": 0,
    "minicpm": 0,
    "nemotron": 0,
    "olmo": 0,
    "olmo2": 4,
    "olmoe": 0,
    "phi2": 0,
    "phi3": 1,
    "phimoe": 0,
    "qwen2": 0,
    "qwen2moe": 0,
    "qwen3": 0,
    "qwen3moe": 0,
    "seed_oss": 0,
    "smollm3": 0,
    "stablelm": 0,
    "starcoder": 0,
    "starcoder2": 1,
}
NORMS = ("attn_norm", "attn_norm_2", "post_attention_norm", "ffn_norm", "post_ffw_norm")
BUFFERS = re.compile(r"rope_freqs\.weight|rope_factors_(long|short)\.weight|blk\.\d+\.exp_probs_b(\.bias)?")
KEYS = {
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
    "base": "rope.freq_base",
    "local_base": "rope.freq_base_swa",
    "kind": "rope.scaling.type",
    "factor": "rope.scaling.factor",
}
LOCAL_BASES = {"gemma3": 10_000.0}


class _Fused(NamedTuple):
    """Tensors that one file may hold apart and another in one."""

    names: tuple[str, ...]

    def within(self, tensors: set[str], part: str) -> bool:
        """Whether one of them has this part, '.weight' or '.bias'."""
        return any(f"{name}.{part}" in tensors for name in self.names)


PROJECTIONS = {
    "q": _Fused(("attn_q", "attn_qkv")),
    "k": _Fused(("attn_k", "attn_qkv")),
    "v": _Fused(("attn_v", "attn_qkv")),
    "o": _Fused(("attn_output",)),
}


def to_native(header: Header, name: str) -> tuple[Document, Origins]:
    """Translate a header. Raises ConfigError, or NotUnderstoodError for an architecture that is not known."""
    reader = _Reader(header)
    native = reader.document(name)
    return reader.document_of(native), reader.origins


def check_parameters(header: Header, document: Document, spec: ModelSpec) -> None:
    """Refuse a model whose tensors hold another number of parameters than was read out of it."""
    parameters = weights.parameters(spec).evaluate({})
    held = sum(prod(shape) for name, shape in header.tensors.items() if not BUFFERS.fullmatch(name))
    if held != parameters:
        message = f"its tensors hold {held:,} parameters; as kvcalc reads it, it has {parameters:,}"
        raise document.not_understood((), message, "describe it in native YAML: see README, Configs")


class _Reader:
    """One header on its way to a native document."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.origins: Origins = {}
        self.architecture = ""
        self.blocks: list[dict[str, tuple[int, ...]]] = []

    def document_of(self, native: dict[str, Any]) -> Document:
        return Document(self.header.path, native, dict)

    def error(self, message: str, hint: str = "") -> ConfigError:
        return self.document_of({}).error((), message, hint)

    def not_understood(self, message: str, hint: str = "") -> NotUnderstoodError:
        return self.document_of({}).not_understood((), message, hint)

    def document(self, name: str) -> dict[str, Any]:
        """The native fields of all layers."""
        self._check()
        top, total = self.header.tensors, self.number("block_count", most=MAX_LAYERS)
        self.blocks = [{} for _ in range(total)]
        for tensor, shape in top.items():
            match = re.fullmatch(r"blk\.([0-9]+)\.(.+)", tensor)
            if match and int(match[1]) < total:
                self.blocks[int(match[1])][match[2]] = shape
        embedding = top["token_embd.weight"]
        native: dict[str, Any] = {
            "name": name,
            "source": f"the GGUF header of {os.path.basename(self.header.path)}",
            "hidden_size": self.number("embedding_length"),
            "num_hidden_layers": total,
            "vocab_size": embedding[-1],
            "tie_word_embeddings": "output.weight" not in top,
            "norm": self._norm(),
            "final_norm": "output_norm.weight" in top,
            "embedding_norm": "token_embd_norm.weight" in top,
            "lm_head_bias": "output.bias" in top,
        }
        if "position_embd.weight" in top:
            native["position_embeddings"] = top["position_embd.weight"][-1]
        if self.given("context_length"):
            native["max_position_embeddings"] = self.number("context_length")
        if rope := self._rope():
            native["rope"] = rope
        native.update(self._layers(total))
        self._remember(native, ())
        return native

    def _remember(self, told: dict[str, Any], place: Place) -> None:
        """Say of each field which key it came from; what no key says, the shapes of the tensors do."""
        for name, value in told.items():
            if isinstance(value, dict):
                self._remember(value, (*place, name))
            elif name != "name":
                key = f"{self.architecture}.{KEYS.get(name)}"
                said = self.header.values.get(key)
                self.origins[(*place, name)] = f"{key}: {str(said)[:60]}" if said is not None else "its tensors' shapes"

    def _check(self) -> None:
        values = self.header.values
        self.architecture = str(values.get("general.architecture", ""))
        if self.architecture not in ARCHITECTURES:
            hint = did_you_mean(self.architecture, ARCHITECTURES) or "describe it in native YAML: see README, Configs"
            message = f"general.architecture {self.architecture!r} is not understood, and kvcalc does not guess"
            raise self.not_understood(message, hint)
        if len(self.header.tensors.get("token_embd.weight", ())) != 2:
            raise self.error("no tensors of a model: a vocabulary alone, or a part of a file")
        if values.get(f"{self.architecture}.nextn_predict_layers"):
            raise self.not_understood(f"{self.architecture}.nextn_predict_layers: prediction layers are not understood")

    def given(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self.header.values

    def number(self, key: str, *, most: int = 10**9, absent: int | None = None) -> int:
        """A whole number from 0 by its key."""
        full = f"{self.architecture}.{key}"
        value = self.header.values.get(full, absent)
        if value is None:
            raise self.error(f"missing key {full!r}")
        return self._whole(full, value, most)

    def _whole(self, key: str, value: Any, most: int = 10**9) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.error(f"{key}: {str(value)[:50]} is not a whole number up to {most:,}")
        return value

    def each(self, key: str, total: int, absent: list[int] | None = None) -> list[int]:
        """A number for every layer: one for all, or a list."""
        full = f"{self.architecture}.{key}"
        value = self.header.values.get(full, absent)
        if not isinstance(value, list):
            return [self.number(key)] * total
        if len(value) < total:
            raise self.error(f"{full}: {len(value)} numbers for {total} layers")
        return [self._whole(full, one) for one in value[:total]]

    def decimal(self, key: str, absent: float) -> float:
        value = self.header.values.get(f"{self.architecture}.{key}", absent)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"{self.architecture}.{key}: not a number")
        return float(value)

    def _norm(self) -> str:
        norms = [block.keys() for block in self.blocks]
        if any("attn_norm.bias" in keys or "ffn_norm.bias" in keys for keys in norms):
            return "layernorm"
        return "rmsnorm" if any(f"{norm}.weight" in keys for keys in norms for norm in NORMS) else "unweighted"

    def _layers(self, total: int) -> dict[str, Any]:
        """Each layer by itself, then like ones under one name."""
        windows = self._windows(total)
        told = [self._layer(at, block, windows[at]) for at, block in enumerate(self.blocks)]
        distinct: list[dict[str, Any]] = []
        for one in told:
            if one not in distinct:
                distinct.append(one)
        if len(distinct) == 1:
            return distinct[0]
        names = [self._name(one, at, distinct) for at, one in enumerate(distinct)]
        order = order_of([names[distinct.index(one)] for one in told])
        norms = distinct[0]["norms_per_layer"]
        return {"norms_per_layer": norms, "layers": dict(zip(names, distinct, strict=True)), **order}

    @staticmethod
    def _name(one: dict[str, Any], at: int, distinct: list[dict[str, Any]]) -> str:
        """Name a kind by its window and its experts, else by a number."""
        kind = (one["mlp"] or {"kind": "bare"})["kind"]
        alike = len(distinct) == 2 and distinct[0]["mlp"] == distinct[1]["mlp"]
        if alike and any("sliding_window" in told for told in distinct):
            return "sliding" if "sliding_window" in one else "full"
        kinds = [(d["mlp"] or {"kind": "bare"})["kind"] for d in distinct]
        return kind if len(set(kinds)) == len(distinct) else f"{kind}-{at + 1}"

    def _windows(self, total: int) -> list[int]:
        """The window of each layer; 0: it sees all."""
        window = self.number("attention.sliding_window", absent=0)
        if not window:
            return [0] * total
        key = f"{self.architecture}.attention.sliding_window_pattern"
        pattern = self.header.values.get(key, ARCHITECTURES[self.architecture])
        if isinstance(pattern, list) and len(pattern) >= total:
            return [window if one else 0 for one in pattern[:total]]
        if isinstance(pattern, bool) or not isinstance(pattern, int) or pattern < 1:
            raise self.not_understood(f"{self.architecture}.attention.sliding_window: {window}: which layers slide?")
        return [window if pattern == 1 or (at + 1) % pattern else 0 for at in range(total)]

    def _layer(self, at: int, block: dict[str, tuple[int, ...]], window: int) -> dict[str, Any]:
        if not block:
            raise self.error(f"blk.{at} has no tensors")
        hidden = self.number("embedding_length")
        norms = sum(block.get(f"{norm}.weight") == (hidden,) for norm in NORMS)
        told: dict[str, Any] = {
            "attention": self._attention(at, block),
            "mlp": self._mlp(at, block),
            "norms_per_layer": norms or 2 * (self._norm() == "unweighted"),
        }
        return {**told, "sliding_window": window} if window and told["attention"] else told

    def _attention(self, at: int, block: dict[str, tuple[int, ...]]) -> dict[str, Any] | None:
        if "ssm_in.weight" in block:
            return self._state(block)
        if self.given("attention.kv_lora_rank") and self.number("attention.kv_lora_rank"):
            return self._latent(block)
        tensors = set(block)
        if not PROJECTIONS["k"].within(tensors, "weight"):
            if any(name.startswith(("attn_output", "attn_q", "attn_linear")) for name in tensors):
                raise self.not_understood(f"blk.{at}: attention without keys")
            return None
        total = len(self.blocks)
        heads = self.each("attention.head_count", total)[at]
        groups = self.each("attention.head_count_kv", total, [heads] * total)[at]
        if not heads or not groups:
            raise self.error(f"blk.{at}: attention of {heads} heads and {groups} key-value heads")
        width = self.number("attention.key_length", absent=self.number("embedding_length") // heads)
        value = self.number("attention.value_length", absent=width)
        told: dict[str, Any] = {
            "kind": "heads",
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "head_dim": width,
            "bias": [name for name, fused in PROJECTIONS.items() if fused.within(tensors, "bias")],
            "sinks": "attn_sinks.weight" in block,
        }
        if value != width:
            told["v_head_dim"] = value
        if (norm := block.get("attn_q_norm.weight")) is not None:
            told["qk_norm"] = "per_head" if prod(norm) == width else "full"
        return told

    def _latent(self, block: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        rope = self.number("rope.dimension_count")
        key = "key_length_mla" if self.given("attention.key_length_mla") else "key_length"
        value = "value_length_mla" if self.given("attention.value_length_mla") else "value_length"
        told = {
            "kind": "mla",
            "num_attention_heads": self.number("attention.head_count"),
            "kv_lora_rank": self.number("attention.kv_lora_rank"),
            "qk_rope_head_dim": rope,
            "qk_nope_head_dim": self.number(f"attention.{key}") - rope,
            "v_head_dim": self.number(f"attention.{value}"),
        }
        if rank := self.number("attention.q_lora_rank", absent=0) if "attn_q_a.weight" in block else 0:
            told["q_lora_rank"] = rank
        return told

    def _state(self, block: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        return {
            "kind": "mamba1",
            "intermediate_size": self.number("ssm.inner_size"),
            "state_size": self.number("ssm.state_size"),
            "time_step_rank": self.number("ssm.time_step_rank"),
            "conv_kernel": self.number("ssm.conv_kernel"),
            "use_bias": "ssm_in.bias" in block,
            "use_conv_bias": "ssm_conv1d.bias" in block,
        }

    def _mlp(self, at: int, block: dict[str, tuple[int, ...]]) -> dict[str, Any] | None:
        if "ffn_gate_inp.weight" in block:
            return self._experts(at, block)
        up = block.get("ffn_up.weight")
        if up is None:
            return None
        gated, width = "ffn_gate.weight" in block, up[-1]
        if not gated and self.given("feed_forward_length"):
            said = self.each("feed_forward_length", len(self.blocks))[at]
            gated, width = (True, said) if width == 2 * said else (False, width)  # gate and up in one tensor
        return {"kind": "dense", "intermediate_size": width, "gated": gated, "bias": "ffn_up.bias" in block}

    def _experts(self, at: int, block: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        down = block.get("ffn_down_exps.weight", ())
        if len(down) != 3:
            raise self.not_understood(f"blk.{at}: experts in tensors of their own are not understood")
        told: dict[str, Any] = {
            "kind": "moe",
            "num_experts": self.number("expert_count"),
            "num_experts_per_tok": self.number("expert_used_count"),
            "moe_intermediate_size": down[0],
            "gated": "ffn_gate_exps.weight" in block or "ffn_gate_up_exps.weight" in block,
            "expert_bias": "ffn_down_exps.bias" in block,
            "router_bias": "ffn_gate_inp.bias" in block,
            "shared_gate": "ffn_gate_inp_shexp.weight" in block,
        }
        if shared := block.get("ffn_down_shexp.weight"):
            told["shared_intermediate_size"] = shared[0]
        return told

    def _rope(self) -> dict[str, Any] | None:
        """Rotary positions, where the file says anything of them."""
        if not (self.given("rope.freq_base") or self.given("rope.dimension_count")) or self.architecture == "mamba":
            return None
        told: dict[str, Any] = {"base": self.decimal("rope.freq_base", 10_000.0)}
        local = self.decimal("rope.freq_base_swa", LOCAL_BASES.get(self.architecture, 0.0))
        if local and local != told["base"]:
            told["local_base"] = local
        if self.given("rope.dimension_count") and not self.given("attention.kv_lora_rank"):
            heads = self.each("attention.head_count", len(self.blocks))
            width = self.number("attention.key_length", absent=self.number("embedding_length") // max(1, *heads))
            part = self.number("rope.dimension_count") / max(1, width)
            if 0 < part < 1:
                told["partial_rotary_factor"] = part
        kind = self.header.values.get(f"{self.architecture}.rope.scaling.type", "none")
        if "rope_freqs.weight" in self.header.tensors:
            kind = "rope_freqs"  # factors that stand in a tensor's data
        elif "rope_factors_long.weight" in self.header.tensors:
            kind = "longrope"
        if kind != "none":
            told["scaling"] = {
                "kind": str(kind),
                "factor": self.decimal("rope.scaling.factor", 1.0),
                "original_max_position_embeddings": self.number("rope.scaling.original_context_length", absent=0),
            }
        return told
