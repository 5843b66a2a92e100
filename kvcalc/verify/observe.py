"""What a live model holds and does: its parameters, its cache after a prefill, the matmuls a counter counts."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from kvcalc.tuples import NamedTuple
from kvcalc.verify.build import library, reason
from kvcalc.verify.inputs import other_inputs, parts_of, prefill_inputs, step_inputs, towers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verify.build import Live

VALUES = "the library's code asks which tokens an expert has, which the meta device does not know"
PROJECTORS = (
    "visual_projection",
    "img_temporal_embedding",
    "embed_tokens_extend",
    "multi_modal_projector",
    "protein_encoder",
)  # in a language model's own
GIVEN = "its encoder reads more than ids: what it makes of them was given instead"
CACHES = ("past_key_values", "cache_params", "state")  # what the library's outputs call it


class Held(NamedTuple):
    """One tensor of a cache: the layer it belongs to, None where it holds all of them, its name and shape."""

    layer: int | None
    name: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Its numbers."""
        size = 1
        for length in self.shape:
            size *= length
        return size


class Observation(NamedTuple):
    """A model after a prefill of `tokens`, batch 1, and one decode step. None: not run, and `unseen` says why."""

    tokens: int
    encoder_tokens: int
    parameters: int
    held: tuple[Held, ...]
    prefill_flops: int | None
    decode_flops: int | None
    unseen: str = ""
    unread: str = ""  # why there are no FLOPs of the prefill

    @property
    def cache_elements(self) -> int:
        """All it holds between steps."""
        return sum(held.elements for held in self.held)

    def by_layer(self) -> dict[int, list[Held]] | None:
        """What each layer holds; None where a tensor holds more than one layer's."""
        found: dict[int, list[Held]] = {}
        for held in self.held:
            if held.layer is None:
                return None
            if held.elements:
                found.setdefault(held.layer, []).append(held)
        return found


def observe(live: Live, tokens: int, encoder_tokens: int, *, encodes: bool = True) -> Observation:
    """Prefill and one decode step with the library's own cache. Raises whatever the library raises in the prefill.

    `encodes`: its encoder is a part of the model as kvcalc has it.
    """
    torch, _ = library()
    with _caches_passed(live) as passed:
        given, prefill, known, encoder_tokens, unread = _prefilled(torch, live, tokens, encoder_tokens, encodes)
    name, cache = _cache_of(given)
    if cache is None and passed:  # RecurrentGemma makes one and returns none; its states stand in its modules
        cache = passed[-1]
        held = tuple(tensors_of([cache, _kept_in_modules(live, torch)], torch))
    else:
        held = tuple(tensors_of(cache, torch))
    decode, failed = None, ""
    try:
        step = {name: cache, "use_cache": True, **step_inputs(torch, live, given)}
        _, decode = _counted(live, step, every=not known)
    except Exception as error:  # the prefill's numbers stand
        failed = reason(error)
    parameters = parameters_of(live)
    if not known:
        return Observation(tokens, encoder_tokens, parameters, held, None, None, VALUES)
    return Observation(tokens, encoder_tokens, parameters, held, prefill, decode, failed, unread)


class Prefilled(NamedTuple):
    """A prefill's outputs, its FLOPs, whether these are known, what cross attention read, and why FLOPs are None."""

    given: Any
    flops: int | None
    known: bool
    encoder_tokens: int
    unread: str


def _prefilled(torch: Any, live: Live, tokens: int, encoder_tokens: int, encodes: bool) -> Prefilled:
    """Run the first prefill that the model takes. Raises what the library raised of the plain one."""
    told = prefill_inputs(torch, live, tokens, encoder_tokens)
    try:
        return Prefilled(*_known(live, told), encoder_tokens, "")
    except Exception:  # whatever its code raises
        for inputs, read in other_inputs(torch, live, told, encoder_tokens, encodes):
            with contextlib.suppress(Exception):
                given, flops, known = _known(live, inputs)
                return Prefilled(given, None if read else flops, known, read or encoder_tokens, GIVEN if read else "")
        raise


def _known(live: Live, inputs: dict[str, Any]) -> tuple[Any, int, bool]:
    """A call's outputs and FLOPs, and whether these are what they would be with numbers."""
    try:
        return (*_counted(live, inputs), True)
    except NotImplementedError:  # which tokens an expert has depends on numbers: then as if it had all of them
        return (*_counted(live, inputs, every=True), False)


@contextlib.contextmanager
def _caches_passed(live: Live) -> Iterator[list[Any]]:
    """The caches that modules hand to each other while a call runs."""
    from transformers.cache_utils import Cache

    passed: list[Any] = []

    def look(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        passed.extend(value for value in (*args, *kwargs.values()) if isinstance(value, Cache))

    hooks = [module.register_forward_pre_hook(look, with_kwargs=True) for module in live.model.modules()]
    try:
        yield passed
    finally:
        for hook in hooks:
            hook.remove()


def _kept_in_modules(live: Live, torch: Any) -> dict[str, dict[int, list[Any]]]:
    """Tensors of numbers that modules of layers hold and that are neither weights nor buffers."""
    layers: dict[int, list[Any]] = {}
    for name, module in live.model.named_modules():
        if found := re.search(r"\blayers\.(\d+)\.", f"{name}."):
            kept = [value for value in vars(module).values() if isinstance(value, torch.Tensor)]
            layers.setdefault(int(found[1]), []).extend(kept)
    return {"layers": layers}


def _counted(live: Live, inputs: dict[str, Any], *, every: bool = False) -> tuple[Any, int]:
    """Run a call under torch's counter of matmuls; `every`: as if no number were zero where code asks which are not."""
    from torch.fx.experimental import _config
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with _config.patch(meta_nonzero_assume_all_nonzero=every), _blind(), counter:
        outputs = live.model(**inputs)
    return outputs, counter.get_total_flops()


def _blind() -> Any:
    """Answer what code asks of numbers, which the meta device has not: False or 0."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Blind(TorchDispatchMode):  # type: ignore[misc, unused-ignore]  # torch may not be there to be checked
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
                return False if args[0].dtype is torch.bool else 0
            return func(*args, **(kwargs or {}))

    return Blind()


def _cache_of(given: Any) -> tuple[str, Any]:
    """The cache in a model's outputs and what it is called there."""
    for name in CACHES:
        cache = given.get(name) if hasattr(given, "get") else None
        if cache is not None:
            return name, cache
    return CACHES[0], None


def parameters_of(live: Live) -> int:
    """Numbers of the language model's own modules and of its head, tied ones once: towers and projectors apart."""
    ours = [live.model, *live.model.modules()] if live.text is live.config else []
    # A model's own module: a projector's attention may hold the language model's config too.
    models = [module for module in live.model.modules() if hasattr(module, "post_init")]
    ours += [module for module in models if getattr(module, "config", None) is live.text]
    found = {id(weights): weights.numel() for module in ours for weights in module.parameters()}
    towers = towers_of(live.config) if live.config.is_encoder_decoder else parts_of(live.config)
    for name, module in live.model.named_modules():
        config = getattr(module, "config", None)
        tower = config is not live.text and any(config is part for part in towers)
        if tower or any(word in name.rsplit(".", 1)[-1] for word in PROJECTORS):
            for weights in module.parameters():
                found.pop(id(weights), None)
    head = live.model.get_output_embeddings()
    if head is not None:
        found.update((id(weights), weights.numel()) for weights in head.parameters())
    return sum(found.values())


def tensors_of(cache: Any, torch: Any) -> Iterator[Held]:
    """Every tensor of numbers in a cache, with its layer."""
    seen: set[int] = set()

    def walk(value: Any, layer: int | None, name: str) -> Iterator[Held]:
        if isinstance(value, torch.Tensor):
            if value.is_floating_point() and value.dim() > 0 and id(value) not in seen:
                seen.add(id(value))  # K that is V too
                yield Held(layer, name, tuple(value.shape))
            return
        if isinstance(value, dict):
            items = list(value.items())
        elif isinstance(value, list | tuple):
            items = list(enumerate(value))
        elif hasattr(value, "__dict__") and type(value).__module__.startswith("transformers"):
            if id(value) in seen:
                return
            seen.add(id(value))
            items = list(vars(value).items())
        else:
            return
        for key, inner in items:
            if layer is None and isinstance(key, int) and name.rsplit(".", 1)[-1] == "layers":
                yield from walk(inner, key, "")
            else:
                yield from walk(inner, layer, f"{name}.{key}".strip("."))

    yield from walk(cache, None, "")
