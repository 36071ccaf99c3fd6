"""``featx demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import reporting


@options.expand_groups
def demo_command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="[DATA]",
            help="Folder of images, or digits (scikit-learn's). Default: 500 drawn images of ten "
            "kinds of objects.",
        ),
    ] = "drawings",
    *,
    network: Annotated[
        options.FeatureOptions, options.Only("model", "weights", "decode", "precision", "trust")
    ],
    printed: Annotated[options.PrintOptions, options.Only("report")],
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="Use photographs of ants and bees and an ImageNet network, both downloaded.",
        ),
    ] = False,
    all_images: Annotated[
        bool, typer.Option("--all", help="Use all images, not 500 sampled evenly.")
    ] = False,
    run: options.StoredOnly,
) -> None:
    """Extract, compare and report on sample images.

    The report goes to featx-demo/ unless --report names another folder.

    \b
    featx demo
    featx demo digits
    featx demo my_photos/ --report out/
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.data.samples import fetch_photographs
    from featx.demo import N_IMAGES, tell_story

    with reporting(quiet=True) as silent:
        tell_story(
            fetch_photographs() if online else data,
            max_images=None if all_images else N_IMAGES,
            tell=_print,
            progress=silent,
            **({"model": "squeezenet1_0"} if online else {}) | network.to_parameters(),
            **printed.to_parameters(),
            **run.to_parameters(),
        )


def _print(sentence: str) -> None:
    """A heading with a line before it, a table as it is, a sentence indented."""
    if sentence[:1].isdigit() and sentence[1:3] == ". ":
        print(f"\n{sentence}", flush=True)
    else:
        print("\n".join(f"   {line}" for line in sentence.rstrip().splitlines()), flush=True)
