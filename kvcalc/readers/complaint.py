"""pydantic's complaints in our words: one clear message, what is wrong, where, and what would be right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args, get_origin

from kvcalc.errors import did_you_mean
from kvcalc.readers.attention import OneOf
from kvcalc.readers.strict import NAME, SYMBOL, Strict

if TYPE_CHECKING:
    from pydantic import ValidationError

    from kvcalc.errors import ConfigError
    from kvcalc.readers.text import Document, Place


NOT = {  # pydantic's types of error that only say what a value is not
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
ALLOWED = {
    NAME: "letters, digits and . _ / - only, a letter or digit first, 200 at most",
    SYMBOL: "a symbol is letters, digits and _, a letter first, as in n_h, d_c' or d_h^R",
}
OTHER_TEXT = (
    "no = + - @ or blank at its beginning, no control characters, nothing unseen: it may stand in a spreadsheet"
)
COMPARED = 200


def first_error(document: Document, error: ValidationError, file: type[Strict]) -> ConfigError:
    """One clear message about a file of this format: its first problem, and how many more there are."""
    problems = error.errors(include_url=False, include_context=True, include_input=True)
    places = [_place(document.data, problem["loc"]) for problem in problems]
    explained = _typos(problems, places)
    order = sorted(
        (at for at in range(len(problems)) if at not in explained),
        key=lambda at: (problems[at]["type"] == "missing", document.mark(places[at])),
    )
    first = order[0]
    absent = [str(places[at][-1]) for at in explained if places[at][:-1] == places[first][:-1]]
    message, hint = _say(problems[first], places[first], document.data, absent, file)
    if len(order) > 1:
        lines = dict.fromkeys(f"line {document.mark(places[at])[0]}" for at in order[1:])
        others = ", ".join(list(lines)[:3])
        hint += f"{' ' if hint else ''}({len(order) - 1} more after that: {others})"
    return document.error(places[first], message, hint)


def _typos(problems: list[Any], places: list[Place]) -> set[int]:
    """Missing fields that stand there under nearly their name: with the unknown field, one problem and not two."""
    unknown: dict[Place, list[str]] = {}
    for problem, place in zip(problems, places, strict=True):
        if problem["type"] == "extra_forbidden":
            unknown.setdefault(place[:-1], []).append(str(place[-1]))
    return {
        at
        for at, (problem, place) in enumerate(zip(problems, places, strict=True))
        if problem["type"] == "missing" and did_you_mean(str(place[-1]), unknown.get(place[:-1], [])[:COMPARED])
    }


def _place(data: Any, loc: tuple[str | int, ...]) -> Place:
    """The path in the file of pydantic's location, which also names union members and '[key]'."""
    place: list[str | int] = []
    for at, step in enumerate(loc):
        last = at == len(loc) - 1
        if (isinstance(data, dict) and (step in data or last)) or isinstance(data, list):
            place.append(step)
            data = data.get(step) if isinstance(data, dict) else data[int(step)]
    return tuple(place)


def _say(problem: Any, place: Place, data: Any, absent: list[str], file: type[Strict]) -> tuple[str, str]:
    """A pydantic problem in our words: what is wrong, what would be right."""
    field = next((step for step in reversed(place) if isinstance(step, str)), "the file")
    value, kind, context = problem["input"], problem["type"], problem.get("ctx") or {}
    if kind == "extra_forbidden":
        return f"unknown field {field!r}", did_you_mean(field, [*absent, *_fields_at(file, data, place[:-1])])
    if kind == "missing":
        return f"missing field {field!r}", _fields_at(file, data, place[:-1]).get(field, "")
    field = field if re.fullmatch(r"\w[\w .-]*", field) else _show(field)  # a message steers no spreadsheet
    if kind == "int_type" and isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value):
        return f"{field}: {_show(value)} is text", "write the number without quotes"
    if kind == "int_type" and isinstance(value, str) and re.fullmatch(r"[0-9_.]+([eE]\+?[0-9]+)?|[0-9]+[kKmM]", value):
        return f"{field}: YAML reads {value} as text, not as a number", "write all its digits"
    if kind in NOT:
        return f"{field}: {_show(value)} is not {NOT[kind]}", ""
    if kind in ("greater_than", "greater_than_equal"):
        least = context.get("gt", context.get("ge", 0)) + (kind == "greater_than")
        return f"{field}: {_show(value)} is too small", f"at least {least}"
    if kind in ("less_than", "less_than_equal"):
        return f"{field}: {_show(value)} is too large", f"at most {context.get('le', context.get('lt'))}"
    if kind == "string_pattern_mismatch":
        return f"{field}: {_show(value)} is not allowed", ALLOWED.get(str(context.get("pattern")), OTHER_TEXT)
    if kind in ("literal_error", "union_tag_invalid"):
        expected = str(context.get("expected") or context.get("expected_tags"))
        tag = value.get("kind") if isinstance(value, dict) else value
        where = "kind" if kind == "union_tag_invalid" else field
        words = re.findall(r"'([^']*)'", expected)
        return f"{where}: {_show(tag)} is not known", did_you_mean(str(tag), words) or f"one of {', '.join(words)}"
    if kind == "union_tag_not_found":
        return f"{field}: missing field 'kind'", "heads, mla or custom" if field == "attention" else "dense or moe"
    return f"{field}: {problem['msg'][:1].lower()}{problem['msg'][1:]}", ""


def _show(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields_at(file: type[Strict], data: Any, parent: Place) -> dict[str, str]:
    """The fields of the object at a place, with their descriptions, by the format and the kind that the file names."""
    choices: list[type[Strict] | OneOf] = [file]
    formats, many = [file], False
    for step in parent:
        data = data[step]
        if many:  # the step is to an item of a list, or to a value of a mapping
            many = False
        else:
            field = next((one.model_fields[str(step)] for one in formats if step in one.model_fields), None)
            if field is None:
                return {}
            choices, many = _choices(field.annotation), _holds_many(field.annotation)
        if not many:
            kind = data.get("kind") if isinstance(data, dict) else None
            formats = [
                one for choice in choices for one in (choice.formats(kind) if isinstance(choice, OneOf) else [choice])
            ]
            formats = [one for one in formats if kind in _kinds(one)] or formats
    return {name: field.description or "" for one in formats for name, field in one.model_fields.items()}


def _choices(annotation: Any) -> list[type[Strict] | OneOf]:
    """The formats that an annotation names, and its choices of formats, however deep."""
    if isinstance(annotation, OneOf) or (isinstance(annotation, type) and issubclass(annotation, Strict)):
        return [annotation]
    return [one for inner in get_args(annotation) for one in _choices(inner)]


def _holds_many(annotation: Any) -> bool:
    return get_origin(annotation) in (list, dict) or any(_holds_many(inner) for inner in get_args(annotation))


def _kinds(one: type[Strict]) -> tuple[Any, ...]:
    """The kinds that a format is of: what its Literal says."""
    return get_args(one.model_fields["kind"].annotation) if "kind" in one.model_fields else ()
