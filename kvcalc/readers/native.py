"""Native YAML to the world: pydantic guards the shape, the laws are checked here, with the place of each breach."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError  # noqa: TID253  # imported only once a file is read

from kvcalc.attention.custom import Custom
from kvcalc.attention.heads import Heads
from kvcalc.attention.kinds import MEMORIES, REACHES, class_of
from kvcalc.attention.reach import Chunk, Full, Window
from kvcalc.errors import FormulaError, KvcalcError, did_you_mean
from kvcalc.feedforward import Dense, Experts
from kvcalc.formula import parse
from kvcalc.model import Branch, EncoderSpec, Extra, Layer, LayerGroup, ModelSpec
from kvcalc.readers.complaint import first_error
from kvcalc.readers.schema import CustomFile, DenseFile, HeadsFile, LayerFile, ModelFile
from kvcalc.rope import usable
from kvcalc.rotary import Rope, Scaling
from kvcalc.weight_formats import Quantization, Stored, parse_weight_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.attention.memory import Memory
    from kvcalc.attention.reach import Reach
    from kvcalc.errors import ConfigError
    from kvcalc.feedforward import FeedForward
    from kvcalc.readers.schema import EncoderFile, MoeFile, MtpFile, QuantizationFile, RopeFile, StackFile
    from kvcalc.readers.text import Document, Place

OWN = "the config's own formula"
SOURCE_MTP = "DeepSeek-V3 (arXiv:2412.19437) sec. 2.2: hidden state and next token's embedding, each behind a norm"
MTP_PROJECTION = Extra("mtp-projection", "2*d*d", "4*d*d", (), SOURCE_MTP)
MTP_NORMS = 3
RESERVED_SYMBOLS = frozenset("nKBSTd")


def read_native(document: Document) -> ModelSpec:
    """Read a native document. Raises ConfigError at the first key that is wrong."""
    try:
        file = ModelFile.model_validate(document.data)
    except ValidationError as error:
        raise first_error(document, error, ModelFile) from None
    return _Builder(document, file).spec()


class _Builder:
    """One file on its way to the world."""

    def __init__(self, document: Document, file: ModelFile) -> None:
        self.document = document
        self.file = file

    def spec(self) -> ModelSpec:
        file = self.file
        stack = _Stack(self.document, file, ())
        return ModelSpec(
            name=file.name,
            hidden_size=file.hidden_size,
            vocab_size=file.vocab_size,
            groups=stack.groups(),
            norm=file.norm,
            tie_word_embeddings=file.tie_word_embeddings,
            max_position_embeddings=file.max_position_embeddings or 0,
            position_embeddings=file.position_embeddings or 0,
            embedding_size=file.word_embed_proj_dim or 0,
            lm_head_size=file.lm_head_proj_dim or 0,
            embedding_norm=file.embedding_norm,
            final_norm=file.final_norm,
            lm_head_bias=file.lm_head_bias,
            source=file.source or "",
            left_out=file.left_out or "",
            architecture=file.architecture or "",
            extras=_extras(self.document, file, file.hidden_size, ()),
            encoder=self._encoder(file.encoder) if file.encoder else None,
            encoder_tokens=file.encoder_tokens,
            state_dtype=file.state_dtype or "",
            rope=self._rope(file.rope) if file.rope else None,
            quantization=self._quantization(file.quantization) if file.quantization else None,
            mtp=stack.predicting(file.mtp) if file.mtp and file.mtp.num_layers else (),
        )

    def _rope(self, file: RopeFile) -> Rope:
        scaling = Scaling(**file.scaling.model_dump()) if file.scaling else None
        rope = Rope(**{**file.model_dump(), "scaling": scaling})
        if not usable(rope):
            raise self.document.error(("rope",), "rope: these numbers make no frequencies")
        return rope

    def _quantization(self, file: QuantizationFile) -> Quantization:
        name = file.format or ""  # of a file, whatever it calls its mixture
        if file.format is not None and not file.stored:
            try:
                name = parse_weight_dtype(file.format, "format")
            except KvcalcError as error:
                raise self.document.error(("quantization", "format"), error.message, error.hint) from None
        stored = tuple(Stored(**one.model_dump()) for one in file.stored)
        if bool(stored) != bool(file.parameters) or (stored and not name):
            raise self.document.error(
                ("quantization",), "stored, parameters and format stand together", "what the tensors of a file hold"
            )
        return Quantization(name, tuple(file.kept), file.method or "", file.note or "", stored, file.parameters)

    def _encoder(self, stack: EncoderFile) -> EncoderSpec:
        place: Place = ("encoder",)
        return EncoderSpec(
            hidden_size=stack.hidden_size,
            groups=_Stack(self.document, stack, place).groups(),
            norm=stack.norm,
            norms=stack.final_norm + stack.embedding_norm,
            position_embeddings=stack.position_embeddings or 0,
            extras=_extras(self.document, stack, stack.hidden_size, place),
        )


class _Stack:
    """The layers of one stack, the model's own or its encoder's; `at` is its place in the file."""

    def __init__(self, document: Document, file: StackFile, at: Place) -> None:
        self.document = document
        self.file = file
        self.at = at

    def error(self, place: Place, message: str, hint: str = "") -> ConfigError:
        return self.document.error((*self.at, *place), message, hint)

    def groups(self) -> tuple[LayerGroup, ...]:
        """Like layers together, in order of first appearance."""
        file = self.file
        kinds = self._kinds()
        built = {kind: self._layer(kind) for kind in dict.fromkeys(kinds)}
        layers = [built[kind] for kind in kinds]
        if shared := file.num_kv_shared_layers:
            if shared >= len(layers):
                raise self.error(
                    ("num_kv_shared_layers",), f"{shared} layers share a cache, but there are {len(layers)}"
                )
            tail = [
                layer._replace(branches=tuple(branch._replace(shares_kv=True) for branch in layer.branches))
                for layer in layers[-shared:]
            ]
            layers[-shared:] = tail
        self._check_sharing(layers, kinds)
        indices: dict[Layer, list[int]] = {}
        for index, layer in enumerate(layers):
            indices.setdefault(layer, []).append(index)
        return tuple(LayerGroup(layer, tuple(where)) for layer, where in indices.items())

    def predicting(self, mtp: MtpFile) -> tuple[LayerGroup, ...]:
        """The layers that predict later tokens: the model's last, or a kind that is named, behind a projection."""
        last = self._kinds()[-1]
        if mtp.layer is not None and mtp.layer not in (self.file.layers or {}):
            hint = did_you_mean(mtp.layer, self.file.layers or {})
            raise self.error(("mtp", "layer"), f"unknown kind of layer {mtp.layer!r}", hint)
        made = self._layer(mtp.layer or last)
        layer = made._replace(
            branches=tuple(branch._replace(shares_kv=False) for branch in made.branches),
            norms=made.norms + MTP_NORMS,
            extras=(*made.extras, MTP_PROJECTION),
        )
        first = self.file.num_hidden_layers
        return (LayerGroup(layer, tuple(range(first, first + mtp.num_layers))),)

    def _kinds(self) -> list[str]:
        """Name the kind of each layer; '' is the layer that the top of the file describes."""
        file, total = self.file, self.file.num_hidden_layers
        if file.layer_types is None and file.layer_pattern is None:
            if file.layers is not None:
                hint = "layer_pattern: [local x5, global] repeats, layer_types: [dense x3, moe x58] is exact"
                raise self.error(("layers",), "kinds of layers without their order", hint)
            return [""] * total
        if file.layer_types is not None and file.layer_pattern is not None:
            raise self.error(("layer_pattern",), "layer_types and layer_pattern exclude each other")
        field = "layer_types" if file.layer_types is not None else "layer_pattern"
        runs = list(self._runs(field, file.layer_types or file.layer_pattern or []))
        listed = sum(times for _, times in runs)
        if not listed:
            raise self.error((field,), f"{field} is empty")
        if listed > total or (field == "layer_types" and listed != total):
            hint = "" if field == "layer_pattern" else f"list {total}, or let layer_pattern repeat"
            message = f"{field} lists {listed} layers, but num_hidden_layers is {total}"
            raise self.error((field,), message, hint)
        for kind in file.layers or {}:
            if kind not in dict(runs):
                raise self.error(("layers", kind), f"no layer is of the kind {kind!r}", f"name it in {field}")
        if file.shares_kv:
            raise self.error(("shares_kv",), "shares_kv stands with a kind of layer, not above them all")
        kinds = [kind for kind, times in runs for _ in range(times)]
        return [kinds[index % listed] for index in range(total)]

    def _runs(self, field: str, entries: list[str]) -> Iterator[tuple[str, int]]:
        """Read 'local x5' as five layers of a kind that is described."""
        known = self.file.layers or {}
        for at, entry in enumerate(entries):
            match = re.fullmatch(r"(.+?)(?:\s+x([1-9][0-9]{0,4}))?", entry)
            name = match[1] if match else entry
            if name not in known:
                hint = did_you_mean(name, known) or f"`layers` describes {', '.join(known) or 'none'}"
                raise self.error((field, at), f"unknown kind of layer {name!r}", hint)
            yield name, int(match[2] or 1) if match else 1

    def _check_sharing(self, layers: list[Layer], kinds: list[str]) -> None:
        """A layer that shares a cache needs an earlier owner with the same memory and reach."""
        owned = set()
        for index, layer in enumerate(layers):
            for branch in layer.branches:
                alike = (branch.memory, branch.reach)
                if not branch.shares_kv:
                    owned.add(alike)
                elif alike not in owned or isinstance(branch.memory, Custom):
                    place: Place = ("layers", kinds[index]) if kinds[index] else ()
                    raise self.error(
                        (*place, "shares_kv"),
                        f"layer {index} ({branch.label}) shares a cache, but no earlier layer of its like has one",
                    )

    def _layer(self, kind: str) -> Layer:
        own: LayerFile = (self.file.layers or {})[kind] if kind else self.file
        place: Place = ("layers", kind) if kind else ()
        speaks = bool({"sliding_window", "dilation", "attention_chunk_size"} & own.model_fields_set)
        reach = self._reach(own, place) if speaks or not kind else self._reach(self.file, ())
        branches = tuple(self._branches(own, place, reach))
        carried = [told["carries_query"] for told in (b.memory._asdict() for b in branches) if "carries_query" in told]
        if carried and sum(carried) != 1:
            message = f"{sum(carried)} of {len(carried)} branches carry the query, which is one's to count"
            raise self.error((*place, "branches"), message, "carries_query: true in one of them")
        norms = self.file.norms_per_layer if own.norms_per_layer is None else own.norms_per_layer
        extras = _extras(self.document, own, self.file.hidden_size, (*self.at, *place)) if kind else ()
        return Layer(branches, self._feedforward(own, place), norms, extras)

    def _branches(self, own: LayerFile, place: Place, reach: Reach) -> Iterator[Branch]:
        """Each attention of a layer; a kind of layer that says null has none, one that says nothing has the file's."""
        speaks = {"attention", "branches"} & own.model_fields_set
        said, place = (own, place) if speaks or own is self.file else (self.file, ())
        if said.attention is not None and said.branches is not None:
            raise self.error((*place, "branches"), "attention and branches exclude each other")
        if said.branches is not None:
            if not said.branches:
                raise self.error((*place, "branches"), "branches is empty", "attention: null is a layer without one")
            listed = [((*place, "branches", at), one) for at, one in enumerate(said.branches)]
        elif said.attention is not None:
            listed = [((*place, "attention"), said.attention)]
        elif "attention" in speaks:
            return
        else:
            hint = "attention: {kind: heads, num_attention_heads: .., num_key_value_heads: .., head_dim: ..}"
            raise self.error((), "missing field 'attention'", hint)
        for at, one in listed:
            given = one.reach
            seen = reach if given is None else class_of(REACHES, given.kind)(**given.model_dump())
            self._check_direction(seen, at)
            memory = self._memory(one, at)
            seen = seen if memory.stores() else Full()  # a state sees what it was given
            yield Branch(memory, seen, own.shares_kv or one.shares_kv, one.shares_weights)

    def _check_direction(self, reach: Reach, place: Place) -> None:
        """An encoder attends both ways, a decoder causally: not every reach can do both."""
        if self.at and not reach.rules.both_ways:
            hint = "{kind: band, left: .., right: ..} is a window to both sides"
            raise self.error((*place, "reach"), f"{reach.label}: an encoder attends both ways", hint)
        if not self.at and not reach.rules.seen:
            raise self.error((*place, "reach"), f"{reach.label}: only an encoder attends both ways")

    def _memory(self, attention: Any, place: Place) -> Memory:  # one of the formats of schema.py
        if isinstance(attention, HeadsFile):
            return self._heads(attention, place)
        if isinstance(attention, CustomFile):
            return self._custom(attention, place)
        of_the_branch = ("reach", "shares_kv", "shares_weights")
        told = {name: value for name, value in attention if name not in of_the_branch and value is not None}
        for field in {"num_key_value_heads", "latent_heads"} & told.keys():
            self._check_groups(told.get("num_attention_heads", 0), field, told[field], place)
        visited, experts = told.get("num_experts_per_tok", 0), told.get("num_experts", 0)
        if visited > experts:
            message = f"num_experts_per_tok {visited} is more than num_experts {experts}"
            raise self.error((*place, "num_experts_per_tok"), message)
        memory: Memory = class_of(MEMORIES, attention.kind)(**told)
        symbols = {**memory.symbols(), "d": self.file.hidden_size}
        formulas = {part.name: part.formula for part in memory.weights()}
        formulas |= {part.name: part.formula for part in memory.work("absorbed")}
        for name, formula in formulas.items():
            try:
                parse(formula).evaluate(symbols)
            except FormulaError as error:
                raise self.error(place, f"{attention.kind}: {name}: {error.message}") from None
        return memory

    def _check_groups(self, n_h: int, field: str, groups: int, place: Place) -> None:
        """Query heads share out what is cached evenly."""
        if n_h % groups:
            near = max(g for g in range(1, min(groups, n_h) + 1) if n_h % g == 0)
            message = f"num_attention_heads {n_h} is not divisible by {field} {groups}"
            raise self.error((*place, field), message, f"{near} divides it")

    def _heads(self, attention: HeadsFile, place: Place) -> Heads:
        n_h, n_kv = attention.num_attention_heads, attention.num_key_value_heads
        self._check_groups(n_h, "num_key_value_heads", n_kv, place)
        return Heads(
            num_attention_heads=n_h,
            num_key_value_heads=n_kv,
            head_dim=attention.head_dim,
            v_head_dim=attention.v_head_dim or attention.head_dim,
            bias="".join(name for name in "qkvog" if name in attention.bias),
            qk_norm=attention.qk_norm or "",
            qk_norm_bias=attention.qk_norm_bias,
            output_gate=attention.output_gate,
            sinks=attention.sinks,
            differential=attention.differential,
            kv_hidden_size=attention.kv_hidden_size or 0,
            merged=attention.merged,
            q_hidden_size=attention.q_hidden_size or 0,
            head_gate=attention.head_gate,
            v_from_k=attention.v_from_k,
            broadcast=attention.broadcast,
            remade=attention.remade,
        )

    def _custom(self, attention: CustomFile, place: Place) -> Custom:
        for symbol in attention.symbols:
            if symbol in RESERVED_SYMBOLS:
                raise self.error(
                    (*place, "symbols", symbol), f"the symbol {symbol!r} is taken", "d is hidden_size; choose another"
                )
        symbols = {**attention.symbols, "d": self.file.hidden_size}
        for field in ("elements_per_token", "state_elements", "work_per_pair", "work_per_token", "parameters"):
            evaluated(self.document, (*self.at, *place, field), getattr(attention, field), symbols)
        return Custom(
            elements_per_token=attention.elements_per_token,
            work_per_pair=attention.work_per_pair,
            work_per_token=attention.work_per_token,
            parameters=attention.parameters,
            constants=tuple(attention.symbols.items()),
            name=attention.name,
            source=attention.source or OWN,
            state_elements=attention.state_elements,
        )

    def _reach(self, own: LayerFile, place: Place) -> Reach:
        if own.sliding_window and own.attention_chunk_size:
            raise self.error(
                (*place, "attention_chunk_size"), "sliding_window and attention_chunk_size exclude each other"
            )
        if own.dilation and not own.sliding_window:
            raise self.error((*place, "dilation"), "dilation without a sliding_window")
        if own.attention_chunk_size:
            return Chunk(own.attention_chunk_size)
        return Window(own.sliding_window, own.dilation or 1) if own.sliding_window else Full()

    def _feedforward(self, own: LayerFile, place: Place) -> FeedForward | None:
        if own.mlp is None and "mlp" in own.model_fields_set:
            return None
        mlp = own.mlp or self.file.mlp
        if mlp is None:
            hint = "mlp: {kind: dense, intermediate_size: .., gated: true}; null: none"
            raise self.error((), "missing field 'mlp'", hint)
        if isinstance(mlp, DenseFile):
            return Dense(mlp.intermediate_size, mlp.gated, mlp.bias, mlp.shares_weights)
        return self._experts(mlp, (*place, "mlp") if own.mlp else ("mlp",))

    def _experts(self, mlp: MoeFile, place: Place) -> Experts:
        if mlp.num_experts_per_tok > mlp.num_experts:
            raise self.error(
                (*place, "num_experts_per_tok"),
                f"num_experts_per_tok {mlp.num_experts_per_tok} is more than num_experts {mlp.num_experts}",
            )
        return Experts(
            num_experts=mlp.num_experts,
            num_experts_per_tok=mlp.num_experts_per_tok,
            moe_intermediate_size=mlp.moe_intermediate_size,
            gated=mlp.gated,
            shared_intermediate_size=mlp.shared_intermediate_size or 0,
            shared_gate=mlp.shared_gate,
            shared_bias=mlp.shared_bias,
            expert_bias=mlp.expert_bias,
            router_bias=mlp.router_bias,
            latent_size=mlp.latent_size or 0,
            latent_norm=mlp.latent_norm,
            matrix_router=mlp.matrix_router,
            runs_all=mlp.runs_all,
        )


def _extras(document: Document, file: LayerFile, hidden_size: int, place: Place) -> tuple[Extra, ...]:
    """The other parts that a stack or a kind of layer names."""
    found = []
    for at, extra in enumerate(file.extras):
        symbols = {**extra.symbols, "d": hidden_size}
        once, allotted = extra.library_once or "", extra.library_parameters or ""
        for field, formula in (("parameters", extra.parameters), ("work_per_token", extra.work_per_token)):
            evaluated(document, (*place, "extras", at, field), formula, symbols)
        for field, formula in (("library_once", once), ("library_parameters", allotted)):
            if formula:
                evaluated(document, (*place, "extras", at, field), formula, symbols)
        constants = tuple(extra.symbols.items())
        source = extra.source or OWN
        told = (extra.name, extra.parameters, extra.work_per_token, constants, source)
        found.append(Extra(*told, extra.at_head, once, extra.crosses, allotted))
    return tuple(found)


def evaluated(document: Document, place: Place, formula: str, symbols: dict[str, int]) -> int:
    """The value of a file's formula. Raises ConfigError at its place where it has none, or less than nothing."""
    field = place[-1]
    try:
        value = parse(formula).evaluate(symbols)
    except FormulaError as error:
        raise document.error(place, f"{field}: {error.message}", error.hint) from None
    if value < 0:
        raise document.error(place, f"{field}: the formula gives {value}, less than nothing")
    return value
