"""Native YAML to the world: pydantic guards the shape, the laws are checked here, with the place of each breach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError  # noqa: TID253  # imported only once a file is read

from kvcalc.errors import KvcalcError
from kvcalc.model import EncoderSpec, ModelSpec
from kvcalc.readers.extras import extras_of
from kvcalc.readers.layers import groups_of, predicting_of
from kvcalc.readers.schema import ModelFile
from kvcalc.readers.stack import Stack

if TYPE_CHECKING:
    from kvcalc.readers.schema import EncoderStackFile, QuantizationFile, RopeFile
    from kvcalc.readers.text import Document
    from kvcalc.rotary import Rope
    from kvcalc.weight_formats import Quantization


def read_native(document: Document) -> ModelSpec:
    """Read a native document. Raises ConfigError at the first key that is wrong."""
    try:
        file = ModelFile.model_validate(document.data)
    except ValidationError as error:
        from kvcalc.readers.complaint import first_error

        raise first_error(document, error, ModelFile) from None
    return _model(document, file)


def _model(document: Document, file: ModelFile) -> ModelSpec:
    stack = Stack(document, file)
    spec = ModelSpec(
        name=file.name,
        hidden_size=file.hidden_size,
        vocab_size=file.vocab_size,
        groups=groups_of(stack),
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
        extras=extras_of(document, file, file.hidden_size, ()),
        encoder=_encoder(document, file.encoder) if file.encoder else None,
        encoder_tokens=file.encoder_tokens,
        state_dtype=file.state_dtype or "",
        rope=_rope(document, file.rope) if file.rope else None,
        quantization=_quantization(document, file.quantization) if file.quantization else None,
        mtp=predicting_of(stack, file.mtp) if file.mtp and file.mtp.num_layers else (),
    )
    if spec.encoder and not spec.encoded:
        hint = "an attention with reach: {kind: encoder} is cross attention"
        raise document.error(("encoder",), "encoder: no attention reads it", hint)
    return spec


def _rope(document: Document, file: RopeFile) -> Rope:
    from kvcalc.rope import usable
    from kvcalc.rotary import Rope, Scaling

    scaling = Scaling(**file.scaling.model_dump()) if file.scaling else None
    rope = Rope(**{**file.model_dump(), "scaling": scaling})
    if not usable(rope):
        raise document.error(("rope",), "rope: these numbers make no frequencies")
    return rope


def _quantization(document: Document, file: QuantizationFile) -> Quantization:
    from kvcalc.weight_formats import EVERYTHING, Quantization, Stored, format_of, parse_weight_dtype

    names = {"format": file.format or "", "experts": file.experts or ""}
    for field, text in names.items():
        if not text or (field == "format" and file.stored):  # of a file, whatever it calls its mixture
            continue
        try:
            names[field] = parse_weight_dtype(text, field)
            if field == "experts":
                format_of(names[field])
        except KvcalcError as error:
            raise document.error(("quantization", field), error.message, error.hint) from None
    name, experts = names["format"], names["experts"]
    stored = tuple(Stored(**one.model_dump()) for one in file.stored)
    if bool(stored) != bool(file.parameters) or (stored and not name):
        raise document.error(
            ("quantization",), "stored, parameters and format stand together", "what the tensors of a file hold"
        )
    if experts and (not name or stored or "experts" in file.kept or format_of(name).kinds == EVERYTHING):
        message = "experts: another format stands beside one of linear layers that does not keep experts"
        raise document.error(("quantization", "experts"), message, "format: fp8_b128")
    return Quantization(name, tuple(file.kept), file.method or "", file.note or "", stored, file.parameters, experts)


def _encoder(document: Document, file: EncoderStackFile) -> EncoderSpec:
    stack = Stack(document, file, ("encoder",))
    return EncoderSpec(
        hidden_size=file.hidden_size,
        groups=groups_of(stack),
        norm=file.norm,
        norms=file.final_norm + file.embedding_norm,
        position_embeddings=file.position_embeddings or 0,
        extras=extras_of(document, file, file.hidden_size, stack.at),
    )
