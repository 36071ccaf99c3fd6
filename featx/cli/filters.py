"""``featx filters``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import (
    conclude,
    print_failures,
    print_json,
    reporting,
)

SUFFIXES = (".png", ".svg", ".pdf")


@options.expand_groups
def filters_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Network, see `featx models`.")],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]",
            help="Images that activate channels of a deeper layer, as in `featx extract`.",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help=".png, .svg or .pdf.")
    ] = "filters.png",
    *,
    network: Annotated[
        options.FeatureOptions,
        options.Only("layer", "weights", "decode", "precision", "device", "trust"),
    ],
    channels: Annotated[
        list[int] | None,
        options.integer_list(
            "--channels",
            metavar="N,…",
            help="Channels, for example 3,17,40. Default: the eight most selective channels.",
        ),
    ] = None,
    run: options.RunOptions,
    printed: options.Printed,
) -> None:
    """Plot first-layer kernels, or images that activate channels.

    By default the channels are those of the deepest layer that has feature maps.

    \b
    featx filters featxnet -o kernels.png
    featx filters featxnet photos/ --layer conv5 -o conv5.png
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    file = options.check_suffix(output, SUFFIXES)
    layer = options.take_single("--layer", network.layer)
    if not data and (layer or channels):
        raise typer.BadParameter("--layer and --channels need images: name DATA too.")
    from featx.figures.kernel_figure import draw_filters
    from featx.figures.style import save_figure

    with reporting(quiet=printed.quiet) as reporter:
        figure, result = draw_filters(
            model,
            data or None,
            channels=channels,
            progress=reporter,
            **network.to_parameters() | {"layer": layer},
            **run.to_parameters(),
        )
    save_figure(figure, file, [file.suffix.lower()[1:]])
    if printed.as_json:
        print_json(
            "filters", result.rows, data=result.data, n_ignored=result.n_ignored, output=output
        )
    else:
        print(f"{output}: " + "\n".join(result.sentences))
    sys.stdout.flush()
    print_failures(result.failures)
    conclude(result, strict=printed.strict)
