"""``featx advise``."""

from __future__ import annotations

from typing import Annotated

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting


@options.expand_groups
def advise_command(
    data: options.Data,
    network: Annotated[
        options.FeatureOptions,
        options.Only("model", "weights", "size", "decode", "precision", "device", "trust"),
    ],
    rules: Annotated[options.ProtocolOptions, options.Only("random_state", "groups")],
    run: options.RunOptions,
    printed: options.PrintOptions,
) -> None:
    """Recommend how far to fine-tune a network.

    \b
    featx advise photos/
    featx advise photos/ --model resnet50
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.finetuning.layer_advice import advise

    with reporting(quiet=printed.quiet) as reporter:
        result = advise(
            data,
            **network.to_parameters(),
            **rules.to_parameters(),
            **run.to_parameters(),
            progress=reporter,
        )
    print_result(result, report=printed.report, **printed.formats)
    conclude(result, strict=printed.strict)
