"""Record what llama.cpp's converter makes of small models: the headers in tests/truth/gguf.jsonl.

    python scripts/gguf_truth.py CHECKOUT [tests/truth/gguf.jsonl]

CHECKOUT is one of llama.cpp; torch and transformers must be there. Each line of the file has a `config` and, where the
converter wants fields that the library's config.json no longer has, those as published: `hub`; `rename` is what it
calls tensors of a model that stands within another. A random model of it is saved and converted, without vocabulary;
`keys` and `tensors` are written anew.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any


def convert(record: dict[str, Any], folder: Path, converter: Any) -> Path:
    """Save a random model of a record's config, and convert it. Returns the path of the GGUF file."""
    import torch
    import transformers

    given = {name: value for name, value in record["config"].items() if name != "architectures"}
    config = transformers.AutoConfig.for_model(**given)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).to(torch.float16).save_pretrained(folder)
    fields = {**converter.ModelBase.load_hparams(folder, False), **record.get("hub", {})}
    if named := record["config"].get("architectures"):
        fields["architectures"] = named
    kind = converter.get_model_architecture(fields, converter.ModelType.TEXT)
    made = converter.ModelBase.from_model_architecture(kind)

    class Renamed(made):  # type: ignore[misc,valid-type]  # a class of the checkout's
        """Tensors by the names of a model that holds this one."""

        model_arch = made.model_arch

        def index_tensors(self, **more: Any) -> dict[str, Any]:
            found = super().index_tensors(**more)
            old, new = record.get("rename", ("", ""))
            return {re.sub(old, new, name, count=1): tensor for name, tensor in found.items()} if old else found

    path = folder / "model.gguf"
    with torch.inference_mode():
        Renamed(folder, converter.gguf.LlamaFileType.MOSTLY_F16, path, eager=False, hparams=fields).write()
    return path


def without_vocabulary(converter: Any) -> None:
    """A vocabulary decides no shape: the small models have none."""
    for kind in list(vars(converter).values()):
        if isinstance(kind, type) and issubclass(kind, converter.TextModel):
            kind.set_vocab = lambda _: None  # type: ignore[attr-defined]  # a random model has no words
    converter.TextModel.get_vocab_base = lambda _: (["x"] * 256, [1] * 256, "x")
    converter.TextModel._create_vocab_sentencepiece = lambda _: (["x"] * 256, [0] * 256, [1] * 256)


def main() -> None:
    """Write every record of the file anew."""
    from kvcalc.readers.gguf import read_header

    checkout, path = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "tests/truth/gguf.jsonl")
    sys.path[:0] = [str(checkout / "gguf-py"), str(checkout)]
    import convert_hf_to_gguf as converter  # type: ignore[import-not-found]  # of a checkout beside it

    without_vocabulary(converter)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        with tempfile.TemporaryDirectory() as folder:
            header = read_header(str(convert(record, Path(folder), converter)))
            saved = json.loads((Path(folder) / "config.json").read_text())
        record["saved"] = {
            **saved,
            **({"architectures": told} if (told := record["config"].get("architectures")) else {}),
        }
        name = record["architecture"] = header.values["general.architecture"]
        record["keys"] = {
            key.removeprefix(f"{name}."): value for key, value in header.values.items() if key.startswith(f"{name}.")
        }
        record["tensors"] = {name: [one.type, *one.shape] for name, one in header.tensors.items()}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


if __name__ == "__main__":
    main()
