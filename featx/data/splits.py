"""Recognize the usual names of splits, such as ``train2017``, and folder names without meaning."""

from __future__ import annotations

import re

_SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""Words that name a split -> featx's name of the split."""

_FILLERS = frozenset(
    {"data", "dataset", "folder", "full", "image", "images", "img", "imgs", "jpg", "original"}
    | {
        "jpeg",
        "jpegimages",
        "part",
        "partition",
        "photo",
        "photos",
        "pic",
        "pics",
        "picture",
        "pictures",
        "png",
    }
    | {"samples", "seg", "set", "sets", "split", "subset"}
)
"""Words without a meaning, which may accompany the name of a split."""

_JOINED = re.compile(f"({'|'.join(sorted(_SPLITS, key=len, reverse=True))})(data|set|images)")


def find_split(name: str) -> str | None:
    """Split that a folder or a manifest's value names; None if it is not the name of a split.

    One word names the split; it may be accompanied by numbers and words such as "set" or "images".

    Returns
    -------
    {"train", "val", "test"} or None

    Examples
    --------
    >>> [find_split(name) for name in ("train2017", "Seg_Test", "valSet", "cats", "train_test")]
    ['train', 'test', 'val', None, None]
    """
    words = _words_of(name)
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    is_split = all(word in _SPLITS or word in _FILLERS for word in words)
    return splits.pop() if len(splits) == 1 and is_split else None


def is_filler(name: str) -> bool:
    """Whether a folder's name says nothing about the images in it.

    Examples
    --------
    >>> [is_filler(name) for name in ("images", "JPEGImages", "img_2", "cats", "2")]
    [True, True, True, False, False]
    """
    words = _words_of(name)
    return bool(words) and _FILLERS.issuperset(words)


def _words_of(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+", _JOINED.sub(r"\1 \2", spaced.lower()))
