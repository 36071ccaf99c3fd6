"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

DATA_HELP = (
    "A folder (its folders name the classes; train/ val/ test/ above them the splits), files, a "
    "manifest (.csv .tsv .parquet), digits, or torchvision:NAME."
)

Data = Annotated[list[str], typer.Argument(metavar="DATA", help=DATA_HELP)]
Extractors = Annotated[
    list[str] | None,
    typer.Option("-e", "--extractor", metavar="SPEC", help="NAME[:ARG…][,key=value…]; repeat."),
]
Model = Annotated[
    str | None,
    typer.Option(help="A network, see `featx models`; short for -e cnn:MODEL."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(help="A layer of the network, see `featx layers MODEL`; repeat."),
]
Weights = Annotated[str | None, typer.Option(help="default, a name, a file, or random.")]
Pooling = Annotated[
    str | None, typer.Option(help="flatten, gap, max, gem, grid=N; of tokens cls, mean.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Backend = Annotated[str | None, typer.Option(help="auto, torch or openvino.")]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="cv, holdout, random, decaf, kornblith or razavian. By default holdout where the "
        "data has folders to split by, else cv.",
    ),
]
Classifier = Annotated[
    str | None, typer.Option(help="logistic (default), svm, ridge, knn or nearest_mean.")
]
Scale = Annotated[str | None, typer.Option(help="standard (default), l2 or none.")]
Strength = Annotated[
    float | None,
    typer.Option("-C", "--C", help="A fixed strength; by default it is chosen.", min=1e-12),
]
Metric = Annotated[str | None, typer.Option(help="accuracy or balanced_accuracy.")]
Splits = Annotated[int | None, typer.Option("--n-splits", help="Folds or repetitions.", min=1)]
Seed = Annotated[int | None, typer.Option("--random-state", help="Seed of the splits.")]
Domains = Annotated[
    str | None,
    typer.Option(help="The folder above the class is the domain; those wanted, or 'all'."),
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Where rows are kept; by default the user's cache.",
        envvar="FEATX_STORE",
    ),
]
NoStore = Annotated[bool, typer.Option("--no-store", help="Keep no rows.")]
Jobs = Annotated[int | None, typer.Option("-j", "--n-jobs", help="Jobs; by default all cores.")]
Report = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Write report.html, results.json, table.csv and figures there."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="The table as CSV.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="The table in Markdown.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 if a picture could not be read.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No notes, no progress.")]


def chosen_store(store: str | None, *, no_store: bool) -> str | None:
    """What the library takes as `store`."""
    return None if no_store else store or "default"


def chosen_domains(text: str | None) -> bool | list[str] | None:
    """What the library takes as `domains`: ``all``, or names with commas between them."""
    if text is None or text == "all":
        return None if text is None else True
    return [name.strip() for name in text.split(",") if name.strip()]


def chosen(**given: Any) -> dict[str, Any]:
    """Options that were given."""
    return {name: value for name, value in given.items() if value is not None}
