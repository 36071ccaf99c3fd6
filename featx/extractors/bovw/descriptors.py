"""Local descriptors of key points (SURF, SIFT, ORB), packed in rows of bytes.

A row is the point's position, relative to the image, followed by the descriptor's values in
their smallest type; see `_unpack`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._imports import load_opencv
from featx.data.images import PIXELS_VERSION, Pixels, resize, round_pixels
from featx.extractors.base import Producer
from featx.extractors.bovw.surf_descriptors import describe, keep_inner, orient
from featx.extractors.bovw.surf_points import find_points

Rows: TypeAlias = npt.NDArray[np.uint8]
Positions: TypeAlias = npt.NDArray[np.uint16]
Gray: TypeAlias = npt.NDArray[np.uint8]

_POSITION_BYTES = 4
_THRESHOLD, MAX_POINTS = 0.1, 1024
_MIN_SIDE_PX = 16
"""Images with a shorter side get no key points: the detectors fail or detect noise."""


class LocalDescriptors(Producer):
    """Local descriptors of resized gray images, a varying number per image.

    Parameters
    ----------
    image_size : int, default=320
        Longest side in pixels to which images are resized; smaller ones are enlarged.
    n_jobs : int, optional
        Number of joblib jobs.
    """

    rows_name: ClassVar[str] = "local descriptors"
    is_ragged: ClassVar[bool] = True
    batch_length: ClassVar[int] = 16
    name: ClassVar[str]
    n_values: ClassVar[int]
    dtype: ClassVar[str]
    is_binary: ClassVar[bool] = False
    is_histogram: ClassVar[bool] = False

    def __init__(self, image_size: int = 320, n_jobs: int | None = None) -> None:
        self.image_size = image_size
        self.n_jobs = n_jobs

    def settings(self, layer: str = "") -> dict[str, Any]:
        """Everything that determines the descriptors, as plain values."""
        return {
            "extractor": f"{self.name} descriptors",
            "feature_version": self.feature_version,
            "pixels": {"version": PIXELS_VERSION, "contract": "exact"},
            "parameters": self._parameters(),
        }

    def n_features(self, layer: str = "") -> int:
        """Approximate number of values per image."""
        return 200 * self.n_values

    @property
    def width(self) -> int:
        """Number of values of a descriptor; for packed ones, of bits."""
        return self.n_values * (8 if self.is_binary else 1)

    def unpack(self, rows: Rows) -> tuple[Positions, npt.NDArray[Any]]:
        """Positions ``(k, 2)`` and values ``(k, n_values)`` of rows; see `_unpack`."""
        return _unpack(rows, self.dtype)

    def compare(self, rows: Rows, *, is_rooted: bool) -> tuple[Positions, npt.NDArray[Any]]:
        """Positions and values of rows, in the form that is compared: float32, or packed bits.

        Parameters
        ----------
        rows : ndarray of shape (k, w), uint8
        is_rooted : bool
            Whether histograms of gradients are compared by their square roots; see `_take_root`.

        Returns
        -------
        positions : ndarray of shape (k, 2), uint16
        values : ndarray of shape (k, n_values), float32 or uint8
        """
        positions, values = self.unpack(rows)
        if self.is_binary:
            return positions, values
        values = values.astype(np.float32)
        return positions, _take_root(values) if self.is_histogram and is_rooted else values

    def _prepare(self, pixels: Pixels) -> Gray:
        cv2 = load_opencv()
        height, width = pixels.shape[:2]
        scale = self.image_size / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        return resize(cv2.cvtColor(round_pixels(pixels), cv2.COLOR_RGB2GRAY), size)

    def _parameters(self) -> dict[str, Any]:
        return {"image_size": self.image_size}

    def _extract(self, batch: Sequence[Gray]) -> list[Rows]:
        return [self._describe(gray) for gray in batch]

    def _describe(self, prepared: Gray) -> Rows:
        """Descriptors ``(k, w)`` of one image; `k` may be 0."""
        if min(prepared.shape) < _MIN_SIDE_PX:
            return self._pack(prepared, np.empty((0, 2)), np.empty((0, self.n_values)))
        return self._pack(prepared, *self._find(prepared))

    def _find(self, gray: Gray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Points ``(k, 2)`` as x and y in pixels, and their descriptors ``(k, n_values)``."""
        raise NotImplementedError

    def _pack(self, gray: Gray, points: npt.NDArray[Any], values: npt.NDArray[Any]) -> Rows:
        size = np.array(gray.shape[::-1])
        return _pack(points / size, values.astype(self.dtype))


class SurfDescriptors(LocalDescriptors):
    """SURF [1]_: 64 values per point, stored in half precision.

    Notes
    -----
    Departs from [1]_: the sign of the Laplacian is not part of the descriptor, and the
    threshold is low, so that ordinary photographs have hundreds of points. The Hessian is
    that of mahotas, and so are the descriptors of points with the same angle and wavelets of
    even width; see `featx.extractors.bovw.surf_points` for where the points differ.

    References
    ----------
    .. [1] Bay, Ess, Tuytelaars and Van Gool, "Speeded-Up Robust Features (SURF)", CVIU 110
       (2008) 346-359.

    Examples
    --------
    >>> SurfDescriptors()._describe(np.zeros((64, 64), np.uint8)).shape
    (0, 132)
    """

    name = "surf"
    n_values = 64
    dtype = "<f2"

    def _find(self, gray: Gray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        points = find_points(gray, _THRESHOLD, MAX_POINTS)
        points = keep_inner(points, gray.shape)
        return points[:, 1::-1], describe(gray, points, orient(gray, points))


class SiftDescriptors(LocalDescriptors):
    """SIFT [1]_: 128 integers from 0 to 255 per point.

    Notes
    -----
    Points and values are those of OpenCV's ``SIFT_create().detectAndCompute``, in its order.

    References
    ----------
    .. [1] Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60 (2004)
       91-110.

    Examples
    --------
    >>> SiftDescriptors()._describe(np.zeros((64, 64), np.uint8)).shape
    (0, 132)
    """

    name = "sift"
    feature_version = 4
    n_values = 128
    dtype = "u1"
    is_histogram = True

    def _find(self, gray: Gray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return _detect_and_compute(load_opencv().SIFT_create(), gray, self.n_values)


class OrbDescriptors(LocalDescriptors):
    """ORB [1]_ by OpenCV: 256 bits per point, packed in 32 bytes.

    Notes
    -----
    Departs from [1]_: up to 1,000 points, with a lower threshold of the corner detector, so
    that smooth photographs have points too.

    References
    ----------
    .. [1] Rublee, Rabaud, Konolige and Bradski, "ORB: an efficient alternative to SIFT or
       SURF", ICCV (2011) 2564-2571.

    Examples
    --------
    >>> OrbDescriptors()._describe(np.zeros((64, 64), np.uint8)).shape
    (0, 36)
    """

    name = "orb"
    n_values = 32
    dtype = "u1"
    is_binary = True

    def _find(self, gray: Gray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        cv2 = load_opencv()
        orb = cv2.ORB_create(nfeatures=1000, fastThreshold=7)
        return _detect_and_compute(orb, gray, self.n_values)


def _detect_and_compute(
    detector: Any, gray: Gray, n_values: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Points ``(k, 2)`` and descriptors ``(k, n_values)`` by one of OpenCV's detectors.

    Detectors are created per image: OpenCV's objects cannot be pickled.
    """
    points, values = detector.detectAndCompute(gray, None)
    if values is None:
        return np.empty((0, 2)), np.empty((0, n_values))
    return np.array(load_opencv().KeyPoint_convert(points)), values


def _pack(positions: npt.NDArray[Any], values: npt.NDArray[Any]) -> Rows:
    """Positions and values of descriptors as rows of bytes.

    Parameters
    ----------
    positions : ndarray of shape (k, 2)
        x and y of each point, 0 to 1, relative to the image's width and height.
    values : ndarray of shape (k, n)
        Of any type of fixed size.

    Returns
    -------
    ndarray of shape (k, 4 + n * itemsize), uint8
    """
    steps = np.floor(np.clip(positions, 0, 1) * 65536).clip(0, 65535).astype("<u2")
    parts = (steps, values)
    return np.concatenate([_as_bytes(part) for part in parts], axis=1)


def _unpack(rows: Rows, dtype: str) -> tuple[Positions, npt.NDArray[Any]]:
    """Positions and values of packed rows.

    Parameters
    ----------
    rows : ndarray of shape (k, 4 + n * itemsize), uint8
    dtype : str
        Type of the values.

    Returns
    -------
    positions : ndarray of shape (k, 2), uint16
        x and y of each point, in 65,536ths of the image's width and height.
    values : ndarray of shape (k, n)

    Examples
    --------
    >>> rows = _pack(np.array([[0.0, 0.5]]), np.array([[7, 8]], np.uint8))
    >>> _unpack(rows, "u1")
    (array([[    0, 32768]], dtype=uint16), array([[7, 8]], dtype=uint8))
    """
    positions = np.ascontiguousarray(rows[:, :_POSITION_BYTES]).view("<u2")
    return positions, np.ascontiguousarray(rows[:, _POSITION_BYTES:]).view(dtype)


def _take_root(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """RootSIFT [1]_: square roots of descriptors divided by their sums; of unit length.

    Parameters
    ----------
    values : ndarray of shape (k, d), float32
        Nonnegative.

    Returns
    -------
    ndarray of shape (k, d), float32

    References
    ----------
    .. [1] Arandjelovic and Zisserman, "Three things everyone should know to improve object
       retrieval", CVPR (2012) 2911-2918.

    Examples
    --------
    >>> _take_root(np.array([[1.0, 3.0]], np.float32))
    array([[0.5      , 0.8660254]], dtype=float32)
    """
    sums = values.sum(axis=1, keepdims=True)
    return np.sqrt(values / np.maximum(sums, 1))


def _as_bytes(values: npt.NDArray[Any]) -> Rows:
    row_bytes = values.shape[1] * values.itemsize
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), row_bytes)
