"""Strategies of fine-tuning, each trained and tested on every split of a protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from featx.data.datasets import ImageDataset
from featx.evaluation.candidates import Candidate, Candidates, gather_candidates
from featx.evaluation.protocols import Protocol, Split
from featx.evaluation.split_scores import (
    FittedSplit,
    SplitScores,
    fit_split,
    make_probe,
    score_splits,
    validation_mask,
)
from featx.extractors.cnn import CNNFeatures
from featx.finetuning.classifier import FineTunedClassifier, hold_out
from featx.finetuning.training_summary import count_parameters
from featx.finetuning.transfer_gains import curve_of
from featx.networks.configs import list_layers
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import BarOnly, ProgressCallback


@dataclass
class StrategyRun:
    """One strategy on every split, with every seed.

    Parameters
    ----------
    strategy : str
    kind : Candidate
        The estimator and its name in the table.
    seeds : list of int
    scores : SplitScores
        Scores of all seeds; set after the last run.
    n_trainable : int
    curves : list of dict
        Accuracy by epoch of each run, as `curve_of` returns them.
    label_curves : list of dict
        ``name``, ``seed``, ``n_labels``, ``accuracy`` of each seed.
    classifier : FineTunedClassifier or None
        The classifier of the first split and seed; None for a linear probe on frozen features.
    """

    strategy: str
    kind: Candidate
    seeds: list[int]
    scores: SplitScores = field(init=False)
    n_trainable: int = 0
    curves: list[dict[str, Any]] = field(default_factory=list)
    label_curves: list[dict[str, Any]] = field(default_factory=list)
    classifier: FineTunedClassifier | None = None

    def record(self, parts: Iterator[FittedSplit], seed: int) -> Iterator[FittedSplit]:
        """Yield the fitted splits and record their curves; only the first network is held."""
        for number, part in enumerate(parts):
            model = part.model
            if isinstance(model, FineTunedClassifier):
                self.curves.append(curve_of(self.strategy, seed, model.history_, split=number))
                self.classifier = self.classifier or model
            elif hasattr(model, "coef_"):
                self.n_trainable = int(model.coef_.size + model.intercept_.size)
            yield part
        if self.classifier is not None:
            prepared = self.classifier.prepared_
            plan = self.classifier.stages(prepared)[-1].plan
            self.n_trainable = count_parameters(prepared, plan)["trainable"]


@dataclass
class Study:
    """Runs all strategies on the same images and splits.

    Parameters
    ----------
    candidates : Candidates
        Images and their splits; for ``frozen`` their features too.
    rules : Protocol
    settings : mapping
        Parameters of `featx.finetuning.classifier.FineTunedClassifier`, by strategy.
    checkpoint : path or None
        Folder for the checkpoints, with a folder per run.
    progress : ProgressCallback
    """

    candidates: Candidates
    rules: Protocol
    settings: Mapping[str, Mapping[str, Any]]
    checkpoint: str | os.PathLike[str] | None
    progress: ProgressCallback
    checkpoints: list[str] = field(default_factory=list, init=False)

    def run(self, strategy: str, seeds: Sequence[int], labels: Sequence[int]) -> StrategyRun:
        """Run a strategy on every split, with every seed."""
        settings = self.settings[strategy]
        spec = f"{settings['model']} {strategy}"
        is_control = strategy == "scratch"
        kind = Candidate(spec, "", FineTunedClassifier(**settings), is_control, None, None)
        if strategy == "frozen":
            kind = replace(self.candidates.kinds[0], spec=spec)
        run, scores = StrategyRun(strategy, kind, list(seeds)), []
        for seed in seeds:
            folds = self._folds(seed)
            parts = run.record(self._fit_splits(strategy, seed, folds, self.progress), seed)
            scores.append(SplitScores.of(parts, folds))
            if strategy == "frozen":
                run.curves += self._levels(seed, folds)
            if labels:
                run.label_curves.append(self._label_curve(strategy, seed, labels, scores[-1]))
        run.scores = SplitScores.of_seeds(scores)
        return run

    def _folds(self, seed: int, n_labels: int | None = None) -> list[Split]:
        """Splits of one seed: the same for all seeds, unless few images of a folder are drawn."""
        rules = self.rules if n_labels is None else replace(self.rules, train_per_class=n_labels)
        if rules.splits == "folders":
            rules = replace(rules, random_state=seed)
        dataset = self.candidates.dataset
        return rules.split(dataset.labels, dataset.splits, dataset.groups)

    def _fit_splits(
        self,
        strategy: str,
        seed: int,
        folds: Sequence[Split],
        progress: ProgressCallback,
        suffix: str = "",
    ) -> Iterator[FittedSplit]:
        """Fit the strategy to each split in turn."""
        dataset = self.candidates.dataset
        for number, fold in enumerate(folds, 1):
            fitting: dict[str, Any] = {}
            if strategy == "frozen":
                X, model = self.candidates.kinds[0].features, self._probe(seed)
            else:
                X, model = dataset.images, self._classifier(strategy, seed, f"{number}{suffix}")
                progress.note(f"{strategy}, seed {seed}, split {number} of {len(folds)}")
                reporter = progress if number == 1 else BarOnly(progress)
                fitting = {"keep_checkpoint": True, "progress": reporter}
            yield fit_split(
                model, X, dataset.labels, fold, splits=dataset.splits, groups=dataset.groups,
                **fitting,
            )  # fmt: skip

    def _probe(self, seed: int) -> Any:
        return make_probe(replace(self.rules, random_state=seed))

    def _classifier(self, strategy: str, seed: int, split: str) -> FineTunedClassifier:
        folder = None
        if self.checkpoint is not None:
            folder = os.path.join(self.checkpoint, f"{strategy}-seed{seed}-split{split}")
            self.checkpoints.append(folder)
        parameters = {"random_state": seed, "checkpoint": folder}
        return FineTunedClassifier(**{**self.settings[strategy], **parameters})

    def _label_curve(
        self, strategy: str, seed: int, labels: Sequence[int], full: SplitScores
    ) -> dict[str, Any]:
        """Accuracy by number of training images per class; the last point is for all images."""
        train, _ = self._folds(seed)[0]
        n_classes = len(np.unique(self.candidates.dataset.labels[train]))  # type: ignore[index]
        points = [(round(len(train) / n_classes), full.accuracy)]
        for n in set(labels):
            folds = self._folds(seed, n)
            if len(folds[0][0]) < len(train):
                parts = self._fit_splits(strategy, seed, folds, BarOnly(self.progress), f"-{n}")
                points.append((n, SplitScores.of(parts, folds).accuracy))
        n_labels, accuracies = zip(*sorted(points), strict=True)
        return {
            "name": strategy,
            "seed": seed,
            "n_labels": list(n_labels),
            "accuracy": list(accuracies),
        }

    def _levels(self, seed: int, folds: Sequence[Split]) -> list[dict[str, Any]]:
        """Accuracy of frozen features on the images held out for early stopping with a seed."""
        dataset = self.candidates.dataset
        labels: Any = dataset.labels
        fraction = FineTunedClassifier(**self.settings["frozen"]).validation
        held_out = []
        for train, _ in folds:
            mask = validation_mask(dataset.splits, train)
            groups = None if dataset.groups is None else dataset.groups[train]
            fitted, valid = hold_out(labels[train], fraction, seed, mask, groups)
            held_out.append((train[fitted], train[valid]))
        if not all(len(valid) for _, valid in held_out):
            return []
        scores = score_splits(
            self.candidates.kinds[0].features, labels, held_out, self._probe(seed),
            groups=dataset.groups,
        )  # fmt: skip
        return [
            curve_of("frozen", seed, [{"valid_acc": float(level)}], split=number, is_level=True)
            for number, level in enumerate(scores.accuracies)
        ]


def gather_images(
    dataset: ImageDataset,
    rules: Protocol,
    frozen: Mapping[str, Any] | None,
    store: FeatureStore | None,
    n_jobs: int | None,
    progress: ProgressCallback,
) -> Candidates:
    """Readable images, their splits, and the features of a frozen network if compared.

    Parameters
    ----------
    dataset : ImageDataset
    rules : Protocol
    frozen : mapping or None
        Parameters of the network whose features before the classifier are compared.
    store, n_jobs, progress
        As in `featx.extract`.
    """
    common: dict[str, Any] = {"store": store, "has_controls": False, "n_jobs": n_jobs}
    if frozen is None:
        # Cheap features, only to find out which images can be read.
        return gather_candidates(dataset, "mean_color", rules, progress=BarOnly(progress), **common)
    names = ("weights", "load", "size", "crop", "device", "trust")
    options = {name: frozen[name] for name in names if frozen.get(name) is not None}
    layers = list_layers(
        frozen["model"], **{name: options[name] for name in ("size", "trust") if name in options}
    )
    pooling = "gap" if len(layers.find("-1").shape) == 3 else "auto"
    extractor = CNNFeatures(frozen["model"], "-1", pooling=pooling, **options)
    return gather_candidates(dataset, extractor, rules, progress=progress, **common)
