"""Run the protocol of a published table on your images; print its figures beside yours.

    python scripts/reproduce.py caltech101 --data 101_ObjectCategories --model alexnet
    python scripts/reproduce.py domains --data office --domains amazon,webcam,dslr --model alexnet

The tables: caltech101, ants_bees, flowers, domains, scenes. Published figures carry their source.
Where the network or the split is not the paper's, the output says so: what is beside each other
is then no reproduction but a comparison. Layers and classical features are those of the table;
`--layer`, `--pooling` and `-e` take others, which have no published figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featx import list_layers
from featx.cli.console import Reporter
from featx.engine.specs import make_extractor, spec_of
from featx.errors import FeatxError
from featx.evaluation.comparison import probe
from featx.evaluation.domain_pairs import MEAN
from featx.evaluation.domain_transfer import transfer
from featx.features.results import Result

DECAF = "Donahue et al., DeCAF, ICML 2014"
ALEXNET = "the AlexNet of Krizhevsky et al. 2012, trained on ILSVRC-2012"
OVERFEAT = "OverFeat, trained on ILSVRC-2013"
RESNET = "torchvision's resnet18, trained on ILSVRC-2012"
COLUMNS = ("features", "classifier", "published", "measured", "low", "high", "source")

CROSSED = ("spec", "alignment", "source", "target", "source_accuracy", "target_accuracy")
CROSSED += ("points_lost", "share_kept", "points_gained", "domain_accuracy")


@dataclass(frozen=True)
class Figure:
    """A published accuracy in per cent.

    Attributes
    ----------
    features : str
        As the paper calls them.
    key : str
        Layer or SPEC that stands for them here; empty where nothing does.
    classifier : str
        Empty where it is none of ours.
    accuracy : float
    source : str
    pair : tuple of str
        Source and target domain, in lower case.
    """

    features: str
    key: str
    classifier: str
    accuracy: float
    source: str
    pair: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A published table and how it is run.

    Attributes
    ----------
    protocol : str
        Of featx; empty for domains.
    train_per_class : int or None
    layers, specs : tuple of str
        What is measured.
    classifiers : tuple of str
    network : str
        The paper's.
    notes : tuple of str
        Where our run departs from the paper's.
    figures : tuple of Figure
    """

    protocol: str
    train_per_class: int | None
    layers: tuple[str, ...]
    specs: tuple[str, ...]
    classifiers: tuple[str, ...]
    network: str
    notes: tuple[str, ...]
    figures: tuple[Figure, ...]


def decaf(classifier: str, *figures: tuple[str, float], pair: tuple[str, ...] = ()) -> list[Figure]:
    """Return figures of DeCAF's layers with one classifier."""
    names = {"pool5": "DeCAF5", "relu_fc6": "DeCAF6", "relu_fc7": "DeCAF7", "bovw:surf": "SURF"}
    return [Figure(names[key], key, classifier, value, DECAF, pair) for key, value in figures]


NILSBACK = "Nilsback and Zisserman, ICVGIP 2008; 102 flowers"
RAZAVIAN = "Razavian et al., CVPRW 2014"
GEHLER = "Gehler and Nowozin, ICCV 2009; 17 flowers, segmented"
TUTORIAL = "PyTorch, Transfer Learning for Computer Vision Tutorial; best epoch of one run"
TO_WEBCAM = {"a": ("amazon", "webcam"), "d": ("dslr", "webcam")}

TABLES = {
    "caltech101": Table(
        "decaf",
        30,
        ("pool5", "relu_fc6", "relu_fc7"),
        (),
        ("logistic", "svm"),
        ALEXNET,
        ("Mean of the classes' accuracies over 5 splits of 30 training images per class.",),
        (
            *decaf("logistic", ("pool5", 63.3), ("relu_fc6", 84.3), ("relu_fc7", 84.9)),
            *decaf("svm", ("pool5", 77.1), ("relu_fc6", 84.8), ("relu_fc7", 83.2)),
        ),
    ),
    "ants_bees": Table(
        "holdout",
        None,
        ("-1",),
        ("hog", "bovw:surf"),
        ("logistic",),
        RESNET,
        (
            "The tutorial trains the last layer with augmentation and reports the best of 25 "
            "epochs on the very images it is tested on.",
        ),
        (Figure("last layer", "-1", "logistic", 94.8, TUTORIAL),),
    ),
    "flowers": Table(
        "random",
        40,
        ("-1",),
        ("hog", "bovw:sift", "color"),
        ("logistic", "svm"),
        OVERFEAT,
        (
            "40 training images per class, the rest to test on, 5 splits. The papers on 102 "
            "flowers train on 10 to 20 a class, with the data's own split.",
        ),
        (
            Figure("HOG, kernel SVM", "hog", "svm", 58.5, GEHLER),
            Figure("SIFT words, kernel SVM", "bovw:sift", "svm", 70.6, GEHLER),
            Figure("7 kernels combined", "", "", 85.5, GEHLER),
            Figure("best of 4 classical features", "", "", 55.1, NILSBACK),
            Figure("4 classical features", "", "", 72.8, NILSBACK),
            Figure("OverFeat, SVM", "-1", "svm", 74.7, f"{RAZAVIAN}; 102 flowers"),
            Figure("OverFeat, augmented, SVM", "", "", 86.8, f"{RAZAVIAN}; 102 flowers"),
        ),
    ),
    "domains": Table(
        "",
        None,
        ("relu_fc6", "relu_fc7"),
        ("bovw:surf",),
        ("logistic", "svm"),
        ALEXNET,
        (
            "The paper trains on 20 images per class of amazon and 8 of dslr, and tests on all of "
            "the target; here 70 % of each domain train and the rest of the target tests.",
            "Measured figures are those without alignment; the table after them has CORAL's.",
        ),
        tuple(
            figure
            for pair, classifier, values in (
                ("a", "logistic", (9.6, 48.6, 53.6)),
                ("a", "svm", (11.1, 52.2, 53.9)),
                ("d", "logistic", (24.2, 88.8, 87.4)),
                ("d", "svm", (38.8, 91.5, 89.2)),
            )
            for figure in decaf(
                classifier,
                *zip(("bovw:surf", "relu_fc6", "relu_fc7"), values, strict=True),
                pair=TO_WEBCAM[pair],
            )
        ),
    ),
    "scenes": Table(
        "random",
        50,
        ("relu_fc6", "relu_fc7"),
        ("hog",),
        ("logistic", "svm"),
        ALEXNET,
        (
            "50 training images per class, the rest to test on, 5 splits; MIT-67 has 80 to train "
            "on: --train-per-class 80.",
        ),
        (
            Figure("DeCAF6, SUN-397", "relu_fc6", "logistic", 40.9, DECAF),
            Figure("best classical, SUN-397", "", "", 38.0, "Xiao et al., CVPR 2010"),
            Figure("OverFeat, MIT-67", "-1", "svm", 58.4, RAZAVIAN),
        ),
    ),
}
"""Name -> published table."""


def network_specs(args: argparse.Namespace, table: Table) -> dict[str, str]:
    """Return SPEC -> the layer that it stands for, of layers that the network has."""
    wanted = args.layer or list(table.layers)
    there = {name for layer in list_layers(args.model) for name in (layer.alias, layer.node)}
    layers = [layer for layer in wanted if layer in there or layer.lstrip("-").isdigit()]
    options = {"pooling": args.pooling, "weights": args.weights}
    tail = "".join(f",{name}={quoted(text)}" for name, text in options.items() if text is not None)
    return {f"cnn:{quoted(args.model)}:{layer}{tail}": layer for layer in layers or ["-1"]}


def quoted(text: str) -> str:
    """Return a part of a SPEC, quoted where it must be."""
    return f'"{text}"' if set(text) & set(":,") else text


def measure(args: argparse.Namespace, table: Table, specs: Sequence[str], how: str) -> Result:
    """Return the result of the table's protocol with one classifier."""
    common: dict[str, Any] = {
        "classifier": how,
        "store": args.store,
        "progress": Reporter(quiet=args.quiet),
    }
    if not table.protocol:
        names = True if args.domains is None else args.domains.split(",")
        return transfer(args.data, list(specs), domains=names, seeds=args.seeds, **common)
    return probe(
        args.data,
        list(specs),
        protocol=table.protocol,
        train_per_class=args.train_per_class or table.train_per_class,
        n_splits=None if table.protocol == "holdout" else args.seeds,
        **common,
    )


def measured_rows(result: Result, keys: dict[str, str], how: str) -> list[dict[str, Any]]:
    """Return rows of accuracies in per cent, named as published figures are found."""
    prefix = "balanced_" if result.protocol["metric"] == "balanced_accuracy" else ""
    names = {
        "probe": (f"{prefix}accuracy", f"{prefix}low", f"{prefix}high"),
        "transfer": ("target_accuracy", "low", "high"),
    }[result.command]
    told = {shortest(spec): spec for spec in keys}
    specs = {row["spec"]: told.get(shortest(row["spec"]), row["spec"]) for row in result.rows}
    return [
        {
            "key": keys.get(specs[row["spec"]], row["spec"]),
            "spec": specs[row["spec"]],
            "classifier": how,
            "pair": tuple(row[end].lower() for end in ("source", "target") if end in row),
            **dict(zip(("measured", "low", "high"), map(in_per_cent, map(row.get, names)))),
        }
        for row in result.rows
        if row.get("alignment", "none") == "none"
    ]


def shortest(spec: str) -> str:
    """Return the one SPEC of all that make the same extractor."""
    return spec_of(make_extractor(spec))


def in_per_cent(share: float | None) -> str:
    """Return an accuracy with one place; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f}"


def side_by_side(table: Table, rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return published figures with what was measured for them, then what has no figure."""
    empty = dict.fromkeys(COLUMNS, "-")
    lines, used = [], set()
    for figure in table.figures:
        wanted = (figure.key, figure.classifier, figure.pair)
        found = {i: row for i, row in enumerate(rows) if is_of(row, wanted)}
        used |= set(found)
        published = {"published": f"{figure.accuracy:.1f}", "source": figure.source}
        name = named(figure.features, figure.pair)
        for row in found.values() or [{}]:
            told = {"features": f"{name} / {row['spec']}"} if row else {"features": name}
            how = {"classifier": figure.classifier or "-"}
            lines.append({**empty, **shown(row), **told, **how, **published})
    return lines + [
        {**empty, **shown(row), "features": named(row["spec"], row["pair"])}
        for i, row in enumerate(rows)
        if i not in used
    ]


def is_of(row: dict[str, Any], wanted: tuple[str, str, tuple[str, ...]]) -> bool:
    """Return whether a measured row stands beside a figure."""
    return (row["key"], row["classifier"], row["pair"]) == wanted


def named(features: str, pair: tuple[str, ...]) -> str:
    """Return features with the domains, where there are some."""
    if pair == (MEAN, MEAN):
        return f"{features}, mean of all pairs"
    return f"{features}, {' to '.join(pair)}" if pair else features


def shown(row: dict[str, Any]) -> dict[str, str]:
    """Return the columns of a row that the table has."""
    return {name: row[name] for name in COLUMNS if name in row}


def differences(args: argparse.Namespace, table: Table, layers: Sequence[str]) -> list[str]:
    """Return what is not as in the paper, a line each."""
    weights = "" if args.weights is None else f" with weights {args.weights}"
    missing = [layer for layer in args.layer or table.layers if layer not in layers]
    lines = [
        f"The network differs: here {args.model}{weights}; the paper's is {table.network}. "
        "Figures of layers are no reproduction."
    ]
    if args.model == "alexnet":
        lines = [
            "The network differs: torchvision's alexnet is Krizhevsky's later one (2014: one "
            f"tower, 64 first filters){weights}; the paper's is {table.network}."
        ]
    if missing:
        lines.append(f"{args.model} has no layer {', '.join(missing)}; measured {layers[0]}.")
    return [*lines, *table.notes]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("table", choices=list(TABLES))
    add("--data", required=True, help="folder with one folder per class, or manifest")
    add("--domains", help="A,B: the folders above the classes that take part")
    add("--model", default="featxnet")
    add("--weights", help="default, a name, a file, or random")
    add("--layer", action="append", help="in place of the table's; repeat")
    add("--pooling", help="flatten, gap, max, gem, grid=N")
    add("-e", "--extractor", action="append", metavar="SPEC", help="in place of all; repeat")
    add("--classifier", action="append", choices=["logistic", "svm", "ridge"])
    add("--train-per-class", type=int)
    add("--seeds", type=int, default=5)
    add("--store", default="default", help="folder for rows; by default the user's cache")
    add("-q", "--quiet", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse(argv)
    table = TABLES[args.table]
    keys = {} if args.extractor else network_specs(args, table)
    specs = args.extractor or [*keys, *table.specs]
    rows, results = [], []
    for how in args.classifier or table.classifiers:
        results.append(measure(args, table, specs, how))
        rows += measured_rows(results[-1], keys, how)
    lines = side_by_side(table, rows)
    print(Result("reproduce", args.data, lines).to_markdown(COLUMNS))
    if not table.protocol:
        for result in results:
            print(f"{result.protocol['classifier']}:\n{result.to_markdown(CROSSED)}")
    print("\n".join(differences(args, table, list(keys.values())) if keys else table.notes))
    print("\n".join(results[0].sentences))


if __name__ == "__main__":
    try:
        main()
    except FeatxError as error:
        sys.exit(f"reproduce: {error}")
