"""torchvision's classification data sets by name, their images decoded on request."""

from __future__ import annotations

import ast
import inspect
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, overload

import numpy as np
import platformdirs
from PIL import Image

from featx._imports import import_torchvision
from featx.data.image_formats import open_image
from featx.errors import (
    DatasetError,
    ImageError,
    did_you_mean,
    one_line,
)

_SPLITS = (("train", ("train", "trainval")), ("val", ("val", "valid")), ("test", ("test",)))
"""What featx calls a split, and what torchvision's classes may; the first they know is taken."""

_TARGETS = ("targets", "_labels", "labels", "y")
"""Attributes under which torchvision's classes keep the classes of all images."""


class TorchvisionImages(Sequence[Any]):
    """Images of the splits of one data set, one after the other.

    Parameters
    ----------
    name : str
        The class's name in torchvision.
    parts : dict of str to data set
        The data set of each split, under the split's name, or under the empty text.
    """

    def __init__(self, name: str, parts: dict[str, Any]) -> None:
        self.parts = list(parts.values())
        self.starts = np.cumsum([0, *map(len, self.parts)])
        self.names = [
            "/".join(filter(None, (name, split, f"{i:05d}")))
            for split, part in parts.items()
            for i in range(len(part))
        ]
        self.labels = [label for part in self.parts for label in _labels(part)]
        splits = [split for split, part in parts.items() for _ in range(len(part))]
        self.splits = splits if any(splits) else None

    def __len__(self) -> int:
        return int(self.starts[-1])

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Image, or the ImageError of one that cannot be decoded."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        try:
            return self.parts[part][index - int(self.starts[part])][0]
        except Exception as error:  # A broken file may raise anything inside a codec; it is data.
            return ImageError(self.names[index], one_line(error))


def open_torchvision(spec: str, root: str | os.PathLike[str] | None) -> TorchvisionImages:
    """Data set of torchvision, downloaded where it has to be and can be.

    Parameters
    ----------
    spec : str
        ``NAME[,key=value...]``: the class, and further arguments for it.
    root : path, optional
        Where it lies; by default a folder in the user's cache. ``root=`` in `spec` goes first.

    Returns
    -------
    TorchvisionImages

    Raises
    ------
    DatasetError
        If there is no such data set, or it is neither on this machine nor to be had.

    Examples
    --------
    >>> len(open_torchvision("FakeData,size=3", None))
    3
    """
    name, arguments = _parse(spec)
    kind = _find_class(name)
    if "root" in inspect.signature(kind).parameters:
        default = root or platformdirs.user_cache_path("featx") / "torchvision"
        arguments = {"root": os.fspath(default), **arguments}
    parts = dict(_open_splits(kind, arguments))
    if not parts:
        raise DatasetError(f"torchvision:{name} has no split named train, val or test.")
    return TorchvisionImages(name, parts)


def _parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of ``NAME[,key=value...]``."""
    lexer = shlex.shlex(spec, posix=True)
    lexer.whitespace, lexer.whitespace_split, lexer.escape, lexer.commenters = ",", True, "", ""
    try:
        name, *pairs = lexer
    except ValueError:
        raise DatasetError(
            f"'torchvision:{spec}' cannot be read; expected torchvision:NAME[,key=value...]."
        ) from None
    for pair in pairs:
        if "=" not in pair:
            raise DatasetError(
                f"{pair!r} in 'torchvision:{spec}' is no argument; expected key=value, for example "
                "root=FOLDER."
            )
    return name, {key: _value(text) for key, text in (pair.split("=", 1) for pair in pairs)}


def _value(text: str) -> Any:
    """Number, boolean or None that a text spells, else the text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _find_class(name: str) -> Any:
    """Class of that name, or an error with the nearest."""
    datasets = import_torchvision().datasets
    kind = getattr(datasets, name, None)
    if name in datasets.__all__ and isinstance(kind, type):
        return kind
    guess = did_you_mean(name, datasets.__all__, prefix="torchvision:")
    raise DatasetError(f"torchvision has no data set {name!r}.{guess}")


def _open_splits(kind: Any, arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Data set of each split that the class has, or the whole under the empty text."""
    datasets = import_torchvision().datasets
    parameters = inspect.signature(kind).parameters
    # EMNIST hands `train` on to MNIST, and means something else by `split`.
    if "train" in parameters or issubclass(kind, datasets.MNIST):
        asked = arguments.get("train")
        for name, is_train in (("train", True), ("test", False)):
            if asked is None or asked == is_train:
                yield name, _open(kind, {**arguments, "train": is_train})
    elif "split" in parameters and "split" not in arguments:
        for name, theirs in _SPLITS:
            part = _open_first(kind, arguments, theirs)
            if part is not None:
                yield name, part
    else:
        yield "", _open(kind, arguments)


def _open_first(kind: Any, arguments: dict[str, Any], splits: Sequence[str]) -> Any:
    """Data set of the first of `splits` that the class knows, or None."""
    for split in splits:
        try:
            return _open(kind, {**arguments, "split": split})
        except ValueError as error:
            if isinstance(error, DatasetError) or "alid values are" not in str(error):
                raise
    return None


def _open(kind: Any, arguments: dict[str, Any]) -> Any:
    """Data set from this machine, else downloaded."""
    try:
        return _with_closed_formats(kind(**arguments))
    except TypeError as error:
        raise DatasetError(f"torchvision:{kind.__name__}: {error}.") from error
    except (RuntimeError, OSError) as error:
        absent = error
    if not _downloads(kind):
        raise _absent(kind, arguments, absent) from absent
    try:
        with redirect_stdout(sys.stderr):
            return _with_closed_formats(kind(**arguments, download=True))
    except (RuntimeError, OSError) as error:
        raise _absent(kind, arguments, error) from error


def _with_closed_formats(part: Any) -> Any:
    """Data set that reads the files of a folder as featx does: no format of them runs a program."""
    if getattr(part, "loader", None) is import_torchvision().datasets.folder.default_loader:
        part.loader = _load_rgb
    return part


def _load_rgb(path: str) -> Image.Image:
    """What torchvision's own loader gives."""
    with open_image(Path(path).read_bytes()) as image:
        return image.convert("RGB")


def _downloads(kind: Any) -> bool:
    """Whether the class takes `download`, or a base that it hands arguments on to."""
    return any(
        "download" in inspect.signature(base).parameters for base in inspect.getmro(kind)[:-1]
    )


def _absent(kind: Any, arguments: dict[str, Any], error: Exception) -> DatasetError:
    """Error that says which files are wanted where."""
    reason = one_line(error)
    return DatasetError(
        f"torchvision:{kind.__name__} is not in {arguments.get('root')} and could not be had "
        f"from the network ({reason}). Wanted: {_wanted(kind, Path(str(arguments.get('root'))))}."
    )


def _wanted(kind: Any, root: Path) -> str:
    """Files that the class reads, as far as it says."""
    if hasattr(kind, "filename") and hasattr(kind, "url"):
        return f"{root / kind.filename} from {kind.url}"
    resources = getattr(kind, "resources", None)
    if resources and hasattr(kind, "mirrors"):
        files = ", ".join(str(resource[0]) for resource in resources)
        folder = root / kind.__name__ / "raw"
        return f"{files} from {kind.mirrors[0]}, or any copy of them unpacked, in {folder}"
    address = next((getattr(kind, name) for name in ("_URL", "url") if hasattr(kind, name)), None)
    page = f"https://pytorch.org/vision/stable/generated/torchvision.datasets.{kind.__name__}.html"
    return f"the files of {address or page} in {root}"


def _labels(part: Any) -> list[str]:
    """Class of each image, by name where the data set has names."""
    targets = next(filter(None, (_targets(part, name) for name in _TARGETS)), None)
    if targets is None:
        targets = [part[i][1] for i in range(len(part))]
    classes = getattr(part, "classes", None)
    if not isinstance(classes, list | tuple) or not all(isinstance(c, str) for c in classes):
        return [str(target) for target in targets]
    # MNIST calls its classes "0 - zero"; the digit is what other data sets say.
    names = [str(i) if name.startswith(f"{i} - ") else name for i, name in enumerate(classes)]
    if not all(isinstance(target, int) and 0 <= target < len(names) for target in targets):
        return [str(target) for target in targets]
    return [names[target] for target in targets]


def _targets(part: Any, name: str) -> list[Any] | None:
    """Classes kept under an attribute, if it is a plain list of one an image."""
    targets = getattr(part, name, None)
    if targets is None or not hasattr(targets, "__len__") or len(targets) != len(part):
        return None
    plain = targets.tolist() if hasattr(targets, "tolist") else list(targets)
    return plain if all(isinstance(target, int | str) for target in plain) else None
