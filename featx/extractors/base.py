"""Base class of all extractors: scikit-learn's API on images.

A subclass implements `_extract` and `_n_features_out` and, if needed, `_prepare` (applied to single
images, in parallel), `_learn` (to learn a codebook, for example) and `_parameter_constraints`.
Extractors that work on the rows of another one return it from `_base`. To write a new extractor,
start from `color.py`.
"""

from __future__ import annotations

import inspect
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, ClassVar, Self, TypedDict

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
"""Parameters that determine how stored values become pixels."""

INPUT_PARAMETERS = frozenset({"image_shape", "max_pixels", *READING_PARAMETERS})
"""Parameters for reading images; fingerprints contain their effect on the pixels instead."""

SPEED_PARAMETERS = frozenset(
    {"n_jobs", "batch_size", "device", "backend", "tap", "store", "on_error", "trust"}
)
"""Parameters that affect speed, storage or permissions, but never a value."""


class CommonParameters(TypedDict, total=False):
    """Parameters of every extractor, which a subclass passes on as ``**common``."""

    image_shape: tuple[int, ...] | None
    value_range: tuple[float, float] | str | None
    window: tuple[float, float] | None
    pages: str | None
    bands: Sequence[int] | str | None
    max_pixels: int
    on_error: str
    n_jobs: int | None
    store: Any


class Producer:
    """Computes rows from images: the interface that `featx.streaming.rows` requires.

    Every `Extractor` is a producer. The `_base` of an extractor may be a plain producer, without
    scikit-learn's API and with ragged rows. Subclasses are picklable and implement `_extract`,
    `n_features`, `settings` and, if images are resized first, `_prepare`.
    """

    feature_version: ClassVar[int] = 1
    """Incremented by hand whenever the same settings give different values."""

    rows_name: ClassVar[str] = "features"
    """Name of the rows in progress messages, if they are computed for another extractor."""

    is_ragged: ClassVar[bool] = False
    """Whether each image has an array ``(k, w)`` of rows, with varying `k`, rather than one row."""

    runs_in_parent: ClassVar[bool] = False
    """Whether batches are extracted in the calling process (by a network), not by joblib."""

    least_px: int | None = None
    """Minimum short side to which large JPEGs may be reduced while decoding; None: full size."""

    n_bands: int = 3
    """Number of channels of the input images."""

    batch_length: ClassVar[int] = 64
    """Number of images passed to `_extract` at a time."""

    n_jobs: int | None = None
    """Number of joblib jobs; None follows `joblib.parallel_config`, by default all cores."""

    @property
    def layers(self) -> list[str]:
        """Names of the layers; a single empty name for extractors without layers."""
        return [""]

    def n_features(self, layer: str = "") -> int:
        """Return the number of columns of a layer; of ragged rows, about the values per image."""
        raise NotImplementedError

    def settings(self, layer: str = "") -> dict[str, Any]:
        """Return the input of the fingerprint, as plain values and arrays.

        Parameters
        ----------
        layer : str, default=""
            The layer, for extractors with several.

        Returns
        -------
        dict
        """
        raise NotImplementedError

    def fingerprint(self, layer: str = "") -> str:
        """Return a digest of all that determines the values: class, parameters, state, version.

        Parameters
        ----------
        layer : str, default=""
            The layer, for extractors with several.

        Returns
        -------
        str
            32 hexadecimal digits.
        """
        return fingerprint(self.settings(layer))

    @property
    def unstorable(self) -> str:
        """Reason, as a clause, why rows must not be stored: a fingerprint would be incomplete."""
        base = self._base()
        return "" if base is None else base.unstorable

    def _base(self) -> Producer | None:
        """Producer of the rows that `_extract` and `_learn` get instead of images; default None.

        These rows, one row or ragged array per image, are stored separately. A base has one layer
        and is already fitted.
        """
        return None

    def _prepare(self, pixels: Pixels) -> Any:
        """Prepare a single image, in parallel with others: usually by resizing it."""
        return pixels

    def _extract(self, batch: Sequence[Any]) -> Any:
        """Features ``(n, d)``, float32, of `n` prepared images (or of the base's rows of these).

        If rows are ragged, a list of `n` arrays ``(k, w)`` of constant dtype and `w`.
        """
        raise NotImplementedError

    def _extract_layers(self, batch: Sequence[Any], layers: Sequence[str]) -> dict[str, Any]:
        """Features of each requested layer, by name."""
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
        The values of black and white, if `value_range` consists of percentiles.
    n_bands_ : int
        Number of bands, if ``bands="each"``.
    """

    spec_name: ClassVar[str] = ""
    """Name of featx's own extractors in SPECs and cache keys; plug-ins use their entry point's."""

    positional: ClassVar[tuple[str, ...]] = ()
    """Parameters that a SPEC may pass by position: ``NAME:first:second``."""

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
        """Validate the parameters and, for extractors that learn, learn from images.

        Parameters
        ----------
        X : images
            Paths, bytes, PIL images, arrays, or flattened rows; see `featx.data.images.Images`.
        y : None
            Ignored; present for API consistency by convention.

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
        """Extract the features of images.

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
        if "__init__" in vars(cls):
            # scikit-learn reads the names of the parameters from the signature.
            cls.__init__.__signature__ = _with_common_parameters(cls.__init__)  # type: ignore[attr-defined]
        if "get_feature_names_out" in vars(cls):
            cls.get_feature_names_out = _by_band(cls.get_feature_names_out)  # type: ignore[method-assign]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the columns; with ``bands="each"``, for every band."""
        return _by_band(super().get_feature_names_out.__func__)(self, input_features)

    def settings(self, layer: str = "") -> dict[str, Any]:
        """Return the input of the fingerprint, as plain values and arrays.

        Parameters
        ----------
        layer : str, default=""
            The layer, for extractors with several.

        Returns
        -------
        dict
        """
        base = self._base()
        excluded = INPUT_PARAMETERS | SPEED_PARAMETERS
        parameters = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in excluded and (base is None or value is not base)
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
        """Return the number of columns of a layer; the extractor's, if it has only one layer."""
        return int(self._n_features_out)

    def _check_parameters(self) -> None:
        """Raise `ValueError` for parameters that are invalid in combination."""

    def _check_rows(self, rows: Matrix) -> None:
        """Warn about suspicious rows ``(n, d)``; rows of images that failed are NaN."""

    @property
    def _n_features_out(self) -> int:
        """Number of columns, which must not depend on images other than those of `fit`."""
        raise NotImplementedError

    def _learn(self, inputs: Iterable[Any]) -> None:
        """Learn from an iterator of prepared images (or of the base's rows of them)."""

    def _state(self) -> dict[str, Any]:
        """Fitted attributes that affect values."""
        return {
            name: value
            for name, value in sorted(vars(self).items())
            if name.endswith("_") and not name.startswith("_") and name not in NOT_STATE
        }

    def _images(self, X: Any, *, reset: bool) -> Images:
        """`X` as images; tables of numbers are first validated by scikit-learn."""
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
        return self._with_fitted_range(X, reset=reset)

    def _with_fitted_range(self, images: Images, *, reset: bool) -> Images:
        """Images read with the value range and number of bands that `fit` determines."""
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
        has_percentiles = make_reading(value_range=self.value_range).percentiles is not None
        tags.requires_fit = has_percentiles or type(self)._learn is not Extractor._learn
        tags.transformer_tags.preserves_dtype = []
        return tags


NOT_STATE = frozenset({"n_features_in_", "feature_names_in_", "value_range_", "n_bands_"})


def _with_common_parameters(init: Callable[..., None]) -> inspect.Signature:
    """Signature in which ``**common`` is replaced by the parameters that it stands for."""
    own = inspect.signature(init)
    parameters = list(own.parameters.values())
    if parameters[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return own
    common = inspect.signature(Extractor.__init__).parameters.values()
    parameters[-1:] = [parameter for parameter in common if parameter.name != "self"]
    return own.replace(parameters=parameters)


def _by_band(names_of: Callable[..., npt.NDArray[np.object_]]) -> Callable[..., Any]:
    """Wrap a method `get_feature_names_out` to repeat the names of each layer for every band."""

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
    """Return an extractor's parameters for reading images that are not None."""
    parameters = {name: getattr(extractor, name, None) for name in READING_PARAMETERS}
    if hasattr(extractor, "value_range_"):
        parameters["value_range"] = extractor.value_range_
    return {name: value for name, value in parameters.items() if value is not None}


def _is_table(X: Any) -> bool:
    """Whether `X` is a table of numbers, scikit-learn's usual input, rather than images."""
    if sparse.issparse(X) or (hasattr(X, "iloc") and X.ndim == 2):
        return True
    if isinstance(X, np.ndarray):
        return X.ndim < 3 and not _holds_images(X)
    if isinstance(X, Images) or not isinstance(X, Sequence) or isinstance(X, str | bytes):
        return not hasattr(X, "__len__") and not isinstance(X, Iterable)
    return len(X) == 0 or isinstance(X[0], list | tuple | numbers.Number)


def _single_column(X: Any) -> Any:
    """The paths or images of a table with one column, which a `ColumnTransformer` passes.

    Raises
    ------
    ValueError
        If the table has several columns.
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
    """Whether a 1-D array contains paths or images rather than numbers."""
    if X.ndim != 1 or X.dtype.kind not in "OUS" or not len(X):
        return False
    return not isinstance(X[0], numbers.Number)


def _numbers(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert a table of objects to floats."""
    if X.dtype.kind in "buif":
        return X
    return X.astype(np.float64)


def _skip_broken(inputs: Iterator[Any], on_error: str) -> Iterator[Any]:
    """Yield the inputs without the exceptions among them; raise these if ``on_error="raise"``.

    The first is raised too if there is nothing else.
    """
    n_yielded, first = 0, None
    for item in inputs:
        if not isinstance(item, Exception):
            n_yielded += 1
            yield item
        elif on_error == "raise":
            raise item
        else:
            first = first or item
    if first is not None and not n_yielded:
        raise first
