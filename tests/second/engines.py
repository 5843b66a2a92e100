"""What servers reserve and hold, by the rules that were read out of them, layer by layer and block by block."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any, NamedTuple

from second.totals import layers_of

if TYPE_CHECKING:
    from second.served import Ask

Made = dict[str, Any]
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
HONOURED = {"GptOssForCausalLM": Fraction(4, 5), "InklingForConditionalGeneration": Fraction(1, 10)}


class RefusedError(Exception):
    """The engine has no such layers, or does not divide them so."""


class One(NamedTuple):
    """One attention of one layer: where it stands, what it is, and how far it sees."""

    at: int
    memory: Made
    reach: Made

    @property
    def kind(self) -> str:
        """heads, mla, index, or a state's."""
        return str(self.memory["kind"])

    @property
    def form(self) -> tuple[str, int]:
        """How far it sees, as engines see it."""
        if self.kind not in ("heads", "mla", "index"):
            return "state", 0
        field = {"window": "sliding_window", "chunk": "attention_chunk_size"}.get(self.reach["kind"])
        if field:
            return self.reach["kind"], self.reach[field]
        return ("cross", 0) if self.reach["kind"] == "encoder" else ("full", 0)

    @property
    def like(self) -> str:
        """What like layers have in common."""
        return repr((sorted(self.memory.items()), sorted(self.reach.items())))


def ones(document: Made) -> list[One]:
    """Every attention; like ones in the order of their first."""
    found = [One(at, m, r) for at, layer in enumerate(layers_of(document)) for m, r, _, _ in layer.branches]
    order = list(dict.fromkeys(one.like for one in found))
    return sorted(found, key=lambda one: (order.index(one.like), one.at))


def up(a: int, b: int) -> int:
    """A quotient rounded up."""
    return -(-a // b)


def share(n_kv: int, tp: int) -> int:
    """Heads of K and V on a rank: an even share, or one that several ranks repeat."""
    if max(n_kv, tp) % min(n_kv, tp):
        raise RefusedError
    return max(1, n_kv // tp)


def state(one: One, tp: int, hidden: int, conv_bytes: int, state_bytes: int) -> int:
    """Bytes of a layer's state on one of tp ranks."""
    m = one.memory
    columns = m["conv_kernel"] - 1
    groups, of_a_group = 0, 0
    if one.kind == "mamba1":
        heads = channels = m["intermediate_size"]
        elements = channels * m["state_size"]
    elif one.kind == "mamba2":
        heads, groups, of_a_group = m["num_heads"], m["n_groups"], 2 * m["state_size"]
        channels = heads * m["head_dim"]
        elements = channels * m["state_size"]
    elif one.kind == "gated_deltanet":
        heads = m["num_key_heads"]
        channels = 2 * heads * m["key_head_dim"] + m["num_value_heads"] * m["value_head_dim"]
        elements = m["num_value_heads"] * m["key_head_dim"] * m["value_head_dim"]
    elif one.kind == "kda":
        heads = m["num_heads"]
        channels = 3 * heads * m["head_dim"]
        elements = heads * m["head_dim"] ** 2
    else:
        heads, channels, elements = hidden, hidden, 0
    if heads % tp or channels % tp or (groups > 1 and groups % tp):
        raise RefusedError
    groups = groups if groups % tp == 0 else tp
    return int((channels + groups * of_a_group) // tp * columns * conv_bytes + elements // tp * state_bytes)


def key_row(width: int) -> int:
    """An index's key in fp8, with a scale for every 128 elements."""
    return width + 4 * up(width, 128)


def latent_row(m: Made, each: int, indexed: bool) -> int:
    """A latent: fp8 beside an index is 656 bytes of DeepSeek's, else so many bytes an element."""
    if indexed and each == 1:
        return int(m["kv_lora_rank"] + 4 * up(m["kv_lora_rank"], 128) + 2 * m["qk_rope_head_dim"])
    return int(each * (m["kv_lora_rank"] + m["qk_rope_head_dim"]))


def paper(document: Made, ask: Ask) -> int:
    """The model's own need, of the whole batch."""
    own = document.get("state_dtype") or "fp32"
    each = {**BYTES, "q8_0": 0, "q4_0": 0}[ask.dtype]
    block = {"q8_0": 34, "q4_0": 18}.get(ask.dtype)

    def size(elements: int) -> int:
        return block * up(elements, 32) if block else each * elements

    total = 0
    for one in ones(document):
        m, (form, span) = one.memory, one.form
        if form == "state":  # the convolution in the cache's dtype
            conv = state(one, 1, document["hidden_size"], 1, 0)
            total += size(conv) + BYTES[own] * state(one, 1, document["hidden_size"], 0, 1)
            continue
        kept = {"full": ask.n, "window": min(ask.n, span), "cross": ask.encoder_tokens}.get(form)
        kept = (ask.n - 1) % span + 1 if kept is None else kept
        if one.kind == "heads":
            parts = [m["num_key_value_heads"] * m["head_dim"], m["num_key_value_heads"] * m["v_head_dim"]]
        else:
            parts = [m["kv_lora_rank"], m["qk_rope_head_dim"]] if one.kind == "mla" else [m["index_head_dim"]]
        total += kept * sum(size(part) for part in parts)
    return total * ask.batch


# -------------------------------------------------------------------- vLLM


class Page(NamedTuple):
    """A layer's page: tokens and bytes of it, and what makes layers alike."""

    one: One
    form: tuple[str, int]
    block: int
    size: int
    shape: tuple[int, ...]
    blocks: int = 0


def vllm(document: Made, ask: Ask) -> list[tuple[int, int]]:
    """Bytes reserved and held for one sequence on a rank of each stage."""
    version = ask.engine.partition("@")[2] or "0.33.0"
    old, options, tp = version != "0.33.0", dict(ask.more), ask.tp
    gpu, each = options.get("gpu_class", "h100"), BYTES[ask.dtype]
    indexed = any(one.kind == "index" for one in ones(document))
    latents = any(one.kind == "mla" for one in ones(document))
    kernel = 64 if indexed or (latents and gpu == "h100" and (old or each == 1 or ask.dtype == "fp32")) else 16
    pages, states = [], []
    for one in ones(document):
        m = one.memory
        if one.form[0] == "state":
            states.append(one)
            if one.kind == "kda" and version == "0.11.0":
                raise RefusedError
        elif one.kind == "heads":
            if m["num_attention_heads"] % tp:
                raise RefusedError
            h, k, v = share(m["num_key_value_heads"], tp), m["head_dim"], m["v_head_dim"]
            if version == "0.11.0":
                if v > k:
                    raise RefusedError
                v = k
            row = h * (k + v) * each
            pages.append(Page(one, one.form, kernel, kernel * row, (h, k, v, row)))
        elif one.kind == "mla":
            if m["num_attention_heads"] % tp:
                raise RefusedError
            row = latent_row(m, 1 if version == "0.11.0" and indexed else each, indexed)
            pages.append(Page(one, ("full", 0), kernel, kernel * row, ()))
        else:
            pages.append(Page(one, ("full", 0), kernel, kernel * key_row(m["index_head_dim"]), ()))
    if states:
        pages = _hybrid(
            document, ask, states, pages, kernel, caching=options.get("enable_prefix_caching") != "off" and not old
        )
    like = list(dict.fromkeys(one.like for one in ones(document)))
    pages.sort(key=lambda page: (like.index(page.one.like), page.one.at))
    groups, width = _groups(pages, version)
    batched = int(options.get("max_num_batched_tokens", {"h100": 8192, "a100": 2048}[gpu]))
    flight = batched * (1 if old else ask.pp + (options.get("async_scheduling") != "off"))
    first, told = 0, []
    layers = document["num_hidden_layers"]
    over = layers % ask.pp
    for stage in range(ask.pp):  # what is over goes to the stages before the last
        end = first + layers // ask.pp + (ask.pp - 1 - over <= stage < ask.pp - 1)
        here = [[page for page in group if first <= page.one.at < end] for group in groups]
        size = max(len(group) for group in here) * width if len(groups) > 1 else sum(page.size for page in here[0])
        claims = [_blocks(group[0], ask, batched, flight) for group in groups]
        told.append(tuple(size * sum(claim[at] for claim in claims) for at in (0, 1)))
        first = end
    return [(one[0], one[1]) for one in told]


def _hybrid(
    document: Made, ask: Ask, states: list[One], pages: list[Page], kernel: int, *, caching: bool
) -> list[Page]:
    """A block as long as the largest state needs, and states padded to a page of it."""
    model = 4 if ask.dtype == "fp32" else 2
    own, sizes, aligns, k3 = (
        document.get("state_dtype"),
        [],
        [],
        any(page.one.memory.get("q_lora_rank") for page in pages),
    )
    for one in states:
        each = BYTES[own] if own else 4 if one.kind == "kda" else model
        sizes.append(state(one, ask.tp, document["hidden_size"], model, each))
        aligns.append({"gated_deltanet": 64, "kda": 16 if k3 else 0, "mamba2": 1}.get(one.kind, 0))
    caching = caching and bool(pages)
    block = kernel
    if pages:
        least = kernel
        if any(page.one.kind == "mla" for page in pages) and "@" not in ask.engine:
            least = max(least, 128)
        if caching and all(aligns):
            least = lcm(least, *aligns)
        row = pages[0].size // kernel
        block = least
        while block * row < max(sizes):
            block += least
        block = up(block, kernel) * kernel
    made = [page._replace(block=block, size=page.size // kernel * block) for page in pages]
    for one, size, align in zip(states, sizes, aligns, strict=True):
        page = made[0].size // made[0].block * block if pages else size
        count = (2 + (align > 0)) if caching else 1
        made.append(Page(one, ("state", 0), block, page, (size, hash(one.like)), count))
    return made


def _groups(pages: list[Page], version: str) -> tuple[list[list[Page]], int]:
    """Groups of layers of one type; pages of unequal size are made equal first."""
    if len({page.form for page in pages}) == 1:
        return [pages], 0
    widest = max(page.size for page in pages)
    buckets: dict[tuple[Any, ...], list[Page]] = {}
    for page in pages:
        tokens = page.block
        if page.size < widest:
            if page.form[0] != "state" and widest % page.size == 0:
                tokens *= widest // page.size
            elif page.one.kind in ("mla", "index"):
                raise RefusedError
        made = page._replace(block=tokens, size=widest)
        buckets.setdefault((page.form, tokens, page.shape, page.blocks, page.one.kind), []).append(made)
    counts = [len(bucket) for bucket in buckets.values()]
    each = min(counts)
    if version != "0.11.0" and max(counts) < Fraction(3, 2) * each:
        each = max(counts)
    groups = []
    for bucket in buckets.values():
        bucket.sort(key=lambda page: page.one.at)
        number = up(len(bucket), each)
        groups += [bucket[at::number] for at in range(number)]
    return groups, widest


def _blocks(page: Page, ask: Ask, batched: int, flight: int) -> tuple[int, int]:
    """Blocks that a request may claim, and those that it holds while it decodes."""
    form, span = page.form
    every = up(ask.n, page.block)
    if form == "window":
        return up(min(span - 1 + flight, ask.n), page.block) + 1, min(every, up(span, page.block) + 1)
    if form == "chunk":
        return up(min(span + flight, ask.n), page.block), min(every, up(span, page.block))
    if form == "cross":
        return up(max(batched, ask.encoder_tokens), page.block), up(ask.encoder_tokens, page.block)
    return (page.blocks, 1) if form == "state" else (every, every)
