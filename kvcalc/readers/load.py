"""From a source, as the user names it, to models: a bundled name, a file, a folder, a hub id, or '-' for stdin."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.readers import bundle
from kvcalc.tuples import NamedTuple

if TYPE_CHECKING:
    from kvcalc.model import ModelSpec
    from kvcalc.readers.huggingface import Origins
    from kvcalc.readers.text import Document, Place

FILE_SUFFIXES = (".yaml", ".yml", ".json", ".gguf")
HUB = "hf:"  # what is not called so never touches the network


class Origin(NamedTuple):
    """Where one number of a model came from."""

    field: str
    value: str
    origin: str


class Loaded(NamedTuple):
    """A model with where it stands: the document as written, the native one it means, and whence each number came."""

    spec: ModelSpec
    document: Document
    native: Document
    origins: tuple[Origin, ...]


def load(source: str) -> ModelSpec:
    """Read one model: a bundled name, the path of a file or of a model's folder, or '-' for stdin.

    Raises KvcalcError, with file, line and column where they are known, for what is wrong or not understood, and for
    a file of several documents, which `load_all` reads.
    """
    specs = load_all(source)
    if len(specs) != 1:
        raise KvcalcError(f"{source}: {len(specs)} models in one file", "kvcalc.load_all reads them all")
    return specs[0]


def load_all(source: str) -> list[ModelSpec]:
    """Read every model of a source. What ships with kvcalc was validated when it was built, and is not again."""
    source = _inside(source)
    if (name := _bundled_name(source)) is not None:
        return [bundle.read(name)]
    return [loaded.spec for loaded in _read_file(source)]


def read_source(source: str) -> list[Loaded]:
    """Read every model of a source with its document and the origin of each of its numbers."""
    source = _inside(source)
    return _read_file(source if (name := _bundled_name(source)) is None else bundle.config_path(name))


def _inside(source: str) -> str:
    """Return the config.json of a model's folder; any other source as it is."""
    config = os.path.join(source, "config.json")
    return config if not source.startswith(HUB) and os.path.isfile(config) else source


def _bundled_name(source: str) -> str | None:
    """Return the bundled model that a source means, or None where it is a file."""
    if source == "-" or source.startswith(HUB) or os.path.isfile(source):
        return None
    names = bundle.names()
    if source in names:
        return source
    if source.lower().endswith(FILE_SUFFIXES) or source.startswith((".", "/", "~")) or os.path.exists(source):
        return None  # a file that cannot be read: the file reader says why
    name = bundle.short_name(source)
    if name in names:
        return name
    hint = did_you_mean(name, names) or "`kvcalc list` names the bundled models; a file works too"
    raise KvcalcError(f"unknown model {source!r}: neither bundled nor a file", hint)


def _read_file(path: str) -> list[Loaded]:
    """Read a source that is not bundled: each kind of source has a room of its own."""
    if path.startswith(HUB):
        from kvcalc.readers.hub import read_hub

        return read_models(read_hub(path), f"{path.partition('@')[0]}/config.json")
    if path != "-":
        from kvcalc.readers.gguf import is_gguf

        if is_gguf(path):
            return [_read_gguf(path)]
    from kvcalc.readers.text import read_documents

    return read_models(read_documents(path), path)


def _read_gguf(path: str) -> Loaded:
    from kvcalc.readers.gguf import read_header, stem
    from kvcalc.readers.llama_cpp import to_native, with_weights
    from kvcalc.readers.native import read_native
    from kvcalc.readers.text import Document

    header = read_header(path)
    told = to_native(header, _clean(stem(path)) or "gguf")
    told = with_weights(header, told, read_native(Document(path, told.native, dict)))
    native = Document(path, told.native, dict)
    return Loaded(read_native(native), native, native, tuple(_origins(native, told.origins)))


def read_models(documents: list[Document], path: str) -> list[Loaded]:
    """Read each document as a model; `path` names a Hugging Face config, which does not name itself."""
    from kvcalc.readers.native import read_native

    models = []
    for at, document in enumerate(documents):
        origins: Origins = {}
        native = document
        check_is_config(document)
        if "model_type" in document.data:
            from kvcalc.readers.huggingface import to_native

            name = _name(document, path) + (f"-{at + 1}" if len(documents) > 1 else "")
            native, origins = to_native(document, name)
        models.append(Loaded(read_native(native), document, native, tuple(_origins(native, origins))))
    return models


def check_is_config(document: Document) -> None:
    """Raise ConfigError where the document is no model config at all."""
    data = document.data
    if "model_type" in data:
        return
    if not {"attention", "hidden_size", "num_hidden_layers"} & data.keys():
        hint = "a Hugging Face config names its model_type, a native one its attention: see README, Configs"
        raise document.error((), "not a model config", hint)
    if "architectures" in data and "attention" not in data:
        hint = "a Hugging Face config names its model_type; a native one describes its attention"
        raise document.error((), "missing field 'model_type'", hint)


def _name(document: Document, path: str) -> str:
    """Name a Hugging Face model by its own `name`, else by its file or, for config.json, the folder."""
    given = document.data.get("name")
    if isinstance(given, str):
        return given
    if given is not None:
        raise document.error(("name",), f"name: {given!r} is not text")
    if path == "-":
        return "stdin"
    stem = os.path.basename(path).rsplit(".", 1)[0]
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    name = folder if stem == "config" and folder else stem
    return _clean(name) or str(document.data["model_type"])


def _clean(name: str) -> str:
    """A name that steers neither a terminal nor a spreadsheet."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")


def _origins(document: Document, origins: Origins) -> list[Origin]:
    """Every number and flag of a native document, in its order, with where it came from."""
    found: dict[Place, Origin] = {}
    marks = document.find_marks()

    def walk(value: Any, place: Place) -> None:  # a document's values
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*place, key))
            return
        line, _ = document.mark(place)
        if not origins:
            origin = f"line {line}"
        else:
            origin = origins.get(place, "the same for its model type")
            origin += f", line {line}" if place in marks else ""
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, bool):
            shown = shown.lower()
        found[place] = Origin(".".join(map(str, place)), shown, origin)

    walk({key: value for key, value in document.data.items() if key != "name"}, ())
    for place in origins.keys() - found.keys():
        found[place] = Origin(".".join(map(str, place)), "", origins[place])
    return list(found.values())
