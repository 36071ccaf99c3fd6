"""Read class labels from COCO's and Label Studio's JSON."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from featx.errors import DatasetError, one_line

logger = logging.getLogger(__name__)

Records: TypeAlias = list[Mapping[str, Any]]

_EXPECTED = "expected a list of objects, COCO's images and annotations, or Label Studio's tasks"


def read_records(content: Any) -> Records:
    """Records of a JSON file, with the columns of a manifest as keys.

    Parameters
    ----------
    content : list or dict
        Parsed JSON: a list of objects, which is returned unchanged, or COCO's or Label Studio's
        format. From these an image gets a ``label`` if all its annotations are of one class.

    Returns
    -------
    list of mapping

    Raises
    ------
    DatasetError
        If the content is in none of these formats.

    Examples
    --------
    >>> read_records({
    ...     "images": [{"id": 1, "file_name": "a.jpg"}],
    ...     "annotations": [{"image_id": 1, "category_id": 3}],
    ...     "categories": [{"id": 3, "name": "cat"}],
    ... })
    [{'path': 'a.jpg', 'label': 'cat'}]
    """
    try:
        if isinstance(content, dict) and "images" in content:
            return _with_one_label(_coco(content))
        if not isinstance(content, list) or not all(isinstance(it, dict) for it in content):
            raise DatasetError(_EXPECTED)
        if any("data" in it and ("annotations" in it or "completions" in it) for it in content):
            return _with_one_label(_label_studio(content))
    except (AttributeError, KeyError, TypeError) as error:
        raise DatasetError(f"{_EXPECTED}; {type(error).__name__} {one_line(error)}") from error
    return content


def _coco(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    names = {it["id"]: it["name"] for it in content.get("categories", ())}
    labels: dict[Any, list[Any]] = defaultdict(list)
    for it in content.get("annotations", ()):
        if "category_id" in it:
            labels[it["image_id"]].append(names.get(it["category_id"], it["category_id"]))
    for it in content["images"]:
        yield {"path": it["file_name"], "label": set(labels[it["id"]])}


def _label_studio(tasks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for task in tasks:
        annotations = task.get("annotations") or task.get("completions") or ()
        choices = [
            choice
            for annotation in annotations
            if not annotation.get("was_cancelled")
            for result in annotation.get("result", ())
            for choice in result.get("value", {}).get("choices", ())
        ]
        yield {**task["data"], "label": set(choices)}


def _with_one_label(records: Iterable[Mapping[str, Any]]) -> Records:
    """Records with one class instead of a set of classes; None if there are several."""
    records = list(records)
    if n_ambiguous := sum(len(record["label"]) > 1 for record in records):
        logger.warning(
            "%d of %d images have annotations of several classes; they are left unlabeled.",
            *(n_ambiguous, len(records)),
        )
    return [
        {**record, "label": next(iter(labels)) if len(labels := record["label"]) == 1 else None}
        for record in records
    ]
