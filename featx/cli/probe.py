"""``featx probe``, ``featx compare`` and ``featx predict``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting

COMPARED = {
    "spec": "features",
    "accuracy": "accuracy",
    "low": "low",
    "high": "high",
    "balanced_accuracy": "balanced",
    "difference": "behind",
    "p_value": "p",
    "is_tied": "tied",
    "n_features": "columns",
    "ms_per_image": "ms/image",
    "train_seconds": "train s",
    "C": "C",
}
PROBED = {
    "spec": "features",
    "layer": "layer",
    "train_per_class": "train/class",
    **{name: COMPARED[name] for name in ("accuracy", "low", "high", "balanced_accuracy")},
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "n_features": "columns",
    "ms_per_image": "ms/image",
    "C": "C",
}
PREDICTED = {"path": "picture", "predicted": "class", "probability": "probability", "true": "true"}


def compare_command(
    data: options.Data,
    extractor: options.Extractors = None,
    model: options.Model = None,
    layer: options.Layers = None,
    weights: options.Weights = None,
    pooling: options.Pooling = None,
    device: options.Device = None,
    protocol: options.ProtocolName = None,
    classifier: options.Classifier = None,
    scale: options.Scale = None,
    C: options.Strength = None,
    metric: options.Metric = None,
    train_per_class: Annotated[
        int | None, typer.Option(help="Training pictures of each class.", min=1)
    ] = None,
    n_splits: options.Splits = None,
    random_state: options.Seed = None,
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
    """Which features win: one table by accuracy, size and cost, with controls, best first.

    \b
    featx compare photos/ -e hog -e bovw:surf -e cnn:featxnet:pool5
    featx compare photos/ --model alexnet --layer pool1 --layer fc7 --protocol decaf
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.probing import compare

    given = options.chosen(
        model=model, layer=layer or None, weights=weights, pooling=pooling, device=device,
        n_jobs=n_jobs,
    )  # fmt: skip
    with reporting(quiet=quiet) as reporter:
        result = compare(
            data,
            extractor or None,
            protocol=protocol,
            classifier=classifier,
            scale=scale,
            C=C,
            metric=metric,
            train_per_class=train_per_class,
            n_splits=n_splits,
            random_state=random_state,
            domains=options.chosen_domains(domains),
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **given,
        )
    print_result(result, COMPARED, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
    conclude(result, report, strict=strict)


def probe_command(
    data: options.Data,
    extractor: options.Extractors = None,
    model: options.Model = None,
    layer: options.Layers = None,
    weights: options.Weights = None,
    pooling: options.Pooling = None,
    device: options.Device = None,
    protocol: options.ProtocolName = None,
    classifier: options.Classifier = None,
    scale: options.Scale = None,
    C: options.Strength = None,
    metric: options.Metric = None,
    train_per_class: Annotated[
        str | None,
        typer.Option(help="Training pictures of each class; several, as 1,2,5,10, draw a curve."),
    ] = None,
    n_splits: options.Splits = None,
    random_state: options.Seed = None,
    domains: options.Domains = None,
    save: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Keep extractor and classifier, fitted to all pictures (.skops), for "
            "`featx predict`.",
        ),
    ] = None,
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
    """What a linear classifier reaches with one kind of features, class by class.

    \b
    featx probe photos/ -e cnn:featxnet:fc7 --save probe.skops
    featx probe photos/ -e hog --train-per-class 1,2,5,10,20
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.probing import probe

    given = options.chosen(
        model=model, layer=layer or None, weights=weights, pooling=pooling, device=device,
        n_jobs=n_jobs,
    )  # fmt: skip
    with reporting(quiet=quiet) as reporter:
        result = probe(
            data,
            extractor or None,
            protocol=protocol,
            classifier=classifier,
            scale=scale,
            C=C,
            metric=metric,
            train_per_class=_sizes(train_per_class),
            n_splits=n_splits,
            random_state=random_state,
            domains=options.chosen_domains(domains),
            save=save,
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **given,
        )
    print_result(result, PROBED, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
    if not (as_json or as_csv or as_markdown):
        _print_classes(result.details)
    conclude(result, report, strict=strict)


def predict_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A file of `featx probe --save`, or a folder of `featx finetune`.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Folders, files, a manifest, - for names on stdin."),
    ],
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    as_markdown: options.Markdown = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Class and probability of each picture, by what was trained before.

    \b
    featx predict probe.skops new_photos/ --csv > classes.csv
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.prediction import predict

    with reporting(quiet=quiet) as reporter:
        result = predict(
            model,
            images,
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **options.chosen(n_jobs=n_jobs),
        )
    print_result(result, PREDICTED, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
    conclude(result, strict=strict)


def _sizes(text: str | None) -> int | list[int] | None:
    """Numbers with commas between them."""
    if text is None:
        return None
    try:
        sizes = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(
            f"--train-per-class takes numbers from 1 on, as 1,2,5; got {text!r}."
        )
    return sizes if len(sizes) > 1 else sizes[0]


def _print_classes(details: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    """The table of classes of each kind of features."""
    from featx.cli.console import print_table

    for spec, rows in details["per_class"].items():
        print(f"\n{spec}")
        shown = [
            {name: f"{v:.3f}" if isinstance(v, float) else v for name, v in row.items()}
            for row in rows
        ]
        print_table(shown, right=["n", "recall", "precision", "f1"])
