"""Features of a collection of images, by one or several extractors: `extract`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import featx.engine.sklearn_base  # noqa: F401 - before others import scikit-learn.
from featx._linalg import allocate
from featx.data.datasets import ImageDataset
from featx.data.partition import Part, parse_part, part_indices
from featx.engine.fitting import fit_extractor, must_learn
from featx.engine.jobs import Job, plan_jobs
from featx.engine.persistence import portable
from featx.engine.persistence import save_extractor as write_extractor
from featx.engine.provenance import provenance_of
from featx.engine.session import open_session
from featx.errors import DatasetError, SpecError
from featx.features.feature_set import FeatureSet, check_output
from featx.features.formats import find_format
from featx.streaming.progress import ProgressCallback
from featx.streaming.rows import Matrix, stream_rows

_MANY_COLUMNS = 100_000
"""Columns of a layer above which a note suggests pooling."""


def extract(
    images: Any,
    extractors: Any = None,
    *,
    model: str | None = None,
    layer: str | Sequence[str] | None = None,
    domains: Any = None,
    part: str | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    store: Any = "default",
    save_extractor: str | os.PathLike[str] | None = None,
    collect: bool = True,
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> FeatureSet:
    """Extract features of images with one or several extractors, cached on disk.

    Parameters
    ----------
    images : str, path, list of these, ImageDataset, or images
        A folder, files, a manifest, ``digits``, ``torchvision:NAME``; see
        `featx.data.datasets.load_dataset`. Images in memory are also accepted.
    extractors : SPEC, Extractor, or list of these, optional
        For example ``["hog", "bovw:surf", "cnn:alexnet:fc7"]``. By default the network `model`
        at `layer`.
    model : str, optional
        Short for ``cnn:MODEL``; by default the bundled network.
    layer : str or list of str, optional
        Layers of `model`, all in one pass; by default ``"-1"``, the input of the classifier.
    domains : bool or list of str, optional
        Whether the folder above the class is the domain, or the domains to use.
    part : str, optional
        ``"3/64"`` extracts the third of 64 fixed parts of the images, one for each of as many
        machines. What an extractor learns, it still learns from all training images, so that the
        parts together give the rows of one run.
    output : path, optional
        File or folder to save the result to; the suffix determines the format.
    force : bool, default=False
        Overwrite an output that was not written by featx with the same settings.
    store : path, FeatureStore or None, default="default"
        Store of rows between runs. ``"default"`` is the user's store; None stores nothing.
    save_extractor : path, optional
        File to save the fitted extractor to (``.skops``); only with a single extractor.
    collect : bool, default=True
        If False, only fill the store; the result then has no columns.
    progress : ProgressCallback, optional
        Callback for the plan, progress and notes.
    **parameters
        Passed to each extractor that has them: ``weights``, ``pooling``, ``n_jobs``, ``device``.
        ``trust`` lists files and folders that may name code, as in `featx.CNNFeatures`.
        ``value_range``, ``window``, ``pages``, ``bands``, ``max_pixels`` and, for arrays,
        ``image_shape`` control how images are read, as in `featx.Images`;
        ``value_range="p1,p99"`` is measured on the train split, or on all images without one.

    Returns
    -------
    FeatureSet
        One row per readable image; the others are in `failures`.

    Raises
    ------
    DatasetError
        If there are no images, or none of them could be read.
    SpecError
        If an extractor or parameter is unknown.
    FeatureFileError
        If `output` cannot be written; raised before anything is computed.

    Examples
    --------
    >>> features = extract("digits", "hog,image_size=32", store=None)
    >>> features.X.shape, list(features.blocks)
    ((1797, 324), ['hog,image_size=32'])
    """
    chosen = None if part is None else parse_part(part)
    dataset, cache, progress, parameters = open_session(
        images, domains=domains, store=store, progress=progress, **parameters
    )
    jobs = plan_jobs(extractors, model=model, layer=layer, store=cache, **parameters)
    reading = dataset.images.reading
    for job in jobs:
        job.read_as(reading, dataset.images.count_bands())
    if save_extractor is not None and len(jobs) > 1:
        raise SpecError(f"save_extractor takes one extractor; got {len(jobs)}.")
    folder = None if cache is None else cache.folder
    if output is not None:
        target = check_output(output, provenance_of(jobs, dataset, None), force=force)
        folder = target.parent
    learned_on = _fit(jobs, dataset, progress)
    provenance = provenance_of(jobs, dataset, learned_on) | {"part": part}
    if chosen is not None:
        dataset = _take_part(dataset, chosen, images, progress)
    n_columns = sum(sum(job.widths.values()) for job in jobs)
    if output is not None:
        find_format(target).check_size(target, len(dataset), n_columns)
    for warning in _warnings_of_size(jobs, len(dataset), folder):
        progress.note(warning)
    features = _gather(jobs, dataset, provenance, folder, collect=collect, progress=progress)
    if save_extractor is not None:
        saved = portable(jobs[0].extractor).set_params(**reading.settings())
        write_extractor(saved, save_extractor)
    if output is not None:
        features.save(output, force=force)
    return features


def _take_part(
    dataset: ImageDataset, part: Part, data: Any, progress: ProgressCallback
) -> ImageDataset:
    """The images of a part, which may be none."""
    indices = part_indices(dataset.names, part, data)
    progress.note(f"part {part}: {len(indices):,} of {len(dataset):,} images")
    return dataset.take(indices)


def _warnings_of_size(jobs: list[Job], n_images: int, folder: Path | None) -> Iterator[str]:
    """Notes about wide rows and a disk that they would fill, and what to do about it."""
    wide = {
        f"{job.names[layer]} ({n:,})": "pooling" in job.extractor.get_params(deep=False)
        for job in jobs
        for layer, n in job.widths.items()
        if n > _MANY_COLUMNS
    }
    cure = "--pooling gap averages maps" if any(wide.values()) else "a larger cell gives fewer"
    if wide:
        yield f"note: more than {_MANY_COLUMNS:,} columns: {', '.join(wide)}; {cure}."
    n_bytes = 4 * n_images * sum(sum(job.widths.values()) for job in jobs)
    parents = [it for it in (folder, *folder.parents) if it.is_dir()] if folder else []
    if parents and n_bytes > (free := shutil.disk_usage(parents[0]).free) / 2:
        yield (
            f"note: features take {n_bytes / 1e9:.1f} GB of the {free / 1e9:.1f} GB that are free "
            f"on the disk of {parents[0]}; {cure}."
        )


def _fit(jobs: list[Job], dataset: ImageDataset, progress: ProgressCallback) -> str | None:
    """Fit the extractors that learn: on the train split, or on all images without one."""
    learners = [job for job in jobs if must_learn(job.extractor)]
    if not learners:
        return None
    train = dataset.split("train").tolist()
    which = "of the train split" if train else "there are (no train split)"
    for job in learners:
        name = next(iter(job.names.values()))
        fit_extractor(
            job.extractor, dataset.images, train or None, name=name, progress=progress, which=which
        )
    return "train" if train else "all"


def _gather(
    jobs: list[Job],
    dataset: ImageDataset,
    provenance: dict[str, Any],
    folder: Path | None,
    *,
    collect: bool,
    progress: ProgressCallback,
) -> FeatureSet:
    """Features of every job side by side, without the images that failed in any of them.

    If they do not fit into memory, they are held on the disk of `folder`.
    """
    blocks = _columns(jobs) if collect else {}
    X = allocate(len(dataset), max((stop for _, stop in blocks.values()), default=0), folder)
    reasons: dict[int, str] = {}
    for job in jobs:
        progress.begin(list(job.names.values()), list(job.widths.values()))
        views = {layer: X[:, slice(*blocks[name])] for layer, name in job.names.items() if collect}
        rows = stream_rows(
            job.extractor, dataset.images, progress=progress, blocks=views, collect=collect
        )
        for view in views.values():
            job.extractor._check_rows(view)
        for failure in rows.failures:
            reasons.setdefault(failure.index, failure.error.reason)
    if reasons and len(reasons) == len(dataset):
        first = f"{dataset.names[0]}: {reasons[0]}"
        raise DatasetError(
            f"{dataset.source}: none of {len(dataset)} images can be read ({first})."
        )
    readable = [index for index in range(len(dataset)) if index not in reasons]
    part = dataset.take(readable)
    if lost := _lost_classes(dataset, part):
        progress.note(f"note: no image can be read of class {', '.join(lost)}")
    return FeatureSet(
        X=_compacted(X, readable),
        paths=np.array(part.names, dtype=np.str_),
        labels=part.labels,
        splits=part.splits,
        domains=part.domains,
        groups=part.groups,
        blocks=blocks,
        failures=[(dataset.names[index], reasons[index]) for index in sorted(reasons)],
        provenance=provenance,
    )


def _lost_classes(dataset: ImageDataset, part: ImageDataset) -> list[str]:
    """Classes without a readable image."""
    if dataset.labels is None or part.labels is None:
        return []
    return sorted(set(dataset.labels.tolist()) - set(part.labels.tolist()) - {""})


def _columns(jobs: list[Job]) -> dict[str, tuple[int, int]]:
    """First column and the column after the last, by name of the block."""
    columns, start = {}, 0
    for job in jobs:
        for layer, name in job.names.items():
            stop = start + job.widths[layer]
            columns[name] = (start, stop)
            start = stop
    return columns


def _compacted(X: Matrix, indices: list[int]) -> Matrix:
    """Rows at `indices` moved to the front, in place: the array may be larger than memory."""
    if len(indices) == len(X):
        return X
    for target, source in enumerate(indices):
        if target != source:
            X[target] = X[source]
    return X[: len(indices)]
