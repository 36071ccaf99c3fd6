"""``featx umap``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli import options
from featx.cli.console import (
    conclude,
    print_failures,
    print_json,
    reporting,
)

if TYPE_CHECKING:
    from featx.features.results import Result

SUFFIXES = (".png", ".svg", ".pdf", ".html")


@options.expand_groups
def umap_command(
    data: options.Data,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help=".png, .svg, .pdf or .html.")
    ] = "map.png",
    *,
    features: options.Features,
    color: Annotated[
        str | None,
        typer.Option(
            help="Color points by class (default if known), domain, split, or correct (whether a "
            "linear probe classifies the image correctly)."
        ),
    ] = None,
    rules: Annotated[options.ProtocolOptions, options.Only("protocol", "random_state")],
    embedding: options.EmbeddingOptions,
    run: options.RunOptions,
    printed: options.Printed,
) -> None:
    """Embed images in two dimensions.

    \b
    featx umap photos/ -e cnn:featxnet:fc7 -o map.png
    featx umap photos/ -e hog --color correct -o map.html
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    file = options.check_suffix(output, SUFFIXES)
    from featx.analysis.image_map import map_images

    with reporting(quiet=printed.quiet) as reporter:
        result = map_images(
            data,
            features.extractor,
            color=color,
            progress=reporter,
            **features.to_parameters(),
            **rules.to_parameters(),
            **embedding.to_parameters(),
            **run.to_parameters(),
        )
    _write(result, file)
    if printed.as_json:
        print_json(
            "umap",
            result.rows,
            data=result.data,
            n_ignored=result.n_ignored,
            protocol=result.protocol,
            output=output,
        )
    else:
        print(f"{output}: {result.sentences[0]}")
    sys.stdout.flush()
    print_failures(result.failures)
    conclude(result, strict=printed.strict)


def _write(result: Result, file: Path) -> None:
    if file.suffix.lower() == ".html":
        from featx.report.writing import write_page

        write_page([result], file)
        return
    from featx.figures.result_figures import draw_figures
    from featx.figures.style import save_figure

    save_figure(draw_figures(result)["maps"], file, [file.suffix.lower()[1:]])
