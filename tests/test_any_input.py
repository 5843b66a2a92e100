"""Any bytes, any mutation of a config: a model or one refusal, never anything else."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # noqa: TID253  # a test, not a start
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvcalc.errors import ConfigError, KvcalcError
from kvcalc.model import ModelSpec
from kvcalc.readers import bundle
from kvcalc.readers.families import families
from kvcalc.readers.huggingface import library_facts, to_native
from kvcalc.readers.load import load_all
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
from refusals import LLAMA, NATIVE

# ---------- any input

FUZZ = settings(
    derandomize=True, deadline=None, max_examples=250, database=None, suppress_health_check=[HealthCheck.too_slow]
)
WORDS = ["", "x", "1e6", "017", "yes", "=1", "full_attention", "sliding x3", "2**9", "dense", "mla", "\x07"]
SIZES = [0, 1, 2, 3, 7, -1, 10**4, 10**5, 1.5, float("inf"), float("nan"), None, True, False]
LISTS: list[Any] = [[], {}, [[]], [1], ["x"], [None], {"kind": "heads"}, {"x": 1}, [True] * 4, ["full_attention"] * 4]
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([*SIZES, *WORDS, *LISTS]), st.integers(-10, 300), st.text(max_size=8)
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "model.yaml"


def refusal(read: Callable[[], object]) -> Exception | None:
    """Return what reading raised, if it did."""
    try:
        read()
    except Exception as error:  # whatever it is: the caller judges its kind
        return error
    return None


def assert_read_or_refused(path: Path, content: bytes) -> None:
    """Either models or an error with its file; any other exception is a bug."""
    path.write_bytes(content)
    found: list[ModelSpec] = []
    error = refusal(lambda: found.extend(load_all(str(path))))
    if error is None:
        assert found
        assert all(isinstance(spec, ModelSpec) for spec in found)
    else:
        assert isinstance(error, KvcalcError), repr(error)
        assert str(error).startswith(f"{path}:")


@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode())))
@FUZZ
def test_arbitrary_bytes_are_read_or_refused(scratch: Path, content: bytes) -> None:
    assert_read_or_refused(scratch, content)


@given(text=st.text(alphabet="{}[]:,-&*!|>'\"%#?~<=.@ \n\tab01e_", max_size=60))
@FUZZ
def test_arbitrary_yaml_is_read_or_refused(scratch: Path, text: str) -> None:
    assert_read_or_refused(scratch, text.encode())
    assert_read_or_refused(scratch, f"{NATIVE}{text}".encode())


def places(data: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every key of a document."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in inner for found in ((*place, key), *places(value, (*place, key)))]


def mutated(data: Any, place: tuple[str | int, ...], change: str, junk: Any) -> Any:
    """Return a copy with one value or key replaced or deleted."""
    copy = json.loads(json.dumps(data))
    parent = copy
    for step in place[:-1]:
        parent = parent[step]
    last = place[-1]
    if change == "value" or (change == "key" and isinstance(parent, list)):
        parent[last] = junk
    elif change == "key":
        parent[f"{last}s" if junk is None else str(junk)] = parent.pop(last)
    else:
        del parent[last]
    return copy


def duplicated(lines: list[str], at: int) -> str:
    return "\n".join([*lines[: at + 1], *lines[at:]])


def assert_mutant_read_or_refused(scratch: Path, document: Any, data: st.DataObject, as_json: bool) -> None:
    dump: Callable[[Any], str] = (lambda value: json.dumps(value, indent=1)) if as_json else yaml.safe_dump
    change = data.draw(st.sampled_from(["value", "value", "key", "deletion", "duplicate"]))
    if change == "duplicate":
        lines = dump(document).splitlines()
        text = duplicated(lines, data.draw(st.integers(0, len(lines) - 1)))
    else:
        place = data.draw(st.sampled_from(places(document)))
        text = dump(mutated(document, place, change, data.draw(JUNK)))
    assert_read_or_refused(scratch, text.encode("utf-8", "surrogatepass"))


@cache
def bundled_config(name: str) -> Any:
    with open(bundle.config_path(name), encoding="utf-8") as file:
        return yaml.safe_load(file)


@given(name=st.sampled_from(bundle.names()), data=st.data(), as_json=st.booleans())
@FUZZ
def test_mutated_bundled_configs_are_read_or_refused(
    scratch: Path, name: str, data: st.DataObject, as_json: bool
) -> None:
    assert_mutant_read_or_refused(scratch, bundled_config(name), data, as_json)


FAMILIES = [*sorted(families()), "gemma3", "llama4"]


def published(model_type: str) -> dict[str, Any]:
    """A Hugging Face config of this type in which every default is written out."""
    facts = library_facts(model_type)
    if "text" in facts:
        inner: dict[str, Any] = published(facts["text_type"])
        for key in reversed(facts["text"]):
            inner = {key: inner}
        return {"model_type": model_type, "tie_word_embeddings": True, **inner}
    defaults = facts["defaults"]
    return {"model_type": model_type, "quantization_config": {"bits": 4}, **defaults, "hidden_size": 64}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_is_read_with_its_defaults_written_out_or_refused(scratch: Path, model_type: str) -> None:
    assert_read_or_refused(scratch, json.dumps(published(model_type)).encode())


NUMBERS: tuple[Any, ...] = (None, True, -1, 0, 3, 0.5, "x", [], [0], {}, 10**15, 10**25)


@cache
def having() -> dict[Any, list[str]]:
    """The types that have each key."""
    found: dict[Any, list[str]] = {}
    for model_type in FAMILIES:
        for place in places(published(model_type)):
            found.setdefault(place[-1], []).append(model_type)
    return found


def values_for(model_type: str, key: Any) -> tuple[Any, ...]:
    """What a key of this type is to hold: types that share a key share the values out among them."""
    values = NUMBERS[:-2] if key == "num_hidden_layers" else NUMBERS
    types = having()[key]
    return values[types.index(model_type) % len(values) :: min(len(types), len(values))]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_any_key_of_a_family_may_hold_anything(model_type: str) -> None:
    """Each key alone gets each value, in one type or another; a refusal names the file and the place."""
    whole, wrong = published(model_type), []
    for place in places(whole):
        for value in values_for(model_type, place[-1]):
            document = Document("config.json", mutated(whole, place, "value", value), dict)
            error = refusal(partial(lambda given: read_native(to_native(given, "test")[0]), document))
            if error is not None and not isinstance(error, ConfigError):
                wrong.append(f"{place} = {value!r}: {error!r}")
    assert not wrong


@given(model_type=st.sampled_from(FAMILIES), data=st.data(), as_json=st.booleans())
@FUZZ
def test_mutated_hugging_face_configs_are_read_or_refused(
    scratch: Path, model_type: str, data: st.DataObject, as_json: bool
) -> None:
    assert_mutant_read_or_refused(scratch, published(model_type), data, as_json)


@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    ascii_only=st.booleans(),
)
@FUZZ
def test_a_key_that_is_not_read_changes_no_hugging_face_model(scratch: Path, value: Any, ascii_only: bool) -> None:
    """Whatever a published config.json carries beside its shape: JSON is JSON."""
    scratch.write_text(json.dumps(LLAMA))
    plain = load_all(str(scratch))
    scratch.write_text(json.dumps({"zzzzzz": value, **LLAMA}, ensure_ascii=ascii_only), encoding="utf-8")
    assert load_all(str(scratch)) == plain
