"""``featx transfer``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting

if TYPE_CHECKING:
    from featx.features.results import Result


@dataclass(frozen=True)
class TransferOptions(options.OptionGroup):
    """How domains are split and aligned."""

    train_fraction: Annotated[
        float | None,
        typer.Option(
            help="Fraction of each class of each domain to train on. Default: 0.7.",
            min=0.01,
            max=0.99,
        ),
    ] = None
    regularization: Annotated[
        float | None,
        typer.Option(
            help="Regularization that CORAL adds to every feature's variance. Default: 1.0."
        ),
    ] = None


@options.expand_groups
def transfer_command(
    data: options.Data,
    features: options.Features,
    sampling: TransferOptions,
    rules: Annotated[
        options.ProtocolOptions,
        options.Only("classifier", "scale", "C", "seeds", "random_state", "class_weight", "groups"),
    ],
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Show each pair of more than two domains, too.")
    ] = False,
    *,
    run: options.RunOptions,
    printed: options.PrintOptions,
) -> None:
    """Train on one domain, test on another.

    By default between all domains, over five random splits of each.

    \b
    featx transfer data/samples --domains photo,sketch
    featx transfer offices/ -e bovw:surf --model alexnet --layer fc7 --pairs
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.evaluation.domain_transfer import transfer

    with reporting(quiet=printed.quiet) as reporter:
        result = transfer(
            data,
            features.extractor,
            progress=reporter,
            **features.to_parameters(),
            **sampling.to_parameters(),
            **rules.to_parameters(),
            **run.to_parameters(),
        )
    for_people = not (printed.as_json or printed.as_csv or printed.safe_csv)
    shown = _readable(result, has_pairs=pairs) if for_people else result
    print_result(result, shown=shown, report=printed.report, **printed.formats)
    conclude(result, strict=printed.strict)


def _readable(result: Result, *, has_pairs: bool) -> Result:
    """The averages, and each pair if requested or if there are only two domains."""
    is_short = len(result.protocol["domains"]) < 3
    rows = [row for row in result.rows if has_pairs or is_short or row["source"] == "mean"]
    return replace(result, rows=rows)
