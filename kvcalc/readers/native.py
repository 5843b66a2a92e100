"""Native YAML to the world: pydantic guards the shape, the laws are checked here, with the place of each breach."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError  # noqa: TID253  # imported only once a file is read

from kvcalc.attention.custom import Custom
from kvcalc.attention.heads import Heads
from kvcalc.attention.latent import Latent
from kvcalc.attention.reach import Chunk, Full, Window
from kvcalc.errors import FormulaError, did_you_mean
from kvcalc.feedforward import Dense, Experts
from kvcalc.formula import parse
from kvcalc.model import Branch, Layer, LayerGroup, ModelSpec
from kvcalc.readers.complaint import first_error
from kvcalc.readers.schema import CustomFile, DenseFile, HeadsFile, LayerFile, MlaFile, ModelFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.attention.memory import Memory
    from kvcalc.attention.reach import Reach
    from kvcalc.feedforward import FeedForward
    from kvcalc.readers.schema import MoeFile
    from kvcalc.readers.text import Document, Place

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
        return ModelSpec(
            name=file.name,
            hidden_size=file.hidden_size,
            vocab_size=file.vocab_size,
            groups=self._groups(),
            norm=file.norm,
            tie_word_embeddings=file.tie_word_embeddings,
            max_position_embeddings=file.max_position_embeddings or 0,
            position_embeddings=file.position_embeddings or 0,
            embedding_size=file.word_embed_proj_dim or 0,
            embedding_norm=file.embedding_norm,
            final_norm=file.final_norm,
            lm_head_bias=file.lm_head_bias,
            source=file.source or "",
            left_out=file.left_out or "",
        )

    def _groups(self) -> tuple[LayerGroup, ...]:
        """Like layers together, in order of first appearance."""
        file = self.file
        kinds = self._kinds()
        built = {kind: self._layer(kind) for kind in dict.fromkeys(kinds)}
        layers = [built[kind] for kind in kinds]
        if shared := file.num_kv_shared_layers:
            if shared >= len(layers):
                raise self.document.error(
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

    def _kinds(self) -> list[str]:
        """Name the kind of each layer; '' is the layer that the top of the file describes."""
        file, total = self.file, self.file.num_hidden_layers
        if file.layer_types is None and file.layer_pattern is None:
            if file.layers is not None:
                hint = "layer_pattern: [local x5, global] repeats, layer_types: [dense x3, moe x58] is exact"
                raise self.document.error(("layers",), "kinds of layers without their order", hint)
            return [""] * total
        if file.layer_types is not None and file.layer_pattern is not None:
            raise self.document.error(("layer_pattern",), "layer_types and layer_pattern exclude each other")
        field = "layer_types" if file.layer_types is not None else "layer_pattern"
        runs = list(self._runs(field, file.layer_types or file.layer_pattern or []))
        listed = sum(times for _, times in runs)
        if not listed:
            raise self.document.error((field,), f"{field} is empty")
        if listed > total or (field == "layer_types" and listed != total):
            hint = "" if field == "layer_pattern" else f"list {total}, or let layer_pattern repeat"
            message = f"{field} lists {listed} layers, but num_hidden_layers is {total}"
            raise self.document.error((field,), message, hint)
        for kind in file.layers or {}:
            if kind not in dict(runs):
                raise self.document.error(("layers", kind), f"no layer is of the kind {kind!r}", f"name it in {field}")
        if file.shares_kv:
            raise self.document.error(("shares_kv",), "shares_kv stands with a kind of layer, not above them all")
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
                raise self.document.error((field, at), f"unknown kind of layer {name!r}", hint)
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
                    raise self.document.error(
                        (*place, "shares_kv"),
                        f"layer {index} ({branch.label}) shares a cache, but no earlier layer of its like has one",
                    )

    def _layer(self, kind: str) -> Layer:
        own: LayerFile = (self.file.layers or {})[kind] if kind else self.file
        place: Place = ("layers", kind) if kind else ()
        memory = self._memory(own, place)
        speaks = bool({"sliding_window", "dilation", "attention_chunk_size"} & own.model_fields_set)
        reach = self._reach(own, place) if speaks or not kind else self._reach(self.file, ())
        branch = Branch(memory, reach, own.shares_kv)
        return Layer((branch,), self._feedforward(own, place), self.file.norms_per_layer)

    def _memory(self, own: LayerFile, place: Place) -> Memory:
        place = (*place, "attention") if own.attention else ("attention",)
        attention = own.attention or self.file.attention
        if attention is None:
            hint = "attention: {kind: heads, num_attention_heads: .., num_key_value_heads: .., head_dim: ..}"
            raise self.document.error((), "missing field 'attention'", hint)
        if isinstance(attention, HeadsFile):
            return self._heads(attention, place)
        if isinstance(attention, MlaFile):
            return Latent(
                num_attention_heads=attention.num_attention_heads,
                kv_lora_rank=attention.kv_lora_rank,
                qk_rope_head_dim=attention.qk_rope_head_dim,
                qk_nope_head_dim=attention.qk_nope_head_dim,
                v_head_dim=attention.v_head_dim,
                q_lora_rank=attention.q_lora_rank or 0,
                attention_bias=attention.attention_bias,
            )
        return self._custom(attention, place)

    def _heads(self, attention: HeadsFile, place: Place) -> Heads:
        n_h, n_kv = attention.num_attention_heads, attention.num_key_value_heads
        if n_h % n_kv:
            near = max(g for g in range(1, min(n_kv, n_h) + 1) if n_h % g == 0)
            raise self.document.error(
                (*place, "num_key_value_heads"),
                f"num_attention_heads {n_h} is not divisible by num_key_value_heads {n_kv}",
                f"{near} divides it",
            )
        return Heads(
            num_attention_heads=n_h,
            num_key_value_heads=n_kv,
            head_dim=attention.head_dim,
            v_head_dim=attention.v_head_dim or attention.head_dim,
            bias="".join(name for name in "qkvo" if name in attention.bias),
            qk_norm=attention.qk_norm or "",
            output_gate=attention.output_gate,
            sinks=attention.sinks,
        )

    def _custom(self, attention: CustomFile, place: Place) -> Custom:
        for symbol in attention.symbols:
            if symbol in RESERVED_SYMBOLS:
                raise self.document.error(
                    (*place, "symbols", symbol), f"the symbol {symbol!r} is taken", "d is hidden_size; choose another"
                )
        symbols = {**attention.symbols, "d": self.file.hidden_size}
        for field in ("elements_per_token", "work_per_pair", "work_per_token", "parameters"):
            try:
                value = parse(getattr(attention, field)).evaluate(symbols)
            except FormulaError as error:
                raise self.document.error((*place, field), f"{field}: {error.message}", error.hint) from None
            if value < 0:
                raise self.document.error((*place, field), f"{field}: the formula gives {value}, less than nothing")
        return Custom(
            elements_per_token=attention.elements_per_token,
            work_per_pair=attention.work_per_pair,
            work_per_token=attention.work_per_token,
            parameters=attention.parameters,
            constants=tuple(attention.symbols.items()),
            name=attention.name,
            source=attention.source or "the config's own formula",
        )

    def _reach(self, own: LayerFile, place: Place) -> Reach:
        if own.sliding_window and own.attention_chunk_size:
            raise self.document.error(
                (*place, "attention_chunk_size"), "sliding_window and attention_chunk_size exclude each other"
            )
        if own.dilation and not own.sliding_window:
            raise self.document.error((*place, "dilation"), "dilation without a sliding_window")
        if own.attention_chunk_size:
            return Chunk(own.attention_chunk_size)
        return Window(own.sliding_window, own.dilation or 1) if own.sliding_window else Full()

    def _feedforward(self, own: LayerFile, place: Place) -> FeedForward:
        mlp = own.mlp or self.file.mlp
        if mlp is None:
            hint = "mlp: {kind: dense, intermediate_size: .., gated: true}"
            raise self.document.error((), "missing field 'mlp'", hint)
        if isinstance(mlp, DenseFile):
            return Dense(mlp.intermediate_size, mlp.gated, mlp.bias)
        return self._experts(mlp, (*place, "mlp") if own.mlp else ("mlp",))

    def _experts(self, mlp: MoeFile, place: Place) -> Experts:
        if mlp.num_experts_per_tok > mlp.num_experts:
            raise self.document.error(
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
        )
