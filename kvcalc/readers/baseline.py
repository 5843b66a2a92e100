"""Rows that an earlier run of `kvcalc compare` wrote, compared with what the same models give today.

Every row carries its own workload and variant, so that the same question is asked again. A key that is not known here
is ignored, a result that is not there is not compared: files of older and newer versions can be read.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from kvcalc.analysis import analyze
from kvcalc.difference import COMPARED, Diff, Pair, Side, diff_rows
from kvcalc.engines.settings import parse_pairs
from kvcalc.errors import ConfigError, FileError, KvcalcError
from kvcalc.hardware.machine import parse_machine
from kvcalc.readers import bundle
from kvcalc.readers.history import shown
from kvcalc.readers.load import load_all
from kvcalc.rows import ASKED, TEXTS
from kvcalc.tuples import NamedTuple
from kvcalc.variants import NotRebuiltError, parse_variants, rebuild
from kvcalc.workload import PARALLEL, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.model import ModelSpec
    from kvcalc.rows import Row
    from kvcalc.variants import Variant

MAX_BYTES = 20_000_000  # 7,000 rows
MAX_VALUES = 600_000  # about: what separates them is counted, before anything is made
LARGEST = 10**60
HINT = "a baseline is what `kvcalc compare MODELS --format json` wrote"
# What a row says under a name of Workload's, and what it must be.
_WHOLE = (
    "context_tokens",
    "batch",
    "cached_tokens",
    "shared_prefix_tokens",
    "generate_tokens",
    "encoder_tokens",
    *PARALLEL,
)
_WORDS = ("weight_dtype", "mla_decode", "mla_prefill", "state_dtype", "engine", "mtp", "engine_version")


class _Asked(NamedTuple):
    """A row of the file with the question that it answers; `variant` None: the model as configured."""

    row: Row
    model: str
    variant: Variant | None
    workload: Workload

    @property
    def variant_name(self) -> str:
        return self.variant.name if self.variant else "configured"


def diff_baseline(path: str, sources: Sequence[str] = ()) -> Diff:
    """Compare the rows of a file, '-' being stdin, with today's numbers of these sources, or of the bundled models.

    Raises KvcalcError for a file that holds no such rows, with the row, and for a model that nobody gives.
    """
    if [path, *sources].count("-") > 1:
        raise KvcalcError("- is stdin, and can be given once")
    file = shown(path)
    asked = list(_read(file, _text(path)))
    today: dict[str, tuple[ModelSpec, str]] = {}
    for source in sources:
        for spec in load_all(source):
            if spec.name in today:
                told = f"{shown(source)}: {today[spec.name][1]} has a model {spec.name!r} too"
                raise KvcalcError(told, "a baseline knows models by their names: give one of them")
            today[spec.name] = spec, shown(source)
    names = list(dict.fromkeys(one.model for one in asked))
    if len(today) == len(names) == 1 and len(sources) == 1:
        today = {names[0]: next(iter(today.values()))}
    elif not sources:
        today = {name: (bundle.read(name), name) for name in names if name in bundle.names()}
        if missing := [name for name in names if name not in today]:
            raise KvcalcError(
                f"{file}: the model {missing[0]!r} is not bundled",
                "give its file: kvcalc diff --baseline FILE MODELS...",
            )
    return diff_rows([*_compared(asked, today, file), *_new(asked, today)])


def configured_rows(path: str) -> list[tuple[str, Row]]:
    """Every row of a file that is of a model as configured, with the model's name, for budgets of a rise.

    Raises KvcalcError for a file that holds no such rows.
    """
    return [(one.model, one.row) for one in _read(shown(path), _text(path)) if one.variant is None]


def _compared(
    asked: Sequence[_Asked], today: dict[str, tuple[ModelSpec, str]], file: str
) -> Iterator[tuple[Pair, str, list[tuple[Row | None, Row | None]]]]:
    """Each model and variant of the file with its rows, old and new."""
    subjects: dict[tuple[str, str], list[_Asked]] = {}
    for one in asked:
        subjects.setdefault((one.model, one.variant_name), []).append(one)
    for (name, variant), rows in subjects.items():
        spec, source = today.get(name, (None, ""))
        if spec and rows[0].variant:
            try:
                spec = rebuild(spec, rows[0].variant)[0]
            except NotRebuiltError:  # it once made sense for this model, and no longer does
                spec = None
        new = Side(spec.name, source, spec) if spec else None
        pair = Pair(Side(name, file), new)
        yield pair, variant, [(one.row, _today(spec, one.workload, variant) if spec else None) for one in rows]


def _new(
    asked: Sequence[_Asked], today: dict[str, tuple[ModelSpec, str]]
) -> Iterator[tuple[Pair, str, list[tuple[Row | None, Row | None]]]]:
    """Each model that the file has not, asked for every workload of the file."""
    known = {one.model for one in asked}
    workloads = list(dict.fromkeys(one.workload for one in asked))
    for name, (spec, source) in today.items():
        if name not in known:
            rows: list[tuple[Row | None, Row | None]] = [
                (None, _today(spec, workload, "configured")) for workload in workloads
            ]
            yield Pair(None, Side(name, source, spec)), "configured", rows


def _today(spec: ModelSpec, workload: Workload, variant: str) -> Row:
    return analyze(spec, workload, variant).rows()[0]


def _text(path: str) -> str:
    file = shown(path)
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin else b""
        else:
            with open(path, "rb") as opened:
                raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileError(file, f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise FileError(file, f"cannot be read: {error}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(file, f"larger than {MAX_BYTES:,} bytes", hint=HINT)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(file, "not UTF-8 text", hint=HINT) from None


def _read(file: str, text: str) -> Iterator[_Asked]:
    """Every row with its question; two that answer the same question differently are refused."""
    seen: dict[tuple[str, str, Workload], int] = {}
    rows: list[_Asked] = []
    for at, data in enumerate(_records(file, text)):
        where = f"{file}: row {at + 1}"
        try:
            one = _asked(data)
        except KvcalcError as error:
            hint = error.hint if isinstance(data, dict) and "context_tokens" in data else HINT
            raise KvcalcError(f"{where}: {error.message}", hint) from None
        question = (one.model, one.variant_name, one.workload)
        first = seen.setdefault(question, at)
        rows.append(one)
        if rows[first].row != one.row:
            message = f"{where}: {one.model!r} was asked the same in row {first + 1}, and answered otherwise"
            raise KvcalcError(message, "two models of one name cannot be told apart")
        if first == at:
            yield one
    if not rows:
        raise ConfigError(file, "no rows", hint=HINT)


def _records(file: str, text: str) -> list[Any]:
    """A JSON array of rows, or one row a line."""
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise ConfigError(file, f"more than {MAX_VALUES:,} values", hint=HINT)
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        if text.lstrip()[:1] != "{" or error.msg != "Extra data":
            raise ConfigError(
                file, f"not JSON: {error.msg}", line=error.lineno, column=error.colno, hint=HINT
            ) from None
    except (RecursionError, ValueError):
        raise ConfigError(file, "not JSON of rows", hint=HINT) from None
    else:
        return data if isinstance(data, list) else [data]
    rows = []
    for at, line in enumerate(text.splitlines()):
        try:
            rows += [json.loads(line, parse_constant=_no_constant)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ConfigError(file, f"not JSON: {error.msg}", line=at + 1, column=error.colno, hint=HINT) from None
        except (RecursionError, ValueError):
            raise ConfigError(file, "not JSON of rows", line=at + 1, column=1, hint=HINT) from None
    return rows


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _asked(data: Any) -> _Asked:
    """A row as a question and its answers. Raises KvcalcError where it is none."""
    if not isinstance(data, dict) or not isinstance(data.get("model"), str) or data.get("context_tokens") is None:
        raise KvcalcError("not a row of `kvcalc compare`: it has no model and context_tokens", HINT)
    for key in COMPARED:
        value = data.get(key)
        if key in TEXTS:
            if not isinstance(value, str | None):
                raise KvcalcError(f"{key}: {_brief(value)} is not text")
        elif value is not None and (type(value) not in (int, float) or not abs(value) < LARGEST):
            raise KvcalcError(f"{key}: {_brief(value)} is not a number")
    given = {key: data[key] for key in ("variant", *ASKED) if data.get(key) is not None}
    for key in ("variant", "cache_dtype", "kv_cache", "engine_options", "on", *_WORDS):
        if not isinstance(given.get(key, ""), str):
            raise KvcalcError(f"{key}: {_brief(given[key])} is not text")
    if given.get("kv_cache", "on") not in ("on", "off"):
        raise KvcalcError(f"kv_cache: {_brief(given['kv_cache'])} is not known", "on or off")
    parts = given.get("cache_dtype", "bf16").split("/")
    if len(parts) > 3:
        raise KvcalcError(f"cache_dtype: {_brief(given['cache_dtype'])} is not known", "bf16, or int8/int4 for K and V")
    k, v = (parts[0], parts[1]) if len(parts) > 1 else ("", "")
    workload = Workload(
        **{key: given[key] for key in (*_WHOLE, *_WORDS) if key in given},
        engine_options=parse_pairs(given["engine_options"].split(",")) if given.get("engine_options") else (),
        kv_cache=given.get("kv_cache") != "off",
        machine=parse_machine(given["on"], "on") if given.get("on") else None,
        dtype=parts[-1],
        dtype_k=k,
        dtype_v=v,
    )
    workload.check()
    return _Asked(
        {key: data[key] for key in data if key in (*ASKED, *COMPARED)}, data["model"], _variant(given), workload
    )


def _variant(given: dict[str, Any]) -> Variant | None:
    name = given.get("variant", "configured")
    if name == "configured":
        return None
    variants = [] if name.strip().lower() == "none" else parse_variants(name)
    if len(variants) != 1:
        raise KvcalcError(f"variant: {_brief(name)} is no variant")
    return variants[0]


def _brief(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
