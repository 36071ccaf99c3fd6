"""Which features win on a user's images: `compare`, and `probe` for one kind of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from featx.engine.session import open_session
from featx.evaluation.candidates import Candidate, Candidates, gather_candidates
from featx.evaluation.extraction_cost import time_extraction, time_prediction
from featx.evaluation.protocols import Protocol, find_protocol
from featx.evaluation.recommendations import SHUFFLED, advise_features, list_warnings
from featx.evaluation.saved_probe import save_probe
from featx.evaluation.scores import PairedTest, per_class
from featx.evaluation.split_scores import (
    FittedSplit,
    SplitScores,
    fit_split,
    make_probe,
    score_splits,
)
from featx.features.results import Result
from featx.streaming.progress import BarOnly, ProgressCallback

_N_MISTAKES = 24
DEFAULT_EXTRACTORS = ("cnn:featxnet:pool1", "cnn:featxnet:pool5", "hog", "bovw:surf")

_CLASSICAL_EXTRACTORS = (
    "hog",
    "phog",
    "lbp,grid=2",
    "gist",
    "color",
    "bovw:surf",
    "bovw:dense_sift,pyramid_levels=2",
    "bovw:dense_sift,encoding=fisher",
)
"""Hand-crafted features at their best: what ``classical`` adds to a comparison."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One feature set or fine-tuned network, and its scores.

    Attributes
    ----------
    kind : Candidate
    scores : SplitScores
    ms_per_image : float, optional
        None where it was not measured.
    """

    kind: Candidate
    scores: SplitScores
    ms_per_image: float | None = None

    def rank(self, metric: str) -> float:
        """What it is ranked by."""
        scores = self.scores
        return float((scores.interval if metric == "accuracy" else scores.balanced_interval).mean)

    def to_row(self, test: PairedTest | None) -> dict[str, Any]:
        """Its line of the table."""
        kind = self.kind
        row = {"spec": kind.spec, "layer": kind.layer, **self.scores.to_row()}
        if test is not None:
            row |= {
                "difference": test.difference,
                "difference_low": test.low,
                "difference_high": test.high,
                "p_value": test.p_value,
                "is_tied": test.is_tied,
            }
        return row | {
            "is_control": kind.is_control,
            "n_features": kind.n_features,
            "bytes_per_image": None if kind.n_features is None else 4 * kind.n_features,
            "ms_per_image": self.ms_per_image,
        }


def compare(
    data: Any,
    extractors: Any = None,
    *,
    classical: bool = False,
    finetune: Mapping[str, Any] | None = None,
    protocol: str | Protocol | None = None,
    classifier: str | None = None,
    scale: str | None = None,
    C: float | None = None,
    grid: Sequence[float] | None = None,
    metric: str | None = None,
    train_per_class: int | None = None,
    n_splits: int | None = None,
    random_state: int | None = None,
    class_weight: str | None = None,
    domains: Any = None,
    groups: str | bool | None = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Compare feature sets by the accuracy of a linear classifier, together with controls.

    All feature sets are evaluated on the same images and splits with the same classifier. Raw
    pixels, mean color, each network with random weights and the best features with shuffled labels
    are always among the rows. Nothing is fitted to test images: codebooks, scalers and C come from
    the training images of each split.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Images with classes.
    extractors : SPEC, Extractor, or list of these, optional
        Feature sets to compare; by default featxnet's pool1 and pool5, HOG and SURF words.
    classical : bool, default=False
        Add a fixed set of hand-crafted features: HOG, PHOG, LBP, gist, color, SURF words, and
        dense SIFT as words with a spatial pyramid and as Fisher vectors.
    finetune : dict of str to FineTunedClassifier, optional
        Networks to train on the training images of each split, by the names of their rows.
    protocol : {"cv", "holdout", "random", "decaf", "kornblith", "razavian"}, optional
        How images are split; by default ``holdout`` if the data has splits, else ``cv``.
    classifier : {"logistic", "svm", "ridge", "knn", "nearest_mean"}, optional
    scale : {"standard", "l2", "none"}, optional
    C : float, optional
        Inverse regularization strength; by default chosen from `grid` on training images.
    grid : sequence of float, optional
    metric : {"accuracy", "balanced_accuracy"}, optional
        Criterion by which features are ranked.
    train_per_class, n_splits, random_state : int, optional
        Override those of the protocol.
    class_weight : {"balanced"}, optional
        Give every class the same weight in the classifier's loss, however many images it has.
    domains : bool or list of str, optional
    groups : str or False, optional
        Images of one group, such as a patient, are on one side of every split, those where C is
        chosen included: a manifest's column or ``re:PATTERN``, as in
        `featx.data.datasets.load_dataset`.
    store : path, FeatureStore or None, default="default"
    progress : ProgressCallback, optional
    **parameters
        Passed to each extractor that has them; ``model``, ``layer``, ``splits`` and
        ``max_pixels`` as in `extract`.

    Returns
    -------
    Result
        Rows from best to worst. ``difference`` is the difference to the best, with a paired test
        on the same splits (`featx.evaluation.scores.paired_test`; McNemar's test for one split);
        features with ``is_tied`` are not significantly worse. ``ms_per_image`` is measured
        again on 64 images. ``sentences`` ends with the cheapest features that are not significantly
        worse than the best.

    Raises
    ------
    DatasetError
        If there are no labels, or too few images.
    SpecError
        If an extractor or protocol is not known.

    Examples
    --------
    >>> result = compare("digits", ["hog,image_size=32"], n_splits=2, store=None)
    >>> result.rows[0]["spec"], result.rows[-1]["spec"]
    ('hog,image_size=32', 'shuffled labels')
    """
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, groups=groups, store=store, progress=progress, **parameters
    )
    rules = find_protocol(
        protocol,
        dataset.splits,
        dataset.labels,
        classifier=classifier,
        scale=scale,
        grid=None if grid is None else tuple(grid),
        metric=metric,
        train_per_class=train_per_class,
        n_splits=n_splits,
        random_state=random_state,
        class_weight=class_weight,
    )
    if extractors is None and "model" not in parameters:
        extractors = [] if classical else list(DEFAULT_EXTRACTORS)
    if classical:
        extractors = _with_classical(extractors)
    gathered = gather_candidates(
        dataset, extractors, rules, store=cache, has_controls=True, progress=progress, **parameters
    )
    features = _measure(gathered, rules, C, progress, parameters.get("n_jobs"))
    best = _rank(features, rules.metric)[0]
    shuffled = Measured(
        replace(best.kind, spec=SHUFFLED, layer="", is_control=True),
        score_shuffled(best.kind, gathered, rules, C),
        best.ms_per_image,
    )
    networks = [
        _measure_network(name, network, gathered, progress)
        for name, network in (finetune or {}).items()
    ]
    gathered = replace(gathered, kinds=[entry.kind for entry in [*features, *networks]])
    measured = _rank([*features, *networks], rules.metric)
    return _table(gathered, rules, measured, shuffled, finetune)


def probe(
    data: Any,
    extractor: Any = None,
    *,
    protocol: str | Protocol | None = None,
    train_per_class: int | Sequence[int] | None = None,
    C: float | None = None,
    domains: Any = None,
    groups: str | bool | None = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    classifier: str | None = None,
    scale: str | None = None,
    grid: Sequence[float] | None = None,
    metric: str | None = None,
    n_splits: int | None = None,
    random_state: int | None = None,
    class_weight: str | None = None,
    save: str | os.PathLike[str] | None = None,
    **parameters: Any,
) -> Result:
    """Train and test a linear classifier on one feature set, in detail.

    Parameters
    ----------
    data, protocol, C, domains, groups, store, progress, classifier, scale, grid, metric, \
n_splits, random_state, class_weight, **parameters
        As in `compare`.
    extractor : SPEC or Extractor, optional
        By default the bundled network before its last layer. A network may have several layers.
    train_per_class : int or sequence of int, optional
        Number of training images per class; several give a learning curve, one row each.
    save : path, optional
        File to save the extractor and the classifier to, fitted to all images (``.skops``).

    Returns
    -------
    Result
        A row for each number of training images; the per-class table, the confusion matrix and
        the most confident errors are in ``details`` under the SPEC.

    Examples
    --------
    >>> result = probe("digits", "hog,image_size=32", train_per_class=[1, 20], store=None)
    >>> [row["train_per_class"] for row in result.rows]
    [1, 20]
    """
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, groups=groups, store=store, progress=progress, **parameters
    )
    changes = {
        "classifier": classifier,
        "scale": scale,
        "grid": None if grid is None else tuple(grid),
        "metric": metric,
        "n_splits": n_splits,
        "random_state": random_state,
        "class_weight": class_weight,
    }
    sizes = (
        [train_per_class]
        if train_per_class is None or isinstance(train_per_class, int)
        else (list(train_per_class))
    )
    results = []
    for size in sizes:
        rules = find_protocol(
            protocol, dataset.splits, dataset.labels, train_per_class=size, **changes
        )
        gathered = gather_candidates(
            dataset,
            extractor,
            rules,
            store=cache,
            has_controls=False,
            progress=progress,
            **parameters,
        )
        measured = _measure(gathered, rules, C, progress, parameters.get("n_jobs"))
        results.append(_found(gathered, rules, measured, size))
    if save is not None:
        save_probe(
            gathered.dataset, extractor, save, protocol=rules, C=C, store=cache, progress=progress,
            **parameters,
        )  # fmt: skip
    last = results[-1]
    return replace(
        last,
        rows=[row for result in results for row in result.rows],
        sentences=list(dict.fromkeys(s for result in results for s in result.sentences)),
        protocol=last.protocol | {"train_per_class": train_per_class},
    )


def _with_classical(extractors: Any) -> list[Any]:
    """Extractors, and the hand-crafted ones that are not among them."""
    given = extractors if isinstance(extractors, list | tuple) else [extractors]
    given = [extractor for extractor in given if extractor is not None]
    return [*given, *(spec for spec in _CLASSICAL_EXTRACTORS if spec not in given)]


def _measure(
    gathered: Candidates,
    rules: Protocol,
    C: float | None,
    progress: ProgressCallback,
    n_jobs: int | None,
) -> list[Measured]:
    measured = []
    for kind in gathered.kinds:
        scores = score_candidate(kind, gathered, rules, C)
        cost = time_extraction(kind.fitted(0), gathered.dataset.images, n_jobs=n_jobs)
        measured.append(Measured(kind, scores, cost))
        progress.note(f"{kind.spec}: accuracy {scores.accuracy:.3f}")
    return measured


def score_candidate(
    kind: Candidate, gathered: Candidates, rules: Protocol, C: float | None = None
) -> SplitScores:
    """Scores of the protocol's classifier on one feature set."""
    return _score(kind, gathered, rules, C)


def score_shuffled(
    kind: Candidate, gathered: Candidates, rules: Protocol, C: float | None = None
) -> SplitScores:
    """Scores with labels that say nothing: what chance and a leak would reach."""
    return _score(kind, gathered, rules, C, shuffle_seed=rules.random_state)


def _score(
    kind: Candidate,
    gathered: Candidates,
    rules: Protocol,
    C: float | None,
    shuffle_seed: int | None = None,
) -> SplitScores:
    dataset = gathered.dataset
    return score_splits(
        kind.features,
        dataset.labels,
        gathered.folds,
        make_probe(rules, C=C),
        splits=dataset.splits,
        groups=dataset.groups,
        shuffle_seed=shuffle_seed,
    )


def _measure_network(
    name: str, classifier: Any, gathered: Candidates, progress: ProgressCallback
) -> Measured:
    """A network that is fine-tuned on the training images of each split."""
    dataset, folds = gathered.dataset, gathered.folds
    kind = Candidate(name, "", classifier, is_control=False, features=None, n_features=None)
    costs: list[float] = []

    def fit() -> Iterator[FittedSplit]:
        for number, fold in enumerate(folds, 1):
            progress.note(f"{name}: split {number} of {len(folds)}")
            learner = clone(classifier).set_params(store=gathered.store)
            yield fit_split(
                learner, dataset.images, dataset.labels, fold, splits=dataset.splits,
                groups=dataset.groups, progress=BarOnly(progress),
            )  # fmt: skip
            if not costs:
                # A copy has no cached features of its frozen layers, and runs all of them.
                costs.append(time_prediction(copy(learner), dataset.images))

    scores = SplitScores.of(fit(), folds)
    progress.note(f"{name}: accuracy {scores.accuracy:.3f}")
    return Measured(kind, scores, costs[0])


def _rank(measured: Sequence[Measured], metric: str) -> list[Measured]:
    """What was measured, best first."""
    return sorted(measured, key=lambda entry: -entry.rank(metric))


def make_rows(measured: Sequence[Measured], metric: str) -> list[dict[str, Any]]:
    """Lines of a table, best first, each with its difference from the best by a paired test."""
    best, *_ = ranked = _rank(measured, metric)
    return [entry.to_row(best.scores.compared_to(entry.scores, metric)) for entry in ranked]


def _table(
    gathered: Candidates,
    rules: Protocol,
    measured: list[Measured],
    shuffled: Measured,
    networks: Mapping[str, Any] | None,
) -> Result:
    rows = make_rows([*measured, shuffled], rules.metric)
    features = [entry for entry in measured if not entry.kind.is_control]
    return Result(
        "compare",
        gathered.dataset.source,
        rows,
        protocol=describe_protocol(rules, gathered),
        sentences=[
            *list_warnings(gathered, rows, rules),
            *advise_features(
                rows,
                gathered.dataset.quoted_source or gathered.dataset.source,
                rules,
                networks,
                reading=gathered.dataset.images.reading,
                has_copies=len(gathered.copies) > 0,
            ),
        ],
        failures=gathered.failures,
        details=describe_predictions(features, gathered),
        provenance=gathered.provenance,
    )


def _found(
    gathered: Candidates, rules: Protocol, measured: list[Measured], size: int | None
) -> Result:
    few = {} if size is None else {"train_per_class": size}
    rows = [{**few, **entry.to_row(None)} for entry in measured]
    return Result(
        "probe",
        gathered.dataset.source,
        rows,
        protocol=describe_protocol(rules, gathered),
        sentences=list_warnings(gathered, rows, rules),
        failures=gathered.failures,
        details=describe_predictions(measured, gathered),
        provenance=gathered.provenance,
    )


def describe_protocol(rules: Protocol, gathered: Candidates) -> dict[str, Any]:
    """The protocol and its splits of these images."""
    train, test = gathered.folds[0]
    labels = gathered.dataset.labels
    assert labels is not None
    return rules.to_dict() | {
        "n_splits": len(gathered.folds),
        "n_train": len(train),
        "n_test": len(test),
        "n_classes": len(np.unique(labels[labels != ""])),
    }


def describe_predictions(measured: Sequence[Measured], gathered: Candidates) -> dict[str, Any]:
    """Confusion matrix, per-class table and most confident errors of each feature set."""
    names = np.array(gathered.dataset.names)
    details: dict[str, Any] = {"confusion": {}, "per_class": {}, "mistakes": {}}
    for entry in measured:
        predictions = entry.scores.predictions
        truth, predicted = (
            np.concatenate([getattr(part, name) for part in predictions])
            for name in ("truth", "predicted")
        )
        details["confusion"][entry.kind.spec] = _confusion(truth, predicted)
        details["per_class"][entry.kind.spec] = per_class(truth, predicted)
        details["mistakes"][entry.kind.spec] = _mistakes(predictions, names)
    return details


def _confusion(truth: Any, predicted: Any) -> dict[str, Any]:
    classes = np.unique(np.concatenate([truth, predicted]))
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (np.searchsorted(classes, truth), np.searchsorted(classes, predicted)), 1)
    return {"classes": classes.tolist(), "matrix": matrix.tolist()}


def _mistakes(predictions: Sequence[Any], names: Any) -> list[dict[str, Any]]:
    """Misclassified images, each once, the most confident errors first."""
    wrong = [
        (
            float(part.probability[i]),
            str(names[part.indices[i]]),
            str(part.truth[i]),
            str(part.predicted[i]),
        )
        for part in predictions
        for i in np.flatnonzero(~part.is_right)
    ]
    most_confident: dict[str, dict[str, Any]] = {}
    for probability, path, truth, predicted in sorted(wrong, reverse=True):
        most_confident.setdefault(
            path, {"path": path, "true": truth, "predicted": predicted, "probability": probability}
        )
    return list(most_confident.values())[:_N_MISTAKES]
