from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.data.dataset_summary import _describe_files, describe_dataset
from featx.data.datasets import load_dataset
from featx.data.image_dataset import ImageDataset
from featx.data.images import Images


def dataset(labels: list[str] | None, splits: list[str] | None = None, n: int = 4) -> ImageDataset:
    names = list(map(str, range(n)))
    columns = {"labels": labels, "splits": splits}
    arrays = {key: np.array(it) for key, it in columns.items() if it is not None}
    return ImageDataset(Images([b""] * n, names=names), names, **arrays)


@pytest.mark.parametrize(
    ("labels", "splits", "text"),
    [
        (None, None, "no classes, 4 images"),
        (["a", "b", "b", "b"], None, "2 classes (a, b), 4 images"),
        (["a", "", "b", ""], None, "2 classes (a, b), 4 images (2 unlabelled)"),
        (
            ["a", "b", "", ""],
            ["train", "train", "test", "test"],
            "2 classes (a, b), train 2, test 2 (unlabelled)",
        ),
        (
            ["a", "b", "a", ""],
            ["train", "train", "val", ""],
            "2 classes (a, b), train 2, val 1, 1 outside the splits (unlabelled)",
        ),
        (list("abcd"), None, "4 classes (a, b, c, d), 4 images"),
        (["a"] * 3 + ["x" * 99], None, f"2 classes (a, {'x' * 29}…), 4 images"),
    ],
)
def test_classes_and_images_of_each_split_are_counted(
    labels: list[str] | None, splits: list[str] | None, text: str
) -> None:
    assert describe_dataset(dataset(labels, splits)) == text


def test_many_classes_are_cut_off() -> None:
    text = describe_dataset(dataset(list("abcdefg"), n=7))
    assert text == "7 classes (a, b, c, d, e, …), 7 images"


def test_domains_groups_files_left_out_and_remarks_follow() -> None:
    known = {"domains": np.array(["x", "y", "x", ""]), "groups": np.array(["p", "p", "", ""])}
    left_out = Counter({".avif": 3, "": 7})
    whole = replace(dataset(None), **known, left_out=left_out, remarks=["folders not read: t"])
    assert describe_dataset(whole) == (
        "no classes, 4 images, 2 domains (x, y), 1 group, 10 files left out: 7 unknown, 3 .avif; "
        "folders not read: t"
    )


def test_rare_suffixes_are_counted_together() -> None:
    kinds = Counter({f".{i}": 10 - i for i in range(6)})
    assert _describe_files(kinds) == "45 files left out: 10 .0, 9 .1, 8 .2, 7 .3, 11 others"


FOLDERS: dict[str, str] = {
    # Classes alone.
    "{cat,dog}/4": "2 classes (cat, dog), 8 images",
    "4": "no classes, 4 images",
    "cat/4": "1 class (cat), 4 images",
    "{cat,dog}/2 1": "2 classes (cat, dog), 5 images (1 unlabelled)",
    "photos/2026/{cat,dog}/2": "2 classes (cat, dog), 4 images",
    "{cat,dog}/images/2": "2 classes (cat, dog), 4 images",
    "train/{cat,dog}/images/3 {val,test}/images/2": "2 classes (cat, dog), train 6, val 2 "
    "(unlabelled), test 2 (unlabelled)",
    "images/4": "no classes, 4 images",
    "{images,sketches}/2": "2 classes (images, sketches), 4 images",
    "{car,train}/2": "2 classes (car, train), 4 images",
    "{car,bus}/2 train/{steam,diesel}/1": "4 classes (bus, car, diesel, steam), train 2, 4 "
    "outside the splits",
    "{cat,dog}/2 cat/{a.txt,b.txt,c} .DS_Store": "2 classes (cat, dog), 4 images, 3 files left "
    "out: 2 .txt, 1 unknown",
    "{cat,dog}/2 {@eaDir,lost+found,.hidden}/cat/2": "2 classes (cat, dog), 4 images; folders not "
    "read: @eaDir, lost+found",
    "{cat,dog}/2 __MACOSX/cat/2 cat/thumbnails/2": "2 classes (cat, dog), 4 images; folders not "
    "read: __MACOSX, thumbnails",
    "{cat,dog}/2 docs/readme.md": "2 classes (cat, dog), 4 images, 1 file left out: 1 .md",
    # Splits above classes.
    "train/{cat,dog}/3 test/{cat,dog}/2": "2 classes (cat, dog), train 6, test 4",
    "train/{cat,dog}/3 val/{cat,dog}/2 test/{cat,dog}/1": "2 classes (cat, dog), train 6, val 4, "
    "test 2",
    "Train/{cat,dog}/3 VALID/{cat,dog}/2": "2 classes (cat, dog), train 6, val 4; splits from "
    "VALID",
    "training_set/{cat,dog}/3 test_set/{cat,dog}/2": "2 classes (cat, dog), train 6, test 4; "
    "splits from test_set, training_set",
    "train2017/{cat,dog}/3 val2017/{cat,dog}/2": "2 classes (cat, dog), train 6, val 4; splits "
    "from train2017, val2017",
    "seg_train/seg_train/{sea,ice}/3 seg_test/seg_test/{sea,ice}/2 seg_pred/seg_pred/4": "2 "
    "classes (ice, sea), train 6, test 4, 4 outside the splits (unlabelled); splits from "
    "seg_test, seg_train",
    "train/{cat,dog}/3 dev/{cat,dog}/2 eval/{cat,dog}/1": "2 classes (cat, dog), train 6, val 4, "
    "test 2; splits from dev, eval",
    "data/train/{cat,dog}/3 data/test/{cat,dog}/2": "2 classes (cat, dog), train 6, test 4",
    "train/images/{cat,dog}/3 test/images/{cat,dog}/2": "2 classes (cat, dog), train 6, test 4",
    "{cat,dog}/train/3 {cat,dog}/test/2": "2 classes (cat, dog), train 6, test 4",
    "{photo,sketch}/train/{cat,dog}/1 {photo,sketch}/test/{cat,dog}/1": "2 classes (cat, dog), "
    "train 4, test 4",
    "train/{test,car}/2 val/{test,car}/1": "2 classes (car, test), train 4, val 2",
    # Splits without classes, and images beside them.
    "train/{cat,dog}/3 test/4": "2 classes (cat, dog), train 6, test 4 (unlabelled)",
    "train/{cat,dog}/3 test1/4": "2 classes (cat, dog), train 6, test 4 (unlabelled); splits from "
    "test1",
    "train/{cat,dog}/3 test/unknown/4": "3 classes (cat, dog, unknown), train 6, test 4",
    "{train,test}/3": "no classes, train 3, test 3",
    "train/{cat,dog}/3 train/1 test/2": "2 classes (cat, dog), train 7 (1 unlabelled), test 2 "
    "(unlabelled)",
    "train/{cat,dog}/3 test/4 figures/1": "2 classes (cat, dog), train 6, test 4 (unlabelled), "
    "1 outside the splits (unlabelled)",
    "train/{cat,dog}/3 test/4 1": "2 classes (cat, dog), train 6, test 4 (unlabelled), 1 outside "
    "the splits (unlabelled)",
    "train/{cat,dog}/3 test/{cat,dog}/2 extra/{cat,dog}/1": "2 classes (cat, dog), train 6, test "
    "4, 2 outside the splits",
    "{train,test}/3 figures/1": "no classes, train 3, test 3, 1 outside the splits",
    "train/{cat,dog}/3 test/4 {results.json,table.csv,report.html} figures/2": "2 classes (cat, "
    "dog), train 6, test 4 (unlabelled); folders not read: figures",
    "train/{cat,dog}/3": "2 classes (cat, dog), train 6",
}
"""Images of a folder, as `lay` takes them, and what is understood."""

LISTS: dict[str, tuple[str, str, str]] = {
    # Several sources: files, what is given, what is understood.
    "cats dogs": ("{cats,dogs}/2", "cats dogs", "2 classes (cats, dogs), 4 images"),
    "cats/* dogs/*": (
        "{cats,dogs}/2",
        "cats/0.jpg cats/1.jpg dogs/0.jpg dogs/1.jpg",
        "2 classes (cats, dogs), 4 images",
    ),
    "data/train data/test": (
        "data/{train,test}/{cat,dog}/2",
        "data/train data/test",
        "2 classes (cat, dog), train 4, test 4",
    ),
    "data/*/*": (
        "data/{train,test}/{cat,dog}/2",
        "data/train/cat data/train/dog data/test/cat data/test/dog",
        "2 classes (cat, dog), train 4, test 4",
    ),
    "cat/*, files alone": ("cat/2", "cat/0.jpg cat/1.jpg", "no classes, 2 images"),
    "a/cats dogs": ("{a/cats,dogs}/2", "a/cats dogs", "no classes, 4 images"),
}

MANIFESTS: dict[str, tuple[str, str, str]] = {
    # Name and text of a manifest of 0.jpg and 1.jpg, and what is understood.
    "plain": ("m.csv", "path,label\n0.jpg,cat\n1.jpg,dog\n", ""),
    "headers": (
        "m.csv",
        "filename,species\n0.jpg,cat\n1.jpg,dog\n",
        "path from column 'filename', label from column 'species'",
    ),
    "ids": (
        "m.csv",
        "image_id,dx\n0,cat\n1,dog\n",
        "path from column 'image_id', label from column 'dx'",
    ),
    "tabs": ("m.tsv", "path\tlabel\n0.jpg\tcat\n1.jpg\tdog\n", ""),
    "backslashes": ("m.csv", "path,label\n.\\0.jpg,cat\n.\\1.jpg,dog\n", ""),
    "lines": ("m.txt", "0.jpg cat\n1.jpg dog\n", ""),
    "lines of JSON": (
        "m.jsonl",
        '{"path": "0.jpg", "label": "cat"}\n{"path": "1.jpg", "label": "dog"}',
        "",
    ),
    "COCO": (
        "m.json",
        '{"images": [{"id": 0, "file_name": "0.jpg"}, {"id": 1, "file_name": "1.jpg"}], '
        '"annotations": [{"image_id": 0, "category_id": 0}, {"image_id": 1, "category_id": 1}], '
        '"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}',
        "",
    ),
    "Label Studio": (
        "m.json",
        '[{"image": "/data/upload/1/0.jpg", "choice": "cat"}, {"image": "1.jpg", "choice": "dog"}]',
        "path from column 'image', label from column 'choice'",
    ),
    "Hugging Face": ("metadata.csv", "file_name,label\n0.jpg,cat\n1.jpg,dog\n", ""),
}


def expand(text: str) -> list[str]:
    """A name with braces as the names that it stands for."""
    head, brace, rest = text.partition("{")
    if not brace:
        return [text]
    middle, _, tail = rest.partition("}")
    return [name for it in middle.split(",") for name in expand(f"{head}{it}{tail}")]


def lay(root: Path, layout: str) -> None:
    """Empty files under `root`; a number stands for so many images."""
    for name in (name for word in layout.split() for name in expand(word)):
        folder, _, last = name.rpartition("/")
        (root / folder).mkdir(parents=True, exist_ok=True)
        for file in [f"{i}.jpg" for i in range(int(last))] if last.isdigit() else [last]:
            (root / folder / file).touch()


@pytest.mark.parametrize(("layout", "line"), FOLDERS.items())
def test_folder_is_understood(tmp_path: Path, layout: str, line: str) -> None:
    lay(tmp_path, layout)
    assert describe_dataset(load_dataset(tmp_path)) == line


@pytest.mark.parametrize("name", LISTS)
def test_several_sources_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    layout, sources, line = LISTS[name]
    lay(tmp_path, layout)
    monkeypatch.chdir(tmp_path)
    assert describe_dataset(load_dataset(sources.split())) == line


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_is_understood(tmp_path: Path, name: str) -> None:
    file, text, remark = MANIFESTS[name]
    lay(tmp_path, "2")
    (tmp_path / file).write_text(text)
    dataset = load_dataset(tmp_path if file.startswith("metadata") else tmp_path / file)
    line = "; ".join(filter(None, ["2 classes (cat, dog), 2 images", remark]))
    assert describe_dataset(dataset) == line
    assert dataset.names == [f"{tmp_path}/0.jpg", f"{tmp_path}/1.jpg"]


def test_the_table_has_forty_layouts() -> None:
    assert len(FOLDERS) + len(LISTS) + len(MANIFESTS) >= 40
