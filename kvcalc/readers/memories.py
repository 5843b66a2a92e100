"""The memory that an attention of a file describes, and the laws between its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.attention.kinds import MEMORIES, class_of
from kvcalc.errors import FormulaError
from kvcalc.formula import parse
from kvcalc.readers.attention import CustomFile, HeadsFile
from kvcalc.readers.extras import OWN, evaluated

if TYPE_CHECKING:
    from kvcalc.attention.custom import Custom
    from kvcalc.attention.heads import Heads
    from kvcalc.attention.memory import Memory
    from kvcalc.readers.stack import Stack
    from kvcalc.readers.text import Place

RESERVED_SYMBOLS = frozenset("nKBSTd")


def memory_of(stack: Stack, attention: Any, place: Place) -> Memory:  # one of the formats of attention.py
    """The memory that an attention describes. Raises ConfigError where its numbers make none."""
    if isinstance(attention, HeadsFile):
        return _heads(stack, attention, place)
    if isinstance(attention, CustomFile):
        return _custom(stack, attention, place)
    of_the_branch = ("reach", "shares_kv", "shares_weights")
    told = {name: value for name, value in attention if name not in of_the_branch and value is not None}
    for field in {"num_key_value_heads", "latent_heads"} & told.keys():
        _check_groups(stack, told.get("num_attention_heads", 0), field, told[field], place)
    if told.get("output_gate") == "query" and "q_lora_rank" not in told:
        message = "output_gate 'query' is made of the query's latent, which needs a q_lora_rank"
        raise stack.error((*place, "output_gate"), message, "'hidden' makes it of the hidden state")
    visited, experts = told.get("num_experts_per_tok", 0), told.get("num_experts", 0)
    if visited > experts:
        message = f"num_experts_per_tok {visited} is more than num_experts {experts}"
        raise stack.error((*place, "num_experts_per_tok"), message)
    memory: Memory = class_of(MEMORIES, attention.kind)(**told)
    symbols = {**memory.symbols(), "d": stack.file.hidden_size}
    formulas = {part.name: part.formula for part in memory.weights()}
    formulas |= {part.name: part.formula for part in memory.work("absorbed")}
    for name, formula in formulas.items():
        try:
            parse(formula).evaluate(symbols)
        except FormulaError as error:
            raise stack.error(place, f"{attention.kind}: {name}: {error.message}") from None
    return memory


def _check_groups(stack: Stack, n_h: int, field: str, groups: int, place: Place) -> None:
    """Query heads share out what is cached evenly."""
    if n_h % groups:
        near = max(g for g in range(1, min(groups, n_h) + 1) if n_h % g == 0)
        message = f"num_attention_heads {n_h} is not divisible by {field} {groups}"
        raise stack.error((*place, field), message, f"{near} divides it")


def _heads(stack: Stack, attention: HeadsFile, place: Place) -> Heads:
    from kvcalc.attention.heads import Heads

    n_h, n_kv = attention.num_attention_heads, attention.num_key_value_heads
    _check_groups(stack, n_h, "num_key_value_heads", n_kv, place)
    return Heads(
        num_attention_heads=n_h,
        num_key_value_heads=n_kv,
        head_dim=attention.head_dim,
        v_head_dim=attention.v_head_dim or attention.head_dim,
        bias="".join(name for name in "qkvog" if name in attention.bias),
        qk_norm=attention.qk_norm or "",
        qk_norm_bias=attention.qk_norm_bias,
        output_gate=attention.output_gate,
        sinks=attention.sinks,
        differential=attention.differential,
        kv_hidden_size=attention.kv_hidden_size or 0,
        merged=attention.merged,
        q_hidden_size=attention.q_hidden_size or 0,
        head_gate=attention.head_gate,
        v_from_k=attention.v_from_k,
        broadcast=attention.broadcast,
        remade=attention.remade,
    )


def _custom(stack: Stack, attention: CustomFile, place: Place) -> Custom:
    from kvcalc.attention.custom import Custom

    for symbol in attention.symbols:
        if symbol in RESERVED_SYMBOLS:
            raise stack.error(
                (*place, "symbols", symbol), f"the symbol {symbol!r} is taken", "d is hidden_size; choose another"
            )
    symbols = {**attention.symbols, "d": stack.file.hidden_size}
    for field in ("elements_per_token", "state_elements", "work_per_pair", "work_per_token", "parameters"):
        evaluated(stack.document, (*stack.at, *place, field), getattr(attention, field), symbols)
    return Custom(
        elements_per_token=attention.elements_per_token,
        work_per_pair=attention.work_per_pair,
        work_per_token=attention.work_per_token,
        parameters=attention.parameters,
        constants=tuple(attention.symbols.items()),
        name=attention.name,
        source=attention.source or OWN,
        state_elements=attention.state_elements,
    )
