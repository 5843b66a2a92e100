"""A comparison as one page that stands alone: no request leaves it, and it computes with the same formulas.

The policy in its head lets run the script that is in it, by its hash, and forbids every connection. What a file says is
text in it, never markup.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kvcalc.figures.words import labels as labels_of
from kvcalc.places import NOT_COUNTED
from kvcalc.report.html import escape
from kvcalc.report.page.columns import columns, comparison, firsts
from kvcalc.report.page.explained import explanations
from kvcalc.report.page.headlines import headlines, mapped, number_of, room_of
from kvcalc.report.page.layers import layer_map, picture
from kvcalc.report.page.roofline import roofline
from kvcalc.report.page.script import Program, functions
from kvcalc.report.page.style import style
from kvcalc.report.roofline import FOOTER
from kvcalc.report.theme import DASHES, LIGHT
from kvcalc.report.units import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvcalc.analysis import Report
    from kvcalc.comparison import Comparison
    from kvcalc.quantity import Node
    from kvcalc.rows import Row

EXACT = '<label class="scripted exact"><input type="checkbox" id="exact"> every digit</label>'
EVERY = '<label class="scripted exact"><input type="checkbox" id="every"> every formula open, on paper too</label>'
DRAWN = '<div id="{}"><p class="nojs">What is drawn here needs scripts.</p></div>'
SCRIPTS = ("exact.js", "words.js", "state.js", "table.js", "chart.js", "roofline.js", "layers.js", "controls.js")
FIGURES = (  # the row's key, its title, and how it is written
    ("cache_bytes", "Cache", "bytes"),
    ("reserved_bytes", "Reserved on a device", "bytes"),
    ("decode_attention_flops", "Attention of a decode step", "flops"),
    ("prefill_attention_flops", "Attention of the prefill", "flops"),
    ("decode_least_seconds", "A decode step, at least", "duration"),
)


def page(comparison_: Comparison, title: str, command: Sequence[str], asked: Sequence[str]) -> str:
    """The page as text.

    `command` is what made it, `asked` its words but for context, batch and output, with which `kvcalc compare` says
    the same. All reports are of one context and batch. The same comparison is the same page, byte for byte.
    """
    from kvcalc import __version__ as version

    reports = comparison_.reports
    programs = [Program(report) for report in reports]
    rows = comparison_.rows()
    labels = labels_of(rows, ())
    roofs = roofline(programs, rows)
    sections = (  # a name, a heading, what is in it, and what stands beside the heading
        ("headlines", "At a glance", headlines(programs), ""),
        ("comparison", "Comparison", comparison(programs, rows, labels), EXACT),
        ("figures", "Over the context", DRAWN.format("charts"), ""),
        *((("roofline", "Roofline", DRAWN.format("roof"), ""),) if roofs else ()),
        ("layers", "Which layer stores what", _maps(programs), ""),
        ("formulas", "Formulas, with the numbers put in", _formulas(programs, labels), EVERY),
        ("sources", "Sources and conventions", _sources(comparison_, version), ""),
    )
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _, _ in sections)
    body = "".join(
        (
            _head(title, command, reports[0], links),
            _settings(reports[0]),
            '<main id="main" tabindex="-1"><p id="status" class="hidden" role="status"></p>',
            '<p id="failed" role="alert"></p>',
            *(_section(*section) for section in sections),
            "</main>",
        )
    )
    data = _data(programs, rows, labels, roofs, asked)  # after all that asks programs for numbers
    styled, script = style(), _scripts(programs)
    ours = f"style-src {_hash(styled)}; script-src {_hash(script)}"
    policy = f"default-src 'none'; {ours}; base-uri 'none'; form-action 'none'"
    written = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<meta name="generator" content="kvcalc {version}">\n'
        f"<title>{escape(title)}: kvcalc</title>\n<style>{styled}</style>\n</head>\n<body>\n{body}\n"
        f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script>\n</body>\n</html>\n'
    )
    return written.encode("ascii", "xmlcharrefreplace").decode()  # the same in every encoding, and for the hashes


def _head(title: str, command: Sequence[str], report: Report, links: str) -> str:
    workload = report.workload
    return (
        f'<a class="skip" href="#main">Skip to the numbers</a><header><h1>{escape(title)}</h1>'
        "<p>KV cache and attention, exact to the byte. Made by</p>"
        f"<pre><code>{escape(' '.join(command))}</code></pre>"
        f'<p class="nojs">Numbers are for {tokens(workload.context_tokens)} of context and a batch of '
        f"{workload.batch:,}; with scripts allowed, this page computes any other.</p>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>'
    )


def _settings(report: Report) -> str:
    """The two sliders, each with a field for any exact number."""
    workload = report.workload
    both = "".join(
        f'<div class="setting-of"><label for="{name}-slider">{what}</label>'
        f'<input type="range" id="{name}-slider" min="0" max="1" step="1" value="0">'
        f'<label class="hidden" for="{name}-field">{what}, exactly</label>'
        f'<input type="text" id="{name}-field" autocomplete="off" spellcheck="false" value="{value:,}">'
        f'<p class="refused" id="{name}-refused" role="alert"></p></div>'
        for name, what, value in (
            ("n", "Context, tokens", workload.context_tokens),
            ("b", "Batch, sequences", workload.batch),
        )
    )
    return (
        f'<form id="settings" class="scripted" aria-label="Context and batch">{both}'
        '<button type="reset">Reset</button></form>'
    )


def _maps(programs: Sequence[Program]) -> str:
    told = "<p>Each bar is a layer, its height what that layer keeps of one sequence at this context.</p>"
    return told + "".join(layer_map(programs[at], at) for at in mapped(programs))


def _formulas(programs: Sequence[Program], labels: Sequence[str]) -> str:
    told = (
        "<p>Each number is a formula in the papers' symbols. Open one for its steps, down to the config's own "
        "numbers; they follow the context and the batch.</p>"
    )
    parts = [
        f'<details class="report" data-report="{at}"{"" if at else " open"}><summary><h3>{escape(name)}</h3></summary>'
        f"{explanations(program)}</details>"
        for at, (program, name) in enumerate(zip(programs, labels, strict=True))
    ]
    return told + "".join(parts)


def _sources(comparison_: Comparison, version: str) -> str:
    """Where the models come from, what the numbers mean, notes and warnings, and the version."""
    specs = {report.spec.name: report.spec.source for report in comparison_.reports if report.variant == "configured"}
    models = "".join(f"<li>{escape(name)}: {_source(source)}</li>" for name, source in specs.items() if source)
    warned = [line for line in comparison_.warnings if "are beyond its max_position_embeddings" not in line]
    told = "".join(f"<li>{escape(line)}</li>" for line in (*warned, *comparison_.notes))
    bounds = (*FOOTER, f"Of what is left: {NOT_COUNTED}.") if comparison_.reports[0].workload.machine else ()
    return (
        f"{f'<h3>Configs</h3><ul>{models}</ul>' if models else ''}"
        f"{f'<h3>Notes</h3><ul>{told}</ul>' if told else ''}"
        "<h3>Conventions</h3><ul><li>One multiply-add is 2 FLOPs; only matmuls count.</li>"
        "<li>The context n counts the token being processed; a prefill is n tokens from nothing.</li>"
        "<li>KiB, MiB, GiB are 2<sup>10</sup>, 2<sup>20</sup>, 2<sup>30</sup> bytes, k, M, G, T, P of FLOPs powers of "
        "1000. Numbers are whole and exact, and rounded to four digits for people alone.</li>"
        f"{''.join(f'<li>{escape(line)}</li>' for line in bounds)}"
        "<li>Each step of a formula names its own source beside it.</li></ul>"
        '<h3>The same in a terminal</h3><pre><code id="command"></code></pre>'
        f"<p>kvcalc {version}</p>"
    )


def _source(source: str) -> str:
    text = escape(source)
    return f'<a href="{text}" rel="noreferrer">{text}</a>' if source.startswith("https://") else text


def _section(name: str, heading: str, inner: str, beside: str) -> str:
    head = f'<div class="head"><h2 id="{name}">{heading}</h2>{beside}</div>'
    return f'<section aria-labelledby="{name}">{head}{inner}</section>'


def _data(
    programs: Sequence[Program],
    rows: Sequence[Row],
    labels: Sequence[str],
    roofs: dict[str, Any] | None,
    asked: Sequence[str],
) -> str:
    """What the script needs beside the functions. Whole numbers are texts: JSON's own would be doubles."""
    workload = programs[0].report.workload
    keys = [column.key for column in columns([program.report for program in programs])]
    room = "reserved_bytes" if "reserved_bytes" in keys else "cache_bytes"  # on one device they are the same
    data: dict[str, Any] = {
        "n": str(workload.context_tokens),
        "b": str(workload.batch),
        "least": str(max(workload.cached_tokens, workload.shared_prefix_tokens) + 1),
        "generate": str(workload.generate_tokens),
        "command": list(asked),
        "labels": list(labels),
        "largest": str(max(program.report.spec.max_position_embeddings for program in programs)),
        "colors": len(LIGHT.colors),
        "dashes": len(DASHES),
        "figures": [
            _figure(programs, rows, key, title, as_, in_room=key == room) for key, title, as_ in FIGURES if key in keys
        ],
        "roofline": roofs,
        "maps": [{"report": at, "kinds": picture(programs[at])} for at in mapped(programs)],
    }
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _figure(
    programs: Sequence[Program], rows: Sequence[Row], key: str, title: str, as_: str, *, in_room: bool
) -> dict[str, Any]:
    """The lines of one figure; where two engines have the same one it is drawn once. `in_room`: with what is left."""
    reports = [program.report for program in programs]
    rooms = [room_of(report) if in_room else None for report in reports]
    drawn = firsts([(one.spec, one.variant, _tree(one, key), room) for one, room in zip(reports, rooms, strict=True)])
    labels = labels_of([rows[at] for at in drawn], ())
    lines = [
        {
            "report": at,
            "label": label,
            "value": number.ref if (number := number_of(programs[at], key)) else "",
            "room": "" if rooms[at] is None else str(rooms[at]),
        }
        for at, label in zip(drawn, labels, strict=True)
    ]
    return {"title": title, "as": as_, "lines": lines}


def _tree(report: Report, key: str) -> Node | None:
    return report.bounds.get(key) or report.quantities.get(key)


def _scripts(programs: Iterable[Program]) -> str:
    ours = [_file(name) for name in SCRIPTS]
    return "\n".join([*ours[:2], functions(programs), *ours[2:]])


def _file(name: str) -> str:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return file.read()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
