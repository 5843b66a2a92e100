"""kvcalc: what one token costs to remember and to attend to, exactly, with the formula shown.

    import kvcalc

    spec = kvcalc.load("deepseek-v2")
    report = kvcalc.analyze(spec, kvcalc.Workload(context_tokens=32768))
    report.value("cache_bytes")  # 2264924160
    report.rows()  # the same flat rows as `kvcalc compare --format json`

These names are the whole interface, and the command line uses nothing else. Each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvcalc.analysis import Report as Report
    from kvcalc.analysis import analyze as analyze
    from kvcalc.budgets import Budgets as Budgets
    from kvcalc.checks import CODES as CODES
    from kvcalc.checks.run import Check as Check
    from kvcalc.checks.run import check as check
    from kvcalc.checks.silence import parse_codes as parse_codes
    from kvcalc.comparison import Comparison as Comparison
    from kvcalc.comparison import compare as compare
    from kvcalc.detail import facts as facts
    from kvcalc.difference import Diff as Diff
    from kvcalc.difference import diff as diff
    from kvcalc.engines import ENGINES as ENGINES
    from kvcalc.errors import ConfigError as ConfigError
    from kvcalc.errors import FormulaError as FormulaError
    from kvcalc.errors import KvcalcError as KvcalcError
    from kvcalc.explanation import explain as explain
    from kvcalc.figures.curves import plot as plot
    from kvcalc.figures.figure import Figure as Figure
    from kvcalc.figures.roofs import plot_roofline as plot_roofline
    from kvcalc.findings import Finding as Finding
    from kvcalc.fitting import Fit as Fit
    from kvcalc.fitting import Place as Place
    from kvcalc.fitting import fit as fit
    from kvcalc.grid import Grid as Grid
    from kvcalc.grid import parse_grid as parse_grid
    from kvcalc.grid import parse_sizes as parse_sizes
    from kvcalc.hardware.accelerator import Accelerator as Accelerator
    from kvcalc.hardware.accelerator import Machine as Machine
    from kvcalc.hardware.machine import parse_machine as parse_machine
    from kvcalc.hardware.machine import parse_machines as parse_machines
    from kvcalc.hardware.shipped import accelerators as accelerators
    from kvcalc.hardware.shipped import hardware_names as hardware_names
    from kvcalc.model import ModelSpec as ModelSpec
    from kvcalc.places import Fits as Fits
    from kvcalc.places import Question as Question
    from kvcalc.places import fits as fits
    from kvcalc.places import parse_aside as parse_aside
    from kvcalc.places import parse_places as parse_places
    from kvcalc.places import parse_question as parse_question
    from kvcalc.readers.baseline import diff_baseline as diff_baseline
    from kvcalc.readers.budget import read_budgets as read_budgets
    from kvcalc.readers.bundle import models as models
    from kvcalc.readers.bundle import names as names
    from kvcalc.readers.history import pair_sources as pair_sources
    from kvcalc.readers.history import pairs_since as pairs_since
    from kvcalc.readers.load import load as load
    from kvcalc.readers.load import load_all as load_all
    from kvcalc.readers.load import read_source as read_source
    from kvcalc.readers.write import to_yaml as to_yaml
    from kvcalc.request import Request as Request
    from kvcalc.request import parse_request as parse_request
    from kvcalc.roofline import Bound as Bound
    from kvcalc.roofline import least_times as least_times
    from kvcalc.rope import rope_bound as rope_bound
    from kvcalc.rope import supports as supports
    from kvcalc.rows import KEYS as KEYS
    from kvcalc.rows import RATIOS as RATIOS
    from kvcalc.rows import REALS as REALS
    from kvcalc.schemas import json_schema as json_schema
    from kvcalc.sweeping import Sweep as Sweep
    from kvcalc.sweeping import sweep as sweep
    from kvcalc.variants import VARIANTS as VARIANTS
    from kvcalc.variants import parse_variants as parse_variants
    from kvcalc.verify.census import verify_all as verify_all
    from kvcalc.verify.run import verify_source as verify_source
    from kvcalc.weight_formats import parse_weight_dtype as parse_weight_dtype
    from kvcalc.weight_formats import weight_dtypes as weight_dtypes
    from kvcalc.workload import DTYPE_BITS as DTYPE_BITS
    from kvcalc.workload import Workload as Workload
    from kvcalc.workload import parse_dtype as parse_dtype
    from kvcalc.workload import parse_tokens as parse_tokens

__version__ = "0.1.0"

_HOMES = {
    "kvcalc.analysis": ("Report", "analyze"),
    "kvcalc.budgets": ("Budgets",),
    "kvcalc.checks": ("CODES",),
    "kvcalc.checks.run": ("Check", "check"),
    "kvcalc.checks.silence": ("parse_codes",),
    "kvcalc.comparison": ("Comparison", "compare"),
    "kvcalc.detail": ("facts",),
    "kvcalc.difference": ("Diff", "diff"),
    "kvcalc.engines": ("ENGINES",),
    "kvcalc.errors": ("ConfigError", "FormulaError", "KvcalcError"),
    "kvcalc.explanation": ("explain",),
    "kvcalc.figures.curves": ("plot",),
    "kvcalc.figures.figure": ("Figure",),
    "kvcalc.figures.roofs": ("plot_roofline",),
    "kvcalc.findings": ("Finding",),
    "kvcalc.fitting": ("Fit", "Place", "fit"),
    "kvcalc.grid": ("Grid", "parse_grid", "parse_sizes"),
    "kvcalc.hardware.accelerator": ("Accelerator", "Machine"),
    "kvcalc.hardware.machine": ("parse_machine", "parse_machines"),
    "kvcalc.hardware.shipped": ("accelerators", "hardware_names"),
    "kvcalc.model": ("ModelSpec",),
    "kvcalc.places": ("Fits", "Question", "fits", "parse_aside", "parse_places", "parse_question"),
    "kvcalc.readers.baseline": ("diff_baseline",),
    "kvcalc.readers.budget": ("read_budgets",),
    "kvcalc.readers.bundle": ("models", "names"),
    "kvcalc.readers.history": ("pair_sources", "pairs_since"),
    "kvcalc.readers.load": ("load", "load_all", "read_source"),
    "kvcalc.readers.write": ("to_yaml",),
    "kvcalc.request": ("Request", "parse_request"),
    "kvcalc.roofline": ("Bound", "least_times"),
    "kvcalc.rope": ("rope_bound", "supports"),
    "kvcalc.rows": ("KEYS", "RATIOS", "REALS"),
    "kvcalc.schemas": ("json_schema",),
    "kvcalc.sweeping": ("Sweep", "sweep"),
    "kvcalc.variants": (
        "VARIANTS",
        "parse_variants",
    ),
    "kvcalc.verify.census": ("verify_all",),
    "kvcalc.verify.run": ("verify_source",),
    "kvcalc.weight_formats": ("parse_weight_dtype", "weight_dtypes"),
    "kvcalc.workload": ("DTYPE_BITS", "Workload", "parse_dtype", "parse_tokens"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["__version__", *_HOME]  # a test holds it to the imports above


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: a start pays for what it uses."""
    if name not in _HOME:
        raise AttributeError(f"module 'kvcalc' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
