"""A published config.json becomes a native document, which then passes the native door like any other."""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kvcalc.errors import did_you_mean
from kvcalc.formula import parse
from kvcalc.readers import crossed
from kvcalc.readers.families import ALIASES, LATER_PAIRS, PREFIXES, REFUSED, WRAPPERS, families
from kvcalc.readers.families.words import Field, When
from kvcalc.readers.fields import Fields
from kvcalc.readers.quantization import quantization_of
from kvcalc.readers.rope import KEYS, rope_of
from kvcalc.readers.schema import ARCHITECTURE, MAX_LAYERS
from kvcalc.readers.text import Document
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.readers.families.words import Family
    from kvcalc.readers.text import Mark, Place

Origins = dict["Place", str]
_WINDOWS = {"sliding": "sliding_window", "chunked": "attention_chunk_size"}


@lru_cache(maxsize=1)
def _library() -> list[str]:
    """The lines of hf_defaults.json, one a model type, as scripts/hf_defaults.py generates them."""
    with open(os.path.join(os.path.dirname(__file__), "hf_defaults.json"), encoding="utf-8") as file:
        return file.read().splitlines()


def library_types() -> list[str]:
    """Every model type of hf_defaults.json."""
    return [json.loads(line.partition(": ")[0]) for line in _library() if '": {"class": ' in line]


@lru_cache(maxsize=8)
def library_facts(model_type: str) -> Any:
    """Class defaults and aliases of a model type; None where neither the library nor we know it."""
    start = f"{json.dumps(model_type)}: "
    line = next((line for line in _library() if line.startswith(start)), None)
    return WRAPPERS.get(model_type) if line is None else json.loads(line[len(start) :].rstrip(","))


class LanguageModel(NamedTuple):
    """The language model's own config in a document: its place, its fields and its model type.

    `outer` is the model type around it, '' where it stands alone; `left_out` what else that has.
    """

    place: Place
    fields: dict[str, Any]
    model_type: str
    outer: str = ""
    left_out: str = ""

    @property
    def family(self) -> Family:
        """How it is read."""
        return families()[self.model_type]

    @property
    def facts(self) -> dict[str, Any]:
        """What the library's class says."""
        told: dict[str, Any] = library_facts(self.model_type)
        own = library_facts(self.outer).get("text_defaults", {}) if self.outer else {}
        return {**told, "defaults": {**told["defaults"], **own}} if own else told

    def known(self) -> set[str]:
        """Every key that its class has or the reader reads."""
        names = {name for names in self.facts["names"].values() for name in names}
        kinds = {} if callable(self.family.kinds) else self.family.kinds
        recipes = (self.family.recipe, *kinds.values())
        return {*self.facts["defaults"], *names, *(name for recipe in recipes for name in _read(recipe))}


def language_model(document: Document) -> LanguageModel:
    """Find the language model's config. Raises ConfigError where there is none, or none that is understood."""
    outer = document.data["model_type"]
    facts = library_facts(outer) if isinstance(outer, str) else None
    if facts is None or "text" not in facts:
        return LanguageModel((), document.data, _understood(document, (), outer))
    place: Place = ()
    fields = document.data
    if "flat" in facts and facts["text"][0] not in fields:  # as older files have it, all at the top
        return LanguageModel((), fields, _understood(document, (), facts["text_type"]), outer, facts["left_out"])
    for key in facts["text"]:
        place = (*place, key)
        fields = fields.get(key)
        if not isinstance(fields, dict):
            raise document.error(place, f"missing field {'.'.join(map(str, place))!r}, the language model")
    given = fields.get("model_type", facts["text_type"])
    if "text_fixed" in facts and given != facts["text_type"]:
        inner = (*place, "model_type")
        raise document.not_understood(inner, f"model_type {given!r} is not understood here", facts["text_type"])
    model_type = _understood(document, place, given)
    return LanguageModel(place, fields, model_type, outer, facts["left_out"])


def _understood(document: Document, place: Place, model_type: Any) -> str:
    """A model type that a family describes. Raises NotUnderstoodError where there is none."""
    if isinstance(model_type, str) and (found := ALIASES.get(model_type, model_type)) in families():
        return found
    if isinstance(model_type, str) and model_type in REFUSED:
        message = f"model_type {model_type!r} is not understood: {REFUSED[model_type]}"
        raise document.not_understood((*place, "model_type"), message)
    known = sorted(families())
    hint = did_you_mean(str(model_type), known)
    raise document.not_understood(
        (*place, "model_type"),
        f"model_type {model_type!r} is not understood, and kvcalc does not guess",
        f"{hint} Describe another model in native YAML: see README, Configs".strip(),
    )


def to_native(document: Document, name: str) -> tuple[Document, Origins]:
    """Translate a config to a native document, with the origin of each of its values.

    Raises ConfigError for a model type that is not understood, by name, and for fields that are wrong.
    """
    model = language_model(document)
    fields = Fields(document, model.place, model.facts, json.loads(_library()[1].partition(": ")[2].rstrip(",")))
    pieced = model.outer in crossed.OUTER
    family = crossed.taken(model.family) if pieced else model.family
    if prefix := PREFIXES.get(model.outer):
        family = family._replace(refused=tuple(name for name in family.refused if name != prefix))
    translation = _Translation(fields, family)
    native = translation.document(name)
    translation.rotate(native, model)
    config = {**document.data, **model.fields}
    if quantization := quantization_of(config, native):
        native["quantization"] = quantization
        translation.origins["quantization",] = "quantization_config"
    if pieced:
        _piece(native, fields, model)
    if architecture := _architecture(document):
        native["architecture"] = architecture
        translation.origins["architecture",] = "architectures"
    if model.outer:
        told = f"{model.left_out} and {LATER_PAIRS}" if prefix else model.left_out
        if native.setdefault("left_out", told) is None:  # the recipe reads all of it
            del native["left_out"]
        tied = _outer_tie(document, model)
        if tied is not None:
            native["tie_word_embeddings"] = tied
            translation.origins["tie_word_embeddings",] = f"the outer tie_word_embeddings of {model.outer}"
    return Document(document.path, native, translation.marks, document.text), translation.origins


def _architecture(document: Document) -> str:
    """The class that the config names first, by which servers choose; '' where it names none."""
    named = document.data.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    return first if isinstance(first, str) and re.fullmatch(ARCHITECTURE, first) else ""


def _piece(native: dict[str, Any], fields: Fields, model: LanguageModel) -> None:
    """Put a decoder beside the encoder that the config names."""
    crossed.cross(native, fields)
    kind = fields.sibling("encoder").get("model_type")
    encoder = fields.beside("encoder", kind if isinstance(kind, str) else "")
    native["left_out"] = crossed.LEFT_OUT.get(model.outer)
    if model.outer == "vision-encoder-decoder":
        native["encoder_tokens"] = crossed.tokens_seen(encoder)
    elif model.outer == "encoder-decoder":
        family = crossed.taken(families()[_understood(fields.document, encoder.place, kind)])
        stack = _Translation(encoder, family).document("encoder")
        read = fields.optional("cross_attention_hidden_size")
        native["encoder"] = crossed.text_encoder(stack, encoder, native["hidden_size"], read)


def _outer_tie(document: Document, model: LanguageModel) -> bool | None:
    """Whether the model around ties the embeddings; None where it leaves that to the language model."""
    facts = library_facts(model.outer)
    default = facts.get("ties")
    if default is None:
        return None
    if default == "never":
        return False
    if "ties_with_text" in facts:  # where all fields stand at the top, the key is the outer model's alone
        given = model.fields if model.place else {}
        if given.get("tie_word_embeddings", model.facts["defaults"].get("tie_word_embeddings")) is True:
            return True
    part = (facts["ties_at"],) if "ties_at" in facts else ()  # the part that has lm_head
    around = document.data[part[0]] if part else document.data
    tied = around.get("tie_word_embeddings", default)
    if "own_head" in facts and tied is False:
        _check_head(document, model, facts)
    if not isinstance(tied, bool):
        here = (*part, "tie_word_embeddings")
        raise document.error(here, f"tie_word_embeddings: {tied!r} is not true or false")
    return tied


def _check_head(document: Document, model: LanguageModel, facts: dict[str, Any]) -> None:
    """A head that the outer config measures must fit the language model."""
    for name in ("hidden_size", "vocab_size"):
        outer = document.data.get(name, facts["defaults"][name])
        inner = model.fields.get(name, model.facts["defaults"][name])
        if outer != inner:
            message = f"{name}: {outer!r}, of lm_head, but the language model's is {inner!r}"
            raise document.not_understood((name,) if name in document.data else (), message)


def _read(recipe: Any) -> set[str]:  # a recipe, or a value in one
    """Every field that a recipe reads. It names windows for all types; those whose class has none do not slide."""
    if isinstance(recipe, dict):
        return {name for key, value in recipe.items() if key not in _WINDOWS.values() for name in _read(value)}
    if isinstance(recipe, list):
        return {name for value in recipe for name in _read(value)}
    if isinstance(recipe, Field):
        return {name for alternative in recipe.alternatives for name in parse(alternative).symbols()}
    return {recipe.field, *_read(recipe.value)} if isinstance(recipe, When) else set()


class _Translation:
    """One config on its way to a native document."""

    def __init__(self, fields: Fields, family: Family) -> None:
        self.fields = fields
        self.family = family
        self.origins: Origins = {}
        self._places: dict[Place, Place] = {("name",): ("name",)} if "name" in fields.document.data else {}

    def marks(self) -> dict[Place, Mark]:
        """Places of the native document are those of the keys they came from."""
        found = {native: self.fields.document.mark(key) for native, key in self._places.items()}
        return {(): self.fields.document.mark(self.fields.place), **found}

    def document(self, name: str) -> dict[str, Any]:
        fields, recipe = self.fields, self.family.recipe
        self._check()
        if self.family.derive:
            start = len(fields.read)
            derived = self.family.derive(fields)
            fields.derive(derived, self._origin_of(fields.read[start:]))
        layers = fields.number(self.family.counted)
        start = len(fields.read)
        kinds, recipes = self._kinds(layers)
        placement = self._origin_of(fields.read[start:])
        native: dict[str, Any] = {"name": name}
        everywhere = set.intersection(*(set(told) for told in recipes.values()))
        everywhere -= {"extras"}  # the model's, and a layer's
        apart = {"moe", *_WINDOWS.values(), *everywhere}
        native.update(self._values({key: told for key, told in recipe.items() if key not in apart}, ()))
        if len(recipes) == 1 and not any("extras" in told for told in recipes.values()):
            ((only, told),) = recipes.items()
            native.update(self._values(told, ()))
            if placement:
                self.origins["every layer",] = f"{only}: {placement}"
            return native
        native["layers"] = {kind: self._values(told, ("layers", kind)) for kind, told in recipes.items()}
        order = order_of(kinds)
        self.origins[(*order,)] = placement or "every layer alike"
        native.update(order)
        return native

    def _kinds(self, layers: int) -> tuple[list[str], dict[str, Any]]:
        """Name the kind of each layer, and what each kind says beyond the top of the file."""
        family, fields, recipe = self.family, self.fields, self.family.recipe
        if family.layers:
            kinds = family.layers(fields)
            described = family.kinds(fields) if callable(family.kinds) else family.kinds
            return kinds, {kind: described[kind] for kind in dict.fromkeys(kinds)}
        reach = family.reach(fields) if family.reach else ["full"] * layers
        experts = family.experts(fields) if family.experts else [False] * layers
        for kind in dict.fromkeys(reach):
            if kind in _WINDOWS and not (fields.knows(_WINDOWS[kind]) and fields.optional(_WINDOWS[kind])):
                raise fields.error("layer_types", f"has {kind} layers, but no {_WINDOWS[kind]} is in use")
        pairs = list(zip(reach, experts, strict=True))
        distinct = list(dict.fromkeys(pairs))
        names = {pair: self._name(pair, distinct) or pair[0] for pair in distinct}
        told = {}
        for pair, name in names.items():
            window = {_WINDOWS[pair[0]]: recipe[_WINDOWS[pair[0]]]} if pair[0] in _WINDOWS else {}
            told[name] = {**window, **({"mlp": recipe["moe"]} if pair[1] else {})}
        return [names[pair] for pair in pairs], told

    def _origin_of(self, names: list[str]) -> str:
        """Say where the fields came from that decided which layer is of which kind."""
        origins = self.fields.origins
        told = [name for name in dict.fromkeys(names) if name != "num_hidden_layers" and name in origins]
        return "; ".join(origins[name] for name in told)

    def _check(self) -> None:
        # Inside another model's config the library writes what differs from its class alone: LLaVA-1.5 has no layers.
        for name in self.family.required if not self.fields.place else ():
            names = name.split(" or ")
            if not any(self.fields.given(name) for name in names):
                raise self.fields.document.error(self.fields.place, f"missing field {names[0]!r}: not assumed")
        if self.fields.given(self.family.counted):
            self.fields.at_most(self.family.counted, MAX_LAYERS)
        self.fields.check_typos()
        for name in self.family.refused:
            if self.fields.flag(name):
                raise self.fields.not_understood(name, "true makes another model of it, which is not understood")
        if self.fields.config.get("per_layer_config") and self.family.layers is None:
            raise self.fields.not_understood("per_layer_config", "layers with numbers of their own are not understood")
        needed = self.family.decoder_if
        if needed and not self.fields.flag(needed):
            message = "not true, so this is an encoder: it attends both ways, and no token leaves anything in a cache"
            raise self.fields.not_understood(needed, message)

    @staticmethod
    def _name(kind: tuple[str, bool], distinct: list[tuple[str, bool]]) -> str:
        """Name a kind of layer by what sets it apart from the others."""
        parts = []
        if len({reach for reach, _ in distinct}) > 1:
            parts.append(kind[0])
        if len({expert for _, expert in distinct}) > 1:
            parts.append("moe" if kind[1] else "dense")
        return "_".join(parts)

    def _values(self, recipe: dict[str, Any], place: Place) -> dict[str, Any]:
        """Fill a recipe in; what comes out as None is left out, but for what the recipe itself says is null."""
        filled = {}
        for key, wanted in recipe.items():
            value = self._value(wanted, (*place, key))
            absent = isinstance(wanted, Field | When) and value is None
            if not absent and not (key == "shared_intermediate_size" and value == 0):
                filled[key] = value
        return filled

    def _value(self, wanted: Any, here: Place) -> Any:
        if isinstance(wanted, dict):
            return self._values(wanted, here)
        if isinstance(wanted, When):
            if not self.fields.flag(wanted.field):
                return None
            self._remember(here, wanted.field, self.fields.origins.get(wanted.field, ""))
            return self._value(wanted.value, here)
        if isinstance(wanted, Field):
            if wanted.or_absent and self.fields.raw(wanted.alternatives[0]) is None:
                return None
            value, origin = self.fields.first(wanted.alternatives)
            self._remember(here, wanted.alternatives[0], origin)
            return value
        if isinstance(wanted, list) and any(isinstance(item, dict | When) for item in wanted):
            items = [self._value(item, (*here, at)) for at, item in enumerate(wanted)]
            return [item for item in items if item is not None]
        return wanted

    def rotate(self, native: dict[str, Any], model: LanguageModel) -> None:
        """Add rotary positions, which stand under one of several keys."""
        rope = rope_of(self.fields, model.model_type, model.facts)
        if rope is None:
            return
        native["rope"] = rope
        key = next((key for key in KEYS if self.fields.config.get(key) is not None), None)
        default = model.facts["class"]
        origin = f"{key}, and the defaults of {default}" if key else f"the default of {default}"
        self.origins.update({("rope", name): origin for name in rope})
        if key:
            self._places["rope", "base"] = (*self.fields.place, key)

    def _remember(self, here: Place, name: str, origin: str) -> None:
        self.origins[here] = origin
        if name in self.fields.used:
            self._places[here] = self.fields.used[name]


def order_of(kinds: list[str]) -> dict[str, list[str]]:
    """Write the kinds of all layers as the shortest repeating pattern, or exactly, with runs as 'name x3'."""
    period = next(p for p in range(1, len(kinds) + 1) if all(kinds[i] == kinds[i - p] for i in range(p, len(kinds))))
    repeats = period * 2 <= len(kinds)
    runs: list[tuple[str, int]] = []
    for kind in kinds[:period] if repeats else kinds:
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + 1)
        else:
            runs.append((kind, 1))
    written = [kind if times == 1 else f"{kind} x{times}" for kind, times in runs]
    return {"layer_pattern" if repeats else "layer_types": written}
