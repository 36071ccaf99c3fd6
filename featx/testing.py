"""The battery that every extractor passes, and that the author of a new one runs.

One line in a test of the extractor's own package::

    def test_my_extractor_keeps_the_laws():
        check_extractor(MyExtractor())

scikit-learn's battery, ``sklearn.utils.estimator_checks.parametrize_with_checks``, belongs
beside it.
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
"""How far a network's rows may be apart in another batch: relative to their length."""

SIZES = ((48, 64), (64, 48), (80, 80), (33, 57), (96, 40), (64, 64))
WHOLE_STEPS = (1, -1, 2, -2, 4, 8, 16)
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
    """Check that an extractor keeps the laws that featx relies on.

    Parameters
    ----------
    extractor : Extractor
        An instance with the parameters to check; it is not changed.
    images : sequence of images, optional
        At least three, all of which can be decoded; by default six small ones, made here.
    variations : dict, optional
        For parameters of which no other value can be told from the table of constraints:
        another valid value. The value that the extractor has says that there is no other.

    Raises
    ------
    BrokenLawError
        If a law is broken; an `AssertionError` with one line for each broken law, which says
        what was expected and what came instead.

    Notes
    -----
    Rows are the same bytes in any batch, order and number of jobs; those of networks
    (``runs_in_parent``) are the same within 1e-4 of their length.

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
                break  # No rows at all: every other law would say the same.
    if broken:
        raise BrokenLawError(type(extractor).__name__, broken)


def make_images() -> list[Pixels]:
    """Six small images of different sizes, with edges, blobs and texture, always the same.

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


def _make_image(random: np.random.Generator, size: tuple[int, int]) -> Pixels:
    """Smooth noise of three scales, and a few rectangles on it."""
    image = np.zeros((*size, 3))
    for cell in (2, 5, 12):
        coarse = random.uniform(0, 80, (size[0] // cell + 1, size[1] // cell + 1, 3))
        image += np.kron(coarse, np.ones((cell, cell, 1)))[: size[0], : size[1]]
    for _ in range(4):
        top, left = random.integers(0, size[0] - 12), random.integers(0, size[1] - 12)
        image[top : top + 12, left : left + 12] = random.uniform(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


@dataclass
class _Case:
    """What every law is checked on."""

    given: Extractor
    images: list[Pixels]
    variations: dict[str, Any]
    folder: Path

    @cached_property
    def fitted(self) -> Extractor:
        """Fitted clone; its rows are what all others are compared with."""
        return clone(self.given).set_params(store=None, on_error="raise").fit(self.images)

    @cached_property
    def rows(self) -> Rows:
        return self.fitted.transform(self.images)

    @cached_property
    def files(self) -> list[str]:
        """Paths of the images, written without loss."""
        paths = [str(self.folder / f"{i}.png") for i in range(len(self.images))]
        for path, image in zip(paths, self.images):
            Image.fromarray(image).save(path)
        return paths

    def is_only_value(self, name: str) -> bool:
        """Whether a parameter is said to have no other value beside those of the others."""
        return name in self.variations and self.variations[name] == getattr(self.given, name)

    def require_same(self, rows: Any, wanted: Any, what: str) -> None:
        """Require rows to be the same, as far as this kind of extractor promises."""
        rows, wanted = np.asarray(rows), np.asarray(wanted)
        _require(rows.shape == wanted.shape, f"{what} of shape {wanted.shape}", rows.shape)
        if not self.given.runs_in_parent:
            n_different = int((rows != wanted).any(axis=1).sum())
            _require(not n_different, f"{what} of the same bytes", f"{n_different} different rows")
            return
        lengths = np.linalg.norm(wanted, axis=1) + np.finfo(np.float32).tiny
        apart = float((np.linalg.norm(rows - wanted, axis=1) / lengths).max())
        _require(
            apart <= NETWORK_TOLERANCE,
            f"{what} within {NETWORK_TOLERANCE:g} of their length",
            f"{apart:.1e}",
        )


class _BrokenError(Exception):
    """A law is broken; the text says what was expected and what came instead."""


def _require(is_kept: bool, expected: str, got: Any) -> None:
    if not is_kept:
        raise _BrokenError(f"expected {expected}, got {got}")


def _why_broken(check: Callable[[Case], None], case: Case) -> str:
    """Reason why a law is broken, empty if it is kept."""
    try:
        check(case)
    except _BrokenError as error:
        return str(error)
    except Exception as error:  # Whatever a stranger's extractor raises is the finding.
        return f"expected no error, got {type(error).__name__}: {one_line(error)}"
    return ""


def _check_rows(case: Case) -> None:
    rows = case.rows
    _require(isinstance(rows, np.ndarray), "an array", type(rows).__name__)
    _require(rows.dtype == np.float32, "float32", rows.dtype)
    _require(rows.ndim == 2 and len(rows) == len(case.images), "one row an image", rows.shape)
    _require(bool(np.isfinite(rows).all()), "finite values", "NaN or infinity")


def _check_names(case: Case) -> None:
    names = list(case.fitted.get_feature_names_out())
    n_columns = case.rows.shape[1]
    _require(len(names) == n_columns, f"{n_columns} names", len(names))
    _require(len(set(names)) == n_columns, "names that are all different", "some twice")
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
        extractor = clone(case.given).set_params(store=None, n_jobs=n_jobs).fit(case.images)
        case.require_same(extractor.transform(case.images), case.rows, f"rows by {n_jobs} jobs")


def _check_kinds(case: Case) -> None:
    kinds = {
        "paths": case.files,
        "bytes": [Path(path).read_bytes() for path in case.files],
        "PIL images": [Image.fromarray(image) for image in case.images],
    }
    for kind, images in kinds.items():
        case.require_same(case.fitted.transform(images), case.rows, f"rows of {kind}")


def _check_gray(case: Case) -> None:
    grays = [image[:, :, 1] for image in case.images]
    wanted = case.fitted.transform([np.repeat(gray[:, :, None], 3, 2) for gray in grays])
    case.require_same(case.fitted.transform(grays), wanted, "rows of grey arrays")
    images = [Image.fromarray(gray) for gray in grays]
    case.require_same(case.fitted.transform(images), wanted, "rows of grey PIL images")
    mixed = case.fitted.transform([grays[0], *case.images[1:]])
    case.require_same(mixed[1:], case.rows[1:], "rows of colour beside grey")


def _check_deep(case: Case) -> None:
    """Pixels deeper than 8 bits come as float32, from 0 to 255 like others."""
    deep = [image.astype(np.uint16) * 257 for image in case.images]
    rows = case.fitted.transform(deep)
    _require(rows.shape == case.rows.shape, f"rows {case.rows.shape} of deep images", rows.shape)
    _require(bool(np.isfinite(rows).all()), "finite rows of deep images", rows)
    mixed = case.fitted.transform([deep[0], *case.images[1:]])
    case.require_same(mixed[1:], case.rows[1:], "rows of 8 bits beside 16")


def _check_inputs(case: Case) -> None:
    images = [image.copy() for image in case.images]
    for image in images:
        image.flags.writeable = False
    extractor = clone(case.given).set_params(store=None)
    before = repr(extractor.get_params())
    case.require_same(
        extractor.fit(images).transform(images), case.rows, "rows of read-only arrays"
    )
    pil_images = [Image.fromarray(image) for image in case.images]
    extractor.transform(pil_images)
    for pil_image, image in zip(pil_images, case.images):
        _require(bool((np.asarray(pil_image) == image).all()), "images as they were", "others")
    after = repr(extractor.get_params())
    _require(before == after, f"parameters as they were, {before}", after)


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
    _require(is_same, f"{what} with the same fingerprint", "another")


def _check_values(case: Case) -> None:
    """Every parameter that may change values changes the fingerprint."""
    hidden = SPEED_PARAMETERS | INPUT_PARAMETERS
    base = _fingerprints_of(clone(case.given))
    for name in sorted(set(case.given.get_params(deep=False)) - hidden):
        if case.is_only_value(name):
            continue
        varied = _varied(case, name)
        _require(
            varied is not None,
            f"another valid value of {name!r} to be known",
            f"none; give one in variations={{{name!r}: ...}}",
        )
        _require(
            _fingerprints_of(varied) != base,
            f"another fingerprint for {name}={getattr(varied, name)!r}",
            f"the one of {name}={getattr(case.given, name)!r}",
        )


def _check_speed(case: Case) -> None:
    """No parameter that changes only time or place, or how images are read, changes it."""
    hidden = SPEED_PARAMETERS | INPUT_PARAMETERS
    base = _fingerprints_of(clone(case.given))
    for name in sorted(hidden & set(case.given.get_params(deep=False))):
        varied = _varied(case, name)
        _require(
            varied is None or _fingerprints_of(varied) == base,
            f"the same fingerprint whatever {name!r}",
            "another",
        )


def _check_state(case: Case) -> None:
    """What is learned is part of the fingerprint."""
    if not case.given.__sklearn_tags__().requires_fit:
        return
    other = clone(case.given).set_params(store=None).fit([255 - image for image in case.images])
    is_same = np.array_equal(other.transform(case.images), case.rows)
    _require(
        is_same or _fingerprints_of(other) != _fingerprints_of(case.fitted),
        "another fingerprint after fit on other images",
        "the same, with other rows",
    )


def _check_failures(case: Case) -> None:
    broken = case.folder / "broken.png"
    broken.write_bytes(b"no image")
    images = [case.images[0], str(broken), case.images[1]]
    try:
        case.fitted.transform(images)
    except ImageError as error:
        _require("broken.png" in error.name, "an ImageError that names broken.png", error)
    else:
        raise _BrokenError("expected an ImageError for a broken image, got none")
    rows = pickle.loads(pickle.dumps(case.fitted)).set_params(on_error="nan").transform(images)
    _require(bool(np.isnan(rows[1]).all()), 'a row of NaN with on_error="nan"', rows[1])
    case.require_same(rows[[0, 2]], case.rows[:2], "rows beside a broken image")


LAWS: dict[str, Callable[[Case], None]] = {
    "rows are finite float32, one for each image": _check_rows,
    "names match columns": _check_names,
    "rows do not depend on the batch": _check_batch,
    "rows do not depend on the order": _check_order,
    "rows do not depend on the number of jobs": _check_jobs,
    "paths, bytes, PIL images and arrays agree": _check_kinds,
    "grey and colour are both taken": _check_gray,
    "images deeper than 8 bits are taken": _check_deep,
    "inputs and parameters stay untouched": _check_inputs,
    "a clone gives identical rows": _check_clone,
    "a pickled copy gives identical rows": _check_pickle,
    "parameters that change values change the fingerprint": _check_values,
    "parameters of speed do not change the fingerprint": _check_speed,
    "what is learned is part of the fingerprint": _check_state,
    "a broken image is named, or a row of NaN": _check_failures,
}
"""Every law, and what checks it."""


def _fingerprints_of(extractor: Any) -> list[str]:
    return [extractor.fingerprint(layer) for layer in extractor.layers]


def _varied(case: Case, name: str) -> Any:
    """Clone with another valid value of one parameter; None where no value is known."""
    for value in _other_values(case, name):
        varied = clone(case.given).set_params(**{name: value})
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
    """Other values of a parameter, the likeliest first, not all of them valid."""
    if name in case.variations:
        yield case.variations[name]
        return
    if name in DIRECTORIES:
        yield str(case.folder / name)
        return
    value = getattr(case.given, name)
    for constraint in _constraints(case.given, name):
        for other in _values_near(value, constraint):
            if constraint.is_satisfied_by(other) and other != value:
                yield other


def _constraints(extractor: Any, name: str) -> list[Any]:
    constraints = extractor._parameter_constraints.get(name, [])
    return [] if constraints == "no_validation" else [make_constraint(c) for c in constraints]


def _values_near(value: Any, constraint: Any) -> Iterator[Any]:
    """Values that may satisfy a constraint, those near to `value` first."""
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
    if interval.is_satisfied_by(start + 1):  # Whole numbers.
        yield start
        yield from (start + step for step in WHOLE_STEPS)
        yield from (start * 2, start // 2)
    yield from (float(start) * factor for factor in FACTORS)
    yield from (float(start) + 1e-3, float(start) + 1)
