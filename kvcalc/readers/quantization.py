"""A Hugging Face quantization_config: which format the weights of a checkpoint are in, and which modules it leaves.

Nothing a config names is run: its patterns become plain globs, or are told to be not understood. What it leaves in
part is counted as left whole, so that weights are never counted too small.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SKIPS = ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules", "llm_int8_skip_modules")
MODULES = {  # of one layer, by what kvcalc calls them, as checkpoints spell them: in one of these ways
    "attention": (
        ("self_attn.q_proj", "self_attn.o_proj", "self_attn.kv_b_proj"),
        ("linear_attn.in_proj_qkv", "linear_attn.out_proj"),
        ("attn.q_proj", "attn.o_proj"),
    ),
    "mlp": (("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"), ("ffn.gate_proj", "ffn.down_proj")),
    "experts": (
        ("mlp.experts.0.gate_proj", "mlp.experts.0.up_proj", "mlp.experts.0.down_proj"),
        ("ffn.experts.0.gate_proj", "ffn.experts.0.down_proj"),
        ("block_sparse_moe.experts.0.w1", "block_sparse_moe.experts.0.w2"),
    ),
    "shared experts": (
        ("mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj", "mlp.shared_experts.down_proj"),
        ("mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj", "mlp.shared_expert.down_proj"),
        ("ffn.shared_experts.gate_proj", "ffn.shared_experts.down_proj"),
    ),
}
EXPERT_FORMATS = {"fp4": "mxfp4", "NVFP4": "nvfp4"}  # formats of routed experts alone, by their word for it
LEFT_ANYWAY = (
    "self_attn",
    "mlp.gate",
    "mlp.router",
    "mlp.shared_expert_gate",
    "input_layernorm",
    "block_sparse_moe.gate",
)
ELSEWHERE = re.compile(
    r"vision|visual|audio|tower|projector|connector|mtp|eh_proj|embed|lm_head|^head$|norm|gate$|router|weights_proj|bias"
)
ROOTS = ("model.layers.", "model.language_model.layers.", "language_model.model.layers.")
MAX_CHOICES = 64
MAX_TRIES = 100_000  # of all patterns in all layers: 200 in 100 are much
MAX_GLOBS, MAX_OF_ANY = 50_000, 100  # characters of them all, and how many are of any layer
OF_A_LAYER = re.compile(r"layers\.(\d{1,6})\.")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")


class _NotUnderstoodError(KvcalcError):
    """What a note says."""


def quantization_of(config: dict[str, Any], native: dict[str, Any]) -> dict[str, Any] | None:
    """The native `quantization` of a config; None where it has none. What is not understood is named in its note."""
    given = config.get("quantization_config")
    if given is None:
        return None
    if not isinstance(given, dict):
        return {"note": "quantization_config is not a mapping: weights are counted in bf16"}
    implied = "bitsandbytes" if "load_in_4bit" in given else "modelopt" if "quant_algo" in given else None
    method = _shown(given.get("quant_method") or implied)
    try:
        name = _format(method, given)
    except _NotUnderstoodError as reason:
        return {"method": method, "note": f"quantization_config is not understood ({reason}): weights are in bf16"}
    kept, note = _kept(given, native)
    notes = [note] if note else []
    apart = given.get("moe_quant_algo") or config.get("expert_dtype")  # of DeepSeek-V4
    experts = EXPERT_FORMATS.get(_shown(apart), "") if apart else ""
    if apart and not experts and apart != "fp8":
        notes.append(f"experts in {_shown(apart)} are not followed: counted in {name}")
    if given.get("kv_cache_scheme"):
        notes.append("kv_cache_scheme is not followed: --dtype says what the cache is")
    told: dict[str, Any] = {"method": method, "format": name}
    told |= {"kept": kept} if kept else {}
    told |= {"experts": experts} if experts and "experts" not in kept else {}
    return {**told, **({"note": "; ".join(notes)[:400]} if notes else {})}


def _shown(word: Any) -> str:  # whatever a file says
    return word if isinstance(word, str) and _WORD.fullmatch(word) else "unnamed"


def _format(method: str, given: dict[str, Any]) -> str:
    """The name of its format, as --weight-dtype has it."""
    if method in ("fp8", "fbgemm_fp8"):
        return _fp8(given.get("weight_block_size"))
    if method in ("gptq", "awq", "auto-round"):
        group = given.get("group_size", given.get("q_group_size"))
        return _groups(given.get("bits", given.get("w_bit")), group, zero=True)
    if method == "mxfp4":
        return "mxfp4"
    if method == "bitsandbytes":
        if given.get("load_in_8bit") is True:
            return "int8_tensor"
        return "nf4_double" if given.get("bnb_4bit_use_double_quant") is True else "nf4"
    if method == "modelopt":
        algorithm = str(given.get("quant_algo"))
        if algorithm in ("FP8", "NVFP4"):
            return {"FP8": "fp8_tensor", "NVFP4": "nvfp4"}[algorithm]
        raise _NotUnderstoodError(f"quant_algo {_shown(algorithm)}")
    if method == "compressed-tensors":
        return _compressed(given)
    raise _NotUnderstoodError(f"quant_method {method}")


def _fp8(block: Any) -> str:
    if block is None:
        return "fp8_tensor"
    if block == [128, 128]:
        return "fp8_b128"
    raise _NotUnderstoodError("weight_block_size other than 128 x 128")


def _groups(bits: Any, group: Any, *, zero: bool) -> str:
    if type(bits) is int and 2 <= bits <= 8 and type(group) is int and 0 < group < 10**6:
        return f"int{bits}_g{group}{'z' if zero else ''}"
    raise _NotUnderstoodError("bits or group_size")


def _compressed(given: dict[str, Any]) -> str:
    groups = given.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        raise _NotUnderstoodError("config_groups other than one")
    group = next(iter(groups.values()))
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict) or group.get("targets") != ["Linear"]:
        raise _NotUnderstoodError("targets other than Linear")
    bits, kind, strategy = (weights.get(key) for key in ("num_bits", "type", "strategy"))
    size = weights.get("group_size")
    if kind == "float" and bits == 4:
        if size in (16, 32):
            return {16: "nvfp4", 32: "mxfp4"}[size]
        raise _NotUnderstoodError("group_size of 4-bit floats")
    if bits == 8 and strategy in ("tensor", "channel") and kind in ("float", "int"):
        return "fp8_tensor" if kind == "float" else "int8_tensor"
    if kind == "float" and bits == 8 and strategy == "block":
        return _fp8(weights.get("block_structure"))
    if kind == "int" and strategy == "group":
        return _groups(bits, size, zero=weights.get("symmetric") is not True)
    raise _NotUnderstoodError("weights of this kind")


def _kept(given: dict[str, Any], native: dict[str, Any]) -> tuple[list[str], str]:
    """The kinds that stay as they are, and what is to be said of them."""
    written = [one for key in SKIPS for one in (given.get(key) or ()) if isinstance(given.get(key), list)]
    patterns = [one for one in written if isinstance(one, str)]
    plain = {one for one in patterns if not one.startswith("re:") and "*" not in one}
    globs = {one: _globs(one) for one in patterns if one not in plain}
    of_any = sum(OF_A_LAYER.search(glob) is None for found in globs.values() for glob in found)
    tries = len(globs) * native["num_hidden_layers"]
    if tries > MAX_TRIES or sum(map(len, globs)) > MAX_GLOBS or of_any > MAX_OF_ANY:
        globs = {one: [] for one in globs}
    layers = list(_layers(native)) if patterns else []
    matching = _by_layer([glob for found in globs.values() for glob in found], len(layers))
    kept, partly = [], []
    for kind, spellings in MODULES.items():
        shares = [
            max(
                sum(_covers(plain, matching[at], f"{at}.{module}") for module in modules) / len(modules)
                for modules in spellings
            )
            for at, layer in enumerate(layers)
            if _has(layer, kind)
        ]
        if any(shares):
            kept.append(kind)
        if any(shares) and not all(share == 1 for share in shares):
            partly.append(kind)
    strange = [one for one in plain if not _known(one)]
    strange += [
        one for one, found in globs.items() if not found or not any(_matches(glob, len(layers)) for glob in found)
    ]
    told = [f"leaves part of {kind}: counted as left whole" for kind in partly]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        told.append(f"leaves {ascii(sorted(strange)[0])[:60]}{more}: not understood, counted as if it did not")
    return kept, f"quantization_config {'; '.join(told)}" if told else ""


def _layers(native: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every layer of a native document that a reader has made."""
    kinds: list[str] = []
    for run in native.get("layer_types") or native.get("layer_pattern") or ():
        name, _, times = run.partition(" x")
        kinds += [name] * int(times or 1)
    for at in range(native["num_hidden_layers"]):
        own = native["layers"][kinds[at % len(kinds)]] if kinds else {}
        yield {**native, **own}


def _has(layer: dict[str, Any], kind: str) -> bool:
    """Whether a layer has weights of a kind."""
    mlp = layer.get("mlp") or {}
    return {
        "attention": True,
        "mlp": mlp.get("kind") == "dense",
        "experts": mlp.get("kind") == "moe",
        "shared experts": bool(mlp.get("shared_intermediate_size")),
    }[kind]


def _by_layer(globs: Sequence[str], layers: int) -> list[list[re.Pattern[str]]]:
    """For each layer the globs that may name a module of it: those of it alone, and those of any, as one pattern."""
    of_layer: dict[int, list[str]] = {}
    for glob in globs:
        number = OF_A_LAYER.search(glob)
        of_layer.setdefault(int(number[1]) if number else -1, []).append(f"(?:{translate(glob)})")
    made = {at: re.compile("|".join(found)) for at, found in of_layer.items() if at < layers}
    return [[made[one] for one in (at, -1) if one in made] for at in range(layers)]


def _matches(glob: str, layers: int) -> bool:
    """Whether a glob is of a module that is counted by kind, that no format holds anyway, or of a later layer."""
    number = re.search(r"layers\.(\d{1,6})", glob)
    if ELSEWHERE.search(glob) or (number and int(number[1]) >= layers):
        return True
    at = number[1] if number else "0"
    one = [re.compile(translate(glob))]
    known = [module for spellings in MODULES.values() for modules in spellings for module in modules]
    return any(_covers(set(), one, f"{at}.{module}") for module in (*known, *LEFT_ANYWAY))


def _globs(pattern: str) -> list[str]:
    """A pattern as globs: of regular expressions only .*, escaped dots, anchors and one choice of words."""
    if not pattern.startswith("re:"):
        return [pattern]
    text = pattern.removeprefix("re:").removeprefix("^").replace("\\.", ".").replace(".*", "*")
    text = text[:-1] if text.endswith("$") else f"{text}*"
    parts = re.split(r"\(([A-Za-z0-9_|]*)\)", text)
    found = [""]
    for at, part in enumerate(parts):
        if not at % 2 and re.search(r"[^A-Za-z0-9_.*-]", part):
            return []
        found = [before + choice for before in found for choice in (part.split("|") if at % 2 else [part])]
        if len(found) > MAX_CHOICES:
            return []
    return found


def _covers(plain: set[str], globs: Sequence[re.Pattern[str]], module: str) -> bool:
    """Whether a pattern names this module or one around it, whatever stands before the layers."""
    steps = module.split(".")
    around = [".".join(steps[:at]) for at in range(1, len(steps) + 1)]
    names = [root + name for root in ROOTS for name in around]
    if any(name in plain or any(glob.match(name) for glob in globs) for name in names):
        return True
    last = {step for step in steps if not step.isdigit()}
    return bool(last & plain)  # a bare word, as transformers looks for it


def _known(name: str) -> bool:
    """Whether a plain name is of a module that is counted by kind, or of one that no format holds anyway."""
    *_, last = (0, *(found.end() for found in re.finditer(r"layers\.\d+\.?", name)))
    tail = name[last:]
    known = [module for spellings in MODULES.values() for modules in spellings for module in modules]
    inside = any(module == tail or module.startswith(f"{tail}.") or tail in module.split(".") for module in known)
    return not tail or inside or bool(ELSEWHERE.search(name)) or any(tail.startswith(one) for one in LEFT_ANYWAY)
