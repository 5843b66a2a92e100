"""A model rebuilt with another attention: its memory replaced in every layer, its reach and sharing kept.

Layers that keep a state and store no tokens, Mamba's say, stay as they are.

mha  gqa-8  mqa          K and V heads; from MLA, n_h heads with d_k = d_v = d_n (DeepSeek-V2, Table 1)
mla  mla-512+64[/1536]   a latent of d_c + d_h^R [with a query LoRA of d_c']; plain mla takes DeepSeek-V2's
                         proportions: d_c = 4*d_h, d_h^R = d_h/2, d_n = d_v = d_h, no query LoRA
swa-4096                 a sliding window in place of full reach, the memory kept
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.attention.heads import Heads
from kvcalc.attention.latent import Latent
from kvcalc.attention.reach import Full, Window
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.attention.memory import Memory
    from kvcalc.model import Branch, LayerGroup, ModelSpec

VARIANTS = ("mha", "gqa-8", "mqa", "mla", "mla-512+64", "mla-512+64/1536", "swa-4096", "none")
DEFAULT_WINDOW_TOKENS = 4096
_NAME = (
    r"mha|mqa|gqa-(?P<groups>[1-9][0-9]{0,5})|mla(-(?P<d_c>[1-9][0-9]{0,5})\+(?P<d_r>[0-9]{1,6})(/(?P<d_cq>[1-9][0-9]{0,5}))?)?"
    r"|swa(-(?P<window>[1-9][0-9]{0,8}))?"
)


class Variant(NamedTuple):
    """A name and the numbers in it."""

    name: str
    groups: int = 0
    kv_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    q_lora_rank: int = 0
    sliding_window: int = 0


class NotRebuiltError(Exception):
    """The variant makes no sense for this model; the text says why."""


def parse_variants(text: str) -> list[Variant]:
    """Read 'mha,gqa-4,mla-256+32,swa-1024', or 'none'."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return []
    if not names:
        raise KvcalcError("--variants names no variant", f"write some of {', '.join(VARIANTS)}")
    if "none" in names:
        raise KvcalcError("--variants: none stands alone", "leave it out, or the others")
    return [_parse(name) for name in dict.fromkeys(names)]


def _parse(name: str) -> Variant:
    match = re.fullmatch(_NAME, name)
    if match is None:
        hint = did_you_mean(name, VARIANTS) or f"write {', '.join(VARIANTS)}, with your numbers"
        raise KvcalcError(f"--variants: unknown variant {name!r}", hint)
    number = {key: int(value) for key, value in match.groupdict(default="0").items()}
    return Variant(name, number["groups"], number["d_c"], number["d_r"], number["d_cq"], number["window"])


def default_variants(spec: ModelSpec) -> list[Variant]:
    """Choose every variant that makes sense beside this model."""
    heads = [branch.memory for branch in _branches(spec) if isinstance(branch.memory, Heads)]
    latent = any(isinstance(branch.memory, Latent) for branch in _branches(spec))
    if not heads and not latent:
        return []
    configured = {memory.num_key_value_heads for memory in heads}
    n_h = {memory.num_attention_heads for memory in heads}
    groups = sorted({8, 4, *configured} - n_h - {1}, reverse=True)
    rebuilt = [Variant("mha"), *(Variant(f"gqa-{g}", groups=g) for g in groups), Variant("mqa")]
    return [*rebuilt, *([] if latent else [Variant("mla")]), Variant("swa")]


def rebuild(spec: ModelSpec, variant: Variant) -> tuple[ModelSpec, str]:
    """Rebuild the model; also return the variant's full name. Raises NotRebuiltError with the reason."""
    if not any(branch.memory.stores() for branch in _branches(spec)):
        raise NotRebuiltError("no layer stores tokens")
    kind = variant.name.partition("-")[0]
    if kind == "swa":
        configured = _configured_window(spec)
        window = variant.sliding_window or configured or DEFAULT_WINDOW_TOKENS
        windowed = _with_branches(spec, lambda branch: _windowed(branch, window))
        if windowed == spec and window != configured:
            raise NotRebuiltError("no layer has full reach")
        return windowed, f"swa-{window}"
    change = _latent if kind == "mla" else _heads
    return _with_branches(spec, lambda branch: _rebuilt(branch, change, variant)), variant.name


def _rebuilt(branch: Branch, change: Callable[[Memory, Variant], Memory], variant: Variant) -> Branch:
    return branch._replace(memory=change(branch.memory, variant)) if branch.memory.stores() else branch


def _heads(memory: Memory, variant: Variant) -> Memory:
    if isinstance(memory, Latent):
        d_n = memory.qk_nope_head_dim
        memory = Heads(memory.num_attention_heads, memory.num_attention_heads, d_n, d_n)
    if not isinstance(memory, Heads):
        raise NotRebuiltError(f"{memory.label} has no heads to rebuild")
    n_h = memory.num_attention_heads
    n_kv = {"mha": n_h, "mqa": 1}.get(variant.name, variant.groups)
    if n_h % n_kv:
        raise NotRebuiltError(f"{n_kv} KV heads do not divide {n_h} heads")
    return memory._replace(num_key_value_heads=n_kv)


def _latent(memory: Memory, variant: Variant) -> Memory:
    if isinstance(memory, Latent) and not variant.kv_lora_rank:
        return memory
    if isinstance(memory, Latent):
        n_h, d_n, d_v = memory.num_attention_heads, memory.qk_nope_head_dim, memory.v_head_dim
    elif isinstance(memory, Heads):
        if other := memory.q_hidden_size or memory.kv_hidden_size:
            raise NotRebuiltError(f"a latent is made from hidden_size, and {memory.label} reads {other}")
        if memory.merged:
            raise NotRebuiltError("two attentions share one softmax and its weights")
        n_h, d_n, d_v = memory.num_attention_heads, memory.head_dim, memory.head_dim
        if d_n % 2 and not variant.kv_lora_rank:
            raise NotRebuiltError(f"d_h^R = d_h/2 is no whole number for heads of {d_n}")
    else:
        raise NotRebuiltError(f"{memory.label} has no heads to rebuild")
    if variant.kv_lora_rank:
        return Latent(n_h, variant.kv_lora_rank, variant.qk_rope_head_dim, d_n, d_v, variant.q_lora_rank)
    return Latent(n_h, 4 * d_n, d_n // 2, d_n, d_v)


def _windowed(branch: Branch, window: int) -> Branch:
    stores = branch.memory.stores()
    return branch._replace(reach=Window(window)) if stores and isinstance(branch.reach, Full) else branch


def _configured_window(spec: ModelSpec) -> int | None:
    windows = [branch.reach.sliding_window for branch in _branches(spec) if isinstance(branch.reach, Window)]
    return windows[0] if windows else None


def _branches(spec: ModelSpec) -> list[Branch]:
    return [branch for _, branch in spec.branches()]


def _with_branches(spec: ModelSpec, change: Callable[[Branch], Branch]) -> ModelSpec:
    def changed(groups: tuple[LayerGroup, ...]) -> tuple[LayerGroup, ...]:
        return tuple(
            group._replace(layer=group.layer._replace(branches=tuple(map(change, group.layer.branches))))
            for group in groups
        )

    return spec._replace(groups=changed(spec.groups), mtp=changed(spec.mtp))
