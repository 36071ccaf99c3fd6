"""Names that people give to splits (``train2017``, ``seg_test``), and that say nothing."""

from __future__ import annotations

import re

_SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""Words that name a split, and what featx calls it."""

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
"""Words that may stand beside it."""

_JOINED = re.compile(f"({'|'.join(sorted(_SPLITS, key=len, reverse=True))})(data|set|images)")


def find_split(name: str) -> str | None:
    """``train``, ``val`` or ``test`` for the name of a split, None for any other name.

    One word names the split; numbers and words such as "set" and "images" may stand beside it.

    Examples
    --------
    >>> [find_split(name) for name in ("train2017", "Seg_Test", "valSet", "cats", "train_test")]
    ['train', 'test', 'val', None, None]
    """
    words = _words_of(name)
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    is_plain = all(word in _SPLITS or word in _FILLERS for word in words)
    return splits.pop() if len(splits) == 1 and is_plain else None


def is_filler(name: str) -> bool:
    """Whether a folder's name says nothing of the images in it.

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
