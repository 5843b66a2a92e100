"""A sweep as a table: what is the same in all rows stands in its title, what varies comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.report.roofline import FOOTER, roofline_columns
from kvcalc.report.table import Column, Table
from kvcalc.report.units import bytes_binary, count, decimal, ratio, spread, tokens
from kvcalc.rows import ASKED
from kvcalc.workload import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.rows import Row, Value
    from kvcalc.sweeping import Sweep

MAX_ROWS = 2000
RESERVED = ("reserved_bytes", "held_bytes", "waste_ratio")
ON_ALL = ("reserved_bytes_total", "weight_bytes_per_device")
SHOWN: tuple[tuple[str, str, Callable[..., str], int], ...] = (
    ("elements\na token", "cache_elements_per_token", count, 4),
    ("bytes\na token", "cache_bytes_per_token", count, 5),
    ("cache", "cache_bytes", bytes_binary, 0),
    ("reserved", "reserved_bytes", bytes_binary, 0),
    ("held", "held_bytes", bytes_binary, 1),
    ("reserved\nto paper", "waste_ratio", ratio, 1),
    ("weights\non a device", "weight_bytes_per_device", bytes_binary, 2),
    ("reserved\non all", "reserved_bytes_total", bytes_binary, 5),
    ("ratio", "cache_ratio", ratio, 6),
    ("decode\nattention\nFLOPs", "decode_attention_flops", decimal, 1),
    ("prefill\nattention\nFLOPs", "prefill_attention_flops", decimal, 2),
    ("answer\nattention\nFLOPs", "answer_attention_flops", decimal, 2),
    ("decode\nmodel\nFLOPs", "decode_model_flops", decimal, 3),
    ("prefill\nmodel\nFLOPs", "prefill_model_flops", decimal, 3),
    ("decode\nFLOPs/B", "decode_intensity", decimal, 7),
    ("parameters", "parameters", count, 8),
    ("weights", "weight_bytes", bytes_binary, 9),
)


def sweep_table(sweep: Sweep) -> Table:
    """One line a row. Raises KvcalcError where there are too many to look at."""
    if sweep.length > MAX_ROWS:
        raise KvcalcError(
            f"{sweep.length:,} rows are too many for a table", "--format csv, or a file: -o rows.csv, -o rows.parquet"
        )
    rows = list(sweep.rows())
    varying = [key for key in ("model", "variant", *ASKED) if len({row[key] for row in rows}) > 1]
    if "context_tokens" in varying and "prompt_tokens" in varying and not any(row["cached_tokens"] for row in rows):
        varying.remove("prompt_tokens")
    reserves = any(row["engine"] != "paper" or spread(row) for row in rows)
    shared = any(spread(row) for row in rows)
    columns = [
        Column(_header(key), tuple(_cell(row[key]) for row in rows), numeric=isinstance(rows[0][key], int))
        for key in varying
    ]
    columns += [
        Column(header, tuple(write(row[key]) for row in rows), rank=rank)
        for header, key, write, rank in SHOWN
        if any(row[key] is not None for row in rows)
        and (reserves or key not in RESERVED)
        and (shared or key not in ON_ALL)
    ]
    footer = FOOTER if any(row["on"] for row in rows) else ()
    return Table(common(rows[0], varying), (*columns, *roofline_columns(rows)), footer)


def _header(key: str) -> str:
    return key.removesuffix("_tokens").replace("_", " ")


def _cell(value: Value) -> str:
    return count(value) if isinstance(value, int) else "" if value is None else str(value)


def common(first: Row, varying: Sequence[str]) -> str:
    """What holds for every row, the usual left out as `compare` does."""
    told = {
        "model": str(first["model"]),
        "context_tokens": f"context {_size(first, 'context_tokens')}",
        "cached_tokens": f"{_cell(first['cached_tokens'])} cached" if first["cached_tokens"] else "",
        "generate_tokens": f"answer {_size(first, 'generate_tokens')}" if first["generate_tokens"] else "",
        "batch": f"batch {_cell(first['batch'])}",
        "cache_dtype": f"cache {first['cache_dtype']}",
        "shared_prefix_tokens": (
            f"shared prefix {_size(first, 'shared_prefix_tokens')}" if first["shared_prefix_tokens"] else ""
        ),
        "kv_cache": "no KV cache" if first["kv_cache"] == "off" else "",
        "engine": f"engine {first['engine']} {first['engine_version']}" if first["engine"] != "paper" else "",
        "on": f"on {first['on']}" if first["on"] else "",
    }
    told["spread"] = spread({key: first[key] for key in PARALLEL if key not in varying})
    return ", ".join(text for key, text in told.items() if text and key not in varying)


def _size(row: Row, key: str) -> str:
    return tokens(int(row[key] or 0))
