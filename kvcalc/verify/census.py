"""Every language model that the installed library knows, each with its class's own default config, verified.

Each is built in a process of its own, with a limit of time and memory, so that none ends the others.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.tuples import NamedTuple
from kvcalc.verify.build import MAPPINGS, NotBuiltError, build, library, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvcalc.verify.run import Verified

SECONDS, BYTES = 300, 12 * 2**30
SMALL = "gpt2"  # builds at once
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
THREE_AXES = {**ROPE, "partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12]}
COMPASS = {"rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}}
QWEN4 = {
    "rope_parameters": {**ROPE, "partial_rotary_factor": 0.25},
    "indexer_budget": 2048,
    "indexer_compress_ratio": 16,
    "indexer_head_dim": 128,
    "indexer_kv_heads": 1,
    "indexer_n_heads": 8,
}
# What a class's own defaults lack for the library to build and run them: from published configs of these types, or as
# the class takes it where none is published.
LACKING: dict[str, dict[str, Any]] = {
    "chameleon": {"vocabulary_map": {"<image>": 8711}},
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "deepseek_v2": {"num_experts_per_tok": 6, "n_group": 1, "topk_group": 1, "topk_method": "greedy"},
    "dots1": {
        "n_routed_experts": 128,
        "num_experts_per_tok": 6,
        "n_shared_experts": 2,
        "n_group": 1,
        "topk_group": 1,
    },
    "granitemoehybrid": {"layer_types": ["mamba", "mamba", "mamba", "attention"] * 8},
    "hunyuan_v1_dense": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 4, "moe_topk": 1},
    "cohere_compass": {"text_config": COMPASS},
    "cohere_compass_text": COMPASS,
    "deepseek_ocr2": {
        "text_config": {
            "num_experts_per_tok": 6,
            "n_group": 1,
            "topk_group": 1,
            "mlp_layer_types": ["dense", *["sparse"] * 31],
        }
    },
    "glm4v": {"text_config": {"rope_parameters": THREE_AXES}},
    "glm46v": {"text_config": {"rope_parameters": THREE_AXES}},
    "glm4v_moe": {"text_config": {"head_dim": 128, "rope_parameters": THREE_AXES}},
    "granite4_vision": {"deepstack_layer_map": [], "downsample_rate": "1/2"},
    "hunyuan_vl": {"text_config": {"head_dim": 128, "rope_parameters": {**ROPE, "mrope_section": [16, 16, 16, 16]}}},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "qwen4_exp": {"text_config": QWEN4},
    "qwen4_exp_text": QWEN4,
    "step3p7": {"text_config": {"sliding_window": 512}},
    "xmod": {"default_language": "en_XX"},
}
STATUSES = ("exact", "different", "refused", "not built")


class Counted(NamedTuple):
    """One model type: its status, the library's class, why it is not exact, and what was not compared.

    The numbers are the library's, after a prefill of `tokens`; None where it was not run.
    """

    model_type: str
    status: str
    library: str = ""
    why: str = ""
    left_out: str = ""
    tokens: int | None = None
    encoder_tokens: int | None = None
    parameters: int | None = None
    cache_elements: int | None = None
    prefill_flops: int | None = None
    decode_flops: int | None = None


class Census(NamedTuple):
    """Every model type, in the order of their names."""

    version: str  # of the library
    types: tuple[Counted, ...]

    def number(self, status: str) -> int:
        """How many there are of a status."""
        return sum(found.status == status for found in self.types)

    @property
    def inside(self) -> list[str]:
        """Types that the library has no class of alone: language models read where they stand in another's config."""
        from kvcalc.readers.huggingface import library_types

        return sorted(set(library_types()) - {found.model_type for found in self.types})

    def records(self) -> list[dict[str, str | int | None]]:
        """One flat record a type."""
        return [{**found._asdict(), "transformers": self.version} for found in self.types]


def verify_all(types: Sequence[str] = (), tell: Callable[[Counted], None] = lambda _: None) -> Census:
    """Verify every type, or these. `tell` hears of each as it is done. Raises KvcalcError without the library."""
    _, transformers = library()
    known = model_types()
    if unknown := [name for name in types if name not in known]:
        hint = did_you_mean(unknown[0], known) or "a type of the installed transformers"
        raise KvcalcError(f"the library has no language model of model_type {unknown[0]!r}", hint)
    found = {}
    for counted in _each(types or known):
        found[counted.model_type] = counted
        tell(counted)
    return Census(transformers.__version__, tuple(found[name] for name in sorted(found)))


def model_types() -> list[str]:
    """Every model type in one of the library's mappings of language models."""
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    named = [getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {}) for name in MAPPINGS]
    return sorted({model_type for names in named for model_type in names} & set(CONFIG_MAPPING))


def _each(types: Sequence[str]) -> Iterator[Counted]:
    """A process for each type, as many at a time as there are processors."""
    import multiprocessing
    import os
    import time
    from multiprocessing.connection import wait

    # A fork has the library already; where there is none, each process imports it.
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else None)
    verify_type(SMALL)  # what every process needs is then imported, once
    waiting = list(reversed(types))
    running: dict[Any, tuple[str, Any, float]] = {}  # by the end that we read
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_in_process, args=(waiting[-1], theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = (waiting.pop(), process, time.monotonic() + SECONDS)
        ready = wait(list(running), timeout=1)
        for ours, (name, process, until) in list(running.items()):
            if ours in ready:
                yield _received(ours, name)
            elif time.monotonic() > until:
                process.kill()
                yield Counted(name, "not built", why=f"took more than {SECONDS} seconds")
            else:
                continue
            process.join()
            ours.close()
            del running[ours]


def _received(connection: Any, name: str) -> Counted:
    try:
        return Counted(*connection.recv())
    except EOFError:
        return Counted(name, "not built", why=f"its process died: it may need more than {BYTES // 2**30} GiB")


def _in_process(model_type: str, connection: Any) -> None:
    """Verify one type and send what came of it."""
    import contextlib
    import io

    _limit_memory()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        counted = verify_type(model_type)
    connection.send(tuple(counted))
    connection.close()


def _limit_memory() -> None:
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))


def verify_type(model_type: str) -> Counted:
    """Verify one type's default config, as a file of it would say it."""
    from kvcalc.readers.load import read_models
    from kvcalc.readers.text import parse_documents
    from kvcalc.verify.run import verify_loaded

    try:
        text = default_config(model_type)
    except Exception as error:  # whatever its code raises is its reason
        return Counted(model_type, "not built", why=f"its default config: {reason(error)}")
    try:
        (loaded,) = read_models(parse_documents(f"{model_type}.json", text), f"{model_type}.json")
    except KvcalcError as error:
        return _refused(model_type, json.loads(text), str(error))
    try:
        return _told(model_type, verify_loaded(loaded))
    except NotBuiltError as error:
        return Counted(model_type, "not built", why=str(error))
    except Exception as error:  # one type's failure is that type's alone
        return Counted(model_type, "different", why=reason(error))


def default_config(model_type: str) -> str:
    """The JSON text of a type's default config, every field said; of an encoder's type, as the decoder it can be."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    fields = json.loads(CONFIG_MAPPING[model_type]().to_json_string(use_diff=False))
    if fields.get("is_decoder") is False and not fields.get("is_encoder_decoder"):
        fields["is_decoder"] = True
    return json.dumps(_completed(fields, LACKING.get(model_type, {})))


def _completed(fields: dict[str, Any], lacking: dict[str, Any]) -> dict[str, Any]:
    """Fields with those that lack put in, in nested configs too."""
    inner = {
        name: _completed(fields[name], told)
        for name, told in lacking.items()
        if isinstance(told, dict) and isinstance(fields.get(name), dict)
    }
    return {**fields, **lacking, **inner}


def _refused(model_type: str, fields: dict[str, Any], why: str) -> Counted:
    """Refused, if the library itself can run it."""
    try:
        name = build(fields, lambda live: live.name)
    except NotBuiltError as error:
        return Counted(model_type, "not built", why=str(error))
    line = why.partition("\n")[0].partition(": ")[2]
    return Counted(model_type, "refused", name, line)


def _told(model_type: str, verified: Verified) -> Counted:
    different = [c for c in verified.compared if c.equal is False]
    left_out = [f"{c.what}: {c.note}" for c in verified.compared if c.equal is None]
    why = "; ".join(f"{c.what} of {c.where}: library {c.library:,}, kvcalc {c.kvcalc:,}" for c in different)
    name = verified.library.partition(" ")[0]
    seen = verified.seen
    return Counted(
        model_type,
        "different" if different else "exact",
        name,
        why,
        "; ".join(left_out),
        seen.tokens,
        seen.encoder_tokens,
        seen.parameters,
        seen.cache_elements,
        seen.prefill_flops,
        seen.decode_flops,
    )
