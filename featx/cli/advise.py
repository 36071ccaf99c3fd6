"""``featx advise``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting

COLUMNS = {
    "spec": "features",
    "accuracy": "accuracy",
    "low": "low",
    "high": "high",
    "balanced_accuracy": "balanced",
}


def advise_command(
    data: options.Data,
    model: Annotated[str, typer.Option(help="A network, see `featx models`.")] = "featxnet",
    weights: options.Weights = None,
    size: Annotated[int | None, typer.Option(help="Side of the pictures in px.", min=1)] = None,
    device: options.Device = None,
    domains: options.Domains = None,
    random_state: options.Seed = None,
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
    report: options.Report = None,
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    as_markdown: options.Markdown = False,
    strict: options.Strict = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No notes, no progress.")] = False,
) -> None:
    """Frozen, in part, all of it or from scratch: what suits your pictures, by measurement.

    \b
    featx advise photos/
    featx advise photos/ --model resnet50
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.finetuning.advice import advise

    given = options.chosen(
        weights=weights, size=size, device=device, random_state=random_state, n_jobs=n_jobs
    )
    with reporting(quiet=quiet) as reporter:
        result = advise(
            data,
            model,
            domains=options.chosen_domains(domains),
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **given,
        )
    print_result(result, COLUMNS, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
    conclude(result, report, strict=strict)
