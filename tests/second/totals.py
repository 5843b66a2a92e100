"""A model's numbers under a workload, layer by layer and call by call, from its document."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeAlias

from second.attending import ATTENDING
from second.formulas import value
from second.masks import both_ways, expands, frozen, holds, leaves, pairs, sees
from second.recurring import RECURRING
from second.tensors import Tensors

Made: TypeAlias = "dict[str, Any]"
BITS = {"fp64": 64, "fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp6": 6, "int5": 5, "int4": 4, "int1": 1}
BLOCKS = {"q8_0": 34, "q5_1": 24, "q5_0": 22, "q4_1": 20, "q4_0": 18, "iq4_nl": 18}  # bytes of 32 elements


class Load(NamedTuple):
    """What is asked. `prefix` is shared by the batch, `cached` came before the prompt, `answer` follows."""

    n: int
    batch: int = 1
    cached: int = 0
    prefix: int = 0
    answer: int = 0
    kv_cache: bool = True
    dtype: str = "bf16"
    dtype_k: str = ""
    dtype_v: str = ""
    state_dtype: str = ""
    weight_dtype: str = ""
    mla_decode: str = "absorbed"
    mla_prefill: str = "naive"
    encoder_tokens: int | None = None
    mtp: bool = False
    library: bool = False  # what Transformers holds


class Layer(NamedTuple):
    """Branches, each a memory and how it stands in the layer, and the rest, as the file says them."""

    branches: tuple[tuple[Made, Made, bool, bool], ...]  # memory, reach, shares_kv, shares_weights
    mlp: Made | None
    norms: int
    extras: tuple[Made, ...]


def layers_of(stack: Made) -> list[Layer]:
    """Every layer of a stack, in its order."""
    kinds: list[str] = []
    for entry in stack.get("layer_types") or stack.get("layer_pattern") or []:
        name, _, times = entry.partition(" x")
        kinds += [name] * int(times or 1)
    total = stack["num_hidden_layers"]
    made = {kind: layer_of(stack, kind) for kind in (*dict.fromkeys(kinds), *([] if kinds else [""]))}
    found = [made[kinds[at % len(kinds)] if kinds else ""] for at in range(total)]
    for at in range(total - (stack.get("num_kv_shared_layers") or 0), total):
        found[at] = found[at]._replace(branches=tuple((m, r, True, w) for m, r, _, w in found[at].branches))
    return found


def layer_of(stack: Made, kind: str) -> Layer:
    """One kind of layer."""
    own = stack["layers"][kind] if kind else stack
    said = own if "attention" in own or "branches" in own else stack
    listed = said["branches"] if "branches" in said else [said["attention"]] if said["attention"] else []
    plain: Made = {"kind": "full"}
    for name, word in (("sliding_window", "window"), ("attention_chunk_size", "chunk")):
        speaker = own if {"sliding_window", "attention_chunk_size"} & own.keys() else stack
        if speaker.get(name):
            plain = {"kind": word, name: speaker[name]}
            if speaker.get("dilation"):
                plain["dilation"] = speaker["dilation"]
    branches = []
    for one in listed:
        memory = {k: v for k, v in one.items() if k not in ("reach", "shares_kv", "shares_weights")}
        reach = one.get("reach") or plain
        if not tensors(memory, 8, "naive").stores:
            reach = {"kind": "full"}
        branches.append(
            (
                memory,
                reach,
                own.get("shares_kv", False) or one.get("shares_kv", False),
                one.get("shares_weights", False),
            )
        )
    mlp = own["mlp"] if "mlp" in own else stack["mlp"]
    norms = int(own["norms_per_layer"] if "norms_per_layer" in own else stack["norms_per_layer"])
    return Layer(tuple(branches), mlp, norms, tuple(own.get("extras", ())) if kind else ())


def tensors(memory: Made, d: int, mode: str) -> Tensors:
    """The tensors of a memory."""
    kind = memory["kind"]
    if kind in RECURRING:
        return RECURRING[kind](memory, d)
    if kind in ATTENDING:
        return ATTENDING[kind](memory, d, mode)
    found, symbols = Tensors(), {**memory["symbols"], "d": d}
    if (stored := memory["elements_per_token"]) != "0":
        found.store("kv", value(stored, symbols))
    found.state(value(memory.get("state_elements", "0"), symbols))
    found.per_pair = value(memory["work_per_pair"], symbols)
    found.per_token = value(memory["work_per_token"], symbols)
    found.parameters = value(memory["parameters"], symbols)
    return found


class Call(NamedTuple):
    """New tokens p+1..n for so many sequences; `encodes`: for each of them the encoder runs once."""

    times: int
    p: int
    n: int
    mode: str
    decode: bool
    encodes: bool = False


def calls_of(load: Load, phase: str) -> list[Call]:
    """What a phase runs through the model, one step after the other."""
    n, b = load.n, load.batch

    def step(t: int) -> Call:
        if load.kv_cache:
            return Call(b, t - 1, t, load.mla_decode, True)
        return Call(b, 0, t, load.mla_prefill, False, True)

    if phase == "decode":
        return [step(n)]
    if phase == "last_step":
        return [step(n + load.answer)]
    if phase == "answer":
        return [step(t) for t in range(n + 1, n + load.answer + 1)]
    fresh = not load.cached
    if load.prefix > load.cached:
        once = Call(1, load.cached, load.prefix, load.mla_prefill, False)
        return [once, Call(b, load.prefix, n, load.mla_prefill, False, fresh)]
    return [Call(b, load.cached, n, load.mla_prefill, False, fresh)]


def feedforward(mlp: Made | None, d: int) -> tuple[int, int, int]:
    """Parameters, FLOPs of a token, parameters that it does not visit."""
    if mlp is None:
        return 0, 0, 0
    sides = 3 if mlp["gated"] else 2
    if mlp["kind"] == "dense":
        w = mlp["intermediate_size"]
        bias = (sides - 1) * w + d if mlp.get("bias") else 0
        return (0 if mlp.get("shares_weights") else sides * d * w + bias), 2 * sides * d * w, 0
    e, k, w = (mlp[field] for field in ("num_experts", "num_experts_per_tok", "moe_intermediate_size"))
    s = mlp.get("shared_intermediate_size") or 0
    latent = mlp.get("latent_size") or 0
    width = latent or d
    expert = sides * width * w + ((sides - 1) * w + d if mlp.get("expert_bias") else 0)
    parameters, flops = e * expert, 2 * sides * width * w * k
    if mlp.get("matrix_router", True):
        parameters, flops = parameters + d * e, flops + 2 * d * e
    if latent:
        parameters, flops = parameters + 2 * d * latent, flops + 2 * 2 * d * latent
        parameters += latent if mlp.get("latent_norm") else 0
    parameters += e if mlp.get("router_bias") else 0
    if s:
        parameters += sides * d * s + ((sides - 1) * s + d if mlp.get("shared_bias") else 0)
        flops += 2 * sides * d * s
    if mlp.get("shared_gate"):
        parameters, flops = parameters + d, flops + 2 * d
    return parameters, flops, (e - k) * expert


class Model:
    """A document and a workload, and every number of theirs."""

    def __init__(self, document: Made, load: Load) -> None:
        self.file, self.load, self.d = document, load, document["hidden_size"]
        self.layers = layers_of(document)
        self.predicted = 1
        if load.mtp and (mtp := document.get("mtp")):
            made = layer_of(document, mtp["layer"]) if mtp.get("layer") else self.layers[-1]
            branches = tuple((m, r, False, w) for m, r, _, w in made.branches)
            projection = {"parameters": "2*d*d", "work_per_token": "2*2*d*d"}
            made = made._replace(branches=branches, norms=made.norms + 3, extras=(*made.extras, projection))
            self.layers = [*self.layers, *[made] * mtp["num_layers"]]
            self.predicted += mtp["num_layers"]
        self.encoder = document.get("encoder")
        self.encoder_layers = layers_of(self.encoder) if self.encoder else []
        crossing = any(reach["kind"] == "encoder" for layer in self.layers for _, reach, _, _ in layer.branches)
        told = load.encoder_tokens if load.encoder_tokens is not None else document.get("encoder_tokens")
        self.encoder_tokens = (load.n if told is None else told) if crossing else 0
        self.alone = crossing and told == 0
        self._tensors: dict[tuple[int, int, str], Tensors] = {}

    def tensors(self, memory: Made, d: int, mode: str) -> Tensors:
        """The same, each made once."""
        key = (id(memory), d, mode)
        if key not in self._tensors:
            self._tensors[key] = tensors(memory, d, mode)
        return self._tensors[key]

    # ---------------------------------------------------------------- what is kept

    def size(self, elements: int, role: str, measure: str) -> int:
        """A tensor's elements, or its bits in its role's dtype."""
        load = self.load
        if measure == "elements":
            return elements
        if role == "state":
            return BITS[load.state_dtype or self.file.get("state_dtype") or "fp32"] * elements
        dtype = {"k": load.dtype_k, "v": load.dtype_v}.get(role) or load.dtype
        return 8 * BLOCKS[dtype] * -(-elements // 32) if dtype in BLOCKS else BITS[dtype] * elements

    def _kept(self, n: int, measure: str) -> tuple[int, int, int, int]:
        """A new token's, fixed states, all, and what a decode step reads, in elements or bits."""
        load, each, fixed, kept, read = self.load, 0, 0, 0, 0
        for layer in self.layers:
            for memory, reach, shares, _ in layer.branches:
                t, key = self.tensors(memory, self.d, "naive"), frozen(reach)
                row, state = (
                    sum(self.size(library if load.library else own, role, measure) for role, own, library in tensors)
                    for tensors in (t.stores, t.states)
                )
                read += load.batch * row * sees(key, n, self.encoder_tokens)
                if shares:
                    continue
                fixed += load.batch * state
                part, tokens = leaves(reach)
                each += part * -(-row // tokens)
                whole, ours = holds(key, n, self.encoder_tokens, load.prefix, load.library)
                kept += row * ((ours + load.batch * (whole - ours)) if load.prefix else load.batch * whole)
        return each, fixed, kept + fixed, read + fixed

    def read_at_least(self) -> int:
        """Bytes that a decode step reads where rows of the shared prefix are read once for the batch."""
        load, bits = self.load, 0
        for layer in self.layers:
            for memory, reach, shares, _ in layer.branches:
                t, key = self.tensors(memory, self.d, "naive"), frozen(reach)
                row, state = (sum(self.size(e, role, "bits") for role, e, _ in parts) for parts in (t.stores, t.states))
                seen = sees(key, load.n, self.encoder_tokens)
                ours = min(seen, holds(key, load.n, self.encoder_tokens, load.prefix)[1])
                bits += row * ours
                for _ in range(load.batch):
                    bits += row * (seen - ours) + (0 if shares else state)
        return -(-bits // 8)

    # ---------------------------------------------------------------- what is computed

    def _attention(self, layers: list[Layer], call: Call) -> tuple[int, int]:
        """Core and projections of one sequence of a call, over all layers of the decoder."""
        core, rest, enc = 0, 0, self.encoder_tokens
        for layer in layers:
            for memory, reach, shares, _ in layer.branches:
                t, key, new = self.tensors(memory, self.d, call.mode), frozen(reach), call.n - call.p
                core += t.per_pair * pairs(key, call.p, call.n, enc) + t.mixing * new
                if call.decode:
                    keys = sum(sees(key, token, enc) for token in range(call.p + 1, call.n + 1))
                else:
                    keys = expands(key, call.p, new, enc)
                rest += t.per_token * new + t.per_key * keys
                if not shares:
                    made = new if reach["kind"] != "encoder" else enc * call.encodes
                    rest += t.made_per_token * made
        return core, rest

    def _encoded(self) -> tuple[int, int, int]:
        """Core, projections and the rest of the encoder, once."""
        if not self.encoder:
            return 0, 0, 0
        core, rest, other, n, d = 0, 0, 0, self.encoder_tokens, self.encoder["hidden_size"]
        for layer in self.encoder_layers:
            for memory, reach, shares, _ in layer.branches:
                t = self.tensors(memory, d, "naive")
                seen, made = both_ways(frozen(reach), n)
                core += t.per_pair * seen + t.mixing * n
                rest += (t.per_token + t.per_key) * n + (0 if shares else t.made_per_token * made)
            other += feedforward(layer.mlp, d)[1] * n
            other += sum(work(extra, d) for extra in layer.extras) * n
        other += sum(work(extra, d) for extra in self.encoder.get("extras", ())) * n
        return core, rest, other

    def flops(self, phase: str) -> dict[str, int]:
        """core, projection, attention and model of a phase."""
        d, file, core, rest, other = self.d, self.file, 0, 0, 0
        layers = self.layers
        if self.alone:  # layers of cross attention alone are passed over
            layers = []
            for layer in self.layers:
                own = tuple(one for one in layer.branches if one[1]["kind"] != "encoder")
                if own or not layer.branches:
                    extras = tuple(extra for extra in layer.extras if not extra.get("crosses"))
                    layers.append(layer._replace(branches=own, extras=extras))
        calls = calls_of(self.load, phase)
        logits = self.load.batch * len(calls) if phase == "answer" else self.load.batch
        for call in calls:
            c, r = self._attention(layers, call)
            new = call.n - call.p
            o = sum(feedforward(layer.mlp, d)[1] * new for layer in layers)
            o += sum(work(extra, d) * new for layer in layers for extra in layer.extras if not extra.get("at_head"))
            o += sum(work(extra, d) * new for extra in file.get("extras", ()) if not extra.get("at_head"))
            if wide := file.get("word_embed_proj_dim"):
                o += new * 2 * d * (wide + (file.get("lm_head_proj_dim") or wide))
            elif narrow := file.get("lm_head_proj_dim"):
                o += new * 2 * d * narrow
            if call.encodes and not self.alone:
                ec, er, eo = self._encoded()
                c, r, o = c + ec, r + er, o + eo
            core, rest, other = core + call.times * c, rest + call.times * r, other + call.times * o
        inside = [extra for layer in layers for extra in layer.extras]
        other += sum(work(extra, d) * logits for extra in (*inside, *file.get("extras", ())) if extra.get("at_head"))
        width = file.get("lm_head_proj_dim") or file.get("word_embed_proj_dim") or d
        other += self.predicted * 2 * width * file["vocab_size"] * logits
        told = {"core": core, "projection": rest, "attention": core + rest, "model": core + rest + other}
        return {f"{phase}_{name}_flops": number for name, number in told.items()}

    # ---------------------------------------------------------------- weights

    def parameters(self) -> tuple[int, int]:
        """All, and those that a token visits."""
        file, d = self.file, self.d
        total, idle = self._stack(file, self.layers)
        if self.encoder:
            more, unvisited = self._stack(self.encoder, self.encoder_layers)
            total, idle = total + more, idle + unvisited
        wide, narrow, rows = file.get("word_embed_proj_dim"), file.get("lm_head_proj_dim"), file["vocab_size"]
        total += rows * (wide or d)
        total += wide * d if wide else 0  # into the model
        total += d * (narrow or wide or 0)  # out of it
        total += 0 if file["tie_word_embeddings"] else rows * (narrow or wide or d)
        return total + rows * bool(file.get("lm_head_bias")), total + rows * bool(file.get("lm_head_bias")) - idle

    def _stack(self, stack: Made, layers: list[Layer]) -> tuple[int, int]:
        d, total, idle = stack["hidden_size"], 0, 0
        norm = {"rmsnorm": d, "layernorm": 2 * d, "unweighted": 0}[stack["norm"]]
        total += norm * (stack.get("final_norm", True) + stack.get("embedding_norm", False))
        total += (stack.get("position_embeddings") or 0) * d
        total += sum(
            value(extra["parameters"], {**extra.get("symbols", {}), "d": d}) for extra in stack.get("extras", ())
        )
        for layer in layers:
            total += norm * layer.norms
            for memory, _, shares, again in layer.branches:
                if not again:
                    t = self.tensors(memory, d, "naive")
                    total += t.parameters - (t.made_parameters if shares else 0)
                    idle += t.idle
            parameters, _, unvisited = feedforward(layer.mlp, d)
            total, idle = total + parameters, idle + unvisited
            for extra in layer.extras:
                total += value(extra["parameters"], {**extra.get("symbols", {}), "d": d})
        return total, idle

    # ---------------------------------------------------------------- all

    def numbers(self) -> dict[str, int | None]:
        """Everything that does not hang on a server's engine."""
        load = self.load
        found: dict[str, int | None] = {}
        keys = ("cache_{}_per_token", "state_{}", "cache_{}", "decode_cache_read_{}")
        for measure in ("elements", "bytes"):
            numbers = self._kept(load.n, measure)
            for key, number in zip(keys, numbers, strict=True):
                number = number if measure == "elements" else -(-number // 8)
                found[key.format(measure)] = number if load.kv_cache else 0
        del found["decode_cache_read_elements"]
        found["parameters"], found["active_parameters"] = self.parameters()
        width = BITS[load.weight_dtype or "bf16"]
        found["weight_bytes"] = -(-(found["parameters"] or 0) * width // 8)
        for phase in ("decode", "prefill", *(("last_step", "answer") if load.answer else ())):
            found.update(self.flops(phase))
        if load.answer:
            last = self._kept(load.n + load.answer, "bytes")[2]
            found["answer_cache_bytes"] = -(-last // 8) if load.kv_cache else 0
        found["receptive_field_tokens"] = self._receptive()
        found["crossover_query_tokens"] = self._crossover()
        return found

    def _crossover(self) -> int | None:
        """Query tokens after n cached ones up to which an absorbed latent needs no more FLOPs than a naive one."""
        told = [(memory, reach["kind"]) for layer in self.layers for memory, reach, _, _ in layer.branches]
        if not told or not self.load.kv_cache or any(one != (told[0][0], "full") for one in told):
            return None
        memory, n = told[0][0], self.load.n
        if memory["kind"] not in ("mla", "gla_latent"):
            return None
        if 2 * memory["kv_lora_rank"] <= memory["qk_nope_head_dim"] + memory["v_head_dim"]:
            return None  # never dearer
        absorbed, naive = (self.tensors(memory, self.d, mode) for mode in ("absorbed", "naive"))
        tokens = 0
        while True:
            new, seen = tokens + 1, sum(n + token for token in range(1, tokens + 2))
            dear = naive.per_pair * seen + naive.per_token * new + naive.per_key * (n + new)
            if absorbed.per_pair * seen + absorbed.per_token * new > dear:
                return tokens
            tokens = new

    def _receptive(self) -> int | None:
        """Tokens that information travels over all layers, where every layer has a window."""
        total = 0
        for layer in self.layers:
            for _, reach, _, _ in layer.branches:
                if reach["kind"] != "window":
                    return None
                total += reach["sliding_window"] * reach.get("dilation", 1)
        return total or None


def work(extra: Made, d: int) -> int:
    """FLOPs of a token."""
    return value(extra.get("work_per_token", "0"), {**extra.get("symbols", {}), "d": d})


def shown(document: Made) -> str:
    """A document as one line."""
    return re.sub(r"\s+", " ", repr(document))
