"""``featx umap``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_failures, print_json, reporting
from featx.errors import ResultFileError

if TYPE_CHECKING:
    from featx.results import Result

SUFFIXES = (".png", ".svg", ".pdf", ".html")


def umap_command(
    data: options.Data,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help=".png, .svg, .pdf or .html.")
    ] = "map.png",
    extractor: Annotated[
        str | None,
        typer.Option("-e", "--extractor", metavar="SPEC", help="NAME[:ARG…][,key=value…]."),
    ] = None,
    model: options.Model = None,
    layer: Annotated[
        str | None, typer.Option(help="A layer of the network, see `featx layers MODEL`.")
    ] = None,
    weights: options.Weights = None,
    pooling: options.Pooling = None,
    device: options.Device = None,
    color: Annotated[
        str | None,
        typer.Option(
            help="class (the default where it is known), domain, split, or correct: whether a "
            "linear probe gets it right."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="umap, pca or tsne.")] = "umap",
    protocol: options.ProtocolName = None,
    max_images: Annotated[int, typer.Option(help="At most so many are mapped.", min=10)] = 5000,
    random_state: Annotated[int, typer.Option(help="The same seed, the same map.")] = 0,
    domains: options.Domains = None,
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
    as_json: options.Json = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """One map of pictures in two dimensions, by one kind of features.

    \b
    featx umap photos/ -e cnn:featxnet:fc7 -o map.png
    featx umap photos/ -e hog --color correct -o map.html
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    file = Path(output)
    if file.suffix.lower() not in SUFFIXES:
        raise ResultFileError(
            f"{output}: a map is written to {', '.join(SUFFIXES)}; got "
            f"{file.suffix or 'no suffix'}."
        )
    from featx.projection.single import map_pictures

    given = options.chosen(
        model=model, layer=layer, weights=weights, pooling=pooling, device=device, n_jobs=n_jobs
    )
    with reporting(quiet=quiet) as reporter:
        result = map_pictures(
            data,
            extractor,
            method=method,
            color=color,
            protocol=protocol,
            max_images=max_images,
            random_state=random_state,
            domains=options.chosen_domains(domains),
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **given,
        )
    _write(result, file)
    if as_json:
        print_json("umap", result.rows, data=result.data, protocol=result.protocol, output=output)
    else:
        print(f"{output}: {result.sentences[0]}")
    sys.stdout.flush()
    print_failures(result.failures)
    conclude(result, strict=strict)


def _write(result: Result, file: Path) -> None:
    if file.suffix.lower() == ".html":
        from featx.reporting import write_page

        write_page([result], file)
        return
    from featx.plotting import draw_figures
    from featx.plotting.style import save_figure

    save_figure(draw_figures(result)["maps"], file, [file.suffix.lower()[1:]])
