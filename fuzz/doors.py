"""Every door through which kvcalc takes what others wrote, as a function of bytes.

A door answers None where it read them, and the one clear error by which it refused them, a KvcalcError. Whatever is
raised is a mistake of kvcalc's. Doors that read files read real ones, in a folder of their own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import seeds

from kvcalc.errors import FormulaError, KvcalcError

Enter: TypeAlias = Callable[[bytes], KvcalcError | None]


class Door(NamedTuple):
    """What it does with bytes, the bytes to begin with, and words that it knows."""

    name: str
    enter: Enter
    corpus: Callable[[], list[bytes]]
    words: Callable[[], list[bytes]]


MOST_CHARACTERS = 10_000


class LiedError(Exception):
    """Something came of the bytes that must not: an error of the wrong kind, or a number that is none."""


def doors(folder: str) -> dict[str, Door]:
    """Every door by its name; files are written under this folder."""
    made = (
        Door("yaml", _models(os.path.join(folder, "model.yaml")), seeds.native, seeds.words_of_configs),
        Door("config.json", _models(os.path.join(folder, "config.json")), seeds.published, seeds.words_of_configs),
        Door("gguf", _models(os.path.join(folder, "model.gguf")), seeds.headers, seeds.words_of_headers),
        Door("budget", _budgets(folder), seeds.budgets, seeds.words_of_budgets),
        Door("hardware", _hardware(folder), seeds.hardware, seeds.words_of_hardware),
        Door("baseline", _baseline(folder), seeds.baselines, seeds.words_of_rows),
        Door("hub", _hub(folder), seeds.answers, seeds.words_of_configs),
        Door("formula", _formula, seeds.formulas, seeds.words_of_formulas),
        Door("sizes", _sizes, seeds.sizes, seeds.words_of_sizes),
        Door("grid", _grid, seeds.grids, seeds.words_of_grids),
        Door("words", _words, seeds.options, seeds.words_of_options),
        Door("command", _command(folder), seeds.commands, seeds.words_of_commands),
        Door("valid", _valid, seeds.picks, list),
    )
    return {door.name: door for door in made}


def refusing(read: Callable[[], object]) -> KvcalcError | None:
    """What reading is refused by; its sentence must be one that can be shown."""
    try:
        read()
    except KvcalcError as error:
        if not 1 < len(str(error)) < MOST_CHARACTERS:
            raise LiedError(f"an error of {len(str(error))} characters") from error
        return error
    return None


def _written(path: str, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _models(path: str) -> Enter:
    from kvcalc.readers.load import load_all

    return lambda content: refusing(lambda: load_all(_written(path, content)))


def _budgets(folder: str) -> Enter:
    from kvcalc.readers.budget import read_budgets

    path = os.path.join(folder, "budget.yaml")
    return lambda content: refusing(lambda: read_budgets(_written(path, content)))


def _hardware(folder: str) -> Enter:
    from kvcalc.readers.hardware import read_accelerator

    path = os.path.join(folder, "hardware.yaml")
    return lambda content: refusing(lambda: read_accelerator(_written(path, content)))


def _baseline(folder: str) -> Enter:
    from kvcalc.readers.baseline import diff_baseline

    path = os.path.join(folder, "rows.json")
    return lambda content: refusing(lambda: diff_baseline(_written(path, content)))


def _hub(folder: str) -> Enter:
    """What a hub answers; the network itself is not there."""
    from kvcalc.readers import hub
    from kvcalc.readers.load import read_models

    path = os.path.join(folder, "answer")

    def answered(content: bytes) -> KvcalcError | None:
        real, hub._fetch = hub._fetch, lambda *_: _written(path, content)
        try:
            return refusing(lambda: read_models(hub.read_hub("hf:org/name"), "hf:org/name/config.json"))
        finally:
            hub._fetch = real

    return answered


NUMBERS = (4096, 128, 7, 64, 0, 1, 1536, 12, 10**12)
SYMBOLS = {name: NUMBERS[at % len(NUMBERS)] for at, name in enumerate(seeds.symbols())}


def _formula(content: bytes) -> KvcalcError | None:
    from kvcalc.formula import MAX_BITS, parse

    text = _text(content)

    def asked() -> None:
        formula = parse(text)
        formula.symbols()
        value = formula.evaluate(SYMBOLS)
        if type(value) is not int or value.bit_length() > MAX_BITS:
            raise LiedError(f"{text!r} gives {value!r:.80}")
        formula.with_numbers(SYMBOLS)

    return refusing(asked)


def _sizes(content: bytes) -> KvcalcError | None:
    from kvcalc.grid import parse_sizes

    found: list[int] = []
    refused = refusing(lambda: found.extend(parse_sizes(_text(content), "--context")))
    if refused is None and (not found or min(found) < 1 or len(set(found)) != len(found)):
        raise LiedError(f"{content!r} gives {found[:5]}")
    return refused


def _pairs(content: bytes) -> Iterator[tuple[str, str]]:
    for line in _text(content).split("\n"):
        name, equals, value = line.partition("=")
        if equals and name != "on":
            yield name, value


def _grid(content: bytes) -> KvcalcError | None:
    from kvcalc.grid import parse_grid
    from kvcalc.request import parse_request

    options = dict(_pairs(content))
    refusing(lambda: parse_request(options))
    return refusing(lambda: parse_grid(options))


def _words(content: bytes) -> KvcalcError | None:
    """A word of an option, through the door that the first letter picks."""
    from kvcalc.amounts import UNITS, parse_amount, parse_percent
    from kvcalc.checks.silence import parse_codes
    from kvcalc.engines.settings import parse_engine, parse_pairs
    from kvcalc.hardware.machine import parse_machine
    from kvcalc.variants import parse_variants
    from kvcalc.weight_formats import parse_weight_dtype
    from kvcalc.workload import parse_dtype, parse_tokens

    text = _text(content[1:])
    if "." in text or "/" in text:  # a machine that is a file has a door of its own
        machine: Callable[[], object] = bool
    else:
        machine = lambda: parse_machine(text)  # noqa: E731  # one of several like it
    kinds = list(UNITS)
    chosen: list[Callable[[], object]] = [
        lambda: parse_tokens(text, "--context"),
        lambda: parse_amount(text, kinds[len(text) % len(kinds)], "max"),
        lambda: parse_percent(text),
        lambda: parse_variants(text),
        lambda: parse_weight_dtype(text, "--weight-dtype"),
        lambda: parse_dtype(text, "--dtype"),
        lambda: parse_engine(text),
        lambda: parse_pairs(text.split(",")),
        lambda: parse_codes(text),
        machine,
    ]
    return refusing(chosen[(content[0] if content else 0) % len(chosen)])


NEVER = ("--install-completion", "--show-completion", "verify")  # they write into a shell's files, or build models
OUTPUT = ("-o", "--output")


def arguments(content: bytes) -> list[str]:
    """A command line, an argument a line; nothing is read or written outside the folder, and no range is long."""
    from kvcalc.cli.app import COMMANDS

    found: list[str] = []
    for word in _text(content).split("\n"):
        if word.startswith(NEVER) or word.startswith(("hf:", "--on=", "--base=")):
            continue
        if ":" in word and word not in seeds.RANGES:
            continue
        after_output = bool(found) and found[-1] in OUTPUT
        if after_output or (word.startswith(("-o", "--output=")) and word not in OUTPUT):
            word = "out.json" if after_output else "-oout.json"
        found.append(os.path.basename(word) if "/" in word else word)
    return found if found and found[0] in COMMANDS else ["compare", *found]


def _command(folder: str) -> Enter:
    from refusals import quickly

    seeds.files_for_commands(folder)

    def ran(content: bytes) -> KvcalcError | None:
        before = os.getcwd()
        os.chdir(folder)
        try:
            result = quickly(*arguments(content))
        finally:
            os.chdir(before)
        if result.code not in (0, 1, 2) or "Traceback" in result.err:
            raise LiedError(f"exit {result.code}: {result.err[-500:]}")
        if result.code == 2 and not result.err.strip():
            raise LiedError("refused without a word")
        return KvcalcError(result.err) if result.code == 2 else None

    return ran


def _valid(content: bytes) -> KvcalcError | None:
    """A valid model of any kind, made from picks of these bytes: it is read, and what is asked of it is answered."""
    from kvcalc.analysis import analyze
    from kvcalc.engines import ENGINES
    from strategies import one_of, spec, workload

    at, more = 0, random.Random(content)  # noqa: S311  # no secret

    def pick(least: int, most: int) -> int:
        nonlocal at
        at += 1
        return least + content[at - 1] % (most - least + 1) if at <= len(content) else more.randint(least, most)

    try:
        made = spec(pick)
    except KvcalcError as error:
        raise LiedError(f"a valid model is refused: {error}") from error
    asked = workload(pick, encoded=made.encoded)._replace(engine=one_of(pick, tuple(ENGINES)))
    try:
        row = analyze(made, asked).rows()[0]
    except FormulaError as error:
        raise LiedError(f"a formula without a value: {error}") from error
    except KvcalcError as error:
        if asked.engine == "paper":
            raise LiedError(f"a valid question is refused: {error}") from error
        return error
    if below := [key for key, number in row.items() if isinstance(number, int) and number < 0]:
        raise LiedError(f"less than nothing: {below}")
    return None
