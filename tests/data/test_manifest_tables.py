import json
from pathlib import Path

import pytest

from featx.data.manifest_tables import read_table


def test_rows_say_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text('path,label\n\na.jpg,"big\ncat"\nb.jpg,dog\n')
    names, rows = read_table(str(file), lambda name: True)
    assert names == ["path", "label"]
    assert list(rows) == [("line 4", ["a.jpg", "big\ncat"]), ("line 5", ["b.jpg", "dog"])]


def test_objects_with_other_names_fill_one_table(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text('{"path": "a"}\n{"label": 3, "path": "b"}\n')
    names, rows = read_table(str(file), lambda name: True)
    assert names == ["path", "label"]
    assert list(rows) == [("line 1", ["a", None]), ("line 2", ["b", 3])]


@pytest.mark.parametrize("cancelled", [True, False])
def test_cancelled_annotations_of_label_studio_do_not_count(
    tmp_path: Path, cancelled: bool
) -> None:
    file = tmp_path / "m.json"
    annotation = {"was_cancelled": cancelled, "result": [{"value": {"choices": ["cat"]}}]}
    file.write_text(json.dumps([{"data": {"image": "a.jpg"}, "annotations": [annotation]}]))
    _, rows = read_table(str(file), lambda name: True)
    assert [row for _, row in rows] == [["a.jpg", "" if cancelled else "cat"]]
