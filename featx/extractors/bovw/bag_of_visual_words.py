"""Bags of visual words: local descriptors of an image, encoded by a learned codebook."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Unpack

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from featx.errors import DatasetError, EmptyRowsWarning
from featx.extractors.base import CommonParameters, Extractor
from featx.extractors.bovw import encodings
from featx.extractors.bovw.dense import DenseSiftDescriptors, DenseSurfDescriptors
from featx.extractors.bovw.descriptors import (
    LocalDescriptors,
    OrbDescriptors,
    Rows,
    SiftDescriptors,
    SurfDescriptors,
)
from featx.extractors.bovw.reservoirs import BagSample, RowSample
from featx.extractors.bovw.vocabulary import Vocabulary, learn_fisher_vocabulary, learn_vocabulary
from featx.streaming.rows import Matrix

_KEY_POINT_DESCRIPTORS = {"surf": SurfDescriptors, "sift": SiftDescriptors, "orb": OrbDescriptors}
_GRID_DESCRIPTORS = {"dense_sift": DenseSiftDescriptors, "dense_surf": DenseSurfDescriptors}
_N_WORDS = {"bow": 500, "vlad": 64, "fisher": 64}
_N_FISHER_COMPONENTS = 64
_MIN_PATCH_PX = 8
_DEFAULT_NORMS = {"bow": "hellinger", "vlad": "power", "fisher": "power"}


class BagOfVisualWords(Extractor):
    """Histogram, VLAD or Fisher vector of the local descriptors of each image.

    `fit` learns a codebook of visual words from a sample of the descriptors of all images;
    `transform` encodes each image's descriptors with the codebook.

    Parameters
    ----------
    detector : {"surf", "sift", "orb", "dense_sift", "dense_surf"}, default="surf"
        Detector and descriptor: SURF [2]_, SIFT [3]_ or ORB [4]_; or SIFT or SURF on a dense
        grid, for small and smooth images that have no key points.
    n_words : int, optional
        Size of the codebook; by default 500, and 64 for ``"vlad"`` and ``"fisher"``.
    encoding : {"bow", "vlad", "fisher"}, default="bow"
        Counts of words [1]_, sums of differences to them [7]_, or gradients of a mixture of
        Gaussians [8]_.
    assignment : {"hard", "soft"}, default="hard"
        For ``"bow"``: whether a descriptor counts for its nearest word only or is distributed over
        the nearest five.
    weighting : {"tfidf"} or None, default=None
        For ``"bow"``: weigh words by how few images have them.
    pyramid_levels : int, default=0
        Levels of a spatial pyramid [6]_ above the whole image: 1 adds its quarters, 2 also
        its sixteenths.
    norm : {"auto", "l1", "l2", "power", "hellinger", "intra"} or None, default="auto"
        Normalization of rows, see `featx.extractors.bovw.encodings.normalize`; by default
        ``"hellinger"`` for ``"bow"`` and ``"power"`` for the others.
    root_sift : bool, default=True
        Whether SIFT descriptors are compared by the Hellinger kernel [5]_.
    n_components : int, optional
        Number of principal components to which descriptors are reduced; by default 64 for
        ``"fisher"``, and no reduction for the others. Not available for ORB.
    image_size : int, default=320
        Longest side in px to which images are resized. Small images are enlarged, because they
        have no key points otherwise.
    step_px : int, default=8
        Distance of the points of dense grids in px.
    patch_px : tuple of int, default=(16, 24, 32)
        Side lengths in px of the patches described at each point of dense grids.
    n_descriptors : int, default=100000
        Number of descriptors from which the codebook is learned.
    random_state : int, optional, default=0
        Seed of the sample and the codebook.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Attributes
    ----------
    codebook_ : ndarray of shape (n_words, d)
        The words: float32; packed bits (uint8) for ORB; for ``"fisher"`` the means, float64.
    weights_, variances_ : ndarray of shape (n_words,) and (n_words, d), float64
        Weights and variances of the mixture; ``"fisher"`` only.
    mean_, components_ : ndarray of shape (d_in,) and (d_in, n_components), float64
        Mean and principal axes of the descriptors, if they are reduced.
    idf_ : ndarray of shape (n_words,), float64
        Weights of the words; ``weighting="tfidf"`` only.
    scale_ : float
        Mean squared distance of the sample to its words; ``assignment="soft"`` only.
    n_features_in_ : int
        Length of a flattened image; set only when `fit` got a 2-D array.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    ValueError
        If `fit` finds fewer descriptors than words.

    Warns
    -----
    EmptyRowsWarning
        If images have no key points; their rows are zeros.

    Notes
    -----
    Departs from [1]_: the sample is drawn from all images alike, and counts are compared by
    the Hellinger kernel. Departs from [6]_: weighted counts are normalized over the whole
    pyramid; with ``"vlad"`` and ``"fisher"`` each cell is normalized alone and not weighted.
    Departs from [7]_ and [8]_: one codebook, no reduction of the finished row. Words for ORB
    are learned as bits [9]_.

    Descriptors are of OpenCV's gray in 8 bits, ``0.299 red + 0.587 green + 0.114 blue`` (ITU-R
    BT.601), which the papers' programs use; `HOG` and `RawPixels` have scikit-image's, BT.709.
    Deeper images are rounded to 8 bits last, after `value_range`.

    The same `random_state` gives the same bytes for any number of jobs and cores. (Other kinds of
    processors may round scikit-learn's k-means differently.) Where words are weighted by
    ``"tfidf"``, document frequencies are those of a sample of whole images that together have
    `n_descriptors` descriptors.

    References
    ----------
    .. [1] Csurka, Dance, Fan, Willamowski and Bray, "Visual categorization with bags of
       keypoints", ECCV Workshop on Statistical Learning in Computer Vision (2004).
    .. [2] Bay, Tuytelaars and Van Gool, "SURF: speeded up robust features", ECCV (2006).
    .. [3] Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60 (2004)
       91-110.
    .. [4] Rublee, Rabaud, Konolige and Bradski, "ORB: an efficient alternative to SIFT or
       SURF", ICCV (2011) 2564-2571.
    .. [5] Arandjelovic and Zisserman, "Three things everyone should know to improve object
       retrieval", CVPR (2012) 2911-2918.
    .. [6] Lazebnik, Schmid and Ponce, "Beyond bags of features", CVPR (2006) 2169-2178.
    .. [7] Jegou, Douze, Schmid and Perez, "Aggregating local descriptors into a compact image
       representation", CVPR (2010) 3304-3311.
    .. [8] Perronnin, Sanchez and Mensink, "Improving the Fisher kernel for large-scale image
       classification", ECCV (2010) 143-156.
    .. [9] Grana, Borghesani, Manfredi and Cucchiara, "A fast approach for integrating ORB
       descriptors in the bag of words model", SPIE 8667 (2013).

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (4, 32, 32), dtype=np.uint8)
    >>> BagOfVisualWords("orb", n_words=20).fit_transform(images).shape
    (4, 20)
    """

    spec_name: ClassVar[str] = "bovw"
    feature_version: ClassVar[int] = 2
    positional: ClassVar[tuple[str, ...]] = ("detector",)
    batch_length: ClassVar[int] = 16
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "detector": [StrOptions({*_KEY_POINT_DESCRIPTORS, *_GRID_DESCRIPTORS})],
        "n_words": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "encoding": [StrOptions(set(_N_WORDS))],
        "assignment": [StrOptions({"hard", "soft"})],
        "weighting": [StrOptions({"tfidf"}), None],
        "pyramid_levels": [Interval(numbers.Integral, 0, 6, closed="both")],
        "norm": [StrOptions({"auto", *encodings.NORMS}), None],
        "root_sift": ["boolean"],
        "n_components": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "image_size": [Interval(numbers.Integral, 16, None, closed="left")],
        "step_px": [Interval(numbers.Integral, 1, None, closed="left")],
        "patch_px": [tuple, list],
        "n_descriptors": [Interval(numbers.Integral, 1, None, closed="left")],
        "random_state": [Interval(numbers.Integral, 0, None, closed="left"), None],
    }

    def __init__(
        self,
        detector: str = "surf",
        *,
        n_words: int | None = None,
        encoding: str = "bow",
        assignment: str = "hard",
        weighting: str | None = None,
        pyramid_levels: int = 0,
        norm: str | None = "auto",
        root_sift: bool = True,
        n_components: int | None = None,
        image_size: int = 320,
        step_px: int = 8,
        patch_px: Sequence[int] = (16, 24, 32),
        n_descriptors: int = 100_000,
        random_state: int | None = 0,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.detector = detector
        self.n_words = n_words
        self.encoding = encoding
        self.assignment = assignment
        self.weighting = weighting
        self.pyramid_levels = pyramid_levels
        self.norm = norm
        self.root_sift = root_sift
        self.n_components = n_components
        self.image_size = image_size
        self.step_px = step_px
        self.patch_px = patch_px
        self.n_descriptors = n_descriptors
        self.random_state = random_state

    def _check_rows(self, rows: Matrix) -> None:
        n_empty = len(rows) - int(np.count_nonzero(rows.any(axis=1)))
        if n_empty:
            warnings.warn(
                f"{n_empty} of {len(rows)} images have no key points and got rows of zeros; "
                "raise image_size or use detector='dense_sift'.",
                EmptyRowsWarning,
                stacklevel=3,
            )

    @property
    def _n_features_out(self) -> int:
        return self._vocabulary().n_columns(self.encoding, self.pyramid_levels)

    def _check_parameters(self) -> None:
        width = self._base().width
        if self.encoding != "bow" and (self.assignment == "soft" or self.weighting):
            raise ValueError(
                "assignment='soft' and weighting are for encoding='bow'; "
                f"got encoding={self.encoding!r}."
            )
        if self.detector == "orb" and self.encoding != "fisher" and self.n_components:
            raise ValueError(
                "n_components is not available for detector='orb', whose words are bits."
            )
        if (self.n_components or 0) > width:
            raise ValueError(
                f"n_components={self.n_components} is more than the {width} values of a "
                f"{self.detector} descriptor."
            )
        if self.n_descriptors < self._n_words:
            raise ValueError(
                f"n_descriptors={self.n_descriptors} is less than n_words={self._n_words}."
            )
        if not self.patch_px or min(self.patch_px) < _MIN_PATCH_PX:
            raise ValueError(
                f"patch_px: expected sides of at least {_MIN_PATCH_PX} px, got {self.patch_px}."
            )

    @property
    def _n_words(self) -> int:
        return self.n_words or _N_WORDS[self.encoding]

    def _base(self) -> LocalDescriptors:
        if self.detector in _KEY_POINT_DESCRIPTORS:
            return _KEY_POINT_DESCRIPTORS[self.detector](self.image_size, self.n_jobs)
        grid = _GRID_DESCRIPTORS[self.detector]
        return grid(self.image_size, self.n_jobs, self.step_px, self.patch_px)

    def _learn(self, inputs: Iterable[Rows]) -> None:
        seeds = np.random.SeedSequence(self.random_state).spawn(3)
        sample = RowSample(self.n_descriptors, seeds[0])
        bags = BagSample(self.n_descriptors, seeds[1])
        for rows in inputs:
            sample.add(rows)
            if self.weighting == "tfidf":
                bags.add(rows)
        vocabulary = self._learn_vocabulary(sample, seeds[2])
        if self.weighting == "tfidf":
            vocabulary = vocabulary.weigh(map(self._compare, bags.bags()))
        self._set_vocabulary(vocabulary)

    def _learn_vocabulary(self, sample: RowSample, seed: Any) -> Vocabulary:
        if sample.n_seen < self._n_words:
            raise DatasetError(
                f"A codebook of n_words={self._n_words} needs as many descriptors; the images "
                f"gave {sample.n_seen}. Give more images, lower n_words, raise image_size or use "
                "detector='dense_sift'."
            )
        values = self._compare(sample.rows())[1]
        n_components = self.n_components
        if self.encoding == "fisher":
            n_components = n_components or min(_N_FISHER_COMPONENTS, self._base().width)
            return learn_fisher_vocabulary(values, self._n_words, n_components, seed)
        is_soft = self.assignment == "soft"
        return learn_vocabulary(values, self._n_words, n_components, is_soft=is_soft, seed=seed)

    def _set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Set the learned attributes and remove those of an earlier `fit`."""
        for name, value in vars(vocabulary).items():
            self.__dict__.pop(f"{name}_", None)
            if value is not None:
                setattr(self, f"{name}_", value)

    def _vocabulary(self) -> Vocabulary:
        names = (field.name for field in fields(Vocabulary))
        known: dict[str, Any] = {name: getattr(self, f"{name}_", None) for name in names}
        return Vocabulary(**known)

    def _compare(self, rows: Rows) -> tuple[Any, Any]:
        """Positions of packed descriptors, and their values in the form that is compared."""
        return self._base().compare(rows, is_rooted=self.root_sift)

    def _extract(self, batch: Sequence[Rows]) -> Matrix:
        vocabulary = self._vocabulary()
        n_columns = vocabulary.n_columns(self.encoding, self.pyramid_levels)
        norm = _DEFAULT_NORMS[self.encoding] if self.norm == "auto" else self.norm
        out = np.zeros((len(batch), n_columns), np.float32)
        for row, rows in zip(out, batch, strict=True):
            if len(rows):
                positions, values = self._compare(rows)
                row[:] = vocabulary.encode(
                    positions,
                    values,
                    encoding=self.encoding,
                    pyramid_levels=self.pyramid_levels,
                    norm=norm,
                )
        return out
