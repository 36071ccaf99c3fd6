"""The scikit-learn contract of every extractor.

A subclass writes `_extract` and `_n_features_out`, optionally `_prepare` (what is done to one
image, in parallel), `_learn` (a codebook), and its table of parameter constraints. See
`color.py`, the one to copy. One that works on the rows of another extractor names it in `_base`.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from featx._fingerprints import fingerprint
from featx.data.images import (
    MAX_PIXELS,
    PIXELS_VERSION,
    Images,
    Pixels,
)
from featx.data.percentiles import measure_range
from featx.data.reading import make_reading
from featx.extractors.names import registered_name
from featx.store.feature_store import FeatureStore
from featx.streaming.rows import Matrix, stream_inputs, stream_rows

READING_PARAMETERS = ("value_range", "window", "pages", "bands")
"""How stored values become pixels."""

INPUT_PARAMETERS = frozenset({"image_shape", "max_pixels", *READING_PARAMETERS})
"""How images are read: part of the rows' fingerprint by what is read, not by the extractor."""

SPEED_PARAMETERS = frozenset(
    {"n_jobs", "batch_size", "device", "backend", "tap", "store", "on_error", "trust"}
)
"""What changes time or place, or whether code may run, never a value."""


class Producer:
    """Base of all that makes rows of images: what `featx.streaming.rows` needs to know of it.

    Every `Extractor` is one. Something less, without scikit-learn's interface, is enough as the
    base of an extractor; its rows may be ragged. A subclass is picklable and writes `_extract`,
    `n_features`, `settings`, and `_prepare` where an image is resized first.
    """

    feature_version: ClassVar[int] = 1
    """Raised by hand whenever the same settings give other numbers."""

    rows_name: ClassVar[str] = "features"
    """What progress lines call the rows where they are made for another extractor."""

    is_ragged: ClassVar[bool] = False
    """Whether an image has an array ``(k, w)`` of rows, `k` perhaps 0, rather than one row."""

    runs_in_parent: ClassVar[bool] = False
    """Whether batches are extracted in the calling process (a network), not by joblib."""

    least_px: int | None = None
    """Short side that large JPEGs may be reduced to while they are decoded; None: they are not."""

    n_bands: int = 3
    """Channels of the images that it takes."""

    batch_length: ClassVar[int] = 64
    """How many images `_extract` gets at a time."""

    n_jobs: int | None = None
    """Jobs for joblib; None means what `joblib.parallel_config` says, else all cores."""

    @property
    def layers(self) -> list[str]:
        """Names of the blocks of columns; one empty name where there is only one block."""
        return [""]

    def n_features(self, layer: str = "") -> int:
        """Columns of one layer; of ragged rows, about how many numbers an image has."""
        raise NotImplementedError

    def settings(self, layer: str = "") -> dict[str, Any]:
        """What the fingerprint is taken of, as plain values and arrays.

        Parameters
        ----------
        layer : str, default=""
            The layer, for extractors that have several.

        Returns
        -------
        dict
        """
        raise NotImplementedError

    def fingerprint(self, layer: str = "") -> str:
        """Digest of everything that decides the values: class, parameters, state, version.

        Parameters
        ----------
        layer : str, default=""
            The layer, for extractors that have several.

        Returns
        -------
        str
            32 hexadecimal characters.
        """
        return fingerprint(self.settings(layer))

    @property
    def unstorable(self) -> str:
        """Why no row may be stored, a clause: a part of what makes them is in no fingerprint."""
        base = self._base()
        return "" if base is None else base.unstorable

    def _base(self) -> Producer | None:
        """What makes the rows that `_extract` and `_learn` are given in place of images.

        They are stored apart, one row or ragged array for each image. A base has one layer, and
        has nothing left to learn. By default there is none.
        """
        return None

    def _prepare(self, pixels: Pixels) -> Any:
        """What is done to one image alone, in parallel: usually the resize."""
        return pixels

    def _extract(self, batch: Sequence[Any]) -> Any:
        """Features ``(n, d)`` float32 of prepared images, or of the base's rows of images.

        Where rows are ragged: a list of `n` arrays ``(k, w)``; type and width never vary.
        """
        raise NotImplementedError

    def _extract_layers(self, batch: Sequence[Any], layers: Sequence[str]) -> dict[str, Any]:
        """Features of each layer asked for; extractors with one block have one answer."""
        return {"": self._extract(batch)}


class Extractor(Producer, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of all extractors, which turn each image into one float32 row.

    Parameters
    ----------
    image_shape : tuple of int, optional
        Shape ``(h, w)`` or ``(h, w, 3)`` of the flattened images in a 2-D `X`; by default a row is
        a gray ``(p, 1)`` image.
    value_range : tuple of float or str, optional
        The values of black and white; ``"dtype"``, ``"file"``, or percentiles of the images passed
        to `fit`, such as ``"p1,p99"``. See `featx.Images`, also for the default.
    window : tuple of float, optional
        Center and width of the value range, instead of `value_range`.
    pages : {"first", "all", "max", "mean"}, optional
        Pages to read of multi-page files; by default the first, with a `PagesWarning`.
    bands : sequence of int or "each", optional
        Bands to read, counted from 1. With ``"each"`` features of every band are extracted
        separately and concatenated; `fit` determines the number of bands.
    max_pixels : int, default=89478485
        Images with more pixels are refused before they are decoded.
    on_error : {"raise", "nan"}, default="raise"
        Whether an image that cannot be decoded raises an `ImageError` or gets a row of NaN.
    n_jobs : int, optional
        Number of joblib jobs; None follows `joblib.parallel_config`, by default all cores.
    store : {"default"}, path or FeatureStore, optional
        Store of rows between runs: ``default`` is the user's store; None stores nothing.

    Attributes
    ----------
    n_features_in_ : int
        Length of a flattened image; set only when `fit` got a 2-D array.
    value_range_ : tuple of float
        The values of black and white, if `value_range` is given by percentiles.
    n_bands_ : int
        Number of bands, if ``bands="each"``.
    """

    spec_name: ClassVar[str] = ""
    """Name of a class of featx in SPECs and cache keys; plug-ins have their entry point's."""

    positional: ClassVar[tuple[str, ...]] = ()
    """Parameters that a SPEC may give by position: ``NAME:first:second``."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "image_shape": [tuple, list, None],
        "value_range": [tuple, list, str, None],
        "window": [tuple, list, str, None],
        "pages": [StrOptions({"first", "all", "max", "mean"}), None],
        "bands": [tuple, list, str, None],
        "max_pixels": [Interval(numbers.Integral, 1, None, closed="left")],
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [numbers.Integral, None],
        "store": [str, os.PathLike, FeatureStore, None],
    }

    def __init__(
        self,
        *,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | str | None = None,
        window: tuple[float, float] | None = None,
        pages: str | None = None,
        bands: Sequence[int] | str | None = None,
        max_pixels: int = MAX_PIXELS,
        on_error: str = "raise",
        n_jobs: int | None = None,
        store: Any = None,
    ) -> None:
        self.image_shape = image_shape
        self.value_range = value_range
        self.window = window
        self.pages = pages
        self.bands = bands
        self.max_pixels = max_pixels
        self.on_error = on_error
        self.n_jobs = n_jobs
        self.store = store

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters, and learn from images what there is to learn.

        Parameters
        ----------
        X : images
            Paths, bytes, PIL images, arrays, or flattened rows; see `featx.data.images.Images`.
        y : ignored
            There by scikit-learn's convention.

        Returns
        -------
        self

        Raises
        ------
        ImageError
            If an image cannot be decoded and ``on_error="raise"``.
        """
        self._validate_params()
        self._check_parameters()
        images = self._images(X, reset=True)
        if type(self)._learn is not Extractor._learn:
            self._learn(_skip_broken(stream_inputs(self, images), self.on_error))
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Features of images.

        Parameters
        ----------
        X : images
            Paths, bytes, PIL images, arrays, or flattened rows; see `featx.data.images.Images`.

        Returns
        -------
        ndarray of shape (n_images, n_features), float32

        Raises
        ------
        ImageError
            If an image cannot be decoded and ``on_error="raise"``.
        """
        if type(self)._learn is not Extractor._learn:
            check_is_fitted(self)
        self._validate_params()
        self._check_parameters()
        rows = stream_rows(self, self._images(X, reset=False))
        if rows.failures and self.on_error == "raise":
            raise rows.failures[0].error
        matrix = rows.matrix()
        self._check_rows(matrix)
        return matrix

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "get_feature_names_out" in vars(cls):
            cls.get_feature_names_out = _by_band(cls.get_feature_names_out)  # type: ignore[method-assign]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names of the columns, those of each band where every band is an image of its own."""
        return _by_band(super().get_feature_names_out.__func__)(self, input_features)

    def settings(self, layer: str = "") -> dict[str, Any]:
        """What the fingerprint is taken of, as plain values and arrays.

        Parameters
        ----------
        layer : str, default=""
            The layer, for extractors that have several.

        Returns
        -------
        dict
        """
        base = self._base()
        hidden = INPUT_PARAMETERS | SPEED_PARAMETERS
        parameters = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in hidden and (base is None or value is not base)
        }
        settings = {
            "extractor": registered_name(type(self)),
            "feature_version": self.feature_version,
            "pixels": {"version": PIXELS_VERSION, "contract": "exact"},
            "parameters": parameters,
            "state": self._state(),
        }
        return settings if base is None else settings | {"base": base.settings(base.layers[0])}

    def n_features(self, layer: str = "") -> int:
        """Columns of one layer: all of them, for extractors that have only one."""
        return int(self._n_features_out)

    def _check_parameters(self) -> None:
        """Raise `ValueError` for parameters that are wrong together."""

    def _check_rows(self, rows: Matrix) -> None:
        """Warn of what is worth knowing about finished rows ``(n, d)``; NaN where one failed."""

    @property
    def _n_features_out(self) -> int:
        """Columns of a row, known without any image (but after `fit` where one learns)."""
        raise NotImplementedError

    def _learn(self, inputs: Iterable[Any]) -> None:
        """Learn from prepared images, or from the base's rows of them, each seen once."""

    def _state(self) -> dict[str, Any]:
        """Fitted attributes that decide values: every array learned in `fit`."""
        return {
            name: value
            for name, value in sorted(vars(self).items())
            if name.endswith("_") and not name.startswith("_") and name not in NOT_STATE
        }

    def _images(self, X: Any, *, reset: bool) -> Images:
        """`X` as images; tables of numbers pass scikit-learn's own checks first."""
        X = _single_column(X)
        if _is_table(X):
            X = validate_data(self, X, reset=reset, dtype=None)
            X = _numbers(X)
        elif reset:
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)
        if not isinstance(X, Images):
            X = Images(
                X,
                image_shape=self.image_shape,
                value_range=self.value_range,
                window=self.window,
                pages=self.pages,
                bands=self.bands,
                max_pixels=self.max_pixels,
            )
        return self._measured(X, reset=reset)

    def _measured(self, images: Images, *, reset: bool) -> Images:
        """Images whose range and number of bands are those that `fit` saw."""
        if images.reading.percentiles is not None:
            if reset:
                self.value_range_ = measure_range(images).limits
            check_is_fitted(self, "value_range_")
            images = images.read_as(replace(images.reading, value_range=self.value_range_))
        if images.reading.is_each:
            n_bands = images.count_bands()
            if reset:
                self.n_bands_ = n_bands
            elif n_bands != getattr(self, "n_bands_", n_bands):
                raise ValueError(f"Expected images of {self.n_bands_} bands; got {n_bands}.")
        elif reset:
            self.__dict__.pop("n_bands_", None)
        return images

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        is_measured = make_reading(value_range=self.value_range).percentiles is not None
        tags.requires_fit = is_measured or type(self)._learn is not Extractor._learn
        tags.transformer_tags.preserves_dtype = []
        return tags


NOT_STATE = frozenset({"n_features_in_", "feature_names_in_", "value_range_", "n_bands_"})


def _by_band(names_of: Callable[..., npt.NDArray[np.object_]]) -> Callable[..., Any]:
    """Method for the names of columns that repeats those of each layer for every band."""

    @wraps(names_of)
    def names_by_band(self: Any, input_features: Any = None) -> npt.NDArray[np.object_]:
        names = names_of(self, input_features)
        if not hasattr(self, "n_bands_"):
            return names
        widths = [self.n_features(layer) for layer in self.layers]
        parts = np.split(names, np.cumsum(widths)[:-1])
        bands = range(1, self.n_bands_ + 1)
        return np.array(
            [f"band{b}_{name}" for part in parts for b in bands for name in part], object
        )

    return names_by_band


def reading_of(extractor: Any) -> dict[str, Any]:
    """Parameters by which an extractor says how stored values become pixels, those given."""
    given = {name: getattr(extractor, name, None) for name in READING_PARAMETERS}
    if hasattr(extractor, "value_range_"):
        given["value_range"] = extractor.value_range_
    return {name: value for name, value in given.items() if value is not None}


def _is_table(X: Any) -> bool:
    """Whether `X` is rows of numbers, scikit-learn's usual input, rather than images."""
    if sparse.issparse(X) or (hasattr(X, "iloc") and X.ndim == 2):
        return True
    if isinstance(X, np.ndarray):
        return X.ndim < 3 and not _holds_images(X)
    if isinstance(X, Images) or not isinstance(X, Sequence) or isinstance(X, str | bytes):
        return not hasattr(X, "__len__") and not isinstance(X, Iterable)
    return len(X) == 0 or isinstance(X[0], list | tuple | numbers.Number)


def _single_column(X: Any) -> Any:
    """Paths or images of a table with one column, as a `ColumnTransformer` gives them.

    Raises
    ------
    ValueError
        If there are several columns, and one holds texts.
    """
    if getattr(X, "ndim", None) != 2 or sparse.issparse(X) or not len(X):
        return X
    first = X.iloc[0] if hasattr(X, "iloc") else X[0]
    if not any(isinstance(value, str | os.PathLike | Image.Image) for value in first):
        return X
    if len(first) > 1:
        names = f": {', '.join(map(str, X.columns))}" if hasattr(X, "columns") else ""
        raise ValueError(f"Expected one column of paths or images; got {len(first)}{names}.")
    return (X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]).tolist()


def _holds_images(X: npt.NDArray[Any]) -> bool:
    """Whether a 1-D array is one of paths or objects rather than of numbers."""
    if X.ndim != 1 or X.dtype.kind not in "OUS" or not len(X):
        return False
    return not isinstance(X[0], numbers.Number)


def _numbers(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Table of objects as one of floats."""
    if X.dtype.kind in "buif":
        return X
    return X.astype(np.float64)


def _skip_broken(inputs: Iterator[Any], on_error: str) -> Iterator[Any]:
    """Inputs without the failures among them, or the first failure raised."""
    for item in inputs:
        if not isinstance(item, Exception):
            yield item
        elif on_error == "raise":
            raise item
