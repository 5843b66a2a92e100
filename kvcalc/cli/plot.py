"""`kvcalc plot`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import kvcalc
from kvcalc.cli.completion import complete_result
from kvcalc.cli.fit import ReserveOption, UtilizationOption
from kvcalc.cli.options import with_options
from kvcalc.cli.output import Output
from kvcalc.cli.workload import ModelsArgument, VariantsOption, load_models
from kvcalc.errors import KvcalcError

app = typer.Typer(rich_markup_mode=None, add_completion=False)

XOption = Annotated[
    Literal["context", "batch", "tp"] | None,
    typer.Option(
        "--x",
        help="What runs along the x axis, its option being a range. Default: context; where the option is not given, "
        "powers of two, up to each model's own limit, 256 sequences or 8 devices.",
    ),
]
YOption = Annotated[
    str | None,
    typer.Option(
        "--y",
        metavar="KEY",
        help="A result of the rows, as decode_core_flops, or intensity. Default: cache_bytes; with a server's engine "
        "or along tp reserved_bytes.",
        autocompletion=complete_result,
    ),
]
RooflineOption = Annotated[
    bool,
    typer.Option("--roofline", help="Decode and prefill under the roof of --on, FLOPs a byte against FLOP/s at most."),
]
DarkOption = Annotated[
    bool, typer.Option("--dark", help="Light on dark; an HTML page else follows the reader's browser.")
]


@app.command()
@with_options
def plot(
    models: ModelsArgument,
    grid: kvcalc.Grid,
    picture: Output,
    variants: VariantsOption = None,
    x: XOption = None,
    y: YOption = None,
    reserve: ReserveOption = None,
    utilization: UtilizationOption = None,
    roofline: RooflineOption = False,
    dark: DarkOption = False,
) -> None:
    """Plot a result against context, batch or devices, or a roofline: in the terminal, as SVG, PNG or HTML.

    kvcalc plot deepseek-v2

    kvcalc plot llama-3.1-8b gemma-3-27b qwen3-next-80b-a3b -o cache.svg

    kvcalc plot gemma-3-27b --engine vllm,sglang --on H200 --batch 8 -o reserved.html

    kvcalc plot deepseek-v3 --roofline --on 8xH200 --batch 1:256:x2 -o roofline.png

    One model alone shows its variants. Every option takes a list: each value is a line of its own. With --on the memory
    left for the cache is drawn too, as `fit` has it, and --y decode_least_seconds has numbers.
    """
    wanted = None if variants is None else kvcalc.parse_variants(variants)
    if roofline:
        if x or y or reserve or utilization:
            raise KvcalcError("--roofline has axes of its own: leave --x, --y, --reserve and --utilization out")
        figure = kvcalc.plot_roofline(load_models(models), grid, wanted)
    else:
        share, aside = kvcalc.parse_aside(reserve, utilization)
        figure = kvcalc.plot(load_models(models), grid, wanted, x or "context", y, share, aside)
    picture.tell(figure.notes, figure.warnings)

    def drawn(format_: str) -> bytes:
        from kvcalc.report.picture import to_picture

        return to_picture(figure, format_, dark=dark)

    def text(width: int, height: int | None, color: bool, plain: bool) -> str:
        from kvcalc.report.terminal import to_text

        return to_text(figure, width, height, color=color, plain=plain)

    picture.draw(drawn, text)
