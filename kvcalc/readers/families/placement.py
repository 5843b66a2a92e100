"""Which layers slide, are chunked or hold experts: the rules of the library's classes, one function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.readers.fields import Fields


def every_layer_slides(fields: Fields) -> list[str]:
    """All layers, where sliding_window is a number (mistral, mixtral, phi3, starcoder2)."""
    return [_kind(fields.optional("sliding_window"))] * fields.number("num_hidden_layers")


def by_layer_types_or_all(fields: Fields) -> list[str]:
    """Read mistral: with layer_types the library takes the class ministral, which goes by them."""
    return fields.layer_types() or every_layer_slides(fields)


def by_layer_types(fields: Fields) -> list[str]:
    """By layer_types, else all full (cohere_compass)."""
    return fields.layer_types() or ["full"] * fields.number("num_hidden_layers")


def from_max_window_layers(fields: Fields) -> list[str]:
    """dots1: as qwen2, but wherever sliding_window is a number."""
    window = fields.optional("sliding_window")
    if (given := fields.layer_types()) is not None:
        return fields.checked_window(given, window)
    first = fields.number_or_zero("max_window_layers") if window else 0
    return [_kind(window if i >= first else None) for i in range(fields.number("num_hidden_layers"))]


def gpt_neo_attention(fields: Fields) -> list[str]:
    """gpt_neo: attention_types, [[["global", "local"], 12]] being these two twelve times over."""
    layers, kinds = fields.number("num_hidden_layers"), []
    given = fields.raw("attention_types")
    told = [[["global", "local"], 12]] if given is None else given
    for item in told if isinstance(told, list) else [None]:
        match item:
            case [[*names], int(times)] if all(name in ("global", "local") for name in names) and times <= layers:
                kinds += names * times
            case _:
                raise fields.error("attention_types", "not a list of [[global, local, ..], how often]")
    if len(kinds) != layers:
        raise fields.error("attention_types", f"{len(kinds)} kinds for {layers} layers")
    return kinds


def qwen_moe_slides(fields: Fields) -> list[str]:
    """qwen3_moe: all layers, where use_sliding_window; max_window_layers is not read."""
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    return [_kind(window)] * fields.number("num_hidden_layers")


def after_max_window_layers(fields: Fields) -> list[str]:
    """qwen2 and qwen3: from max_window_layers on, where use_sliding_window."""
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    if (given := fields.layer_types()) is not None:
        return fields.checked_window(given, window)
    first = fields.number_or_zero("max_window_layers") if window else 0
    return [_kind(window if i >= first else None) for i in range(fields.number("num_hidden_layers"))]


def alternate_below_max_window_layers(fields: Fields) -> list[str]:
    """qwen2_moe: even layers below max_window_layers, where use_sliding_window: the opposite of qwen2."""
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    if (given := fields.layer_types()) is not None:
        return fields.checked_window(given, window)
    last = fields.number_or_zero("max_window_layers") if window else 0
    layers = range(fields.number("num_hidden_layers"))
    return [_kind(window if i % 2 == 0 and i < last else None) for i in layers]


def alternate(fields: Fields) -> list[str]:
    """gemma2 and gpt_oss: even layers slide."""
    window = fields.number("sliding_window")
    given = fields.layer_types()
    return given or [_kind(None if i % 2 else window) for i in range(fields.number("num_hidden_layers"))]


def by_sliding_window_pattern(fields: Fields) -> list[str]:
    """gemma3: every sliding_window_pattern-th layer is full, the others slide."""
    window = fields.number("sliding_window")
    if (given := fields.layer_types()) is not None:
        return given
    pattern = fields.number("sliding_window_pattern")
    return [_kind(window if (i + 1) % pattern else None) for i in range(fields.number("num_hidden_layers"))]


def chunked_where_rope(fields: Fields) -> list[str]:
    """llama4: layers with RoPE are chunked; every no_rope_layer_interval-th has none and is full."""
    fields.number("attention_chunk_size")
    if (given := fields.layer_types()) is not None:
        return given
    layers = fields.number("num_hidden_layers")
    if rope := fields.integers("no_rope_layers"):
        if len(rope) != layers:
            raise fields.error("no_rope_layers", f"{len(rope)} entries for {layers} layers")
        return ["chunked" if uses_rope else "full" for uses_rope in rope]
    interval = fields.number("no_rope_layer_interval")
    return ["chunked" if (i + 1) % interval else "full" for i in range(layers)]


def _kind(window: int | None) -> str:
    return "full" if window is None else "sliding"


def every_layer(fields: Fields) -> list[bool]:
    """Experts in all layers."""
    return [True] * fields.number("num_hidden_layers")


def where_moe(fields: Fields) -> list[bool]:
    """Experts in all layers or none (doge)."""
    return [fields.flag("is_moe")] * fields.number("num_hidden_layers")


def after_first_dense(fields: Fields) -> list[bool]:
    """DeepSeek: the first first_k_dense_replace layers are dense; the library reads no moe_layer_freq."""
    dense = fields.number_or_zero("first_k_dense_replace")
    if fields.optional("moe_layer_freq") not in (None, 1):
        raise fields.not_understood("moe_layer_freq", "experts in only some layers are not understood here")
    return [i >= dense for i in range(fields.number("num_hidden_layers"))]


def by_sparse_step(fields: Fields) -> list[bool]:
    """Qwen: every decoder_sparse_step-th layer but mlp_only_layers; no experts, no such layers."""
    dense, step = fields.integers("mlp_only_layers") or [], fields.number("decoder_sparse_step")
    some = fields.number_or_zero("num_experts") > 0
    return [some and i not in dense and (i + 1) % step == 0 for i in range(fields.number("num_hidden_layers"))]


def by_moe_layers(fields: Fields) -> list[bool]:
    """Read llama4: moe_layers, else every interleave_moe_layer_step-th."""
    layers = fields.number("num_hidden_layers")
    if (given := fields.integers("moe_layers")) is not None:
        return [i in given for i in range(layers)]
    step = fields.number("interleave_moe_layer_step")
    return [(i + 1) % step == 0 for i in range(layers)]


def full_where(full: Callable[[int, int], bool] | None) -> Callable[[Fields], list[str]]:
    """Make a rule of layer i of n: by layer_types, else full where it says; None: where no window is in use."""

    def reach(fields: Fields) -> list[str]:
        if (given := fields.layer_types()) is not None:
            return given
        if full is None:
            return every_layer_slides(fields)
        layers = fields.number("num_hidden_layers")
        return ["full" if full(i, layers) else "sliding" for i in range(layers)]

    return reach


def full_every(name: str, default: int = 0) -> Callable[[Fields], list[str]]:
    """Make a rule: by layer_types, else every so-many-th layer is full."""

    def reach(fields: Fields) -> list[str]:
        if (given := fields.layer_types()) is not None:
            return given
        pattern = (fields.given(name) and fields.number(name)) or default or fields.number(name)
        return ["sliding" if (i + 1) % pattern else "full" for i in range(fields.number("num_hidden_layers"))]

    return reach


def slides_without_rope(fields: Fields) -> list[str]:
    """smollm3: layers without RoPE slide, where use_sliding_window."""
    if (given := fields.layer_types()) is not None:
        return given
    layers = fields.number("num_hidden_layers")
    rope = fields.integers("no_rope_layers")
    if rope is None:
        interval = fields.number("no_rope_layer_interval")
        rope = [int((i + 1) % interval != 0) for i in range(layers)]
    if len(rope) != layers:
        raise fields.error("no_rope_layers", f"{len(rope)} entries for {layers} layers")
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    return [_kind(None if uses else window) for uses in rope]


def sparse_where(sparse: Callable[[int, int], bool]) -> Callable[[Fields], list[bool]]:
    """Make a rule of layer i of n: by mlp_layer_types, else experts where it says."""

    def experts(fields: Fields) -> list[bool]:
        given = fields.words("mlp_layer_types", ("dense", "sparse"))
        layers = fields.number("num_hidden_layers")
        return [sparse(i, layers) for i in range(layers)] if given is None else [word == "sparse" for word in given]

    return experts


def of_layers(fields: Fields) -> dict[int, dict[str, int]]:
    """per_layer_config by its layers, whose numbers the library writes with leading zeros or without."""
    given = fields.mapping("per_layer_config")
    known = range(fields.number("num_hidden_layers"))
    found = {
        int(layer): told for layer, told in given.items() if layer.isascii() and layer.isdigit() and len(layer) < 9
    }
    whole = all(
        isinstance(told, dict) and all(type(number) is int for number in told.values()) for told in found.values()
    )
    if len(found) != len(given) or not found.keys() <= set(known) or not whole:
        raise fields.error("per_layer_config", "not numbers by layer")
    return found


def own_numbers(fields: Fields, reach: list[str], kind: str, known: set[str]) -> dict[str, int] | None:
    """Read per_layer_config, as the library saves it: the numbers that all layers of one kind, and no other, have."""
    given = of_layers(fields)
    if not given:
        return None
    here = [given.get(i, {}) for i, told in enumerate(reach) if told == kind]
    alike = all(told == here[0] for told in here) and len(here) >= len(given)
    if not here or not alike or not here[0].keys() <= known:
        raise fields.not_understood("per_layer_config", f"only {' and '.join(sorted(known))} of all {kind} layers are")
    return dict(here[0])
