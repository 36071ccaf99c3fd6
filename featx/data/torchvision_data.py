"""Load torchvision's classification data sets by name; images are decoded on request."""

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
"""featx's name of a split, and torchvision's names of it; the first valid one is used."""

_TARGETS = ("targets", "_labels", "labels", "y")
"""Attributes of torchvision's data sets that hold the classes of all images."""


class TorchvisionImages(Sequence[Any]):
    """Images of all splits of one data set, concatenated.

    Parameters
    ----------
    name : str
        Name of the class in torchvision.
    parts : dict of str to data set
        Name of each split -> its data set; an empty name for a data set without splits.
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
        """Image, or an `ImageError` if it cannot be decoded."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        try:
            return self.parts[part][index - int(self.starts[part])][0]
        except Exception as error:  # On a broken file a codec may raise anything.
            return ImageError(self.names[index], one_line(error))


def open_torchvision(spec: str, root: str | os.PathLike[str] | None) -> TorchvisionImages:
    """Open a data set of torchvision; it is downloaded if it is not on this machine.

    Parameters
    ----------
    spec : str
        ``NAME[,key=value...]``: name of the class, and further arguments for it.
    root : path, optional
        Folder of the data set; by default in the user's cache. ``root=`` in `spec` takes
        precedence.

    Returns
    -------
    TorchvisionImages

    Raises
    ------
    DatasetError
        If the data set does not exist, or is neither on this machine nor downloadable.

    Examples
    --------
    >>> len(open_torchvision("FakeData,size=3", None))
    3
    """
    name, arguments = _parse(spec)
    cls = _find_class(name)
    if "root" in inspect.signature(cls).parameters:
        default = root or platformdirs.user_cache_path("featx") / "torchvision"
        arguments = {"root": os.fspath(default), **arguments}
    parts = dict(_open_splits(cls, arguments))
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
                f"{pair!r} in 'torchvision:{spec}' is not an argument; expected key=value, for "
                "example root=FOLDER."
            )
    return name, {key: _value(text) for key, text in (pair.split("=", 1) for pair in pairs)}


def _value(text: str) -> Any:
    """Parse a number, boolean or None; any other text is returned unchanged."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _find_class(name: str) -> Any:
    """Class of torchvision with a name, or an error that suggests similar names."""
    datasets = import_torchvision().datasets
    cls = getattr(datasets, name, None)
    if name in datasets.__all__ and isinstance(cls, type):
        return cls
    suggestion = did_you_mean(name, datasets.__all__, prefix="torchvision:")
    raise DatasetError(f"torchvision has no data set {name!r}.{suggestion}")


def _open_splits(cls: Any, arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and data set of each split; an empty name if the class has no splits."""
    datasets = import_torchvision().datasets
    parameters = inspect.signature(cls).parameters
    # EMNIST passes `train` on to MNIST, and `split` means something else there.
    if "train" in parameters or issubclass(cls, datasets.MNIST):
        train = arguments.get("train")
        for name, is_train in (("train", True), ("test", False)):
            if train is None or train == is_train:
                yield name, _open(cls, {**arguments, "train": is_train})
    elif "split" in parameters and "split" not in arguments:
        for name, aliases in _SPLITS:
            part = _open_first(cls, arguments, aliases)
            if part is not None:
                yield name, part
    else:
        yield "", _open(cls, arguments)


def _open_first(cls: Any, arguments: dict[str, Any], splits: Sequence[str]) -> Any:
    """Data set of the first valid name in `splits`; None if none is valid."""
    for split in splits:
        try:
            return _open(cls, {**arguments, "split": split})
        except ValueError as error:
            if isinstance(error, DatasetError) or "alid values are" not in str(error):
                raise
    return None


def _open(cls: Any, arguments: dict[str, Any]) -> Any:
    """Open a data set on this machine; download it if it is not there."""
    try:
        return _with_safe_loader(cls(**arguments))
    except TypeError as error:
        raise DatasetError(f"torchvision:{cls.__name__}: {error}.") from error
    except (RuntimeError, OSError) as error:
        missing = error
    if not _can_download(cls):
        raise _missing_error(cls, arguments, missing) from missing
    try:
        with redirect_stdout(sys.stderr):
            return _with_safe_loader(cls(**arguments, download=True))
    except (RuntimeError, OSError) as error:
        raise _missing_error(cls, arguments, error) from error


def _with_safe_loader(part: Any) -> Any:
    """Make a data set of files use featx's table of formats, none of which executes a program."""
    if getattr(part, "loader", None) is import_torchvision().datasets.folder.default_loader:
        part.loader = _load_rgb
    return part


def _load_rgb(path: str) -> Image.Image:
    """The same image as torchvision's own loader returns."""
    with open_image(Path(path).read_bytes()) as image:
        return image.convert("RGB")


def _can_download(cls: Any) -> bool:
    """Whether the class, or a base class that it passes arguments on to, takes `download`."""
    return any(
        "download" in inspect.signature(base).parameters for base in inspect.getmro(cls)[:-1]
    )


def _missing_error(cls: Any, arguments: dict[str, Any], error: Exception) -> DatasetError:
    """Error that tells which files are expected where."""
    root = arguments.get("root")
    return DatasetError(
        f"torchvision:{cls.__name__} is not in {root} and could not be downloaded "
        f"({one_line(error)}). Expected: {_expected_files(cls, Path(str(root)))}."
    )


def _expected_files(cls: Any, root: Path) -> str:
    """Files that the class reads, as far as its attributes tell."""
    if hasattr(cls, "filename") and hasattr(cls, "url"):
        return f"{root / cls.filename} from {cls.url}"
    resources = getattr(cls, "resources", None)
    if resources and hasattr(cls, "mirrors"):
        files = ", ".join(str(resource[0]) for resource in resources)
        folder = root / cls.__name__ / "raw"
        return f"{files} from {cls.mirrors[0]}, or an unpacked copy of them, in {folder}"
    url = next((getattr(cls, name) for name in ("_URL", "url") if hasattr(cls, name)), None)
    page = f"https://pytorch.org/vision/stable/generated/torchvision.datasets.{cls.__name__}.html"
    return f"the files of {url or page} in {root}"


def _labels(part: Any) -> list[str]:
    """Class of each image, by name if the data set has names."""
    targets = next(filter(None, (_targets(part, name) for name in _TARGETS)), None)
    if targets is None:
        targets = [part[i][1] for i in range(len(part))]
    classes = getattr(part, "classes", None)
    if not isinstance(classes, list | tuple) or not all(isinstance(c, str) for c in classes):
        return [str(target) for target in targets]
    # MNIST calls its classes "0 - zero"; other data sets of digits use the digit alone.
    names = [str(i) if name.startswith(f"{i} - ") else name for i, name in enumerate(classes)]
    if not all(isinstance(target, int) and 0 <= target < len(names) for target in targets):
        return [str(target) for target in targets]
    return [names[target] for target in targets]


def _targets(part: Any, name: str) -> list[Any] | None:
    """Classes in an attribute, if it is a sequence with one integer or string per image."""
    targets = getattr(part, name, None)
    if targets is None or not hasattr(targets, "__len__") or len(targets) != len(part):
        return None
    targets = targets.tolist() if hasattr(targets, "tolist") else list(targets)
    return targets if all(isinstance(target, int | str) for target in targets) else None
