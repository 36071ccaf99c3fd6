"""Weights: found or downloaded, read without executing anything, fitted to a network.

Nothing here is ever random: a tensor that a layer needs and that the weights lack is an error.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import stat
import sys
import urllib.error
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featx._fingerprints import DIGEST_BYTES
from featx.errors import WeightsError, one_line

logger = logging.getLogger(__name__)

State = dict[str, Tensor]
SUFFIXES = frozenset({".pth", ".pt", ".th", ".bin", ".ckpt", ".safetensors"})
_NESTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")


@dataclass
class LoadReport:
    """What became of each tensor, by its name in the network (in the file, for `skipped`).

    Parameters
    ----------
    loaded : list of str
        Taken from the file.
    renamed : dict of str to str
        Those among them that had another name there: that name -> the network's.
    skipped : list of str
        In the file and not taken.
    new : dict of str to str
        In the network and not loaded -> why.
    unknown : list of str
        Those in the file that the network has not, by the name that they would have in it.
    """

    loaded: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    new: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def within(self, holder: str) -> LoadReport:
        """The same of a network that holds the former one under a name."""

        def name(own: str) -> str:
            return f"{holder}.{own}"

        return LoadReport(
            loaded=list(map(name, self.loaded)),
            renamed={old: name(new) for old, new in self.renamed.items()},
            skipped=self.skipped,
            new={name(own): why for own, why in self.new.items()},
            unknown=self.unknown,
        )

    def __str__(self) -> str:
        counts = {
            "loaded": len(self.loaded),
            "renamed": len(self.renamed),
            "skipped": len(self.skipped),
            "new": len(self.new),
        }
        return ", ".join(f"{word} {count}" for word, count in counts.items())


def is_weights_file(weights: str | os.PathLike[str]) -> bool:
    """Whether `weights` means a file rather than the name of published weights."""
    path = Path(weights)
    return path.suffix in SUFFIXES or isinstance(weights, os.PathLike) or len(path.parts) > 1


def read_state(path: str | os.PathLike[str]) -> State:
    """Tensors of a weights file by name, a stranger's nesting taken off.

    Parameters
    ----------
    path : path
        ``.safetensors``, or what `torch.save` wrote (``.pth``, ``.pt``, ``.th`` …), which is
        read with ``weights_only=True``: no pickled code is executed.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds anything but weights.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"Weights file {path} is not there.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"Weights file {path} holds more than tensors, and loading it could execute code; "
            "save `model.state_dict()` instead."
        ) from error
    except Exception as error:  # A damaged file may raise anything inside the reader.
        reason = one_line(error)[:200]
        raise WeightsError(f"Weights file {path} cannot be read: {reason}") from error
    return _unnest(content, path)


def _unnest(content: Any, path: Path) -> State:
    """The dictionary of tensors inside a checkpoint."""
    while isinstance(content, Mapping):
        tensors = {k: v for k, v in content.items() if isinstance(v, Tensor) and isinstance(k, str)}
        nest = next((n for n in _NESTS if isinstance(content.get(n), Mapping)), None)
        if nest is None or len(tensors) > 1:
            if tensors:
                return tensors
            break
        content = content[nest]
    raise WeightsError(f"Weights file {path} holds no dictionary of tensors.")


def _align_names(state: State, wanted: Iterable[str]) -> dict[str, str]:
    """Names in a file -> names in a network, prefixes such as ``module.`` taken off.

    Examples
    --------
    >>> _align_names({"module.conv.weight": torch.zeros(1)}, ["conv.weight"])
    {'module.conv.weight': 'conv.weight'}
    """
    wanted = set(wanted)
    names = {name: name for name in state}
    while names and wanted.isdisjoint(names.values()):
        heads = {new.partition(".")[0] for new in names.values() if "." in new}
        if len(heads) != 1:
            break
        names = {old: new.partition(".")[2] or new for old, new in names.items()}
    if wanted.isdisjoint(names.values()):
        names = {name: name.removeprefix("module.") for name in state}
    return names


def fit_state(network: nn.Module, state: State, *, load: str | None = None) -> LoadReport:
    """Copy every tensor that fits into a network; nothing is decided about those that do not.

    Parameters
    ----------
    network : torch.nn.Module
    state : dict of str to Tensor
    load : str, optional
        Pattern of the names to take, such as ``features.*``; all by default.

    Returns
    -------
    LoadReport
    """
    own = network.state_dict()
    names = _align_names(state, own)
    report = LoadReport(new=dict.fromkeys(own, "not in the weights"))
    taken: State = {}
    for old, new in names.items():
        if new not in own:
            report.unknown.append(new)
        if new not in own or (load is not None and not _matches(new, load)):
            report.skipped.append(old)
            continue
        if own[new].shape != state[old].shape:
            got, want = tuple(state[old].shape), tuple(own[new].shape)
            report.new[new] = f"expected {want}, got {got}"
            report.skipped.append(old)
            continue
        taken[new] = state[old]
        report.loaded.append(new)
        del report.new[new]
        if old != new:
            report.renamed[old] = new
    network.load_state_dict(taken, strict=False)
    return report


def file_digest(path: str | os.PathLike[str]) -> str:
    """Digest of a file's bytes, remembered until the file changes.

    Raises
    ------
    WeightsError
        If there is no such file.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise WeightsError(f"Weights file {os.fspath(path)} is not there.") from error
    if not stat.S_ISREG(status.st_mode):  # A pipe would be waited for without end.
        raise WeightsError(f"Weights file {os.fspath(path)} is no file.")
    return _file_digest(os.fspath(path), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=64)
def _file_digest(path: str, size: int, mtime_ns: int, inode: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)
        ).hexdigest()


def download_folder() -> Path:
    """Where torch keeps downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(url: str, *, hash_prefix: str | None = None) -> Path:
    """Path of published weights, downloaded to torch's own folder where they are not there.

    Parameters
    ----------
    url : str
    hash_prefix : str, optional
        How the file's SHA-256 begins, which a download is checked against.

    Raises
    ------
    WeightsError
        If they cannot be downloaded: it says which file is wanted, and where to put it.
    """
    path = download_folder() / url.rpartition("/")[2]
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("Downloading %s to %s", url, path)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix, progress=sys.stderr.isatty())
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = one_line(error)[:120]
        raise WeightsError(
            f"Weights {path.name} are not on this machine and cannot be downloaded ({reason}). "
            f"Fetch {url} elsewhere and put it at {path}, or give a file: weights=FILE.pth."
        ) from error
    return path


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(name, part.strip()) for part in pattern.split(","))
