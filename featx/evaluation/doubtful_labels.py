"""Labels that are likely wrong: confident learning on out-of-fold probabilities.

The method is that of Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in
dataset labels", JAIR 70 (2021); the code is ours. From their methods of pruning it takes the
stricter one, "C+NR": a label is doubtful only where pruning by class and pruning by noise rate
agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featx.evaluation.protocols import Protocol, Split
from featx.evaluation.scores import Floats
from featx.evaluation.split_scores import make_probe

Indices = npt.NDArray[np.intp]


class OutOfFold(NamedTuple):
    """Probabilities of images by classifiers that have not seen them.

    Attributes
    ----------
    indices : ndarray of int, shape (n,)
        Images that were in a test fold, ascending.
    classes : ndarray of str, shape (n_classes,)
    probabilities : ndarray of shape (n, n_classes)
    """

    indices: Indices
    classes: npt.NDArray[np.str_]
    probabilities: Floats


def predict_out_of_fold(
    X: Any, labels: npt.NDArray[np.str_], groups: Indices, protocol: Protocol
) -> OutOfFold:
    """Probabilities of each image by a classifier fitted to the other folds.

    Parameters
    ----------
    X : array of shape (n_images, n_features)
    labels : array of str, shape (n_images,)
        Images with an empty label take no part.
    groups : array of int, shape (n_images,)
        Images of one content are in one fold: a copy would vouch for its label.
    protocol : Protocol
        Of cross-validation.

    Raises
    ------
    DatasetError
        If there are too few classes or images.
    """
    classes = np.unique(labels[labels != ""])
    probabilities = np.full((len(labels), len(classes)), np.nan)
    for train, test in _grouped_folds(protocol, labels, groups):
        fitted = make_probe(protocol).fit(X[train], labels[train])
        columns = np.searchsorted(classes, fitted.classes_)
        probabilities[test] = 0
        probabilities[test[:, None], columns] = fitted.predict_proba(X[test])
    tested = np.flatnonzero(~np.isnan(probabilities[:, 0]))
    return OutOfFold(tested, classes, probabilities[tested])


def find_doubtful(probabilities: Floats, codes: Indices) -> Indices:
    """Rows whose label is likely wrong, the most doubtful first.

    Parameters
    ----------
    probabilities : array of shape (n, n_classes)
        Out of fold.
    codes : array of int, shape (n,)
        Class that the label of each row says.

    Returns
    -------
    ndarray of int
        Ordered by the probability of the label, the least first.

    Examples
    --------
    >>> probabilities = np.eye(2)[[0] * 5 + [1] * 5] * 0.8 + 0.1
    >>> find_doubtful(probabilities, np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1]))
    array([4])
    """
    own = probabilities[np.arange(len(codes)), codes]
    counts = _estimate_counts(probabilities, codes)
    doubtful = _prune_by_class(own, codes, counts)
    doubtful &= _prune_by_noise_rate(probabilities, codes, counts)
    # A label that is also the prediction is not doubted, whatever the counts say.
    doubtful &= probabilities.argmax(1) != codes
    rows = np.flatnonzero(doubtful)
    return rows[np.argsort(own[rows], kind="stable")]


def _grouped_folds(
    protocol: Protocol, labels: npt.NDArray[np.str_], groups: Indices
) -> list[Split]:
    """Folds of the first image of each group, the others beside it."""
    known = np.flatnonzero(labels != "")
    numbers, first = np.unique(groups[known], return_index=True)
    firsts = known[first]

    def with_others(indices: Indices) -> Indices:
        return known[np.isin(groups[known], numbers[indices])]

    folds = protocol.split(labels[firsts])
    return [(with_others(train), with_others(test)) for train, test in folds if len(test)]


def _estimate_counts(probabilities: Floats, codes: Indices) -> npt.NDArray[np.intp]:
    """Images of each label by the class they are estimated to be of: (n_classes, n_classes).

    The confident joint, brought to the number of images of each label.
    """
    n_classes = probabilities.shape[1]
    own = probabilities[np.arange(len(codes)), codes]
    sizes = np.bincount(codes, minlength=n_classes)
    # As confident as images of a class are on average; a class without images is never believed.
    sums = np.bincount(codes, own, minlength=n_classes)
    thresholds = np.divide(sums, sizes, out=np.full(n_classes, np.inf), where=sizes > 0)
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    rows = np.flatnonzero(confident.max(1) >= 0)
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (codes[rows], confident[rows].argmax(1)), 1)
    shares = joint / np.maximum(joint.sum(1, keepdims=True), 1)
    return np.rint(shares * sizes[:, None]).astype(np.intp)


def _prune_by_class(
    own: Floats, codes: Indices, counts: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Of each label as many as are estimated to be of other classes, the least probable."""
    doubtful = np.zeros(len(codes), bool)
    for code, row in enumerate(counts):
        members = np.flatnonzero(codes == code)
        n_wrong = row.sum() - row[code]
        doubtful[members[np.argsort(own[members], kind="stable")[:n_wrong]]] = True
    return doubtful


def _prune_by_noise_rate(
    probabilities: Floats, codes: Indices, counts: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Of each label and other class as many as are estimated, those of the largest margin."""
    doubtful = np.zeros(len(codes), bool)
    for code, other in np.argwhere(counts):
        if code != other:
            members = np.flatnonzero(codes == code)
            margins = probabilities[members, other] - probabilities[members, code]
            order = np.argsort(-margins, kind="stable")
            doubtful[members[order[: counts[code, other]]]] = True
    return doubtful
