"""Weights: found or downloaded, read without executing anything, fitted to a network.

Nothing here is ever random: a tensor that a layer needs and that the weights lack is an error.
"""

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
_NESTS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights"),
    *("teacher", "student", "state_dict_ema", "model_ema", "ema"),
)
"""Names under which checkpoints hold their tensors, the first that is there before the others."""

_MAX_PREFIX_PARTS = 3


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
    path = split_part(weights)[0]
    is_named = path.suffix in SUFFIXES or isinstance(weights, os.PathLike) or len(path.parts) > 1
    return is_named or path.is_file()


def split_part(weights: str | os.PathLike[str]) -> tuple[Path, str]:
    """A file, and the part of it that is asked for by ``FILE#PART``.

    Examples
    --------
    >>> split_part("run.pth#teacher")[1], split_part("run.pth")[1]
    ('teacher', '')
    """
    path = Path(weights)
    name, mark, nest = path.name.rpartition("#")
    return (path.with_name(name), nest) if mark and name and not path.exists() else (path, "")


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
    path, nest = split_part(path)
    if not path.is_file():
        raise WeightsError(f"Weights file {path} is not there.")
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
    return _unnest(content, path, nest)


def _check_signature(path: Path) -> None:
    """Refuse what is no file of weights at all, by how it begins."""
    with path.open("rb") as file:
        head = file.read(512).lstrip()
    if not head:
        raise WeightsError(f"Weights file {path} is empty; fetch it again.")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"Weights file {path} is a pointer of Git LFS, not the weights; run `git lfs pull`."
        )
    if re.match(rb"<(!doctype|html|\?xml|head)", head, re.IGNORECASE):
        raise WeightsError(
            f"Weights file {path} is a web page, not the weights: the download needs a login or "
            "another address."
        )


def _more_than_tensors(path: Path, error: Exception) -> WeightsError:
    """What to do about a checkpoint with other objects beside its tensors."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = f"more than tensors ({found[1]})" if found else "more than tensors"
    return WeightsError(
        f"Weights file {path} holds {what}, and loading it could execute code. Save "
        "`model.state_dict()` instead; of a file that you trust, torch.load(FILE, "
        "weights_only=False) gives what to save again."
    )


def _unnest(content: Any, path: Path, nest: str = "") -> State:
    """The dictionary of tensors inside a checkpoint: that of a name, or the first of `_NESTS`."""
    if nest:
        if not isinstance(content, Mapping) or not isinstance(content.get(nest), Mapping):
            there = [str(it) for it in content] if isinstance(content, Mapping) else []
            raise WeightsError(f"Weights file {path} holds no {nest!r}.{did_you_mean(nest, there)}")
        content = content[nest]
    while isinstance(content, Mapping):
        tensors = {k: v for k, v in content.items() if isinstance(v, Tensor) and isinstance(k, str)}
        nests = [n for n in _NESTS if isinstance(content.get(n), Mapping)]
        if not nests or len(tensors) > 1:
            if tensors:
                return tensors
            break
        if others := nests[1:]:
            warnings.warn(
                f"Weights file {path} holds {' and '.join(map(repr, nests))}: {nests[0]!r} is "
                f"taken; weights={path}#{others[0]} takes another.",
                SeveralWeightsWarning,
                stacklevel=2,
            )
        content = content[nests[0]]
    raise WeightsError(f"Weights file {path} holds no dictionary of tensors.")


def _align_names(state: State, wanted: Iterable[str]) -> dict[str, str]:
    """Names in a file -> names in a network, the prefix taken off under which most are.

    Of two that fit alike, as of a query and a key encoder, the first in the file is taken.

    Examples
    --------
    >>> _align_names({"module.conv.weight": torch.zeros(1)}, ["conv.weight"])
    {'module.conv.weight': 'conv.weight'}
    """
    wanted = set(wanted)
    counts = Counter(
        name[: len(name) - len(rest)] for name in state for rest in _endings(name) if rest in wanted
    )
    if not counts:
        return {name: name.removeprefix("module.") for name in state}
    most = max(counts.values())
    # A network's own names are never prefixes by chance: `layer1.0.conv1` ends in `conv1`, too.
    prefix = "" if counts[""] * 2 > most else next(it for it, n in counts.items() if n == most)
    return {name: name.removeprefix(prefix) for name in state}


def _endings(name: str) -> Iterator[str]:
    """A name, and what is left of it without its first parts, three at most."""
    for _ in range(_MAX_PREFIX_PARTS + 1):
        yield name
        _, dot, name = name.partition(".")
        if not dot:
            return


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
    # The versions of its modules, which decide how a state dict is read: a file may lack them.
    loading = OrderedDict(taken)
    loading._metadata = own._metadata  # type: ignore[attr-defined]
    network.load_state_dict(loading, strict=False)
    return report


def file_digest(path: str | os.PathLike[str]) -> str:
    """Digest of a file's bytes, remembered until the file changes.

    Raises
    ------
    WeightsError
        If there is no such file.
    """
    asked, (path, nest) = path, split_part(path)
    try:
        status = os.stat(path)
    except OSError as error:
        raise WeightsError(f"Weights file {os.fspath(asked)} is not there.") from error
    if not stat.S_ISREG(status.st_mode):  # A pipe would be waited for without end.
        raise WeightsError(f"Weights file {os.fspath(path)} is no file.")
    found = _file_digest(os.fspath(path), status.st_size, status.st_mtime_ns, status.st_ino)
    return f"{found}#{nest}" if nest else found


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
