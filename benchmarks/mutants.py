"""Do the tests bite? One change to a module at a time, and the tests that are near it: a change that none notices.

    python benchmarks/mutants.py [--sample N] [--seed N] [--unproved] [--only K] [MODULE...]

A mutant is one operator, comparison, condition or number of the code, or of a formula that the code holds as text: in
those mutmut and cosmic-ray see no operators. Here a child is forked of a process that has imported what the tests need
apart from kvcalc, and runs them in itself up to the first failure: a second or so each, where cosmic-ray starts an
interpreter for each.
Needs a system that forks. Every survivor is printed; `--only K` runs mutant K alone, and shows what the tests say.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.machinery
import os
import random
import re
import resource
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SECONDS = 120  # of processor time for a mutant: it may never end
READY = ("pytest", "hypothesis", "numpy", "pydantic", "yaml", "rich.console", "rich.table", "typer", "jsonschema")
DIRECT = "test_second"  # whose tests are run without pytest first, by folder
SUITES = {  # then the tests near a module or folder
    "kvcalc/attention": ("reach", "sparse_reach"),
    "kvcalc/engines": ("engines", "engine_vectors"),
    "kvcalc/formula.py": ("formula",),
    "kvcalc/readers/fields.py": ("huggingface", "truth_plain"),
    "kvcalc/readers": ("native", "bad_files"),
    "kvcalc": ("mtp", "laws"),
}
MODULES = (
    *("attention/reach.py", "attention/selection.py", "attention/blocks.py", "attention/heads.py"),
    *("attention/latent.py", "attention/factored.py", "attention/mamba.py", "attention/delta.py"),
    *("flops.py", "phases.py", "storage.py", "weights.py", "feedforward.py", "formula.py"),
    *("engines/layers.py", "engines/vllm.py", "engines/vllm_plan.py", "engines/vllm_pages.py", "engines/sglang.py"),
    *("engines/sglang_slots.py", "engines/llamacpp.py", "engines/tensorrt_llm.py", "engines/transformers.py"),
    *("engines/ranks.py", "engines/waste.py", "readers/fields.py", "readers/layers.py", "readers/branches.py"),
)
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
FORMULA = re.compile(r"[A-Za-z_0-9^' +*/%(),=<-]+")
PART = re.compile(r"\*\*|//|[-+*/%]|\b[0-9]+\b|\bmin\b|\bmax\b")
PARTS = {"**": "*", "//": "*", "*": "+", "+": "-", "-": "+", "/": "*", "%": "//", "min": "max", "max": "min"}


class Mutant(NamedTuple):
    """One change: where, what, and how it is made in a fresh tree, whose nodes are in the order of ast.walk."""

    line: int
    what: str
    node: int
    option: int


def options(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every change that a node can have, and its making."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if (other := COMPARISONS.get(type(operator))) is not None:
                yield f"{type(operator).__name__} -> {other.__name__}", _setter(node.ops, at, other())
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        changed = OPERATORS[type(node.op)]
        yield f"{type(node.op).__name__} -> {changed.__name__}", _attribute(node, "op", changed())
    elif isinstance(node, ast.BoolOp):
        swapped = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{type(node.op).__name__} -> {type(swapped).__name__}", _attribute(node, "op", swapped)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "the condition turned round", _attribute(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.comprehension):
        for at, test in enumerate(node.ifs):
            yield "a filter turned round", _setter(node.ifs, at, ast.UnaryOp(ast.Not(), test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", _attribute(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield f"{node.value} -> {node.value + 1}", _attribute(node, "value", node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        for changed_text, what in formulas(node.value):
            yield what, _attribute(node, "value", changed_text)


def formulas(text: str) -> Iterator[tuple[str, str]]:
    """A formula, or a piece of one, with one part changed, and what that is."""
    if not FORMULA.fullmatch(text) or not re.search(r"[*+/%(0-9]", text):
        return
    words = re.sub(r"\b(where|min|max|ceil_div|isqrt)\b", "", text)
    if re.search(r"[A-Za-z]{4,}|[a-z]{2,} [a-z]{2,}|-[A-Za-z]|[a-z]{2,}\(", words.replace("tokens", "t")):
        return  # a label or a message
    for found in PART.finditer(text):
        other = PARTS.get(found[0]) or str(int(found[0]) + 1)
        before, after = text[: found.start()], text[found.end() :]
        what = f"'{before[-20:]}[{found[0]} -> {other}]{after[:20]}'"
        yield before + other + after, what


def _attribute(node: ast.AST, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(node, name, value)


def _setter(values: list[Any], at: int, value: Any) -> Callable[[], None]:
    return lambda: values.__setitem__(at, value)


def mutants_of(source: str) -> list[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse(source)
    left: set[int] = set()  # docstrings, annotations, what type checkers alone read
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            left.update(map(id, ast.walk(first)))
        told = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            told.append(node)
        for one in told:
            if isinstance(one, ast.AST):
                left.update(map(id, ast.walk(one)))
    return [
        Mutant(getattr(node, "lineno", getattr(getattr(node, "iter", None), "lineno", 0)), what, at, option)
        for at, node in enumerate(ast.walk(tree))
        if id(node) not in left
        for option, (what, _) in enumerate(options(node))
    ]


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """The module with this change."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[mutant.node]
    list(options(node))[mutant.option][1]()
    return ast.fix_missing_locations(tree)


class Loader(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Imports one module from a tree."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """The module's, and no other's."""
        if name != self.name:
            return None
        package = self.path.endswith("__init__.py")
        return importlib.machinery.ModuleSpec(name, self, origin=self.path, is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code as the module."""
        module.__file__ = self.path
        exec(compile(self.tree, self.path, "exec"), module.__dict__)  # noqa: S102  # our own code, changed


def tests_of(module: str) -> list[str]:
    """The test files near a module."""
    folder = next(name for name in SUITES if module.startswith(name))
    return [os.path.join(ROOT, "tests", f"test_{name}.py") for name in SUITES[folder]]


def run_tests(module: str, tree: ast.Module, options: list[str]) -> int:
    """0 where all tests pass on this code. The second derivation's first, which need no collecting."""
    import pytest

    name = module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    sys.meta_path.insert(0, Loader(name, os.path.join(ROOT, module), tree))
    second = importlib.import_module(DIRECT)
    for test in (second.test_a_hundred_random_models, second.test_every_memory_with_every_reach, second.test_servers):
        test()
    known = "ignore::pytest.PytestAssertRewriteWarning"  # of what was imported before
    return int(pytest.main(["-W", known, "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *options, *tests_of(module)]))


def survives(module: str, tree: ast.Module, *, quiet: bool = True) -> bool:
    """Whether all tests pass in a child."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    if quiet:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
    code = 1
    try:
        code = run_tests(module, tree, ["--tb", "no" if quiet else "short"])
    except BaseException:  # what a mutant raises, or where it ends the process
        if not quiet:
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    """Make a sample of each module's mutants, and tell who lives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=[f"kvcalc/{name}" for name in MODULES])
    parser.add_argument("--sample", type=int, default=20, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unproved", action="store_true", help="whether the tests pass unchanged is not tried first")
    parser.add_argument("--only", type=int, help="this one of a module alone")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
    sys.dont_write_bytecode = True
    for name in READY:
        importlib.import_module(name)
    made, lived = 0, 0
    sound: set[tuple[str, ...]] = set()  # suites that pass on unchanged code
    for module in asked.modules:
        with open(module, encoding="utf-8") as file:
            source = file.read()
        every = mutants_of(source)
        chosen = range(len(every))
        if asked.only is not None:
            survives(module, mutated(source, every[asked.only]), quiet=False)
            continue
        suite = tuple(tests_of(module))
        if suite not in sound and not asked.unproved and not survives(module, ast.parse(source)):
            raise SystemExit(f"{module}: its tests fail without any change")
        sound.add(suite)
        draw = random.Random(f"{asked.seed} {module}")  # noqa: S311  # any sample will do
        sample = sorted(draw.sample(chosen, min(asked.sample, len(every))))
        start, survivors = time.monotonic(), 0
        for at in sample:
            if survives(module, mutated(source, every[at])):
                survivors += 1
                print(f"  lives: {module}:{every[at].line} [{at}] {every[at].what}", flush=True)
        made, lived = made + len(sample), lived + survivors
        told = f"{module}: {len(every)} mutants, {len(sample)} drawn, {len(sample) - survivors} killed"
        print(f"{told}, {time.monotonic() - start:.0f} s", flush=True)
    if made:
        print(f"{made} drawn, {made - lived} killed, {100 * (made - lived) / made:.1f} %")


if __name__ == "__main__":
    main()
