"""``featx transfer``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting

if TYPE_CHECKING:
    from featx.results import Result

COLUMNS = {
    "spec": "features",
    "alignment": "alignment",
    "source": "from",
    "target": "to",
    "source_accuracy": "source",
    "target_accuracy": "target",
    "low": "low",
    "high": "high",
    "difference": "behind",
    "points_lost": "points lost",
    "share_kept": "share kept",
    "points_gained": "CORAL adds",
    "domain_accuracy": "domains told apart",
}


def transfer_command(
    data: options.Data,
    extractor: options.Extractors = None,
    model: options.Model = None,
    layer: options.Layers = None,
    weights: options.Weights = None,
    pooling: options.Pooling = None,
    device: options.Device = None,
    domains: Annotated[
        str,
        typer.Option(help="The folder above the class is the domain; those wanted, as A,B, or all"),
    ] = "all",
    seeds: Annotated[int, typer.Option(help="Splits of each domain, each another.", min=1)] = 5,
    train_share: Annotated[
        float, typer.Option(help="Of each class of each domain, to train on.", min=0.01, max=0.99)
    ] = 0.7,
    classifier: options.Classifier = None,
    scale: options.Scale = None,
    C: options.Strength = None,
    regularization: Annotated[
        float, typer.Option(help="Of CORAL: added to the variance of every feature.")
    ] = 1.0,
    random_state: options.Seed = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Show each pair of more than two domains, too.")
    ] = False,
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
    """Train on one domain, test on another: what each kind of features keeps, and CORAL adds.

    \b
    featx transfer data/samples --domains photo,sketch
    featx transfer offices/ -e bovw:surf --model alexnet --layer fc7 --pairs
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.probing import transfer

    given = options.chosen(
        model=model, layer=layer or None, weights=weights, pooling=pooling, device=device,
        n_jobs=n_jobs, classifier=classifier, scale=scale, random_state=random_state,
    )  # fmt: skip
    with reporting(quiet=quiet) as reporter:
        result = transfer(
            data,
            extractor or None,
            domains=options.chosen_domains(domains) or True,
            seeds=seeds,
            train_share=train_share,
            C=C,
            regularization=regularization,
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **given,
        )
    for_people = not (as_json or as_csv)
    print_result(
        _readable(result, has_pairs=pairs) if for_people else result,
        COLUMNS,
        as_json=as_json,
        as_csv=as_csv,
        as_markdown=as_markdown,
    )
    conclude(result, report, strict=strict)


def _readable(result: Result, *, has_pairs: bool) -> Result:
    """The averages, each pair where asked for or there are few, and points with one place."""
    is_short = len(result.protocol["domains"]) < 3
    rows = [row for row in result.rows if has_pairs or is_short or row["source"] == "mean"]
    return replace(result, rows=[row | _points(row) for row in rows])


def _points(row: dict[str, Any]) -> dict[str, str]:
    names = ("points_lost", "points_gained")
    return {name: f"{row[name]:.1f}" for name in names if row.get(name) is not None}
