"""SPECs as people read them: short, and no two alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
_FILE = re.compile(r'="?(?:[^,"]*[\\/])([^,"]*)"?')
# A model without quotes is a folder only where it starts like a path: timm/NAME is a name.
_MODEL_FOLDER = re.compile(r':(?:"[^"]*[\\/]([^"]*)"|[.~]*/(?:[^:,"/]*/)*([^:,"/]+))')
_RANDOM = "weights=random"


def short_specs(specs: Iterable[str], *, without_common: bool = False) -> dict[str, str]:
    """Short names of SPECs: files and models without their folders.

    Parameters
    ----------
    specs : iterable of str
        Those that are shown together.
    without_common : bool, default=False
        Whether settings that all SPECs of an extractor share are left out as well, and its file of
        weights where there is one alone: for pages and figures, which show the settings elsewhere.

    Returns
    -------
    dict of str to str
        A name for each; two SPECs never share one.

    Examples
    --------
    >>> short_specs(["cnn:m:a,weights=nets/a.pth"])
    {'cnn:m:a,weights=nets/a.pth': 'cnn:m:a,weights=a.pth'}
    >>> short_specs(["cnn:m:a,pooling=gap", "cnn:m:b,pooling=gap"], without_common=True)
    {'cnn:m:a,pooling=gap': 'cnn:m:a', 'cnn:m:b,pooling=gap': 'cnn:m:b'}
    """
    specs = list(dict.fromkeys(specs))
    bare = _without_common(specs) if without_common else {}
    short = {spec: _without_folders(bare.get(spec, spec)) for spec in specs}
    if without_common and not _all_differ(short):
        return short_specs(specs)
    names = list(short.values())
    return {spec: name if names.count(name) == 1 else spec for spec, name in short.items()}


def _all_differ(names: Mapping[str, str]) -> bool:
    return len(set(names.values())) == len(names)


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
    """Settings that all have; of a single SPEC only its file of weights.

    Random weights are always named; those that all the others have need not be.
    """
    named = [set(own) for own in settings if _RANDOM not in own]
    weights = {s for s in set[str]().union(*named) if s.startswith("weights=")}
    common = weights if len(weights) == 1 else set()
    if len(settings) > 1:
        common |= set.intersection(*map(set, settings)) - {_RANDOM}
    return common
