from __future__ import annotations

import pytest

from featx.data.manifest_columns import find_columns, recognized_names
from featx.errors import DatasetError

HEADERS = {
    "filename,class": "path filename, label class",
    "file_name,text": "path file_name",
    "Image,Species": "path Image, label Species",
    "image_id,dx,dx_type,age": "path image_id, label dx",
    "id,breed": "path id, label breed",
    "id,file_name,category_id,category_name": "path file_name, label category_name",
    "image,category,subset": "path image, label category, split subset",
    "path,class,label": "path path, label label",
    "IMG PATH,Class Name,Set": "path IMG PATH, label Class Name, split Set",
    "image-path,target": "path image-path, label target",
    "path,group,domain,split,label": "path path, label label, split split, domain domain, group "
    "group",
}


@pytest.mark.parametrize(("header", "meaning"), HEADERS.items())
def test_columns_are_known_by_the_names_that_people_give_them(header: str, meaning: str) -> None:
    names = header.split(",")
    indices = find_columns(names)
    assert ", ".join(f"{it} {names[i]}" for it, i in indices.items()) == meaning


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "image,file,label",
            "M: columns 'image' and 'file' may each be the path; rename the right "
            "one to 'path'. Columns: image, file, label.",
        ),
        ("path,class,species", "M: columns 'class' and 'species' may each be the label"),
        ("path,path", "M: column 'path' occurs twice"),
        ("caption,label", "M: no column 'path'; expected path,label.* got 'caption', 'label'"),
        ("path;label", "Separate the columns by commas"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused_with_the_columns(
    header: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        find_columns(header.split(","), where="M")


def test_column_of_groups_may_have_any_name() -> None:
    assert find_columns(["path", "Patient ID"], "patient_id") == {"path": 0, "group": 1}
    assert recognized_names(["a", "site", "image"], "site") == ["site", "image"]
