"""SPECs as a page names them: without what all of them say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
FOLDERS = re.compile(r'="?(?:[^,"]*[\\/])([^,"]*)"?')
RANDOM = "weights=random"


def short_spec(spec: str) -> str:
    """A SPEC without the folders of the files in it.

    Examples
    --------
    >>> short_spec('cnn:squeezenet1_0:pool1,weights="../nets/squeeze.pth"')
    'cnn:squeezenet1_0:pool1,weights=squeeze.pth'
    """
    return FOLDERS.sub(r"=\1", spec)


def short_specs(specs: Iterable[str]) -> dict[str, str]:
    """SPECs without the settings that every one of their kind has.

    Parameters
    ----------
    specs : iterable of str

    Returns
    -------
    dict of str to str
        A name for each; two SPECs never share one.

    Examples
    --------
    >>> short_specs(["cnn:m:a,pooling=gap", "cnn:m:b,pooling=gap"])
    {'cnn:m:a,pooling=gap': 'cnn:m:a', 'cnn:m:b,pooling=gap': 'cnn:m:b'}
    >>> short_specs(["hog,cell_px=8", "cnn:m:a,weights=nets/a.pth"])
    {'hog,cell_px=8': 'hog,cell_px=8', 'cnn:m:a,weights=nets/a.pth': 'cnn:m:a'}
    """
    specs = list(dict.fromkeys(specs))
    parts = {spec: COMMA.split(spec) for spec in specs}
    short = {}
    for spec, (head, *settings) in parts.items():
        others = [parts[s][1:] for s in specs if _kind(s) == _kind(spec)]
        shared = _shared(others)
        short[spec] = short_spec(",".join([head, *(s for s in settings if s not in shared)]))
    return short if len(set(short.values())) == len(specs) else {s: short_spec(s) for s in specs}


def _kind(spec: str) -> str:
    return spec.partition(":")[0].partition(",")[0]


def _shared(settings: Sequence[Sequence[str]]) -> set[str]:
    """Settings that all have, of one kind alone its file of weights.

    Weights at random are told, those that all the others have need not be.
    """
    named = [set(own) for own in settings if RANDOM not in own]
    weights = {s for s in set[str]().union(*named) if s.startswith("weights=")}
    shared = weights if len(weights) == 1 else set()
    if len(settings) > 1:
        shared |= set.intersection(*map(set, settings)) - {RANDOM}
    return shared
