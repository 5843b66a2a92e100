"""Options that name hardware."""

from __future__ import annotations

from typing import Annotated

import typer

from kvcalc.cli.completion import complete_machine

OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="HARDWARE",
        help="8xH100, H200, or 2x./mine.yaml: the least time on it. `kvcalc list hardware` names those known.",
        autocompletion=complete_machine,
    ),
]
