"""Fit extractors that learn from images, such as bags of visual words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from featx.data.images import Images
from featx.process.phases import phase
from featx.streaming.progress import ProgressCallback
from featx.streaming.rows import store_base_rows


def must_learn(extractor: Any) -> bool:
    """Whether an extractor learns from images and has not done so yet."""
    if not extractor.__sklearn_tags__().requires_fit:
        return False
    try:
        check_is_fitted(extractor)
    except NotFittedError:
        return True
    return False


@phase("learn codebook")
def fit_extractor(
    extractor: Any,
    images: Images,
    train: Sequence[int] | None = None,
    *,
    name: str,
    progress: ProgressCallback,
    which: str = "",
) -> Any:
    """The extractor itself, fitted to some of the images.

    The rows of its base, which it learns from, are computed and stored for all images first.

    Parameters
    ----------
    extractor : Extractor
    images : Images
        All images that features will be extracted of.
    train : sequence of int, optional
        Indices of the images to learn from; by default all.
    name : str
        What progress lines call the extractor.
    progress : ProgressCallback
    which : str, default=""
        Which images `train` are, for a note of what it learns on; no note without it.

    Returns
    -------
    Extractor
    """
    base = extractor._base()
    if base is not None:
        progress.begin([f"{name}, {base.rows_name}"], [])
        store_base_rows(extractor, images, progress)
    chosen = images if train is None else images.take(train)
    if which:
        progress.note(f"{name} is fitted to the {len(chosen):,} images {which}")
    return extractor.fit(chosen)
