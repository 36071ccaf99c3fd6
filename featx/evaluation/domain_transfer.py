"""Trained on one domain, tested on another: `transfer`, with CORAL and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from featx.data.datasets import ImageDataset, train_test_indices
from featx.engine.session import open_session
from featx.errors import DatasetError, SpecError
from featx.evaluation.candidates import Candidate, Candidates, gather_candidates
from featx.evaluation.coral import CORAL
from featx.evaluation.domain_pairs import (
    MEAN,
    DomainPair,
    compare_pairs,
    describe_pairs,
)
from featx.evaluation.linear_probe import LinearProbe
from featx.evaluation.protocols import Protocol, Split, learnable
from featx.evaluation.recommendations import warn_of_training_images
from featx.evaluation.split_checks import describe_copies, describe_groups, find_copies
from featx.evaluation.split_scores import fit_probe, make_probe
from featx.features.results import Result
from featx.streaming.progress import ProgressCallback

Matrix = npt.NDArray[np.float32]
Column = npt.NDArray[Any]

DEFAULT_EXTRACTORS = ("cnn:featxnet:-1", "bovw:surf", "color")
_ALIGNMENTS = ("none", "coral")
_DIVIDER_GRID = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
SOURCE = (
    "Sun, Feng and Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016; each "
    "domain split at random within its classes, the target's training images without labels"
)


@dataclass(frozen=True)
class _DomainProtocol(Protocol):
    """How each domain is split: at random within its classes, differently with every seed.

    Attributes
    ----------
    name, splits, n_splits, classifier, scale, grid, validation, metric, random_state, source
        As in `Protocol`; `n_splits` is the number of seeds.
    train_fraction : float
        Fraction of each class of each domain to train on.
    regularization : float
        Of `CORAL`.
    names : tuple of str
        The domains.
    """

    train_fraction: float = 0.7
    regularization: float = 1.0
    names: tuple[str, ...] = ()

    def split(self, labels: Any, splits: Any = None, groups: Any = None) -> list[Split]:
        """Indices of training and test images of each domain, seed after seed.

        Parameters
        ----------
        labels : array of str, shape (n_images,)
        splits : array of str, shape (n_images,)
            The domain of each image.
        groups : array of str, shape (n_images,), optional
            A group is on one side in all domains.

        Returns
        -------
        list of (ndarray, ndarray), of length n_splits * n_domains
        """
        labels, domains = np.asarray(labels, str), np.asarray(splits, str)
        is_shared = np.isin(labels, _shared_classes(labels, domains, self.names))
        indices = [np.flatnonzero(is_shared & (domains == name)) for name in self.names]
        folds = []
        for seed in range(self.n_splits):
            is_train = self._draw(indices, labels, groups, seed)
            parts = [(there[is_train[there]], there[~is_train[there]]) for there in indices]
            # Whole groups may leave a domain without a class, which then is tested nowhere.
            learned = set.intersection(*(set(labels[train]) for train, _ in parts))
            parts = [(train, test[np.isin(labels[test], [*learned])]) for train, test in parts]
            folds += [learnable(train, test, labels) for train, test in parts]
        return folds

    def _draw(
        self, indices: Sequence[Column], labels: Column, groups: Any, seed: int
    ) -> npt.NDArray[np.bool_]:
        """Which images are trained on: within each class of each domain, or whole groups of all."""
        how: dict[str, Any] = {
            "train_size": self.train_fraction,
            "random_state": self.random_state + seed,
        }
        is_train = np.zeros(len(labels), bool)
        if groups is None:
            for there in indices:
                is_train[there[train_test_indices(labels[there], **how)[0]]] = True
            return is_train
        known = np.concatenate(indices)
        strata = [f"{i}/{labels[image]}" for i, there in enumerate(indices) for image in there]
        train, _ = train_test_indices(strata, groups=np.asarray(groups, str)[known], **how)
        is_train[known[train]] = True
        return is_train


@dataclass(frozen=True, eq=False)
class Part:
    """Features and classes of one domain, as one seed splits it.

    Attributes
    ----------
    train, test : array of shape (n, n_features)
    train_labels, test_labels : array of str, shape (n,)
    train_groups : array of str, shape (n,), or None
    """

    train: Matrix
    test: Matrix
    train_labels: Column
    test_labels: Column
    train_groups: Column | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """Everything that is learned for one source and target.

    Attributes
    ----------
    coral : CORAL or None
    probe : classifier
        Tells classes, trained on the source.
    divider : LinearProbe
        Tells the two domains apart.
    """

    coral: CORAL | None
    probe: Any
    divider: LinearProbe

    def accuracies(self, source: Part, target: Part) -> tuple[float, float, float]:
        """Accuracy on the source's test images, on the target's, and of telling domains apart."""
        own = source.test if self.coral is None else self.coral.align(source.test)
        rows = [own, target.test]
        is_target = [self.divider.predict(part) == 1 for part in rows]
        return (
            float(np.mean(self.probe.predict(own) == source.test_labels)),
            float(np.mean(self.probe.predict(target.test) == target.test_labels)),
            float(1 - is_target[0].mean() + is_target[1].mean()) / 2,
        )


def transfer(
    data: Any,
    extractors: Any = None,
    *,
    domains: bool | Sequence[str] = True,
    groups: str | bool | None = None,
    seeds: int = 5,
    train_fraction: float = 0.7,
    classifier: str = "logistic",
    scale: Literal["standard", "l2", "none"] = "standard",
    C: float | None = None,
    regularization: float = 1.0,
    random_state: int = 0,
    class_weight: str | None = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Train classifiers on one domain and test them on another, with and without CORAL.

    Each domain is split within its classes into training and test images, differently with every
    seed. For each ordered pair of domains a classifier is trained on the source's training
    images and tested on the test images of both, without alignment and after `CORAL`, which is
    fitted to the training images of both and uses no labels. Nothing is fitted to test images:
    codebooks come from the source's training images.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Images with classes and domains: folders ``<domain>/<class>/<image>``, or a manifest
        with a column ``domain``. Classes that a domain lacks are excluded.
    extractors : SPEC, Extractor, or list of these, optional
        By default the bundled network before its last layer, SURF words and color.
    domains : True or list of str, default=True
        Domains to use; by default all.
    groups : str or False, optional
        Images of one group, such as an object or a patient, are on one side in all domains, as
        in `featx.compare`.
    seeds : int, default=5
    train_fraction : float, default=0.7
        Fraction of each class of each domain to train on.
    classifier : {"logistic", "svm", "ridge", "knn", "nearest_mean"}, default="logistic"
    scale : {"standard", "l2", "none"}, default="standard"
    C : float, optional
        Inverse regularization strength; by default chosen on the source's training images.
    regularization : float, default=1.0
        Of `CORAL`.
    random_state : int, default=0
        The first seed.
    class_weight : {"balanced"}, optional
        As in `featx.compare`.
    store : path, FeatureStore or None, default="default"
    progress : ProgressCallback, optional
    **parameters
        As in `extract`.

    Returns
    -------
    Result
        For each feature set, without CORAL and with it, a row with the averages
        (``source="mean"``, ``target="mean"``; best first) and one for each pair of domains.
        ``target_accuracy`` (with ``low``, ``high``), ``points_lost`` (percentage points) and
        ``share_kept`` (of the accuracy above that of naming the most frequent class) stand side
        by side: strong features lose more points because they start higher.
        ``domain_accuracy`` is how well a linear classifier tells source and target apart,
        0.5 being chance, and ``points_gained`` what CORAL adds on the target. ``difference`` is
        that of an average's target accuracy to the best, on the same pairs and seeds. Intervals of
        averages are over pairs and seeds
        (`featx.evaluation.domain_pairs.crossed_interval`), those of one pair over seeds.
        ``details["differences"]`` pairs any two feature sets.

    Raises
    ------
    DatasetError
        If there are no labels, fewer than two domains, or fewer than two classes in all of them.
    SpecError
        If an extractor is not known or a number is out of its range.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits = load_dataset("digits").take(range(200))
    >>> halves = np.array(["early", "late"]).repeat(100)
    >>> result = transfer(replace(digits, domains=halves), "hog,image_size=32", seeds=2, store=None)
    >>> sorted((row["alignment"], row["source"], row["target"]) for row in result.rows)[:3]
    [('coral', 'early', 'late'), ('coral', 'late', 'early'), ('coral', 'mean', 'mean')]
    """
    _check_numbers(seeds, train_fraction, regularization)
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, groups=groups, store=store, progress=progress, **parameters
    )
    rules = _DomainProtocol(
        "transfer",
        splits="random",
        n_splits=seeds,
        classifier=classifier,
        scale=scale,
        random_state=random_state,
        class_weight=class_weight,
        source=SOURCE,
        train_fraction=train_fraction,
        regularization=regularization,
        names=_domain_names(dataset, domains),
    )
    if extractors is None and "model" not in parameters:
        extractors = list(DEFAULT_EXTRACTORS)
    gathered = gather_candidates(
        replace(dataset, splits=dataset.domains),
        extractors,
        rules,
        store=cache,
        has_controls=False,
        progress=progress,
        **parameters,
    )
    pairs = []
    for kind in gathered.kinds:
        pairs += _cross_domains(kind, gathered, rules, C)
        progress.note(f"{kind.spec}: target accuracy {pairs[-2].target.mean():.3f}")
    return _result(gathered, rules, pairs)


def _fit_pair(
    source: Part, target: Part, probe: Any, coral: CORAL | None = None, *, trained: Any = None
) -> Fitted:
    """Everything that is learned for one pair: from training images, and the source's labels.

    Parameters
    ----------
    source, target : Part
        Only their training images are looked at, and the labels of the source.
    probe : classifier
        A copy is fitted.
    coral : CORAL, optional
        A copy is fitted, and moves the source first.
    trained : classifier, optional
        The probe as it was fitted to the source before, not to be fitted again.
    """
    own, rows = source.train, target.train
    groups = None
    if source.train_groups is not None and target.train_groups is not None:
        groups = np.concatenate([source.train_groups, target.train_groups])
    if coral is not None:
        coral = clone(coral).fit(own, target=rows)
        own = coral.align(own)
    divider = LinearProbe(grid=_DIVIDER_GRID, metric="balanced_accuracy")
    is_target = np.repeat([0, 1], [len(own), len(rows)])
    return Fitted(
        coral,
        trained or fit_probe(clone(probe), own, source.train_labels, groups=source.train_groups),
        divider.fit(np.concatenate([own, rows]), is_target, groups=groups),
    )


def _cross_domains(
    kind: Candidate, gathered: Candidates, rules: _DomainProtocol, C: float | None = None
) -> list[DomainPair]:
    """Accuracies of one feature set over all pairs: without alignment, and with CORAL.

    Parameters
    ----------
    kind : Kind
    gathered : Gathered
    rules : DomainProtocol
    C : float, optional
    """
    n_domains = len(rules.names)
    pairs = list(permutations(range(n_domains), 2))
    accuracies = np.empty((len(_ALIGNMENTS), 3, len(pairs), rules.n_splits))
    converged = np.ones(len(_ALIGNMENTS), bool)
    for number in range(rules.n_splits * n_domains):
        seed, source = divmod(number, n_domains)
        parts = _parts(kind, gathered, number, n_domains)
        targets = {target: parts[target] for first, target in pairs if first == source}
        for target, ways in _fit_all(parts[source], targets, rules, C):
            index = pairs.index((source, target))
            for way, fitted in enumerate(ways):
                accuracies[way, :, index, seed] = fitted.accuracies(parts[source], parts[target])
                converged[way] &= getattr(fitted.probe, "converged_", True)
    named = [(rules.names[first], rules.names[second]) for first, second in pairs]
    chance = _chances(gathered, n_domains)[np.array(pairs)]
    train, test = gathered.folds[0]
    share = len(test) / len(train)
    return [
        DomainPair(
            kind.spec, alignment, named, own, other, separability, chance, share, bool(is_done)
        )
        for alignment, (own, other, separability), is_done in zip(
            _ALIGNMENTS, accuracies, converged, strict=True
        )
    ]


def _fit_all(
    source: Part, targets: Mapping[int, Part], rules: _DomainProtocol, C: float | None
) -> Iterator[tuple[int, tuple[Fitted, Fitted]]]:
    """What is learned of one source for each target: as it is, and with CORAL."""
    probe, coral = make_probe(rules, C=C), CORAL(rules.regularization)
    trained = fit_probe(clone(probe), source.train, source.train_labels, groups=source.train_groups)
    for index, target in targets.items():
        plain = _fit_pair(source, target, probe, trained=trained)
        yield index, (plain, _fit_pair(source, target, probe, coral))


def _parts(kind: Candidate, gathered: Candidates, number: int, n_domains: int) -> list[Part]:
    """Every domain as the seed splits it, in features that learned from one of them alone."""
    rows = kind.features(number) if callable(kind.features) else kind.features
    labels: Any = gathered.dataset.labels
    groups = gathered.dataset.groups
    start = number - number % n_domains
    return [
        Part(
            rows[train],
            rows[test],
            labels[train],
            labels[test],
            None if groups is None else groups[train],
        )
        for train, test in gathered.folds[start : start + n_domains]
    ]


def _chances(gathered: Candidates, n_domains: int) -> Column:
    """What naming the most frequent class of each domain reaches: (n_domains,)."""
    labels: Any = gathered.dataset.labels
    domains = [labels[np.concatenate(fold)] for fold in gathered.folds[:n_domains]]
    return np.array([np.unique(part, return_counts=True)[1].max() / len(part) for part in domains])


def _result(gathered: Candidates, rules: _DomainProtocol, pairs: list[DomainPair]) -> Result:
    joint = _joint_folds(gathered, len(rules.names))
    plain = {pair.spec: pair for pair in pairs if pair.alignment == "none"}
    best = max(pairs, key=lambda pair: float(pair.target.mean()))
    rows = [row for pair in pairs for row in pair.rows(plain[pair.spec], best)]
    averages = sorted(
        (row for row in rows if row["source"] == MEAN), key=lambda row: -row["target_accuracy"]
    )
    return Result(
        "transfer",
        gathered.dataset.source,
        [*averages, *(row for row in rows if row["source"] != MEAN)],
        protocol=_rules(gathered, rules),
        sentences=[
            *warn_of_training_images(gathered),
            *describe_copies(joint, find_copies(joint, gathered.digests)),
            *describe_groups(gathered.dataset),
            *describe_pairs(pairs),
        ],
        failures=gathered.failures,
        details={"differences": compare_pairs(pairs)},
        provenance=gathered.provenance,
    )


def _joint_folds(gathered: Candidates, n_domains: int) -> list[Split]:
    """Training and test images of all domains together, seed after seed."""
    return [
        (np.concatenate(train), np.concatenate(test))
        for start in range(0, len(gathered.folds), n_domains)
        for train, test in [zip(*gathered.folds[start : start + n_domains], strict=True)]
    ]


def _rules(gathered: Candidates, rules: _DomainProtocol) -> dict[str, Any]:
    """The protocol and its splits of these images."""
    n_domains = len(rules.names)
    known: dict[str, Any] = rules.to_dict()
    names = list(known.pop("names"))
    labels: Any = gathered.dataset.labels
    folds = dict(zip(names, gathered.folds[:n_domains], strict=True))
    chances = dict(zip(names, _chances(gathered, n_domains).tolist(), strict=True))
    return known | {
        "domains": names,
        "n_train_per_domain": {name: len(train) for name, (train, _) in folds.items()},
        "n_test_per_domain": {name: len(test) for name, (_, test) in folds.items()},
        "n_classes": len(np.unique(labels[gathered.folds[0][0]])),
        "chance": chances,
    }


def _check_numbers(seeds: int, train_fraction: float, regularization: float) -> None:
    if seeds < 1:
        raise SpecError(f"seeds must be at least 1; got {seeds}.")
    if not 0 < train_fraction < 1:
        raise SpecError(f"train_fraction must be between 0 and 1; got {train_fraction}.")
    if not regularization > 0:
        raise SpecError(f"regularization must be above 0; got {regularization}.")


def _domain_names(dataset: ImageDataset, wanted: bool | Sequence[str]) -> tuple[str, ...]:
    """Domains in the given order, else by name."""
    if dataset.domains is None:
        raise DatasetError(
            f"{dataset.source}: no domains; expected folders <domain>/<class>/<image>, or a "
            "manifest with a column 'domain'."
        )
    there = sorted({str(name) for name in dataset.domains if name})
    names = there if isinstance(wanted, bool) else list(dict.fromkeys(wanted))
    for name in names:
        if name not in there:
            raise DatasetError(f"Domain {name!r} is not in the data. Domains: {', '.join(there)}.")
    if len(names) < 2:
        raise DatasetError(
            f"Transfer needs at least 2 domains; got {', '.join(names) or 'none'}. Domains: "
            f"{', '.join(there)}."
        )
    return tuple(names)


def _shared_classes(labels: Column, domains: Column, names: Sequence[str]) -> list[str]:
    """Classes of which every domain has two images: one to train and one to test on."""
    counts = [
        dict(zip(*np.unique(labels[domains == name], return_counts=True), strict=True))
        for name in names
    ]
    shared = [str(name) for name in counts[0] if name and all(n.get(name, 0) > 1 for n in counts)]
    if len(shared) < 2:
        raise DatasetError(
            f"Transfer needs at least 2 classes with 2 images in each of the domains "
            f"{', '.join(names)}; got {len(shared)}."
        )
    return shared
