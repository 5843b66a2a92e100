"""`diff` as tables, and as findings: what changed in each config, then every number that differs by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.findings import Finding
from kvcalc.report.places import place, printable
from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, count, decimal, duration, tokens
from kvcalc.rows import PHASES
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.difference import Change, Diff, Difference
    from kvcalc.rows import Value

CHANGED = "KV301"
# What a reviewer looks for first.
MAIN = ("cache_bytes", "cache_bytes_per_token", "parameters", "decode_attention_flops", "prefill_attention_flops")
MOST_SENTENCES = 8
# Parts of the workload beside the context: told in a column of their own where they vary, else once.
SETTING = {
    "batch": "batch",
    "cache_dtype": "cache",
    "weight_dtype": "weights",
    "cached_tokens": "cached",
    "shared_prefix_tokens": "shared prefix",
    "generate_tokens": "answer",
    "kv_cache": "KV cache",
    "mla_decode": "MLA decode",
    "mla_prefill": "MLA prefill",
    "engine": "engine",
    "engine_version": "version",
    "tensor_parallel": "devices",
    "pipeline_parallel": "stages",
    "data_parallel": "groups of the batch",
    "expert_parallel": "groups of experts",
    "context_parallel": "devices of a sequence",
    "engine_options": "options",
    "on": "on",
    "mtp": "prediction layers",
}
USUAL = {
    "cached_tokens": 0,
    "shared_prefix_tokens": 0,
    "generate_tokens": 0,
    "kv_cache": "on",
    "engine": "paper",
    "engine_version": None,
    **dict.fromkeys(PARALLEL, 1),
    "mtp": "off",
}
NAMES = {
    "cache_elements_per_token": "elements a token",
    "cache_bytes_per_token": "bytes a token",
    "cache_bytes": "cache",
    "weight_bytes": "weights",
    "decode_intensity": "decode FLOPs a byte",
    "receptive_field_tokens": "receptive field",
    "reserved_bytes_total": "reserved on all",
    "weight_bytes_per_device": "weights on a device",
    "weight_bytes_total": "weights on all",
    **{f"{phase}_least_seconds": f"{phase} at the least" for phase in PHASES},
    **{f"{phase}_tokens_per_second_at_most": f"{phase} tokens/s at most" for phase in PHASES},
}
NO_NUMBER = "no number changes"
CONFIGS = (".yaml", ".yml", ".json")
WIDEST = 40


def difference_tables(diff: Diff, errors: Sequence[Finding] = ()) -> list[Table]:
    """One block a model: its title, what changed in the config, the numbers; then what could not be read."""
    tables = [table for model in diff.models for table in _block(model)]
    if errors:
        columns = (
            Column("", tuple(error.severity for error in errors), numeric=False),
            Column("where", tuple(place(error) for error in errors), numeric=False),
            Column("code", tuple(error.code for error in errors), numeric=False),
            Column("message", tuple(clean(error.message) for error in errors), numeric=False),
        )
        hints = dict.fromkeys(clean(error.hint) for error in errors if error.hint)
        tables.append(Table("wrong or not understood", columns, tuple(hints)))
    return tables or [Table("no difference", ())]


def _block(model: Difference) -> list[Table]:
    fields, numbers = model.of_kind("field"), told_numbers(model)
    tables = []
    if fields:
        shortened = [short_texts(change) for change in fields]
        columns = (
            Column("field", tuple(_window(change.name, 0) for change in fields), numeric=False),
            Column("line", tuple(str(change.line or "-") for change in fields), rank=1),
            Column("old", tuple(old for old, _ in shortened)),
            Column("new", tuple(new for _, new in shortened)),
        )
        tables.append(Table("", columns))
    if numbers:
        tables.append(quantity_table(numbers))
        return [tables[0]._replace(title=title(model)), *tables[1:]]
    return [Table(f"{title(model)}, {NO_NUMBER}", tables[0].columns if tables else ())]


def told_numbers(model: Difference) -> list[Change]:
    """The numbers that differ, but for a 0 of a model that is new or gone, and what is reserved by no engine."""
    return [change for change in model.of_kind("quantity") if (change.old or change.new) and not _repeats(change)]


def _repeats(change: Change) -> bool:
    """Whether it only says again what is cached: without an engine nothing else is reserved or held."""
    together = all(change.asked.get(key, 1) == 1 for key in PARALLEL)
    if together and change.name in ("reserved_bytes_total", "weight_bytes_per_device", "weight_bytes_total"):
        return True
    return together and change.asked.get("engine") == "paper" and change.name in ("reserved_bytes", "held_bytes")


def main_numbers(model: Difference) -> list[Change]:
    """Those of them that a reviewer looks for first, in the order of MAIN."""
    main = [change for change in told_numbers(model) if change.name in MAIN]
    return sorted(main, key=lambda change: MAIN.index(change.name))


def title(model: Difference) -> str:
    """'qwen3-8b  configs/qwen3-8b.yaml  changed', old -> new where they differ."""
    return "  ".join([_named(model), *([" -> ".join(told)] if (told := files(model)) else []), model.status])


def _named(model: Difference) -> str:
    named = " -> ".join(dict.fromkeys((model.old_model, model.model)))
    return named if model.variant == "configured" else f"{named} as {model.variant}"


def files(model: Difference) -> list[str]:
    """The file, or the old and the new one; none where they only repeat the names of bundled models."""
    told = dict.fromkeys(file for file in (model.old_file, model.new_file) if file)
    return [] if set(told) <= {model.old_model, model.model} else list(told)


def quantity_table(numbers: Sequence[Change]) -> Table:
    """The numbers that differ, with the part of the workload that each depends on where it varies."""
    varying = [key for key in SETTING if len({change.asked[key] for change in numbers if key in change.asked}) > 1]
    written = [short_numbers(change) for change in numbers]

    def asked(key: str) -> tuple[str, ...]:
        return tuple(_plain(change.asked.get(key)) for change in numbers)

    columns = (
        Column("quantity", tuple(quantity_name(change.name) for change in numbers), numeric=False),
        *([Column("context", asked("context_tokens"))] if any(asked("context_tokens")) else []),
        *(Column(SETTING[key], asked(key)) for key in varying),
        *(
            column
            for column in (
                Column("old", tuple(old for old, _, _ in written)),
                Column("new", tuple(new for _, new, _ in written)),
                Column("difference", tuple(difference for _, _, difference in written), rank=2),
                Column("percent", tuple(percent(change) for change in numbers), rank=1),
            )
            if set(column.cells) != {"-"}  # a model that is new or gone has one side
        ),
    )
    return Table("", columns, (setting,) if (setting := _setting(numbers, varying)) else ())


def _setting(numbers: Sequence[Change], varying: Sequence[str]) -> str:
    """What was asked in all of these rows, the usual left out: 'batch 1, cache bf16'."""
    told: dict[str, Value] = {}
    for change in numbers:
        told.update(change.asked)
    return ", ".join(
        f"{name} {_plain(told[key])}"
        for key, name in SETTING.items()
        if key in told
        and key not in varying
        and told[key] not in (None, USUAL.get(key))
        and not key.startswith("mla_")  # what they mean is told by compare; most models have no latent
    )


def _plain(value: Value) -> str:
    """A part of the workload; nothing where a number does not depend on it."""
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def quantity_name(key: str) -> str:
    """'cache', 'decode attention FLOPs'."""
    return NAMES.get(key) or key.removesuffix("_bytes").replace("_flops", "_FLOPs").replace("_", " ")


def short_numbers(change: Change) -> tuple[str, str, str]:
    """Old, new and difference with units, or all exact where the units would hide what differs."""
    write = _writer(change.name)
    old, new = (_number(value, write) for value in (change.old, change.new))
    if old == new and isinstance(change.old, int) and isinstance(change.new, int):
        write = count
        old, new = count(change.old), count(change.new)
    difference = change.difference
    if difference is None:
        return old, new, "-"
    return old, new, f"{'-' if difference < 0 else '+'}{_number(abs(difference), write)}"


def _writer(key: str) -> Callable[[Any], str]:
    if key.endswith("_token"):
        return count
    words = {"bytes": bytes_binary, "flops": decimal, "seconds": duration}
    return next((write for word, write in words.items() if word in key.split("_")), count)


def _number(value: Value, write: Callable[[Any], str]) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return write(value) if isinstance(value, int) or write is duration else decimal(value)


def percent(change: Change) -> str:
    """'-50.0 %'; a change too small for one decimal with the digits that it has."""
    value = change.percent
    if value is None:
        return "-"
    return f"{value:+,.1f} %" if abs(value) >= 0.05 or not value else f"{value:+.1g} %"


def short_texts(change: Change) -> tuple[str, str]:
    """Old and new of a field, '-' where absent; of long texts the part that differs."""
    old, new = ("-" if value is None else str(value) for value in (change.old, change.new))
    if len(old) <= WIDEST and len(new) <= WIDEST:
        return old, new
    same = next(
        (at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), min(len(old), len(new))
    )
    start = max(0, same - 8) if same > 16 else 0
    return _window(old, start), _window(new, start)


def _window(text: str, start: int) -> str:
    end = start + WIDEST + 8
    return f"{'...' if start else ''}{text[start:end]}{'...' if len(text) > end else ''}"


def clean(text: str) -> str:
    """One line of printable text."""
    return printable(" ".join(text.split()))


def change_findings(diff: Diff) -> list[Finding]:
    """One note a model: the main numbers in one line."""
    return [
        Finding(path, model.line if path else 0, 0, "note", CHANGED, _message(model), model=model.model)
        for model in diff.models
        for path in (_path(model),)
    ]


def _path(model: Difference) -> str:
    """The new file, else the old one; '' for a bundled name and for stdin."""
    file = model.new_file or model.old_file or ""
    return file if file.lower().endswith(CONFIGS) else ""


def _message(model: Difference) -> str:
    numbers = told_numbers(model)
    told = [sentence(change) for change in (main_numbers(model) or numbers)[:MOST_SENTENCES]]
    if left := len(numbers) - len(told):
        told.append(f"{left} more number{'' if left == 1 else 's'}")
    if not told:
        changed = len(model.of_kind("field"))
        told = [*([f"{changed} field{'' if changed == 1 else 's'} changed"] if changed else []), NO_NUMBER]
    was = f" from {model.old_file}" if model.status == "renamed" else ""
    return f"{_named(model)} {model.status}{was}: {', '.join(told)}"


def sentence(change: Change) -> str:
    """'cache at 32,768 tokens 4.500 GiB -> 2.250 GiB (-50.0 %)'."""
    old, new, _ = short_numbers(change)
    context = change.asked.get("context_tokens")
    where = f" at {tokens(context)}" if isinstance(context, int) else ""
    told = " -> ".join(written for written in (old, new) if written != "-")
    change_of = f" ({percent(change)})" if change.percent is not None else ""
    return f"{quantity_name(change.name)}{where} {told}{change_of}"
