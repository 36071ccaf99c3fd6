"""``featx depth``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting


@options.expand_groups
def depth_command(
    data: options.Data,
    network: Annotated[
        options.FeatureOptions,
        options.Only(
            *("model", "layer", "weights", "pooling", "size"),
            *("decode", "precision", "device", "trust"),
        ),
    ],
    rules: Annotated[
        options.ProtocolOptions, options.Only("protocol", "random_state", "class_weight", "groups")
    ],
    embedding: options.EmbeddingOptions,
    maps: Annotated[
        list[str] | None,
        options.name_list(
            "--maps",
            metavar="auto|all|none|LAYER,…",
            help="Layers to embed. Default: auto, six layers spread over the purity curve.",
        ),
    ] = None,
    no_controls: Annotated[
        bool, typer.Option("--no-controls", help="Leave out shuffled labels and random weights.")
    ] = False,
    *,
    run: options.RunOptions,
    printed: options.PrintOptions,
) -> None:
    """Measure accuracy and clustering quality at each layer.

    By default one layer per block of the network (--layer all), with global average pooling.

    \b
    featx depth photos/ --report out/
    featx depth photos/ --model alexnet --layer pool1,pool5,fc7 --method pca
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.analysis.depth import depth_profile

    parameters = network.to_parameters()
    if "layer" in parameters:
        parameters["layers"] = parameters.pop("layer")
    if maps:
        parameters["maps"] = maps
    with reporting(quiet=printed.quiet) as reporter:
        result = depth_profile(
            data,
            has_controls=not no_controls,
            progress=reporter,
            **parameters,
            **rules.to_parameters(),
            **embedding.to_parameters(),
            **run.to_parameters(),
        )
    print_result(result, report=printed.report, **printed.formats)
    conclude(result, strict=printed.strict)
