from __future__ import annotations

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx.data.datasets import load_dataset
from featx.errors import DatasetError


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch):
    def feed(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return feed


@pytest.mark.parametrize("content", [b"b.jpg\n a.jpg\r\n\n", b"b.jpg\0 a.jpg\0"])
def test_names_on_standard_input_are_lines_or_end_in_nul(type_in, content: bytes) -> None:
    type_in(content)
    assert load_dataset("-").names == ["b.jpg", " a.jpg"]


def test_nul_separated_name_may_hold_a_newline(type_in) -> None:
    type_in(b"a\nb.jpg\0")
    assert load_dataset("-").names == ["a\nb.jpg"]


def test_name_on_standard_input_may_be_any_bytes(type_in) -> None:
    type_in(b"caf\xe9.jpg\n")
    dataset = load_dataset("-")
    assert dataset.names == ["caf\\xe9.jpg"]
    assert os.fsencode(dataset.images.path(0)) == b"caf\xe9.jpg"


def test_folder_on_standard_input_is_read(type_in, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").touch()
    type_in(os.fsencode(tmp_path) + b"\nalone.jpg\n")
    assert load_dataset("-").labels.tolist() == ["cat", ""]


def test_empty_standard_input_is_refused(type_in) -> None:
    type_in(b"\n")
    with pytest.raises(
        DatasetError, match="No names on standard input; expected one path per line"
    ):
        load_dataset("-")


def test_image_named_twice_on_standard_input_is_taken_once(type_in) -> None:
    type_in(b"a.jpg\nb.jpg\n./a.jpg\n")
    assert load_dataset("-").names == ["a.jpg", "b.jpg"]


def test_images_of_one_folder_are_not_compared_with_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.data.listings.drop_repeated", None)
    (tmp_path / "1.jpg").touch()
    assert len(load_dataset(tmp_path)) == 1


def test_empty_folder_beside_images_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").touch()
    dataset = load_dataset([tmp_path / "none", tmp_path / "cat"])
    assert len(dataset) == 1
    assert dataset.empty_reasons == [
        f"No image in {tmp_path}/none: it contains no files, or only hidden ones."
    ]


def lay(root: Path, *names: str) -> Path:
    """Empty files of these names under `root`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def understood(*sources: str, **known: object) -> list[tuple[str, str]]:
    """Class and split of each image, `-` where there are none."""
    dataset = load_dataset(list(sources), **known)
    columns = (dataset.labels, dataset.splits)
    none = ["-"] * len(dataset)
    return list(zip(*(none if it is None else it.tolist() for it in columns)))


CATS_AND_DOGS = ("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg")
SPLITS = ("data/train/cat/1.jpg", "data/train/dog/1.jpg", "data/test/cat/1.jpg")


@pytest.mark.parametrize(
    "sources",
    [["cats", "dogs"], ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"], ["cats/1.jpg", "cats", "dogs"]]
    + [["./cats/", "dogs"], ["cats", "dogs", "cats"]],
)
def test_folders_and_files_side_by_side_are_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str]
) -> None:
    monkeypatch.chdir(lay(tmp_path, *CATS_AND_DOGS))
    assert understood(*sources) == [("cats", "-"), ("cats", "-"), ("dogs", "-")]


@pytest.mark.parametrize(
    "sources",
    [["data/train", "data/test"], ["data/train/cat", "data/train/dog", "data/test/cat"], ["data"]]
    + [list(SPLITS)],
)
def test_folders_and_files_of_splits_are_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str]
) -> None:
    monkeypatch.chdir(lay(tmp_path, *SPLITS))
    assert sorted(understood(*sources)) == [("cat", "test"), ("cat", "train"), ("dog", "train")]


def test_folders_apart_from_each_other_say_nothing_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lay(tmp_path, "a/cats/1.jpg", "dogs/1.jpg"))
    assert understood("a/cats", "dogs") == [("-", "-"), ("-", "-")]
    assert understood("dogs/1.jpg") == [("-", "-")]


def test_image_reached_in_two_ways_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lay(tmp_path, "s/cat/1.jpg", "s/dog/1.jpg"))
    (tmp_path / "link").symlink_to("s")
    (tmp_path / "link.jpg").symlink_to("s/cat/1.jpg")
    names = ["s/cat/1.jpg", "s/dog/1.jpg"]
    assert load_dataset(["s", f"{tmp_path}/s", "link", "./s/cat/../cat/1.jpg"]).names == names
    assert load_dataset(["s", "link.jpg"]).names == names


def test_splits_are_refused_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lay(tmp_path, *SPLITS, "m/1.jpg"))
    assert understood("data", splits="none") == [("cat", "-"), ("cat", "-"), ("dog", "-")]
    (tmp_path / "m.csv").write_text("path,split\nm/1.jpg,train\n")
    assert understood("m.csv", splits="none") == [("-", "-")]
    with pytest.raises(DatasetError, match=r"splits must be one of auto, none; got 'no'"):
        load_dataset("data", splits="no")


def test_split_folders_and_folders_left_out_are_known(tmp_path: Path) -> None:
    lay(tmp_path, "train2017/cat/1.jpg", "val2017/cat/1.jpg", "thumbnails/1.jpg")
    dataset = load_dataset(tmp_path)
    assert dataset.split_folders == {"train2017": "train", "val2017": "val"}
    assert dataset.skipped_folders == [f"{tmp_path}/thumbnails"]


def test_class_that_would_be_missing_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg", "bird/1.psd", "bird/2.psd")
    with pytest.raises(
        DatasetError, match=r"/bird: featx cannot .* \(2 \.psd\), so 'bird' would be missing"
    ):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_in_a_folder_says_what_its_images_are(tmp_path: Path, name: str) -> None:
    lay(tmp_path, "train/1.jpg", "train/images/2.jpg", "train/images/3.jpg", "test/cat/4.jpg")
    rows = [("1.jpg", "cat"), ("images/2.jpg", "dog"), ("gone.jpg", "dog")]
    lines = [json.dumps({"file_name": path, "label": label}) for path, label in rows]
    if name.endswith("csv"):
        lines = ["file_name,label", *map(",".join, rows)]
    (tmp_path / "train" / name).write_text("\n".join(lines))
    dataset = load_dataset(f"{tmp_path}/train/../../{tmp_path.name}")
    names = [os.path.basename(it) for it in dataset.names]
    assert dict(zip(names, dataset.labels.tolist())) == {
        **{"1.jpg": "cat", "2.jpg": "dog", "3.jpg": "", "4.jpg": "cat", "gone.jpg": "dog"}
    }
    assert dataset.splits.tolist().count("test") == 1


def test_metadata_without_classes_changes_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "metadata.csv").write_text("file_name,text\ncat/1.jpg,a cat\n")
    (tmp_path / "dog/metadata.csv").write_text("key;value\n")
    assert load_dataset(tmp_path).labels.tolist() == ["cat", "dog"]


def test_texts_beside_images_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lay(tmp_path, "1.jpg", "1.json", "2.jpg", "2.txt"))
    dataset = load_dataset(sorted(map(str, Path().glob("*"))))
    assert (dataset.names, dataset.n_ignored) == (["1.jpg", "2.jpg"], 2)


def test_manifest_whose_files_are_elsewhere_says_where_one_is(tmp_path: Path) -> None:
    lay(tmp_path, "images/1.jpg")
    (tmp_path / "m.csv").write_text("path\n1.jpg\n")
    with pytest.raises(DatasetError, match=r"folder\. There is images/1\.jpg: write paths like"):
        load_dataset(tmp_path / "m.csv")


def test_columns_and_repeated_rows_of_a_manifest_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lay(tmp_path, "1.jpg")
    (tmp_path / "m.csv").write_text("image,species,phase\n1.jpg,cat,train\n1.jpg,cat,test\n")
    assert load_dataset(tmp_path / "m.csv").remarks == [
        "path from column 'image', label from column 'species', split from column 'phase'"
    ]
    assert "skipped 1 repeated rows, 1 of another split" in caplog.text
