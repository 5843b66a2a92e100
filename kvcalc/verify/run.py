"""Verify a source: every model of it, built live and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.tuples import NamedTuple
from kvcalc.verify.build import build, library
from kvcalc.verify.chunks import sizes_of
from kvcalc.verify.compare import Compared, compare
from kvcalc.verify.expect import expect
from kvcalc.verify.observe import observe

if TYPE_CHECKING:
    from kvcalc.model import ModelSpec
    from kvcalc.readers.load import Loaded
    from kvcalc.verify.observe import Observation

LEAST_TOKENS, MOST_TOKENS = 40, 10_000


class Verified(NamedTuple):
    """One model, the library's class of it, what that was seen to hold and do, and what was compared."""

    spec: ModelSpec
    library: str
    seen: Observation
    compared: tuple[Compared, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not any(compared.equal is False for compared in self.compared)

    def records(self) -> list[dict[str, str | int | None]]:
        """One flat record a number."""
        return [
            {
                "model": self.spec.name,
                "class": self.library,
                "what": compared.what,
                "where": compared.where,
                "library": compared.library,
                "kvcalc": compared.kvcalc,
                "result": compared.result,
                "note": compared.note,
            }
            for compared in self.compared
        ]


def verify_source(source: str, tokens: int | None = None) -> list[Verified]:
    """Verify every model of a source, of a Hugging Face config.

    Raises KvcalcError where the library is not installed, cannot build it, or kvcalc does not understand it.
    """
    from kvcalc.readers.load import read_source

    return [verify_loaded(loaded, tokens) for loaded in read_source(source)]


def verify_loaded(loaded: Loaded, tokens: int | None = None) -> Verified:
    """Verify one model read from a file."""
    fields = loaded.document.data
    if "model_type" not in fields:
        raise KvcalcError(
            f"{loaded.spec.name}: a native config names no class of the library's to be verified with",
            "verify takes a published config.json",
        )
    _, transformers = library()
    spec = loaded.spec
    n = tokens or tokens_for(spec)
    encoder_tokens = encoder_tokens_for(spec)
    encodes = spec.encoder is not None
    name, sizes, seen = build(
        fields, lambda live: (live.name, sizes_of(live.text), observe(live, n, encoder_tokens, encodes=encodes))
    )
    compared = compare(seen, expect(spec, n, seen.encoder_tokens, sizes))
    return Verified(spec, f"{name} of transformers {transformers.__version__}", seen, tuple(compared))


def tokens_for(spec: ModelSpec) -> int:
    """A prefill long enough for the model's windows to fill, within its context."""
    edges = [
        size
        for _, branch in spec.branches()
        for symbol, size in branch.reach.symbols().items()
        if symbol in ("W", "C", "m") and isinstance(size, int)
    ]
    wanted = max([LEAST_TOKENS, *(edge + 3 for edge in edges if edge + 3 <= MOST_TOKENS)])
    return min(wanted, spec.position_embeddings - 3 if spec.position_embeddings > 8 else wanted)


def encoder_tokens_for(spec: ModelSpec) -> int:
    """Its fixed length, else some tokens; none where the encoder is another model's."""
    if spec.encoder is None:
        return 0
    return spec.encoder_tokens or 24
