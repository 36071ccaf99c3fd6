"""Read weights files without executing code, download published ones, load them into networks."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import re
import stat
import sys
import urllib.error
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featx._fingerprints import DIGEST_BYTES
from featx.errors import SeveralWeightsWarning, WeightsError, did_you_mean, one_line

logger = logging.getLogger(__name__)

State = dict[str, Tensor]
SUFFIXES = frozenset({".pth", ".pt", ".th", ".bin", ".ckpt", ".safetensors"})
_STATE_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights"),
    *("teacher", "student", "state_dict_ema", "model_ema", "ema"),
)
"""Keys under which checkpoints store their tensors, in order of precedence."""

_MAX_PREFIX_PARTS = 3


@dataclass
class LoadReport:
    """Which tensors of a file were loaded into a network.

    Parameters
    ----------
    loaded : list of str
        Names in the network of the tensors that were loaded.
    renamed : dict of str to str
        Name in the file -> name in the network, of loaded tensors for which these differ.
    skipped : list of str
        Names in the file of the tensors that were not loaded.
    new : dict of str to str
        Name in the network of each tensor that was not loaded -> reason.
    unknown : list of str
        Tensors of the file that the network lacks, by the name that they would have in it.
    """

    loaded: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    new: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def within(self, parent: str) -> LoadReport:
        """Return the report for a network that contains this one as the submodule `parent`."""
        return LoadReport(
            loaded=[f"{parent}.{name}" for name in self.loaded],
            renamed={old: f"{parent}.{name}" for old, name in self.renamed.items()},
            skipped=self.skipped,
            new={f"{parent}.{name}": reason for name, reason in self.new.items()},
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
    path = split_part(weights)[0]
    is_named = path.suffix in SUFFIXES or isinstance(weights, os.PathLike) or len(path.parts) > 1
    return is_named or path.is_file()


def split_part(weights: str | os.PathLike[str]) -> tuple[Path, str]:
    """Split ``FILE#KEY`` into a file and the key of a checkpoint's entry.

    Examples
    --------
    >>> split_part("run.pth#teacher")[1], split_part("run.pth")[1]
    ('teacher', '')
    """
    path = Path(weights)
    name, mark, key = path.name.rpartition("#")
    return (path.with_name(name), key) if mark and name and not path.exists() else (path, "")


def read_state(path: str | os.PathLike[str]) -> State:
    """Read the state dict of a weights file or training checkpoint.

    Parameters
    ----------
    path : path
        ``.safetensors``, or a file of `torch.save` (``.pth``, ``.pt``, ``.th`` …), which is read
        with ``weights_only=True``: no pickled code is executed. ``FILE#KEY`` selects an entry of a
        checkpoint.

    Raises
    ------
    WeightsError
        If the file cannot be read, or contains other objects than weights.
    """
    path, key = split_part(path)
    if not path.is_file():
        raise WeightsError(f"Weights file {path} does not exist.")
    _check_signature(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _more_than_tensors(path, error) from error
    except Exception as error:  # A damaged file may raise anything inside the reader.
        reason = one_line(error)[:200]
        raise WeightsError(f"Weights file {path} cannot be read: {reason}") from error
    return _unnest(content, path, key)


def _check_signature(path: Path) -> None:
    """Raise for empty files, Git LFS pointers and web pages, which failed downloads leave."""
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    if not start:
        raise WeightsError(f"Weights file {path} is empty; download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"Weights file {path} is a Git LFS pointer, not the weights; run `git lfs pull`."
        )
    if re.match(rb"<(!doctype|html|\?xml|head)", start, re.IGNORECASE):
        raise WeightsError(
            f"Weights file {path} is a web page, not the weights: the download needs a login or "
            "another address."
        )


def _more_than_tensors(path: Path, error: Exception) -> WeightsError:
    """Error for a checkpoint with other objects than tensors."""
    match = re.search(r"GLOBAL ([\w.]+)", str(error))
    content = f"more than tensors ({match[1]})" if match else "more than tensors"
    return WeightsError(
        f"Weights file {path} contains {content}, and loading it could execute code. Save only "
        "`model.state_dict()`. If you trust the file, load it with torch.load(FILE, "
        "weights_only=False) and save its state dict."
    )


def _unnest(content: Any, path: Path, key: str = "") -> State:
    """The state dict in a checkpoint: the entry of `key`, or of the first of `_STATE_KEYS`."""
    if key:
        if not isinstance(content, Mapping) or not isinstance(content.get(key), Mapping):
            names = [str(it) for it in content] if isinstance(content, Mapping) else []
            raise WeightsError(
                f"Weights file {path} has no entry {key!r}.{did_you_mean(key, names)}"
            )
        content = content[key]
    while isinstance(content, Mapping):
        tensors = {k: v for k, v in content.items() if isinstance(v, Tensor) and isinstance(k, str)}
        keys = [n for n in _STATE_KEYS if isinstance(content.get(n), Mapping)]
        if not keys or len(tensors) > 1:
            if tensors:
                return tensors
            break
        if others := keys[1:]:
            warnings.warn(
                f"Weights file {path} contains {' and '.join(map(repr, keys))}: using {keys[0]!r}; "
                f"choose another with weights={path}#{others[0]}.",
                SeveralWeightsWarning,
                stacklevel=2,
            )
        content = content[keys[0]]
    raise WeightsError(f"Weights file {path} contains no state dict.")


def _align_names(state: State, own_names: Iterable[str]) -> dict[str, str]:
    """Names in a file -> names in a network: without the prefix under which most of these occur.

    Of two prefixes with as many, such as those of a query and a key encoder, the first is used.

    Examples
    --------
    >>> _align_names({"module.conv.weight": torch.zeros(1)}, ["conv.weight"])
    {'module.conv.weight': 'conv.weight'}
    """
    own_names = set(own_names)
    counts = Counter(
        name[: len(name) - len(suffix)]
        for name in state
        for suffix in _suffixes(name)
        if suffix in own_names
    )
    if not counts:
        return {name: name.removeprefix("module.") for name in state}
    most = max(counts.values())
    # Prefer no prefix, since parts of the network's own names match by chance: `layer1.0.conv1`
    # ends in `conv1`.
    prefix = "" if counts[""] * 2 > most else next(it for it, n in counts.items() if n == most)
    return {name: name.removeprefix(prefix) for name in state}


def _suffixes(name: str) -> Iterator[str]:
    """A dotted name, and the name without its first one to three parts."""
    for _ in range(_MAX_PREFIX_PARTS + 1):
        yield name
        _, dot, name = name.partition(".")
        if not dot:
            return


def fit_state(network: nn.Module, state: State, *, load: str | None = None) -> LoadReport:
    """Copy every tensor of matching name and shape into a network, and report which these are.

    Parameters
    ----------
    network : torch.nn.Module
    state : dict of str to Tensor
    load : str, optional
        Pattern of the names to load, such as ``features.*``; by default all are loaded.

    Returns
    -------
    LoadReport
    """
    own = network.state_dict()
    names = _align_names(state, own)
    report = LoadReport(new=dict.fromkeys(own, "not in the weights"))
    matching: State = {}
    for old, new in names.items():
        if new not in own:
            report.unknown.append(new)
        if new not in own or (load is not None and not _matches(new, load)):
            report.skipped.append(old)
            continue
        if own[new].shape != state[old].shape:
            got, expected = tuple(state[old].shape), tuple(own[new].shape)
            report.new[new] = f"expected {expected}, got {got}"
            report.skipped.append(old)
            continue
        matching[new] = state[old]
        report.loaded.append(new)
        del report.new[new]
        if old != new:
            report.renamed[old] = new
    # Module versions, which determine how torch reads a state dict; a file may lack them.
    versioned = OrderedDict(matching)
    versioned._metadata = own._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=False)
    return report


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the digest of a file's bytes, cached until the file changes.

    Raises
    ------
    WeightsError
        If there is no such file.
    """
    name = os.fspath(path)
    path, key = split_part(path)
    try:
        status = os.stat(path)
    except OSError as error:
        raise WeightsError(f"Weights file {name} does not exist.") from error
    if not stat.S_ISREG(status.st_mode):  # Reading a pipe might never end.
        raise WeightsError(f"Weights file {path} is not a regular file.")
    digest = _file_digest(os.fspath(path), status.st_size, status.st_mtime_ns, status.st_ino)
    return f"{digest}#{key}" if key else digest


@lru_cache(maxsize=64)
def _file_digest(path: str, size: int, mtime_ns: int, inode: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)
        ).hexdigest()


def download_folder() -> Path:
    """Return the folder in which torch stores downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(url: str, *, hash_prefix: str | None = None) -> Path:
    """Return the path of published weights, downloading them to torch's folder if necessary.

    Parameters
    ----------
    url : str
    hash_prefix : str, optional
        First digits of the file's SHA-256, against which a download is checked.

    Raises
    ------
    WeightsError
        If they cannot be downloaded; it says which file to put where.
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
            f"Download {url} elsewhere and copy it to {path}, or pass a file: weights=FILE.pth."
        ) from error
    return path


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(name, part.strip()) for part in pattern.split(","))
