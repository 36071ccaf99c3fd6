"""Checks that every extractor must pass, for authors of new extractors.

Call it in a test of the extractor's package::

    def test_my_extractor_obeys_the_laws():
        check_extractor(MyExtractor())

Run scikit-learn's checks, ``sklearn.utils.estimator_checks.parametrize_with_checks``, as well.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, Options, make_constraint

from featx.data.images import Pixels, decode
from featx.errors import BrokenLawError, ImageError, one_line
from featx.extractors.base import INPUT_PARAMETERS, SPEED_PARAMETERS, Extractor

NETWORK_TOLERANCE = 1e-4
"""Largest difference of a network's rows between batches, relative to their norm."""

SIZES = ((48, 64), (64, 48), (80, 80), (33, 57), (96, 40), (64, 64))
INTEGER_STEPS = (1, -1, 2, -2, 4, 8, 16)
FACTORS = (1.5, 0.5, 1.01, 0.99)
DIRECTORIES = {"store"}

Case: TypeAlias = "_Case"
Rows: TypeAlias = npt.NDArray[np.float32]


def check_extractor(
    extractor: Any,
    images: Sequence[Any] | None = None,
    *,
    variations: Mapping[str, Any] | None = None,
) -> None:
    """Check that an extractor obeys the laws that featx relies on.

    Parameters
    ----------
    extractor : Extractor
        An instance with the parameters to check; it is not changed.
    images : sequence of images, optional
        At least three decodable images; by default those of `make_images`.
    variations : dict, optional
        Another valid value for each parameter for which none can be derived from the parameter
        constraints. If there is no other valid value, pass the current one.

    Raises
    ------
    BrokenLawError
        If a law is broken: an `AssertionError` with the expected and the actual outcome of each
        broken law, one per line.

    Notes
    -----
    Rows must have the same bytes for any batch, order and number of jobs. Rows of networks
    (``runs_in_parent``) may differ by 1e-4 of their norm.

    Examples
    --------
    >>> from featx.extractors.color import ColorHistogram
    >>> check_extractor(ColorHistogram(n_bins=8))
    """
    pixels = make_images() if images is None else [decode(image) for image in images]
    broken: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        case = _Case(extractor, pixels, dict(variations or {}), Path(folder))
        for law, check in LAWS.items():
            reason = _why_broken(check, case)
            if reason:
                broken[law] = reason
            if "rows" not in vars(case):
                break  # Without rows every other law fails for the same reason.
    if broken:
        raise BrokenLawError(type(extractor).__name__, broken)


def make_images() -> list[Pixels]:
    """Six small, fixed images of different sizes with edges, blobs and texture.

    Returns
    -------
    list of ndarray of shape (h, w, 3), uint8
        RGB, 0 to 255.

    Examples
    --------
    >>> [image.shape[:2] for image in make_images()][:2]
    [(48, 64), (64, 48)]
    """
    return [_make_image(np.random.default_rng(seed), size) for seed, size in enumerate(SIZES)]


def _make_image(rng: np.random.Generator, size: tuple[int, int]) -> Pixels:
    """Smooth noise of three scales, with a few rectangles on top."""
    image = np.zeros((*size, 3))
    for cell in (2, 5, 12):
        coarse = rng.uniform(0, 80, (size[0] // cell + 1, size[1] // cell + 1, 3))
        image += np.kron(coarse, np.ones((cell, cell, 1)))[: size[0], : size[1]]
    for _ in range(4):
        top, left = rng.integers(0, size[0] - 12), rng.integers(0, size[1] - 12)
        image[top : top + 12, left : left + 12] = rng.uniform(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


@dataclass
class _Case:
    """An extractor and the images to check it on."""

    extractor: Extractor
    images: list[Pixels]
    variations: dict[str, Any]
    folder: Path

    @cached_property
    def fitted(self) -> Extractor:
        """Fitted clone, whose rows are the reference."""
        return clone(self.extractor).set_params(store=None, on_error="raise").fit(self.images)

    @cached_property
    def rows(self) -> Rows:
        """Reference rows of all images."""
        return self.fitted.transform(self.images)

    @cached_property
    def files(self) -> list[str]:
        """Paths of the images as PNG files."""
        paths = [str(self.folder / f"{i}.png") for i in range(len(self.images))]
        for path, image in zip(paths, self.images):
            Image.fromarray(image).save(path)
        return paths

    def is_only_value(self, name: str) -> bool:
        """Whether `variations` declares the current value of a parameter as the only valid one."""
        return name in self.variations and self.variations[name] == getattr(self.extractor, name)

    def require_same(self, rows: Any, expected: Any, what: str) -> None:
        """Require equal rows: the same bytes, or a small difference for networks."""
        rows, expected = np.asarray(rows), np.asarray(expected)
        _require(rows.shape == expected.shape, f"{what} of shape {expected.shape}", rows.shape)
        if not self.extractor.runs_in_parent:
            n_different = int((rows != expected).any(axis=1).sum())
            _require(not n_different, f"{what} of the same bytes", f"{n_different} different rows")
            return
        norms = np.linalg.norm(expected, axis=1) + np.finfo(np.float32).tiny
        difference = float((np.linalg.norm(rows - expected, axis=1) / norms).max())
        _require(
            difference <= NETWORK_TOLERANCE,
            f"{what} within {NETWORK_TOLERANCE:g} of their norm",
            f"{difference:.1e}",
        )


class _BrokenError(Exception):
    """A law is broken; the message has the expected and the actual outcome."""


def _require(condition: bool, expected: str, got: Any) -> None:
    if not condition:
        raise _BrokenError(f"expected {expected}, got {got}")


def _why_broken(check: Callable[[Case], None], case: Case) -> str:
    """Why a law is broken; empty if it is not."""
    try:
        check(case)
    except _BrokenError as error:
        return str(error)
    except Exception as error:  # An extractor may raise anything; to raise at all breaks the law.
        return f"expected no error, got {type(error).__name__}: {one_line(error)}"
    return ""


def _check_rows(case: Case) -> None:
    rows = case.rows
    _require(isinstance(rows, np.ndarray), "an array", type(rows).__name__)
    _require(rows.dtype == np.float32, "float32", rows.dtype)
    _require(rows.ndim == 2 and len(rows) == len(case.images), "one row per image", rows.shape)
    _require(bool(np.isfinite(rows).all()), "finite values", "NaN or infinity")


def _check_names(case: Case) -> None:
    names = list(case.fitted.get_feature_names_out())
    n_columns = case.rows.shape[1]
    _require(len(names) == n_columns, f"{n_columns} names", len(names))
    _require(len(set(names)) == n_columns, "unique names", "duplicates")
    n_features = sum(case.fitted.n_features(layer) for layer in case.fitted.layers)
    _require(n_features == n_columns, f"n_features() of {n_columns}", n_features)


def _check_batch(case: Case) -> None:
    for length in (1, 2):
        starts = range(0, len(case.images), length)
        parts = [case.fitted.transform(case.images[i : i + length]) for i in starts]
        case.require_same(np.concatenate(parts), case.rows, f"rows in batches of {length}")


def _check_order(case: Case) -> None:
    rows = case.fitted.transform(case.images[::-1])
    case.require_same(rows[::-1], case.rows, "rows of the images in reverse")


def _check_jobs(case: Case) -> None:
    for n_jobs in (1, 2):
        extractor = clone(case.extractor).set_params(store=None, n_jobs=n_jobs).fit(case.images)
        case.require_same(extractor.transform(case.images), case.rows, f"rows by {n_jobs} jobs")


def _check_input_types(case: Case) -> None:
    inputs = {
        "paths": case.files,
        "bytes": [Path(path).read_bytes() for path in case.files],
        "PIL images": [Image.fromarray(image) for image in case.images],
    }
    for name, images in inputs.items():
        case.require_same(case.fitted.transform(images), case.rows, f"rows of {name}")


def _check_gray(case: Case) -> None:
    grays = [image[:, :, 1] for image in case.images]
    expected = case.fitted.transform([np.repeat(gray[:, :, None], 3, 2) for gray in grays])
    case.require_same(case.fitted.transform(grays), expected, "rows of gray arrays")
    images = [Image.fromarray(gray) for gray in grays]
    case.require_same(case.fitted.transform(images), expected, "rows of gray PIL images")
    mixed = case.fitted.transform([grays[0], *case.images[1:]])
    case.require_same(mixed[1:], case.rows[1:], "rows of color images beside gray ones")


def _check_deep(case: Case) -> None:
    """Images of more than 8 bits are decoded to float32, with the same range of 0 to 255."""
    deep = [image.astype(np.uint16) * 257 for image in case.images]
    rows = case.fitted.transform(deep)
    _require(rows.shape == case.rows.shape, f"rows {case.rows.shape} of deep images", rows.shape)
    _require(bool(np.isfinite(rows).all()), "finite rows of deep images", rows)
    mixed = case.fitted.transform([deep[0], *case.images[1:]])
    case.require_same(mixed[1:], case.rows[1:], "rows of 8-bit images beside 16-bit ones")


def _check_inputs(case: Case) -> None:
    images = [image.copy() for image in case.images]
    for image in images:
        image.flags.writeable = False
    extractor = clone(case.extractor).set_params(store=None)
    before = repr(extractor.get_params())
    case.require_same(
        extractor.fit(images).transform(images), case.rows, "rows of read-only arrays"
    )
    pil_images = [Image.fromarray(image) for image in case.images]
    extractor.transform(pil_images)
    for pil_image, image in zip(pil_images, case.images):
        _require(bool((np.asarray(pil_image) == image).all()), "unchanged images", "changed ones")
    after = repr(extractor.get_params())
    _require(before == after, f"unchanged parameters, {before}", after)


def _check_clone(case: Case) -> None:
    copy = clone(case.fitted).fit(case.images)
    case.require_same(copy.transform(case.images), case.rows, "rows of a clone")
    _require_fingerprint(copy, case.fitted, "a clone")


def _check_pickle(case: Case) -> None:
    copy = pickle.loads(pickle.dumps(case.fitted))
    case.require_same(copy.transform(case.images), case.rows, "rows after pickling")
    _require_fingerprint(copy, case.fitted, "a pickled copy")


def _require_fingerprint(copy: Any, extractor: Any, what: str) -> None:
    is_same = _fingerprints_of(copy) == _fingerprints_of(extractor)
    _require(is_same, f"{what} with the same fingerprint", "another one")


def _check_value_parameters(case: Case) -> None:
    """Every parameter that may change values changes the fingerprint."""
    excluded = SPEED_PARAMETERS | INPUT_PARAMETERS
    original = _fingerprints_of(clone(case.extractor))
    for name in sorted(set(case.extractor.get_params(deep=False)) - excluded):
        if case.is_only_value(name):
            continue
        varied = _varied(case, name)
        _require(
            varied is not None,
            f"another valid value of {name!r}",
            f"none; pass one as variations={{{name!r}: ...}}",
        )
        _require(
            _fingerprints_of(varied) != original,
            f"another fingerprint for {name}={getattr(varied, name)!r}",
            f"that of {name}={getattr(case.extractor, name)!r}",
        )


def _check_other_parameters(case: Case) -> None:
    """No parameter of speed, storage or reading of images changes the fingerprint."""
    excluded = SPEED_PARAMETERS | INPUT_PARAMETERS
    original = _fingerprints_of(clone(case.extractor))
    for name in sorted(excluded & set(case.extractor.get_params(deep=False))):
        varied = _varied(case, name)
        _require(
            varied is None or _fingerprints_of(varied) == original,
            f"the same fingerprint for every {name!r}",
            "another one",
        )


def _check_state(case: Case) -> None:
    """The fitted state is part of the fingerprint."""
    if not case.extractor.__sklearn_tags__().requires_fit:
        return
    other = clone(case.extractor).set_params(store=None).fit([255 - image for image in case.images])
    is_same = np.array_equal(other.transform(case.images), case.rows)
    _require(
        is_same or _fingerprints_of(other) != _fingerprints_of(case.fitted),
        "another fingerprint after fitting other images",
        "the same one, but other rows",
    )


def _check_failures(case: Case) -> None:
    broken = case.folder / "broken.png"
    broken.write_bytes(b"not an image")
    images = [case.images[0], str(broken), case.images[1]]
    try:
        case.fitted.transform(images)
    except ImageError as error:
        _require("broken.png" in error.name, "an ImageError that names broken.png", error)
    else:
        raise _BrokenError("expected an ImageError for a broken image, got no error")
    rows = pickle.loads(pickle.dumps(case.fitted)).set_params(on_error="nan").transform(images)
    _require(bool(np.isnan(rows[1]).all()), 'a row of NaN with on_error="nan"', rows[1])
    case.require_same(rows[[0, 2]], case.rows[:2], "rows beside a broken image")


LAWS: dict[str, Callable[[Case], None]] = {
    "rows are finite float32, one per image": _check_rows,
    "names match columns": _check_names,
    "rows do not depend on the batch": _check_batch,
    "rows do not depend on the order": _check_order,
    "rows do not depend on the number of jobs": _check_jobs,
    "paths, bytes, PIL images and arrays give the same rows": _check_input_types,
    "gray and color images are accepted": _check_gray,
    "images of more than 8 bits are accepted": _check_deep,
    "inputs and parameters are not changed": _check_inputs,
    "a clone gives identical rows": _check_clone,
    "a pickled copy gives identical rows": _check_pickle,
    "parameters that change values change the fingerprint": _check_value_parameters,
    "parameters of speed do not change the fingerprint": _check_other_parameters,
    "the fitted state is part of the fingerprint": _check_state,
    "a broken image raises an ImageError, or has a row of NaN": _check_failures,
}
"""Every law, and the function that checks it."""


def _fingerprints_of(extractor: Any) -> list[str]:
    return [extractor.fingerprint(layer) for layer in extractor.layers]


def _varied(case: Case, name: str) -> Any:
    """Clone with another valid value of one parameter; None if no such value can be derived."""
    for value in _other_values(case, name):
        varied = clone(case.extractor).set_params(**{name: value})
        try:
            varied._validate_params()
            varied._check_parameters()
            _fingerprints_of(varied)
        except (ValueError, TypeError):
            if name in case.variations:
                raise
            continue
        return varied
    return None


def _other_values(case: Case, name: str) -> Iterator[Any]:
    """Candidates for another value of a parameter, most plausible first; some may be invalid."""
    if name in case.variations:
        yield case.variations[name]
        return
    if name in DIRECTORIES:
        yield str(case.folder / name)
        return
    value = getattr(case.extractor, name)
    for constraint in _constraints(case.extractor, name):
        for other in _values_near(value, constraint):
            if constraint.is_satisfied_by(other) and other != value:
                yield other


def _constraints(extractor: Any, name: str) -> list[Any]:
    constraints = extractor._parameter_constraints.get(name, [])
    return [] if constraints == "no_validation" else [make_constraint(c) for c in constraints]


def _values_near(value: Any, constraint: Any) -> Iterator[Any]:
    """Values that may satisfy a constraint, those close to `value` first."""
    if isinstance(constraint, Interval):
        yield from _numbers_near(value, constraint)
    elif isinstance(constraint, Options):
        yield from sorted(constraint.options, key=str)
    elif constraint.is_satisfied_by(True):
        yield not value
    elif constraint.is_satisfied_by(None):
        yield None
    elif isinstance(value, tuple | list) and value:
        yield type(value)([value[0] * 2, *value[1:]])
    elif constraint.is_satisfied_by(1):
        yield 1


def _numbers_near(value: Any, interval: Interval) -> Iterator[Any]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    start = value if is_number else (interval.left if interval.left is not None else 1)
    if interval.is_satisfied_by(start + 1):  # An interval of integers.
        yield start
        yield from (start + step for step in INTEGER_STEPS)
        yield from (start * 2, start // 2)
    yield from (float(start) * factor for factor in FACTORS)
    yield from (float(start) + 1e-3, float(start) + 1)
