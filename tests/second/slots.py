"""Engines that keep slots or cells of tokens: SGLang, llama.cpp, TensorRT-LLM; and reserved bytes of any engine."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from second.engines import BYTES, HONOURED, RefusedError, key_row, latent_row, ones, paper, share, state, up, vllm

if TYPE_CHECKING:
    from second.engines import One
    from second.served import Ask

Made = dict[str, Any]
STAGED = "sequences of a batch"


def _stages(layers: list[int]) -> list[range]:
    ends = [sum(layers[: at + 1]) for at in range(len(layers))]
    return [range(end - many, end) for end, many in zip(ends, layers, strict=True)]


def sglang(document: Made, ask: Ask) -> list[tuple[int, int]]:
    """Slots of every token in whole pages; windows have a pool of their own where the architecture is listed."""
    options, each, tp = dict(ask.more), BYTES[ask.dtype], ask.tp
    every = ones(document)
    indexed = any(one.kind == "index" for one in every)
    page = int(options.get("page_size", 64 if indexed else 1))
    architecture = document.get("architecture", "")
    honoured = (
        options.get("hybrid_swa") == "on" or architecture in HONOURED or any(one.form[0] == "chunk" for one in every)
    )
    ratio = Fraction(options.get("swa_full_tokens_ratio", HONOURED.get(architecture, Fraction(4, 5))))
    tokens = up(ask.n, page) * page
    alone = len({one.like for one in every}) == 1
    if any(one.form[0] == "cross" for one in every):
        raise RefusedError
    layers, told = document["num_hidden_layers"], []
    for stage in _stages([layers // ask.pp + (at >= ask.pp - layers % ask.pp) for at in range(ask.pp)]):
        reserved = held = 0
        alike: dict[str, list[One]] = {}
        for one in every:
            if one.at in stage:
                alike.setdefault(one.like, []).append(one)
        for group in alike.values():
            one, m = group[0], group[0].memory
            form, span = one.form
            if form == "state":
                if one.kind == "mamba1" and not alone:
                    raise RefusedError
                conv = 4 if ask.dtype == "fp32" else 2
                size = state(one, tp, document["hidden_size"], conv, BYTES[document.get("state_dtype") or "fp32"])
                reserved, held = reserved + len(group) * size, held + len(group) * size
                continue
            if one.kind == "heads":
                row = share(m["num_key_value_heads"], tp) * (m["head_dim"] + m["v_head_dim"]) * each
            else:
                row = key_row(m["index_head_dim"]) if one.kind == "index" else latent_row(m, each, indexed)
            row *= len(group)
            if honoured and form in ("window", "chunk"):
                room = min(tokens, span + 128 + 2 * page)
                reserved += max(int(row * tokens * ratio), row * room)
                held += row * room
            else:
                reserved, held = reserved + row * tokens, held + row * tokens
        told.append((reserved, held))
    return told


def llamacpp(document: Made, ask: Ask) -> list[tuple[int, int]]:
    """Cells of 256 for the context of each sequence, for the whole batch, on the device of each stage."""
    options, batch = dict(ask.more), ask.batch
    context = up(batch * ask.n, 256) * 256
    unified = options.get("kv_unified") == "on"
    cells, streams = (context, 1) if unified else (up(context // batch, 256) * 256, batch)
    every = ones(document)
    forms = {one.form[0] for one in every if one.kind == "heads"}
    sliding = "full" in forms and bool(forms & {"window", "chunk"}) and options.get("swa_full") != "on"
    heads = [one.memory for one in every if one.kind == "heads" and one.form[0] != "cross"]
    widest = max((m["num_key_value_heads"] * m["v_head_dim"] for m in heads), default=0)
    plain = options.get("flash_attn") == "off"
    if plain and heads and ask.dtype in ("q8_0", "q4_0"):
        raise RefusedError

    def row(elements: int) -> int:
        if ask.dtype in BYTES:
            return BYTES[ask.dtype] * elements
        if elements % 32:
            raise RefusedError
        return {"q8_0": 34, "q4_0": 18}[ask.dtype] * (elements // 32)

    sizes = []
    for one in every:
        m, (form, span) = one.memory, one.form
        if form == "state":
            sizes.append((one.at, batch * state(one, 1, document["hidden_size"], 4, 4)))
        elif one.kind == "heads" and form != "cross":
            wide = widest if plain else m["num_key_value_heads"] * m["v_head_dim"]
            mine = cells
            if sliding and form in ("window", "chunk"):
                mine = up(min(cells, span * (batch if unified else 1) + int(options.get("n_ubatch", 512))), 256) * 256
            sizes.append((one.at, streams * mine * (row(m["num_key_value_heads"] * m["head_dim"]) + row(wide))))
        elif one.kind != "heads":
            width = m["index_head_dim"] if one.kind == "index" else m["kv_lora_rank"] + m["qk_rope_head_dim"]
            sizes.append((one.at, streams * cells * row(width)))
    layers = document["num_hidden_layers"]
    devices = [at * ask.pp // (layers + 1) for at in range(layers)]  # lm_head counts as a layer
    told = [sum(size for at, size in sizes if devices[at] == device) for device in range(ask.pp)]
    return [(size, size) for size in told]


def tensorrt_llm(document: Made, ask: Ask) -> list[tuple[int, int]]:
    """Blocks of 32 tokens in every layer, whatever its window; a state for each request."""
    tp = ask.tp // ask.dp
    tokens = up(ask.n, 32) * 32
    layers, told = document["num_hidden_layers"], []
    for stage in _stages([layers // ask.pp + (at < layers % ask.pp) for at in range(ask.pp)]):
        total = 0
        for one in ones(document):
            m = one.memory
            if one.form[0] == "cross" or (one.kind == "heads" and m["head_dim"] != m["v_head_dim"]):
                raise RefusedError
            if one.form[0] == "state":
                conv = 4 if ask.dtype == "fp32" else 2
                size = state(one, tp, document["hidden_size"], conv, BYTES[document.get("state_dtype") or "fp32"])
            elif one.kind == "heads":
                size = tokens * up(m["num_key_value_heads"], tp) * 2 * m["head_dim"] * BYTES[ask.dtype]
            elif one.kind == "index":
                size = tokens * key_row(m["index_head_dim"])
            else:
                size = tokens * latent_row(m, BYTES[ask.dtype], False)
            total += size if one.at in stage else 0
        told.append((total, total))
    return told


def numbers(document: Made, ask: Ask) -> dict[str, int] | None:
    """What an engine tells; None where it refuses."""
    engine, devices = ask.engine.partition("@")[0], ask.tp * ask.pp * ask.dp
    needed = paper(document, ask)
    if ask.pp > document["num_hidden_layers"] and engine != "paper":
        return None
    if ask.pp > 1 and any(one.form[0] == "cross" for one in ones(document)) and engine != "paper":
        return None
    if engine == "paper":
        each = up(needed, devices)
        return {"paper_bytes": each, "reserved_bytes": each, "held_bytes": each, "reserved_bytes_total": needed}
    try:
        rules = {"vllm": vllm, "sglang": sglang, "llamacpp": llamacpp, "tensorrt-llm": tensorrt_llm}
        stages = rules[engine](document, ask)
    except RefusedError:
        return None
    groups = [ask.batch // ask.dp + (at < ask.batch % ask.dp) for at in range(ask.dp)]
    ranks = ask.tp
    if engine == "llamacpp":
        groups = [1]  # already of the whole batch
    if engine == "tensorrt-llm":
        devices, ranks = ask.tp * ask.pp, ask.tp // ask.dp
    share_ = up(needed, devices)
    reserved = max(size for size, _ in stages) * max(groups)
    return {
        "paper_bytes": share_,
        "reserved_bytes": reserved,
        "held_bytes": max(size for _, size in stages) * max(groups),
        "waste_bytes": reserved - share_,
        "reserved_bytes_total": ranks * sum(size * many for size, _ in stages for many in groups),
    }
