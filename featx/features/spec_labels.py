"""Short, unique labels for SPECs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
_FILE = re.compile(r'="?(?:[^,"]*[\\/])([^,"]*)"?')
# Without quotes, a model is a folder only if it starts like a path: timm/NAME is a name.
_MODEL_FOLDER = re.compile(r':(?:"[^"]*[\\/]([^"]*)"|[.~]*/(?:[^:,"/]*/)*([^:,"/]+))')
_RANDOM = "weights=random"


def short_specs(specs: Iterable[str], *, without_common: bool = False) -> dict[str, str]:
    """Short labels of SPECs: files and models without their folders.

    Parameters
    ----------
    specs : iterable of str
        SPECs that are shown together.
    without_common : bool, default=False
        Whether to omit settings that all SPECs of an extractor share, and the only file of weights,
        too; for reports and figures, which show these settings elsewhere.

    Returns
    -------
    dict of str to str
        A unique label for each SPEC.

    Examples
    --------
    >>> short_specs(["cnn:m:a,weights=nets/a.pth"])
    {'cnn:m:a,weights=nets/a.pth': 'cnn:m:a,weights=a.pth'}
    >>> short_specs(["cnn:m:a,pooling=gap", "cnn:m:b,pooling=gap"], without_common=True)
    {'cnn:m:a,pooling=gap': 'cnn:m:a', 'cnn:m:b,pooling=gap': 'cnn:m:b'}
    """
    specs = list(dict.fromkeys(specs))
    reduced = _without_common(specs) if without_common else {}
    labels = {spec: _without_folders(reduced.get(spec, spec)) for spec in specs}
    if without_common and len(set(labels.values())) < len(labels):
        return short_specs(specs)
    counts = Counter(labels.values())
    return {spec: label if counts[label] == 1 else spec for spec, label in labels.items()}


def _without_folders(spec: str) -> str:
    spec = _MODEL_FOLDER.sub(lambda match: f":{match[1] or match[2]}", spec)
    return _FILE.sub(r"=\1", spec)


def _without_common(specs: Sequence[str]) -> dict[str, str]:
    parts = {spec: _COMMA.split(spec) for spec in specs}
    short = {}
    for spec, (head, *settings) in parts.items():
        common = _common([parts[s][1:] for s in specs if _extractor_of(s) == _extractor_of(spec)])
        short[spec] = ",".join([head, *(s for s in settings if s not in common)])
    return short


def _extractor_of(spec: str) -> str:
    return spec.partition(":")[0].partition(",")[0]


def _common(settings: Sequence[Sequence[str]]) -> set[str]:
    """Settings that all SPECs share; of a single SPEC only its file of weights.

    Random weights are always shown; a file of weights that all other SPECs share is not.
    """
    trained = [set(own) for own in settings if _RANDOM not in own]
    weights = {s for s in set[str]().union(*trained) if s.startswith("weights=")}
    common = weights if len(weights) == 1 else set()
    if len(settings) > 1:
        common |= set.intersection(*map(set, settings)) - {_RANDOM}
    return common
