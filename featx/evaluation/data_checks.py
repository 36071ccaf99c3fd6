"""What would make a figure wrong: copies, doubtful labels, images and classes of little use."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._lists import parse_names
from featx.data.datasets import ImageDataset
from featx.data.manifests import check_manifest, write_manifest
from featx.engine.extraction import extract
from featx.engine.session import open_session
from featx.errors import DatasetError, SpecError, did_you_mean
from featx.evaluation.class_balance import count_classes, find_class_problems
from featx.evaluation.doubtful_labels import OutOfFold, find_doubtful, predict_out_of_fold
from featx.evaluation.duplicates import Indices, Pair, find_duplicates, group_duplicates
from featx.evaluation.image_conditions import (
    TINY_PX,
    Appearance,
    find_conditions,
    is_blank,
)
from featx.evaluation.protocols import Protocol, find_protocol
from featx.evaluation.scores import per_class
from featx.evaluation.split_scores import make_probe, score_splits
from featx.features.feature_set import FeatureSet
from featx.features.results import Result
from featx.store.feature_store import FeatureStore, find_digests
from featx.streaming.progress import ProgressCallback
from featx.streaming.rows import Matrix

_CHECKS = ("duplicates", "labels", "images", "classes")

_IMBALANCED = 3
"""A class this many times as large as another makes accuracy a figure of the large ones."""

_WEAK = 0.9
"""A network that predicts fewer labels than these doubts many that are right."""

_N_SHOWN = 60
"""Images of each problem that a report shows."""

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Collection:
    """Readable images, and what the checks know of each.

    Attributes
    ----------
    dataset : ImageDataset
    appearance : array of shape (n_images, 1026)
    X : array of shape (n_images, n_features)
    pairs : list of Pair
    """

    dataset: ImageDataset
    appearance: Matrix
    X: Matrix
    pairs: list[Pair]

    @cached_property
    def groups(self) -> Indices:
        """Number of the set of copies that each image belongs to."""
        return group_duplicates(self.pairs, len(self.dataset))

    @cached_property
    def labels(self) -> npt.NDArray[np.str_]:
        """Label of each image; empty where unknown."""
        return _known(self.dataset.labels, len(self.dataset))

    @cached_property
    def splits(self) -> npt.NDArray[np.str_]:
        """Split of each image; empty where unknown."""
        return _known(self.dataset.splits, len(self.dataset))

    def describe(self, index: int) -> Row:
        """Name, label and split of an image, as a row has them."""
        return {
            "path": self.dataset.names[index],
            "label": str(self.labels[index]) or None,
            "split": str(self.splits[index]) or None,
        }


def check(
    data: Any,
    *,
    model: str = "featxnet",
    layer: str | Sequence[str] | None = None,
    pooling: str = "gap",
    only: str | Sequence[str] | None = None,
    write: str | os.PathLike[str] | None = None,
    force: bool = False,
    random_state: int | None = None,
    domains: Any = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Find duplicates, labels that are probably wrong, and unusable images.

    Nothing is deleted or changed. Near copies are searched among the nearest neighbors in a
    network's features; labels are doubtful if a classifier on these features contradicts them.

    Parameters
    ----------
    data : str, path, list of these, ImageDataset, or images
        Without labels, only duplicates and the images themselves are checked.
    model, layer, pooling
        Network whose features are used; as in `featx.extract`. By default the bundled one; a
        stronger one reports fewer correct labels as doubtful.
    only : str or sequence of {"duplicates", "labels", "images", "classes"}, optional
        Checks to run; by default all.
    write : path, optional
        File to save a manifest to (``.csv``, ``.tsv``, ``.parquet``) of the images without a
        problem. Of copies with the same label one image is kept, a test image if there is one; of
        copies with different labels none.
    force : bool, default=False
        Whether to replace an existing manifest.
    random_state : int, optional
        Of the folds.
    domains : bool or list of str, optional
    store : path, FeatureStore or None, default="default"
    progress : ProgressCallback, optional
    **parameters
        As in `featx.extract`: ``weights``, ``n_jobs``, ``device``.

    Returns
    -------
    Result
        A row for each finding, by ``problem``: ``exact copy`` (the same bytes) and ``near copy``
        (re-encoded, resized, cropped by up to a tenth, mirrored) with the ``other`` image, the
        number of their ``group`` and the ``correlation`` of their thumbnails; ``doubtful label``
        with the class ``predicted`` and the out-of-fold ``probability`` of the label, the least
        first; ``unreadable``, ``blank``, ``tiny`` and ``odd shape`` images; ``small class``,
        ``untrained class`` and ``class name``. ``is_dropped`` says whether `write` excludes the
        image. Rows of the problem ``accuracy`` have the accuracy of a linear probe by the
        protocol of `featx.probe`, with and without the copies.

    Raises
    ------
    DatasetError
        If there are no images, none can be read, or the manifest must not be written.
    SpecError
        If a check or the network is not known.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 255, (4, 40, 40), np.uint8)
    >>> images[3] = images[1]
    >>> [(row["problem"], row["path"]) for row in check(images, store=None).rows]
    [('exact copy', 'image 3')]
    """
    checks = _check_names(only)
    if write is not None:
        check_manifest(write, force=force)
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, store=store, progress=progress, **parameters
    )
    if write is not None and any(dataset.images.path(i) is None for i in range(len(dataset))):
        raise DatasetError(f"{write}: a manifest names files, and {dataset.source} holds others.")
    features = extract(
        dataset, Appearance(), model=model, layer=layer, pooling=pooling, store=cache,
        progress=progress, **parameters,
    )  # fmt: skip
    features.check_finite()
    collection = _collect(dataset, features, cache, progress)
    result = _examine(collection, features, checks, random_state)
    if write is not None:
        result.sentences.append(_write_clean(dataset, result.rows, write))
    return result


def _check_names(only: str | Sequence[str] | None) -> list[str]:
    """Checks to run."""
    checks = list(_CHECKS) if only is None else parse_names(only)
    for name in checks:
        if name not in _CHECKS:
            raise SpecError(
                f"No check {name!r}.{did_you_mean(name, _CHECKS)} Checks: {', '.join(_CHECKS)}."
            )
    return checks


def _known(column: npt.NDArray[np.str_] | None, n_images: int) -> npt.NDArray[np.str_]:
    return np.full(n_images, "") if column is None else column


def _collect(
    dataset: ImageDataset,
    features: FeatureSet,
    store: FeatureStore | None,
    progress: ProgressCallback,
) -> _Collection:
    """Images that could be read, with their rows and their copies."""
    failed = {path for path, _ in features.failures}
    readable = dataset.take([i for i, name in enumerate(dataset.names) if name not in failed])
    width = Appearance().n_features()
    appearance, X = np.asarray(features.X[:, :width]), features.X[:, width:]
    digests = [str(digest) for digest in find_digests(readable.images, store)]
    # Thumbnails of a few pixels, or of one shade, are alike by chance.
    comparable = ~is_blank(appearance) & (appearance[:, :2].min(1) >= TINY_PX)
    pairs = find_duplicates(digests, appearance[:, 2:], X, comparable, progress)
    return _Collection(readable, appearance, X, pairs)


def _examine(
    collection: _Collection, features: FeatureSet, checks: Collection[str], seed: int | None
) -> Result:
    """Result of all requested checks."""
    rules = find_protocol("cv", random_state=seed)
    rows: list[Row] = []
    details: dict[str, Any] = {}
    sentences = [_describe_classes(collection)]
    copies = _list_copies(collection)
    if "duplicates" in checks:
        rows += copies
        sentences += _describe_copies(copies)
    if "labels" in checks:
        doubtful, more, details = _doubt_labels(collection, rules)
        rows, sentences = rows + doubtful, sentences + more
    if "images" in checks:
        rows += _list_images(collection, features.failures)
    if "classes" in checks:
        rows += _list_classes(collection)
    summary = _summarize(rows)
    if "duplicates" in checks:
        measured, more = _measure(collection, copies, seed)
        rows, sentences = rows + measured, sentences + more
    if not summary:
        sentences.append(f"These checks report no problems: {', '.join(checks)}.")
    return Result(
        "check",
        collection.dataset.source,
        rows,
        protocol=rules.to_dict() | {"checks": list(checks)},
        sentences=sentences,
        failures=features.failures,
        details=details | {"summary": summary, "galleries": _list_galleries(rows)},
        provenance=features.provenance,
    )


def _list_copies(collection: _Collection) -> list[Row]:
    """Images that are copies, each beside one that it is a copy of; exact ones first."""
    partners: dict[int, dict[int, Pair]] = defaultdict(dict)
    for pair in collection.pairs:
        partners[pair.first][pair.second] = partners[pair.second][pair.first] = pair
    groups: dict[int, list[int]] = defaultdict(list)
    for index in sorted(partners):
        groups[int(collection.groups[index])].append(index)
    rows = []
    for number, members in enumerate(groups.values()):
        original = min(members, key=partial(_rank, collection))
        parents = _spread(original, partners)
        # One of them has a wrong label, and which is not known: none stays.
        if len({*collection.labels[members].tolist()} - {""}) > 1:
            parents = {original: next(iter(partners[original]))} | parents
        rows += [
            _copy_row(collection, index, other, partners[index][other]) | {"group": number}
            for index, other in parents.items()
        ]
    return sorted(rows, key=lambda row: row["problem"])


def _rank(collection: _Collection, index: int) -> tuple[bool, bool, int]:
    """Order in which copies stay: labeled ones first, test images before training images."""
    return not collection.labels[index], collection.splits[index] == "train", index


def _spread(first: int, partners: Mapping[int, Collection[int]]) -> dict[int, int]:
    """The other images of a set of copies, from the nearest on: each with the one before it."""
    parents: dict[int, int] = {}
    reached = [first]
    for index in reached:  # It grows while it is read.
        for other in partners[index]:
            if other not in reached:
                parents[other] = index
                reached.append(other)
    return parents


def _copy_row(collection: _Collection, index: int, other: int, pair: Pair) -> Row:
    beside = collection.describe(other)
    return {
        "problem": "exact copy" if pair.is_exact else "near copy",
        **collection.describe(index),
        "other": beside["path"],
        "other_label": beside["label"],
        "other_split": beside["split"],
        "correlation": pair.correlation,
        "is_dropped": True,
    }


def _doubt_labels(
    collection: _Collection, rules: Protocol
) -> tuple[list[Row], list[str], dict[str, Any]]:
    """Labels that are likely wrong, sentences, and how each class was predicted."""
    try:
        held_out = predict_out_of_fold(collection.X, collection.labels, collection.groups, rules)
    except DatasetError as error:
        return [], [f"Labels were not checked. {error}"], {}
    codes = np.searchsorted(held_out.classes, collection.labels[held_out.indices])
    predicted = held_out.probabilities.argmax(1)
    rows = [
        {
            "problem": "doubtful label",
            **collection.describe(int(held_out.indices[i])),
            "predicted": str(held_out.classes[predicted[i]]),
            "probability": float(held_out.probabilities[i, codes[i]]),
            "is_dropped": True,
        }
        for i in find_doubtful(held_out.probabilities, codes)
    ]
    share = float((predicted == codes).mean())
    truth = held_out.classes[codes], held_out.classes[predicted]
    details = {"per_class": {"out-of-fold predictions": per_class(*truth)}}
    return rows, [_describe_doubts(rows, held_out, share)], details


def _list_images(collection: _Collection, failures: Sequence[tuple[str, str]]) -> Iterator[Row]:
    for path, reason in failures:
        yield {"problem": "unreadable", "path": path, "note": reason, "is_dropped": True}
    for condition in sorted(find_conditions(collection.appearance), key=lambda it: it.problem):
        yield {
            "problem": condition.problem,
            **collection.describe(condition.row),
            "note": condition.note,
            "is_dropped": True,
        }


def _list_classes(collection: _Collection) -> Iterator[Row]:
    for label, problem, note, n_images in find_class_problems(collection.labels, collection.splits):
        yield {"problem": problem, "label": label, "n": n_images, "note": note, "is_dropped": False}


def _measure(
    collection: _Collection, copies: list[Row], seed: int | None
) -> tuple[list[Row], list[str]]:
    """Accuracy by the protocol that the data asks for, with and without the copies."""
    dropped = {row["path"] for row in copies}
    is_used = np.array([name not in dropped for name in collection.dataset.names])
    parts = {"all images": np.full(len(is_used), True)}
    parts |= {} if is_used.all() else {"without copies": is_used}
    if collection.dataset.labels is None:
        return [], []
    try:
        rows = [
            {"problem": "accuracy", "note": name, **_score(collection, is_used, seed)}
            for name, is_used in parts.items()
        ]
    except DatasetError as error:
        return [], [f"Accuracy was not measured. {error}"]
    return rows, [_describe_accuracies(rows)]


def _score(collection: _Collection, is_used: npt.NDArray[np.bool_], seed: int | None) -> Row:
    """Accuracy of a linear probe on some of the images, with its interval."""
    indices = np.flatnonzero(is_used)
    splits = None if collection.dataset.splits is None else collection.splits
    rules = find_protocol(None, splits, random_state=seed)
    folds = [
        (indices[train], indices[test])
        for train, test in rules.split(
            collection.labels[indices], None if splits is None else splits[indices]
        )
    ]
    scores = score_splits(collection.X, collection.labels, folds, make_probe(rules), splits=splits)
    mean, low, high = scores.interval
    return {"n": len(indices), "accuracy": mean, "low": low, "high": high}


def _summarize(rows: Sequence[Row]) -> list[Row]:
    """Number of images with each problem."""
    return [
        {
            "problem": problem,
            "n": n,
            "n_across": _count_apart(affected, "split") if affected[0].get("other") else None,
            "n_relabeled": _count_apart(affected, "label") if affected[0].get("other") else None,
            "n_dropped": sum(row["is_dropped"] for row in affected),
        }
        for problem, n in Counter(row["problem"] for row in rows).items()
        if (affected := [row for row in rows if row["problem"] == problem])
    ]


def _list_galleries(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Images of each problem for the report, grouped, with captions."""
    galleries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("path") and row["problem"] != "unreadable":
            galleries[row["problem"]].append(
                {
                    "paths": [row["path"], *([row["other"]] if row.get("other") else [])],
                    "caption": _caption(row),
                }
            )
    return [{"title": name, "n": len(images), "shown": images[:_N_SHOWN]}
            for name, images in galleries.items()]  # fmt: skip


def _caption(row: Row) -> str:
    """A row in a few words."""
    origin = [name for name in (row.get("split"), row.get("label")) if name]
    if row.get("other"):
        other = [name for name in (row["other_split"], row["other_label"]) if name]
        return f"{' '.join(origin) or 'image'} | {' '.join(other) or 'image'}"
    if row.get("predicted"):
        return f"labeled {row['label']} ({row['probability']:.1%}), predicted {row['predicted']}"
    return f"{' '.join(origin)} {row.get('note', '')}".strip()


def _count_apart(copies: Sequence[Row], column: str) -> int:
    """How many copies differ from the other image in a column."""
    return sum(row[column] != row[f"other_{column}"] for row in copies)


def _describe_classes(collection: _Collection) -> str:
    counts = count_classes(collection.labels)
    n = f"{len(collection.dataset):,} images"
    if not counts:
        return f"{n} without labels: only copies and the images themselves were checked."
    least, most = min(counts.values()), max(counts.values())
    text = f"{n} of {len(counts):,} classes, {least:,} to {most:,} of each."
    if most >= _IMBALANCED * least:
        text += (
            f" The largest class has {most / least:.1f} times the images of the smallest: "
            "--metric balanced_accuracy counts all classes alike."
        )
    return text


def _describe_copies(copies: Sequence[Row]) -> Iterator[str]:
    if copies:
        n_exact = sum(row["problem"] == "exact copy" for row in copies)
        yield (
            f"{len(copies):,} images are copies: {n_exact:,} of the same bytes, "
            f"{len(copies) - n_exact:,} nearly the same; {_count_apart(copies, 'split'):,} of an "
            f"image in another split, {_count_apart(copies, 'label'):,} of one with another label."
        )


def _describe_accuracies(rows: Sequence[Row]) -> str:
    texts = [f"{row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for row in rows]
    if len(rows) == 1:
        return f"Accuracy of a linear probe: {texts[0]}; no copy makes it better."
    return f"Accuracy of a linear probe: {texts[0]} with the copies, {texts[1]} without."


def _describe_doubts(rows: Sequence[Row], held_out: OutOfFold, share: float) -> str:
    n = len(held_out.indices)
    weak = " A stronger network (--model) doubts fewer that are right." if share < _WEAK else ""
    return (
        f"{len(rows):,} of {n:,} labels are doubtful; out of fold, {share:.1%} of the images are "
        f"predicted as labeled.{weak if rows else ''}"
    )


def _write_clean(dataset: ImageDataset, rows: Sequence[Row], file: str | os.PathLike[str]) -> str:
    """Save a manifest of the images that no row drops, and say so."""
    dropped = {row.get("path") for row in rows if row.get("is_dropped")}
    clean = dataset.take([i for i, name in enumerate(dataset.names) if name not in dropped])
    columns = {
        "path": [str(clean.images.path(i)) for i in range(len(clean))],
        **{
            name: column.tolist()
            for name in ("label", "split", "domain")
            if (column := getattr(clean, f"{name}s")) is not None
        },
    }
    write_manifest(file, columns)
    return f"{os.fspath(file)} names {len(clean):,} of {len(dataset):,} images."
