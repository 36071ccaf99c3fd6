"""A probe to keep: extractor and classifier, fitted to all images there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from featx.data.datasets import ImageDataset
from featx.engine.extraction import extract
from featx.engine.fitting import fit_extractor, must_learn
from featx.engine.jobs import plan_jobs
from featx.engine.persistence import portable, save_pipeline
from featx.engine.specs import spec_of
from featx.errors import SpecError
from featx.evaluation.protocols import Protocol
from featx.evaluation.split_scores import fit_probe, make_probe, probe_classes
from featx.streaming.progress import ProgressCallback


def save_probe(
    dataset: ImageDataset,
    extractor: Any,
    path: str | os.PathLike[str],
    *,
    protocol: Protocol,
    C: float | None = None,
    store: Any = None,
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Path:
    """Fit extractor and classifier to all labeled images, and write them as one pipeline.

    Parameters
    ----------
    dataset : ImageDataset
        With labels.
    extractor : SPEC or Extractor
    path : path
        Ends in ``.skops``.
    protocol : Protocol
        Says which classifier, scale and grid.
    C : float, optional
    store : FeatureStore, optional
    progress : ProgressCallback, optional
    **parameters
        As in `featx.extract`.

    Returns
    -------
    Path

    Raises
    ------
    SpecError
        If there is more than one extractor.
    FeatureFileError
        If the file cannot be written.

    Notes
    -----
    The accuracy that was measured is that of the same recipe on fewer images; this pipeline
    has seen the test images, too, and must not be tested on them.
    """
    progress = progress or ProgressCallback()
    jobs = plan_jobs(extractor, **parameters)
    if len(jobs) > 1:
        raise SpecError(f"A saved probe has one extractor; got {len(jobs)}.")
    learner = portable(jobs[0].extractor).set_params(store=store, n_jobs=parameters.get("n_jobs"))
    if must_learn(learner):
        fit_extractor(learner, dataset.images, name=spec_of(learner), progress=progress)
    rows = extract(dataset, learner, store=store, progress=progress)
    rows.check_finite()
    is_known = rows.labels != ""
    probe = make_probe(protocol, C=C)
    groups = None if rows.groups is None else rows.groups[is_known]
    fit_probe(probe, np.asarray(rows.X[is_known]), rows.labels[is_known], groups=groups)
    learner.set_params(**dataset.images.reading.settings())  # What it predicts is read alike.
    pipeline = Pipeline([("features", learner), ("probe", probe)])
    return save_pipeline(pipeline, path, classes=probe_classes())
