from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from featx.data.manifests import read_manifest
from featx.errors import DatasetError


def written(folder: Path, text: str, name: str = "m.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def test_columns_come_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, "id,Label, path\n7,cat,a.jpg\n8,dog,b.jpg\n"))
    assert manifest.path == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]
    assert manifest.label == ["cat", "dog"]
    assert manifest.split is None


def test_path_alone_is_enough(tmp_path: Path) -> None:
    assert read_manifest(written(tmp_path, "path\na.jpg\n")).label is None


def test_absolute_path_stays(tmp_path: Path) -> None:
    assert read_manifest(written(tmp_path, "path\n/far/a.jpg\n")).path == ["/far/a.jpg"]


def test_tsv_is_separated_by_tabs(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, "path\tlabel\na,b.jpg\tcat\n", "m.tsv"))
    assert (manifest.path, manifest.label) == ([f"{tmp_path}/a,b.jpg"], ["cat"])


def test_parquet_gives_the_same_as_csv(tmp_path: Path) -> None:
    table = pa.table({"path": ["a.jpg", "b.jpg"], "label": [3, None], "split": ["Valid", ""]})
    parquet.write_table(table, tmp_path / "m.parquet")
    text = written(tmp_path, "path,label,split\na.jpg,3,val\nb.jpg,,\n")
    assert read_manifest(str(tmp_path / "m.parquet")) == read_manifest(text)


def test_quotes_newlines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = '\ufeffpath,label\r\n"a,""1"".jpg","big\ncat"\r\n\r\nb\u2028.jpg,dog\r\n'
    manifest = read_manifest(written(tmp_path, text))
    assert [os.path.basename(path) for path in manifest.path] == ['a,"1".jpg', "b\u2028.jpg"]
    assert manifest.label == ["big\ncat", "dog"]


def test_name_that_is_no_utf8_opens(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "m.csv").write_bytes(b"path\ncaf\xe9.jpg\n")
    assert os.path.exists(read_manifest(str(tmp_path / "m.csv")).path[0])


def test_repeated_row_is_taken_once(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, "path,label\na.jpg,cat\na.jpg,cat\n"))
    assert (len(manifest.path), manifest.n_repeated) == (1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a first line 'path,label'"),
        ("caption,label\n", "line 1: no column 'path'; .* got 'caption', 'label'"),
        ("path,class,species\n", "line 1: columns 'class' and 'species' may each be the label"),
        ('path,label\na.jpg,"cat\nb.jpg,dog\n', "line 2: .*Is there a quote that is not"),
        ('path,label\na.jpg,x\nb.jpg,"cat\nc.jpg,"dog"\n', "line 3: .*Is there a quote"),
        ('path,label\na.jpg,x\nb.jpg,"' + "y" * 200_000, "line 3: .*Is there a quote"),
        ("path;label\n", "Separate the columns by commas"),
        ("path,path\n", "line 1: column 'path' occurs twice"),
        ("path,label\na.jpg\n", "line 2, column 'label': expected 2 fields, got 1"),
        ("path,label\na,b,c\n", "line 2, column 3: expected 2 fields, got 3"),
        ("path,label\na,b\n\n,cat\n", "line 4, column 'path': the path is empty"),
        ("path,split\na,tset\n", "line 2, column 'split': 'tset' is not a split.*mean 'test'"),
        ("path,label\na,b\na,c\n", "line 3, column 'path': 'a' occurs twice.* from line 2"),
        ("path\na\0\n", "line 2.*NUL"),
    ],
)
def test_error_names_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as raised:
        read_manifest(written(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_error_in_parquet_names_the_row(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"path": ["a", None]}), tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match="row 2, column 'path': the path is empty"):
        read_manifest(str(tmp_path / "m.parquet"))


def test_broken_parquet_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is not a parquet file"):
        read_manifest(written(tmp_path, "path\n", "m.parquet"))


def test_utf_16_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("path,label\n0.png,x\n", encoding="utf-16")
    with pytest.raises(DatasetError, match="Save it as UTF-8"):
        read_manifest(str(file))


def test_group_is_read_and_another_column_may_take_its_part(tmp_path: Path) -> None:
    text = "path,group,Patient,label\na.jpg,g1,p1,x\nb.jpg,g2,,y\n"
    file = written(tmp_path, text)
    parquet.write_table(
        pa.table({"path": ["a.jpg", "b.jpg"], "group": ["g1", "g2"], "patient": ["p1", None]}),
        tmp_path / "m.parquet",
    )
    assert read_manifest(file).group == ["g1", "g2"]
    assert read_manifest(file, "patient").group == ["p1", ""]
    assert read_manifest(file, "label").group == read_manifest(file, "label").label == ["x", "y"]
    assert read_manifest(str(tmp_path / "m.parquet"), "patient").group == ["p1", ""]


def test_missing_group_column_is_named_with_those_there(tmp_path: Path) -> None:
    file = written(tmp_path, "path,patient\na.jpg,p1\n")
    with pytest.raises(DatasetError, match=r"no column 'pateint'.*mean 'patient'.*path, patient"):
        read_manifest(file, "pateint")


def test_one_image_under_two_spellings_is_one(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text(f"path,label\ncat/0.jpg,cat\n./cat/0.jpg,cat\n{tmp_path}/cat/0.jpg,cat\n")

    manifest = read_manifest(str(file))

    assert manifest.path == [f"{tmp_path}/cat/0.jpg"]
    assert manifest.n_repeated == 2
    file.write_text("path,label\ncat/0.jpg,cat\n./cat/0.jpg,dog\n")
    with pytest.raises(DatasetError, match=r"line 3.*'\./cat/0\.jpg' occurs twice"):
        read_manifest(str(file))


def test_classes_are_the_same_whatever_their_blanks_and_unicode_form(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    forms = ["café", unicodedata.normalize("NFD", "café"), " café "]
    file.write_text("path,label\n" + "".join(f"{i}.jpg,{name}\n" for i, name in enumerate(forms)))

    assert set(read_manifest(str(file)).label) == {"café"}


def test_labels_that_are_no_utf_8_are_refused_at_their_line(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes(b"path,label\na.jpg,dog\nb.jpg,caf\xe9\n")

    with pytest.raises(DatasetError, match=r"line 3, column 'label': 'caf\\\\xe9' is not UTF-8"):
        read_manifest(str(file))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a.jpg\nsub/b.png\n", None),
        ("path\na.jpg\nsub/b.png\n", None),
        ("# two images\n\na.jpg 0\nsub/b.png 1\n", ["0", "1"]),
        ("a.jpg\tbig cat\nsub/b.png\tdog\n", ["big cat", "dog"]),
        ("a.jpg,big cat\nsub/b.png,dog\n", ["big cat", "dog"]),
        ("file,species\na.jpg,cat\nsub/b.png,dog\n", ["cat", "dog"]),
        ("a.jpg cat\nsub/b.png", None),
    ],
)
def test_list_has_a_path_or_a_path_and_a_class_on_each_line(
    tmp_path: Path, text: str, label: list[str] | None
) -> None:
    manifest = read_manifest(written(tmp_path, text, "m.txt"))
    assert manifest.label == label
    assert manifest.path[1] == f"{tmp_path}/sub/b.png"


def test_path_with_blanks_keeps_them_in_a_list(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, "my cat.jpg 3\nmy dog.jpg 4\n", "m.txt"))
    assert (manifest.path[0], manifest.label) == (f"{tmp_path}/my cat.jpg", ["3", "4"])


def test_lines_of_json_may_have_columns_of_their_own(tmp_path: Path) -> None:
    text = '{"file_name": "a.jpg", "label": 3}\n\n{"file_name": "b.jpg", "split": "dev"}\n'
    manifest = read_manifest(written(tmp_path, text, "m.jsonl"))
    assert (manifest.label, manifest.split) == (["3", ""], ["", "val"])
    assert manifest.renamed == {"path": "file_name"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.jsonl", '{"path": "a"}\n{"path"\n', r"m\.jsonl, line 2: "),
        ("m.jsonl", '{"path": "a"}\n[]\n', "line 2: expected an object"),
        ("m.json", "{", r"m\.json: "),
        ("m.json", "[" * 100_000, r"m\.json: "),
        ("m.json", '{"a": 1}', "expected a list of objects"),
        ("m.json", '[{"path": "a", "label": ["x", "y"]}]', r"image 1, .*2 values \(x, y\)"),
        ("m.json", '[{"path": "a", "label": {"x": 1}}]', "image 1, .*got an object"),
        ("m.jsonl", '{"caption": "a"}', r"m\.jsonl: no column 'path'"),
    ],
)
def test_error_in_json_names_its_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as raised:
        read_manifest(written(tmp_path, text, name))
    assert "\n" not in str(raised.value)


def test_coco_and_label_studio_give_labels(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 5}, {"image_id": 1, "category_id": 5}],
        "categories": [{"id": 5, "name": "cat"}],
    }
    assert read_manifest(written(tmp_path, json.dumps(coco), "m.json")).label == ["cat", ""]
    small = [{"id": 4, "image": "a.jpg", "choice": "cat"}, {"id": 5, "image": "b.jpg"}]
    small[1]["choice"] = {"choices": ["dog"]}
    assert read_manifest(written(tmp_path, json.dumps(small), "m.json")).label == ["cat", "dog"]


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        ([b"cat", b"dog"], ["cat", "dog"]),
        ([3.0, None], ["3", ""]),
        ([0.5, float("nan")], ["0.5", ""]),
        ([["cat"], []], ["cat", ""]),
        ([True, False], ["True", "False"]),
    ],
)
def test_labels_of_parquet_are_texts(
    tmp_path: Path, labels: list[object], texts: list[str]
) -> None:
    parquet.write_table(pa.table({"path": ["a", "b"], "label": labels}), tmp_path / "m.parquet")
    assert read_manifest(str(tmp_path / "m.parquet")).label == texts


@pytest.mark.parametrize(
    ("label", "message"),
    [([["cat"], ["a", "b"]], r"2 values \(a, b\)"), ([b"cat", b"caf\xe9"], "is not UTF-8")],
)
def test_labels_of_parquet_that_are_no_class_are_refused_at_their_row(
    tmp_path: Path, label: list[object], message: str
) -> None:
    parquet.write_table(pa.table({"path": ["a", "b"], "label": label}), tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match=rf"row 2, column 'label': .*{message}"):
        read_manifest(str(tmp_path / "m.parquet"))


def test_images_of_hugging_face_in_parquet_are_read_by_their_paths(tmp_path: Path) -> None:
    images = [{"bytes": b"x" * 9, "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}]
    parquet.write_table(pa.table({"image": images, "label": [1, 2]}), tmp_path / "m.parquet")
    manifest = read_manifest(str(tmp_path / "m.parquet"))
    assert manifest.path == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]


def test_image_named_in_two_splits_counts_in_the_first(tmp_path: Path) -> None:
    text = "path,label,split\na.jpg,cat,train\n./a.jpg,cat,test\na.jpg,cat,train\n"
    manifest = read_manifest(written(tmp_path, text))
    assert (manifest.split, manifest.n_repeated, manifest.n_resplit) == (["train"], 2, 1)


def test_column_called_set_is_a_split_only_where_all_its_values_are(tmp_path: Path) -> None:
    assert read_manifest(written(tmp_path, "path,set\na,train\nb,\n")).split == ["train", ""]
    assert read_manifest(written(tmp_path, "path,set\na,train\nb,blue\n")).split is None
