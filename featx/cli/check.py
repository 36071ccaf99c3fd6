"""``featx check``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting


@options.expand_groups
def check_command(
    data: options.Data,
    network: Annotated[
        options.FeatureOptions,
        options.Only(
            *("model", "layer", "weights", "pooling", "size"),
            *("decode", "precision", "device", "trust"),
        ),
    ],
    only: Annotated[
        list[str] | None,
        options.name_list(
            "--only", metavar="CHECK,…", help="Checks to run: duplicates, labels, images, classes."
        ),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(
            "--write",
            metavar="FILE",
            help="Save a manifest (.csv, .tsv, .parquet) of the images that are not listed. No "
            "image is ever deleted.",
        ),
    ] = None,
    force: options.Force = False,
    *,
    rules: options.Seed,
    run: options.RunOptions,
    printed: options.PrintOptions,
) -> None:
    """Find duplicates, likely label errors and unusable images.

    \b
    featx check photos/ --report report/
    featx check photos/ --model squeezenet1_0 --write clean.csv
    featx compare clean.csv -e hog -e cnn:featxnet
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.evaluation.data_checks import check

    with reporting(quiet=printed.quiet) as reporter:
        result = check(
            data,
            only=only,
            write=write,
            force=force,
            progress=reporter,
            **network.to_parameters(),
            **rules.to_parameters(),
            **run.to_parameters(),
        )
    formats = printed.formats
    is_for_programs = any(formats[name] for name in ("as_json", "as_csv", "safe_csv"))
    shown = result if is_for_programs else replace(result, rows=result.details["summary"])
    print_result(result, shown=shown, report=printed.report, **formats)
    if not is_for_programs and shown.rows and printed.report is None:
        print("--report DIR shows the images; --csv and --json list them.")
    conclude(result, strict=printed.strict)
