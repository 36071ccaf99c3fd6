"""``featx depth``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting

SHOWN = {
    "layer": "layer",
    "accuracy": "accuracy",
    "low": "low",
    "high": "high",
    "purity": "purity",
    "silhouette": "silhouette",
    "nmi": "NMI",
    "ari": "ARI",
    "intrinsic_dimension": "dimension",
    "n_features": "columns",
    "accuracy_shuffled": "shuffled",
    "accuracy_random": "random",
    "purity_random": "purity, random",
}


def depth_command(
    data: options.Data,
    model: Annotated[str, typer.Option(help="A network, see `featx models`.")] = "featxnet",
    layers: Annotated[
        str,
        typer.Option(
            metavar="all|L,L,…",
            help="Layers, see `featx layers MODEL`; all takes one for each step of the network.",
        ),
    ] = "all",
    weights: options.Weights = None,
    pooling: Annotated[
        str,
        typer.Option(
            help="What becomes of maps: gap (the mean over places), flatten, max, gem, grid=N; of "
            "tokens cls, mean."
        ),
    ] = "gap",
    device: options.Device = None,
    precision: options.Precision = None,
    protocol: options.ProtocolName = None,
    method: Annotated[str, typer.Option(help="Of the maps: umap, pca or tsne.")] = "umap",
    maps: Annotated[
        str,
        typer.Option(
            metavar="auto|all|none|L,L,…",
            help="Layers to map; auto takes six that lie well apart on the curve of purity.",
        ),
    ] = "auto",
    max_images: Annotated[
        int,
        typer.Option(help="At most so many pictures are measured and mapped; all probed.", min=10),
    ] = 5000,
    no_controls: Annotated[
        bool, typer.Option("--no-controls", help="No shuffled labels, no random weights.")
    ] = False,
    random_state: Annotated[int, typer.Option(help="Seed of splits, maps and samples.")] = 0,
    domains: options.Domains = None,
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
    report: options.Report = None,
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    as_markdown: options.Markdown = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """How classes form with depth: accuracy and clusters at each layer, with a map of each.

    \b
    featx depth photos/ --report out/
    featx depth photos/ --model alexnet --layers pool1,pool5,fc7 --method pca
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.projection.depth import depth_profile

    given = options.chosen(weights=weights, device=device, precision=precision, n_jobs=n_jobs)
    with reporting(quiet=quiet) as reporter:
        result = depth_profile(
            data,
            model,
            layers,
            pooling=pooling,
            protocol=protocol,
            method=method,
            maps=maps,
            max_images=max_images,
            has_controls=not no_controls,
            random_state=random_state,
            domains=options.chosen_domains(domains),
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **given,
        )
    print_result(result, SHOWN, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
    conclude(result, report, strict=strict)
