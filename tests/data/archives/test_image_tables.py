from __future__ import annotations

import json

import pyarrow as pa
import pytest

from featx.data.archives.image_tables import find_layout, to_contents

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def _schema(columns, features=None) -> pa.Schema:
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.schema(columns).with_metadata(metadata if features else None)


def test_column_of_structs_with_bytes_holds_the_images() -> None:
    layout = find_layout(_schema({"id": pa.int64(), "img": IMAGE, "label": pa.int64()}))
    assert (layout.image, layout.is_struct, layout.has_path, layout.label) == (
        ("img", True, True, "label")
    )


def test_column_marked_as_classes_is_the_label() -> None:
    features = {"img": {"_type": "Image"}, "breed": {"_type": "ClassLabel", "names": ["a", "b"]}}
    columns = {"img": IMAGE, "label": pa.int64(), "breed": pa.int64()}
    layout = find_layout(_schema(columns, features))
    assert (layout.label, layout.classes) == ("breed", ["a", "b"])


@pytest.mark.parametrize("metadata", [b"[", b"[" * 99_999, b"{}", b'{"info": {"features": 3}}'])
def test_metadata_that_is_none_is_passed_over(metadata: bytes) -> None:
    schema = pa.schema({"image": IMAGE}).with_metadata({b"huggingface": metadata})
    assert find_layout(schema).image == "image"


def test_manifest_is_no_table_of_images() -> None:
    assert find_layout(_schema({"path": pa.string(), "embedding": pa.binary()})) is None


def test_numbers_stand_for_the_names_of_classes() -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant"]}}
    layout = find_layout(_schema({"image": IMAGE, "label": pa.int64()}, features))
    contents = to_contents(layout, [object()] * 3, [], [0, -1, None])
    assert [it.label for it in contents.entries] == ["ant", "", ""]


def test_rows_are_numbered_where_paths_do_not_tell_them_apart() -> None:
    layout = find_layout(_schema({"image": IMAGE}))
    for paths, names in ((["a", "a"], ["0", "1"]), (["/x/a", "b"], ["a", "b"])):
        contents = to_contents(layout, [object()] * 2, paths, None)
        assert [it.name for it in contents.entries] == names


def test_row_without_bytes_is_a_failure_and_its_path_is_not_opened() -> None:
    layout = find_layout(_schema({"image": IMAGE}))
    contents = to_contents(layout, [None], ["/etc/passwd"], None)
    reason = "the table has no bytes of it, only the path '/etc/passwd'"
    assert contents.failures == [("passwd", reason)]
