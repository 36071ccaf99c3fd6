"""Classes of new images, by what `featx probe --save` or `featx finetune` left."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from featx.engine.extraction import extract
from featx.engine.persistence import load_pipeline
from featx.errors import FeatureFileError, one_line
from featx.evaluation.split_scores import probe_classes
from featx.extractors.base import READING_PARAMETERS, reading_of
from featx.extractors.cnn import CNNFeatures
from featx.features.results import Result
from featx.networks.sources.saved_folder import check_unchanged, read_card
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust


def predict(
    model: str | os.PathLike[str],
    images: Any,
    *,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    trust: Trust = None,
    **parameters: Any,
) -> Result:
    """Predict the class of each image, and its probability.

    Parameters
    ----------
    model : path
        A file that ``featx probe --save`` wrote, or a folder that ``featx finetune`` wrote.
        Code that it names is neither imported nor called without `trust`.
    images : str, path, list of these, ImageDataset, or images
        As in `featx.extract`.
    store : path, FeatureStore or None, default="default"
    progress : ProgressCallback, optional
    trust : path, str, or sequence of these, optional
        `model` itself, if it was made from a network of your own (``package.module:callable``)
        and may import and call that; or the callable alone.
    **parameters
        Passed to the extractor, such as ``n_jobs``.

    Returns
    -------
    Result
        Rows of ``path``, ``predicted``, ``probability``, and ``probabilities`` of every class;
        ``true`` if the data have labels. Images that could not be read are in ``failures``.

    Raises
    ------
    FeatureFileError
        If the model cannot be read, or holds types that are not trusted.
    ModelError
        If it names code that is not trusted.
    """
    parameters = {"store": store, "progress": progress, "trust": trust, **parameters}
    if Path(model).is_dir():
        return _predict_folder(model, images, **parameters)
    pipeline = load_pipeline(model, classes=probe_classes(), trust=trust)
    extractor, probe = pipeline.steps[0][1], pipeline[1:]
    features = extract(images, extractor, **(reading_of(extractor) | parameters))
    features.check_finite()
    shares, classes = _probabilities(probe, np.asarray(features.X), model)
    return Result(
        "predict",
        str(features.provenance["data"]),
        _prediction_rows(features.paths, shares, classes, features.labels),
        failures=features.failures,
        provenance=features.provenance | {"model": os.fspath(model)},
    )


def _probabilities(
    probe: Any, X: npt.NDArray[Any], model: str | os.PathLike[str]
) -> tuple[npt.NDArray[Any], Sequence[Any]]:
    """Probabilities of each row's classes, and their names, by a probe that may be damaged."""
    try:
        shares, classes = probe.predict_proba(X), list(probe.classes_)
        if shares.shape == (len(X), len(classes)):
            return shares, classes
        reason = f"it names {len(classes)} classes"
    except MemoryError:
        raise
    except Exception as error:  # Attributes of any value may raise anything inside scikit-learn.
        reason = one_line(error)
    raise FeatureFileError(f"{model} is damaged: {reason}.")


def _prediction_rows(
    paths: Any, shares: Any, classes: Any, labels: Any = None
) -> list[dict[str, Any]]:
    """Rows of a table of predictions.

    Parameters
    ----------
    paths : sequence of str
    shares : ndarray of shape (n_images, n_classes)
        Probabilities.
    classes : sequence of str
    labels : sequence of str, optional
        What is true, where it is known.

    Examples
    --------
    >>> _prediction_rows(["a.jpg"], np.array([[0.2, 0.8]]), ["ant", "bee"])[0]["predicted"]
    'bee'
    """
    names = [str(name) for name in classes]
    rows = []
    for index, (path, row) in enumerate(zip(paths, shares, strict=True)):
        best = int(row.argmax())
        prediction = {"path": str(path), "predicted": names[best], "probability": float(row[best])}
        if labels is not None and labels[index]:
            prediction["true"] = str(labels[index])
        rows.append(prediction | {"probabilities": dict(zip(names, map(float, row), strict=True))})
    return rows


def _predict_folder(
    folder: str | os.PathLike[str],
    images: Any,
    *,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Class and probability of each image, by a network that ``featx finetune`` left.

    Parameters
    ----------
    folder : path
    images : str, path, list of these, ImageDataset, or images
    store : path, FeatureStore or None, default="default"
        Logits are stored there like features.
    progress : ProgressCallback, optional
    **parameters
        ``n_jobs``, ``device``, ``trust`` and the like.

    Returns
    -------
    Result
        Rows of ``path``, ``predicted``, ``probability``, ``probabilities``, and ``true`` where
        it is known.

    Raises
    ------
    ModelError
        If the folder is none of ``featx finetune``.
    """
    card = read_card(folder)
    extractor = CNNFeatures(os.fspath(folder), "logits")
    settings = card.get("settings", {})
    trained = {name: settings[name] for name in READING_PARAMETERS if settings.get(name)}
    parameters = trained | parameters
    logits = extract(images, extractor, store=store, progress=progress, **parameters)
    check_unchanged(folder, card)
    probabilities = softmax(np.asarray(logits.X, np.float64), axis=1)
    return Result(
        "predict",
        str(logits.provenance["data"]),
        _prediction_rows(logits.paths, probabilities, card["classes"], logits.labels),
        failures=logits.failures,
        provenance=logits.provenance | {"model": os.fspath(folder)},
    )
