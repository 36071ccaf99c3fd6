"""``featx probe``, ``featx compare`` and ``featx predict``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import conclude, print_result, reporting

_Protocol = Annotated[
    options.ProtocolOptions,
    options.Only(
        *("protocol", "classifier", "scale", "C", "metric"),
        *("train_per_class", "n_splits", "random_state", "class_weight", "groups"),
    ),
]


@options.expand_groups
def compare_command(
    data: options.Data,
    features: options.Features,
    rules: _Protocol,
    classical: Annotated[
        bool,
        typer.Option(
            "--classical",
            help="Add a fixed set of strong hand-crafted features: HOG, PHOG, LBP, gist, color, "
            "SURF words, and dense SIFT as a spatial pyramid of words and as Fisher vectors.",
        ),
    ] = False,
    finetune: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL[:STRATEGY][,key=value…]",
            help="Also fine-tune this network on the training images of each split: head (by "
            "default), partial, full or scratch, see `featx finetune`. May be repeated.",
        ),
    ] = None,
    *,
    run: options.RunOptions,
    printed: options.PrintOptions,
) -> None:
    """Compare feature sets by accuracy and cost.

    \b
    featx compare photos/ -e hog -e bovw:surf -e cnn:featxnet:pool5
    featx compare photos/ --model alexnet --layer pool1,fc7 --protocol decaf
    featx compare photos/ -e hog -e cnn:squeezenet1_0 --finetune squeezenet1_0:full
    featx compare photos/ --classical --model squeezenet1_0 --layer pool1,penultimate
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    options.take_single("--train-per-class", rules.train_per_class)
    from featx.evaluation.comparison import compare

    networks = None
    if finetune:
        from featx.finetuning.experiment import parse_networks

        names = ("device", "trust")
        known = {name: value for name, value in features.to_parameters().items() if name in names}
        if rules.class_weight:
            known["class_weight"] = rules.class_weight
        networks = parse_networks(finetune, rules.random_state or 0, **known)
    with reporting(quiet=printed.quiet) as reporter:
        result = compare(
            data,
            features.extractor,
            classical=classical,
            finetune=networks,
            progress=reporter,
            **features.to_parameters(),
            **rules.to_parameters(),
            **run.to_parameters(),
        )
    print_result(result, report=printed.report, **printed.formats)
    conclude(result, strict=printed.strict)


@options.expand_groups
def probe_command(
    data: options.Data,
    features: options.Features,
    rules: _Protocol,
    save: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Save extractor and classifier, fitted to all images (.skops), for "
            "`featx predict`.",
        ),
    ] = None,
    *,
    run: options.RunOptions,
    printed: options.PrintOptions,
) -> None:
    """Train and test a linear classifier on features.

    \b
    featx probe photos/ -e cnn:featxnet:fc7 --save probe.skops
    featx probe photos/ -e hog --train-per-class 1,2,5,10,20
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.evaluation.comparison import probe

    with reporting(quiet=printed.quiet) as reporter:
        result = probe(
            data,
            features.extractor,
            save=save,
            progress=reporter,
            **features.to_parameters(),
            **rules.to_parameters(),
            **run.to_parameters(),
        )
    print_result(result, report=printed.report, **printed.formats)
    if not any(printed.formats.values()):
        _print_classes(result.details)
    conclude(result, strict=printed.strict)


@options.expand_groups
def predict_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A file saved by `featx probe --save`, or a folder saved by `featx finetune`.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Folders, files, a manifest, - for names on stdin."),
    ],
    network: Annotated[options.FeatureOptions, options.Only("decode", "precision", "trust")],
    run: options.StoredOnly,
    printed: Annotated[
        options.PrintOptions,
        options.Only(*("as_json", "as_csv", "safe_csv", "as_markdown"), *("strict", "quiet")),
    ],
) -> None:
    """Predict classes with a trained classifier.

    \b
    featx predict probe.skops new_photos/ --csv > classes.csv
    featx predict mine/ new_photos/ --trust mine/
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.evaluation.prediction import predict

    with reporting(quiet=printed.quiet) as reporter:
        result = predict(
            model, images, progress=reporter, **network.to_parameters(), **run.to_parameters()
        )
    print_result(result, **printed.formats)
    conclude(result, strict=printed.strict)


def _print_classes(details: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    """The table of classes of each feature set."""
    from featx.cli.console import print_table

    for spec, rows in details["per_class"].items():
        print(f"\n{spec}")
        shown = [
            {name: f"{v:.3f}" if isinstance(v, float) else v for name, v in row.items()}
            for row in rows
        ]
        print_table(shown, right=["n", "recall", "precision", "f1"])
