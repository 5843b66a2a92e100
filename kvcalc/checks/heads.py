"""Lints of heads: widths that disagree, that kernels refuse, or that are another attention's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.checks.lint import Remark, lint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.checks.lint import Subject

ALIGNMENT = 8
WIDTHS = ("head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim")
# What makes an attention, or experts, in the published configs of some model type; windows are KV101's.
SHAPING = (
    "num_key_value_heads",
    "num_kv_heads",
    "multi_query",
    "head_dim",
    "kv_lora_rank",
    "q_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "num_experts_per_tok",
    "n_shared_experts",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
)


@lint(
    "KV105",
    "a head_dim that disagrees with hidden_size / num_attention_heads",
    "Most models split hidden_size evenly over the heads. Some do not, and mean it; where it is not meant, cache and "
    "FLOPs are off by the same factor.",
)
def uneven_split(subject: Subject) -> Iterator[Remark]:
    """KV105."""
    for place, attention in subject.described("attention"):
        if attention["kind"] != "heads":
            continue
        n_h, d_h = attention["num_attention_heads"], attention["head_dim"]
        named = "q_hidden_size" if attention.get("q_hidden_size") else "hidden_size"  # what queries are made from
        width = attention.get("q_hidden_size") or subject.spec.hidden_size
        if n_h * d_h != width:
            split = f"{width:,} / {n_h} = " + (
                f"{width // n_h}" if width % n_h == 0 else f"{width // n_h} and a remainder"
            )
            mark = subject.mark((*place, "head_dim"), (*place, "num_attention_heads"))
            yield Remark(mark, f"head_dim {d_h} is not {named} / num_attention_heads, {split}")


@lint(
    "KV106",
    "kv_lora_rank without RoPE dimensions",
    "A latent cannot be rotated: MLA keeps a decoupled RoPE key beside it. Without one the model has no positions "
    "there, and the cache is counted too small.",
)
def latent_without_positions(subject: Subject) -> Iterator[Remark]:
    """KV106."""
    for place, attention in subject.described("attention"):
        if attention["kind"] != "mla":
            continue
        rank, width, where = attention["kv_lora_rank"], attention["qk_rope_head_dim"], (*place, "qk_rope_head_dim")
        if width == 0:
            message = f"kv_lora_rank {rank} has no RoPE key: qk_rope_head_dim is 0"
            yield Remark(subject.mark(where), message, "DeepSeek's models keep 64")
        elif where not in subject.loaded.native.find_marks():
            message = f"kv_lora_rank {rank} without qk_rope_head_dim: the class's default, {width}, is counted"
            yield Remark(subject.mark((*place, "kv_lora_rank")), message, f"write qk_rope_head_dim: {width}")


@lint(
    "KV107",
    "a field that the model type ignores",
    "A published config may hold any key, and the library reads what its class knows: a key of another attention, or "
    "of experts, is set, changes nothing, and is believed.",
)
def ignored_field(subject: Subject) -> Iterator[Remark]:
    """KV107."""
    if subject.is_native:
        return  # whose door refuses what it does not know
    from kvcalc.readers.huggingface import language_model

    document = subject.loaded.document
    model = language_model(document)
    place, fields, known = model.place, model.fields, model.known()
    counted = {field: number for _, attention in subject.described("attention") for field, number in attention.items()}
    model_type = fields.get("model_type", document.data["model_type"])
    for key in SHAPING:
        value = fields.get(key)
        if key in known or not value or value == counted.get(key):
            continue
        message = f"{key} {value!r:.40} is ignored: the model type {model_type} has no such field"
        instead = f"{counted[key]:,} is counted" if type(counted.get(key)) is int else "take it out"
        yield Remark(document.mark((*place, key)), message, f"{instead}; or is model_type another?")


@lint(
    "KV110",
    "a head width that kernels do not like",
    f"RoPE turns pairs of numbers, and attention kernels read {ALIGNMENT} at a time: an odd width cannot be rotated, "
    "another is padded or refused.",
)
def odd_width(subject: Subject) -> Iterator[Remark]:
    """KV110."""
    for place, attention in subject.described("attention"):
        for field in WIDTHS:
            width = attention.get(field)
            if type(width) is int and width % ALIGNMENT:
                what = "is odd" if width % 2 else f"is not a multiple of {ALIGNMENT}"
                near = width + ALIGNMENT - width % ALIGNMENT
                yield Remark(subject.mark((*place, field)), f"{field} {width} {what}", f"{near} is the next that is")
