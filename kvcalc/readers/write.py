"""A model as a native document: what reads back as the same model, and its YAML as one writes it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.readers.extras import OWN
from kvcalc.readers.huggingface import order_of
from kvcalc.readers.layers import MTP_NORMS, MTP_PROJECTION
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.attention.reach import Reach
    from kvcalc.model import Branch, EncoderSpec, Extra, Layer, ModelSpec

WIDTH = 118
NAMES = {  # of the world's fields, where a file calls them otherwise; the rest are named alike
    "embedding_size": "word_embed_proj_dim",
    "lm_head_size": "lm_head_proj_dim",
}
SPANS = {"sliding_window", "dilation", "attention_chunk_size"}
BY_LINE = ("layers", "branches", "encoder")
BY_ROW = ("stored",)  # lists of short mappings: each on a line
APART = ("groups", "extras", "encoder", "mtp", "predicted", "rope", "quantization")
FIRST = ("name", "source", "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings")


def to_yaml(specs: Iterable[ModelSpec]) -> str:
    """Every model as a document of native YAML. Raises KvcalcError for one that the format does not hold."""
    return "---\n".join(_written(_checked(spec)) for spec in specs)


def _checked(spec: ModelSpec) -> dict[str, Any]:
    """The native document, read back: what is written is the same model, or nothing is written."""
    native = to_native(spec)
    if read_native(Document(spec.name, native, dict)) != spec:
        raise KvcalcError(f"{spec.name}: the native format does not hold all of this model")
    return native


def to_native(spec: ModelSpec) -> dict[str, Any]:
    """Return the data of a native document that says this model."""
    told = {name: value for name, value in spec._asdict().items() if name not in APART}
    plain = {NAMES.get(name, name): value for name, value in told.items() if _says(spec, name)}
    stack = _stack(spec)
    native = {name: {**plain, **stack}[name] for name in FIRST if name in {**plain, **stack}}
    native.update({name: value for name, value in plain.items() if name not in native})
    native.update({name: value for name, value in stack.items() if name not in native})
    if spec.mtp:
        native["mtp"] = _mtp(spec, native)
    if spec.rope:
        native["rope"] = _whole(_given(spec.rope))
        if spec.rope.scaling:
            native["rope"]["scaling"] = _whole({"kind": spec.rope.scaling.kind, **_given(spec.rope.scaling)})
    if spec.quantization:
        given = _given(spec.quantization)
        if "kept" in given:
            given["kept"] = list(given["kept"])
        if "stored" in given:
            given["stored"] = [one._asdict() for one in spec.quantization.stored]
        native["quantization"] = given
    if spec.encoder:
        native["encoder"] = _encoder(spec.encoder)
    return native


def _says(told: Any, name: str) -> bool:  # a named tuple of the world
    """Whether a field says something that its absence does not."""
    return name not in told._field_defaults or getattr(told, name) != told._field_defaults[name]


def _given(told: Any) -> dict[str, Any]:  # a named tuple whose fields a file names alike
    return {name: value for name, value in told._asdict().items() if name == "kind" or _says(told, name)}


def _whole(numbers: dict[str, Any]) -> dict[str, Any]:
    """500000 rather than 500000.0."""
    return {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in numbers.items()}


def _encoder(encoder: EncoderSpec) -> dict[str, Any]:
    native: dict[str, Any] = {"hidden_size": encoder.hidden_size, "norm": encoder.norm}
    norms = {"final_norm": encoder.norms > 0, "embedding_norm": encoder.norms > 1}
    native.update({name: value for name, value in norms.items() if value is not (name == "final_norm")})
    if encoder.position_embeddings:
        native["position_embeddings"] = encoder.position_embeddings
    return {**native, **_stack(encoder)}


def _stack(stack: ModelSpec | EncoderSpec) -> dict[str, Any]:
    """What the layers of a stack say: alike at the top, what sets them apart by kinds."""
    layers = [group.layer for group in stack.groups]
    total = sum(group.layers for group in stack.groups)
    told = [_layer(layer) for layer in layers]
    native: dict[str, Any] = {"num_hidden_layers": total, "norms_per_layer": layers[0].norms}
    if stack.extras:
        native["extras"] = [_extra(extra) for extra in stack.extras]
    if len(layers) == 1 and not layers[0].extras:
        return {**native, **told[0], "norms_per_layer": layers[0].norms}
    common: dict[str, Any] = {
        name: told[0][name]
        for name in ("attention", "branches", "mlp", "norms_per_layer")
        if name in told[0] and all(name in one and one[name] == told[0][name] for one in told)
    }
    for one in told:
        for name in common:
            del one[name]
    names = _names(layers)
    kinds = [""] * total
    for group, name in zip(stack.groups, names, strict=True):
        for index in group.indices:
            kinds[index] = name
    return {**native, **common, "layers": dict(zip(names, told, strict=True)), **order_of(kinds)}


def _names(layers: list[Layer]) -> list[str]:
    """A name for each kind of layer, by what sets it apart: its memory, its reach, its experts, else a number."""
    features = [_words_apart(list(feature)) for feature in zip(*(_features(layer) for layer in layers), strict=True)]
    apart: list[list[str]] = []
    for feature in features:  # one that tells no more apart is left out
        if len(set(zip(*apart, feature, strict=True))) > len(set(zip(*apart, strict=True)) or {()}):
            apart.append(feature)
    names: list[str] = []
    for words in zip(*apart, strict=True) if apart else [()] * len(layers):
        name = "_".join(filter(None, words)) or "layer"
        taken = sum(one == name or one.rpartition("-")[0] == name for one in names)
        names.append(f"{name}-{taken + 1}" if taken else name)
    return names


def _words_apart(told: list[tuple[str, ...]]) -> list[str]:
    """Of each layer's words as few as tell it from the others, else its first."""
    used: list[str] = []
    for word in dict.fromkeys(word for words in told for word in words):
        if len({tuple(one in words for one in (*used, word)) for words in told}) > len(
            {tuple(one in words for one in used) for words in told}
        ):
            used.append(word)
    return ["_".join(word for word in words if word in used) or "_".join(words[:1]) for words in told]


def _features(layer: Layer) -> tuple[tuple[str, ...], ...]:
    """The words for its memory, its reach and what follows."""
    words = {"window": "sliding", "chunk": "chunked"}
    reaches = dict.fromkeys(words.get(branch.reach.kind, branch.reach.kind) for branch in layer.branches)
    memories = dict.fromkeys(branch.memory._asdict()["kind"] for branch in layer.branches)
    return tuple(memories) or ("none",), tuple(reaches), (layer.feedforward.kind if layer.feedforward else "bare",)


def _layer(layer: Layer) -> dict[str, Any]:
    """What one kind of layer says, whatever stands above it."""
    told: dict[str, Any] = {}
    reaches = {branch.reach for branch in layer.branches}
    alike = _reach_fields(next(iter(reaches))) if len(reaches) == 1 else None
    told.update(alike or {})
    shared = bool(layer.branches) and all(branch.shares_kv for branch in layer.branches)
    if shared:
        told["shares_kv"] = True
    branches = [_attention(branch, inside=alike is None, shared=shared) for branch in layer.branches]
    if len(branches) > 1:
        told["branches"] = branches
    else:
        told["attention"] = branches[0] if branches else None
    told["mlp"] = _feedforward(layer.feedforward)
    told["norms_per_layer"] = layer.norms
    if layer.extras:
        told["extras"] = [_extra(extra) for extra in layer.extras]
    return told


def _reach_fields(reach: Reach) -> dict[str, Any] | None:
    """A reach in the words of a layer; None where it has none for it."""
    given = _given(reach)
    kind = given.pop("kind")
    return given if kind in ("full", "window", "chunk") and given.keys() <= SPANS else None


def _attention(branch: Branch, *, inside: bool, shared: bool) -> dict[str, Any]:
    memory = branch.memory
    told = _given(memory)
    told = {"kind": told.pop("kind"), **told}
    if told["kind"] == "heads":
        if told["v_head_dim"] == told["head_dim"]:
            del told["v_head_dim"]
        if "bias" in told:
            told["bias"] = list(told["bias"])
    if told["kind"] == "custom":
        symbols = dict(told.pop("constants", ()))
        told = {"kind": "custom", "name": memory._asdict()["name"], "symbols": symbols, **told}
    if inside and branch.reach.kind != "full":
        told["reach"] = {"kind": branch.reach.kind, **_given(branch.reach)}
    flags = {"shares_kv": branch.shares_kv and not shared, "shares_weights": branch.shares_weights}
    return {**told, **{name: True for name, flag in flags.items() if flag}}


def _feedforward(feedforward: Any) -> dict[str, Any] | None:  # one of kinds.FEEDFORWARDS
    return None if feedforward is None else {"kind": feedforward.kind, **_given(feedforward)}


def _extra(extra: Extra) -> dict[str, Any]:
    told = _given(extra)
    if symbols := told.pop("constants", ()):
        told["symbols"] = dict(symbols)
    if told.get("source") == OWN:
        del told["source"]
    return told


def _mtp(spec: ModelSpec, native: dict[str, Any]) -> dict[str, Any]:
    """Prediction layers by the kind of layer that they are, behind their projection and norms."""
    (group,) = spec.mtp
    layer = group.layer
    inner = layer._replace(
        norms=layer.norms - MTP_NORMS, extras=tuple(extra for extra in layer.extras if extra != MTP_PROJECTION)
    )
    told: dict[str, Any] = {"num_layers": group.layers}
    at = next((at for at, one in enumerate(spec.groups) if _owning(one.layer) == inner), 0)
    if not any(index == spec.layers - 1 for index in spec.groups[at].indices):
        told["layer"] = list(native["layers"])[at]
    return told


def _owning(layer: Layer) -> Layer:
    return layer._replace(branches=tuple(branch._replace(shares_kv=False) for branch in layer.branches))


def _written(native: dict[str, Any]) -> str:
    """YAML, what fits on a line on one line."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # one of two classes
        """Never an anchor: two layers that are alike are both written."""

        def ignore_aliases(self, data: Any) -> bool:  # whatever is dumped
            return True

    lines = []
    for key, value in native.items():
        lines += _lines(key, value, 0, Dumper)
    return "".join(lines)


def _lines(key: str, value: Any, depth: int, dumper: Any) -> list[str]:
    """One field: in flow where it fits, else each of its own fields on a line further in."""
    import yaml

    indent = "  " * depth
    if not isinstance(value, dict | list):
        return [indent + yaml.dump({key: value}, Dumper=dumper, width=1 << 30)]
    flow = yaml.dump({key: value}, Dumper=dumper, default_flow_style=True, sort_keys=False, width=1 << 30)
    line = f"{indent}{flow.strip()[1:-1]}\n"
    if not value or (len(line) <= WIDTH and key not in BY_LINE):
        return [line]
    name = yaml.dump({key: None}, Dumper=dumper, default_flow_style=False).partition(":")[0]
    if isinstance(value, dict):
        return [f"{indent}{name}:\n", *(line for k, v in value.items() for line in _lines(k, v, depth + 1, dumper))]
    if not any(isinstance(item, dict) for item in value):
        return _folded(f"{indent}{name}: ", value, indent, dumper)
    found = [f"{indent}{name}:\n"]
    for item in value:
        line = f"{indent}  - {yaml.dump(item, Dumper=dumper, default_flow_style=True, sort_keys=False, width=1 << 30)}"
        if key in BY_ROW and len(line) <= WIDTH:
            found.append(line)
            continue
        inner = [line for k, v in item.items() for line in _lines(k, v, depth + 2, dumper)]
        found += [f"{indent}  - {inner[0].lstrip()}", *inner[1:]]
    return found


def _folded(start: str, values: list[Any], indent: str, dumper: Any) -> list[str]:
    """A list of plain values over as many lines as it needs."""
    import yaml

    lines = [f"{indent}  ["]
    for value in values:
        item = yaml.dump([value], Dumper=dumper, default_flow_style=True, width=1 << 30).strip()[1:-1]
        if len(lines[-1]) + len(item) > WIDTH - 1:
            lines.append(f"{indent}    ")
        lines[-1] += f"{item}, "
    lines[-1] = f"{lines[-1].removesuffix(', ')}]"
    return [f"{start.rstrip()}\n", *(f"{line.rstrip()}\n" for line in lines)]
