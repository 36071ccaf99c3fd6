from __future__ import annotations

from typing import Any

import pytest

from featx.data.annotations import read_records
from featx.errors import DatasetError

COCO = {
    "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(3)],
    "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
    "annotations": [{"image_id": i, "category_id": c} for i, c in [(0, 7), (0, 7), (1, 7), (1, 9)]],
}


def task(*choices: str, **more: Any) -> dict[str, Any]:
    """A task of Label Studio with an annotation for each choice."""
    return {
        "data": {"image": "a.jpg"},
        "annotations": [{"result": [{"value": {"choices": [it]}}], **more} for it in choices],
    }


def test_coco_gives_each_image_its_category(caplog: pytest.LogCaptureFixture) -> None:
    assert [(it["path"], it["label"]) for it in read_records(COCO)] == [
        ("0.jpg", "cat"),
        ("1.jpg", None),
        ("2.jpg", None),
    ]
    assert "1 of 3 images have annotations of several classes" in caplog.text


def test_label_studio_gives_each_image_its_choices() -> None:
    tasks = [task("cat", "cat"), task("cat", "dog"), task(), task("cat", was_cancelled=True)]
    labels = [it["label"] for it in read_records(tasks)]
    assert labels == ["cat", None, None, None]


def test_list_of_objects_is_taken_as_it_is() -> None:
    records = [{"image": "a.jpg", "choice": "cat"}]
    assert read_records(records) == records


@pytest.mark.parametrize(
    "content",
    [1, "text", {"a": 1}, [1], {"images": [{"id": 1}]}, {"images": 5}, [task() | {"data": None}]]
    + [{**COCO, "categories": [{"id": 7}]}, [task() | {"annotations": [[]]}]],
)
def test_other_content_is_refused(content: Any) -> None:
    with pytest.raises(DatasetError, match="expected a list of objects, COCO's"):
        read_records(content)
