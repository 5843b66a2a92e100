"""The Transformers library of 5.23: its dynamic cache, which grows, or its static one, which is made for n tokens.

Sources: cache_utils.py DynamicLayer and DynamicSlidingWindowLayer (what is held between steps, after token n),
StaticLayer and StaticSlidingWindowLayer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.attention.reach import between, kept
from kvcalc.engines import Engine, Option, Reserve
from kvcalc.engines.ranks import WHOLE, alike, sizes
from kvcalc.engines.settings import settings, told
from kvcalc.errors import KvcalcError
from kvcalc.quantity import Quantity

if TYPE_CHECKING:
    from kvcalc.attention.reach import Reach
    from kvcalc.engines.ranks import Ranks, Stage
    from kvcalc.model import ModelSpec
    from kvcalc.workload import Workload

SOURCE = "Transformers 5.23, cache_utils.py: StaticLayer, StaticSlidingWindowLayer"
OPTIONS = {"cache": Option("dynamic", "what is allocated: as it grows, or at once", ("dynamic", "static"))}
STATIC = {"window": "min(n, W)", "chunk": "min(n, C)"}  # formulas of what else than n a layer is made for


def allocated(reach: Reach, n: str = "n") -> Quantity:
    """Tokens that a static layer is made for, at a length of n."""
    needed = kept(reach, n)
    if reach.kind not in STATIC or "delta" in needed.formula:
        return needed
    formula = STATIC[reach.kind].replace("W", "W_l" if reach.symbols().get("W_l") else "W")
    return needed._replace(name="tokens allocated", formula=formula, source=SOURCE)


def ranks(workload: Workload) -> Ranks:
    """One device. Raises KvcalcError for more."""
    if max(sizes(workload)) > 1:
        hint = "take one device: leave --tp, --pp, --dp, --ep and --cp out, or say --on H200, or --on 8xH200 --tp 1"
        raise KvcalcError("transformers: how it spreads a cache over devices is not modelled", hint)
    return alike(1)


def reserve(spec: ModelSpec, workload: Workload, _: Stage = WHOLE) -> Reserve:
    """A static cache is allocated for n tokens; a dynamic one is what it holds."""
    from kvcalc.storage import cache_bytes

    chosen = settings(workload)
    if chosen["cache"] == "dynamic":
        own = Quantity("", "cache_bytes")
        return Reserve(own, own, None, told(chosen, "cache"))
    made = cache_bytes(spec, workload, "n", ENGINE._replace(tokens=allocated))
    return Reserve(made, made, None, told(chosen, "cache"))


ENGINE = Engine(
    "transformers",
    between,
    lambda store: store.library or store.formula,
    lambda state: state.library or state.formula,
    versions=("5.23.0",),
    options=OPTIONS,
    reserve=reserve,
    ranks=ranks,
)
