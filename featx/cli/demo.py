"""``featx demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import reporting

DEFAULT_REPORT = "featx-demo"


def demo_command(
    data: Annotated[
        str,
        typer.Argument(metavar="[DATA]", help="A folder of your own; by default the digits."),
    ] = "digits",
    model: options.Model = None,
    weights: options.Weights = None,
    report: Annotated[
        str, typer.Option(metavar="DIR", help="Where the report goes.")
    ] = DEFAULT_REPORT,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="Photographs of ants and bees and an ImageNet network, both downloaded.",
        ),
    ] = False,
    all_images: Annotated[
        bool, typer.Option("--all", help="All pictures, not 500 drawn evenly.")
    ] = False,
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
) -> None:
    """The whole story in two minutes: features, which win, how depth helps, a report.

    \b
    featx demo
    featx demo my_photos/ --report out/
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.demo import N_IMAGES, tell_story
    from featx.photographs import fetch_photographs

    with reporting(quiet=True) as silent:
        tell_story(
            fetch_photographs() if online else data,
            model=model or ("squeezenet1_0" if online else "featxnet"),
            weights=weights or "default",
            report=report,
            max_images=None if all_images else N_IMAGES,
            store=options.chosen_store(store, no_store=no_store),
            tell=_print,
            watcher=silent,
            **options.chosen(n_jobs=n_jobs),
        )


def _print(sentence: str) -> None:
    """A heading with a line before it, a table as it is, a sentence indented."""
    if sentence[:1].isdigit() and sentence[1:3] == ". ":
        print(f"\n{sentence}", flush=True)
    else:
        print("\n".join(f"   {line}" for line in sentence.rstrip().splitlines()), flush=True)
