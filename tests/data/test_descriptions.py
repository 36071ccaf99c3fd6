"""What is understood of folders and manifests as they are met, in the line that commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.data.datasets import load_dataset
from featx.data.descriptions import describe_dataset
from featx.errors import DatasetError
from tests.data.test_folders import lay

TWO = ("cat/1.jpg", "dog/1.jpg")
"""An image of each of two classes."""


def under(folder: str, names: tuple[str, ...] = TWO) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


FOLDERS = {
    "images alone": (("1.jpg", "2.png"), "2 images"),
    "classes": (TWO, "2 classes (cat, dog), 2 images"),
    "an image beside classes": ((*TWO, "1.jpg"), "2 classes (cat, dog), 3 images (1 unlabeled)"),
    "many classes": (
        tuple(f"{name}/1.jpg" for name in "abcdefg"),
        "7 classes (a, b, c, d, e, …), 7 images",
    ),
    "train and test": (
        (*under("train"), *under("test")),
        "2 classes (cat, dog), train 2, test 2",
    ),
    "three splits": (
        (*under("train"), *under("valid"), *under("test")),
        "2 classes (cat, dog), train 2, val (valid) 2, test 2",
    ),
    "unlabeled test": (
        (*under("train"), "test/1.jpg", "test/2.jpg"),
        "2 classes (cat, dog), train 2, test 2 (unlabeled)",
    ),
    "unlabeled test beside a stray image in a folder": (
        (*under("train"), "test/1.jpg", "figures/plot.png"),
        "2 classes (cat, dog), train 2, test 1 (unlabeled), 1 outside the splits (unlabeled)",
    ),
    "unlabeled test beside a stray image": (
        (*under("train"), "test/1.jpg", "plot.png"),
        "2 classes (cat, dog), train 2, test 1 (unlabeled), 1 outside the splits (unlabeled)",
    ),
    "a report of featx beside splits": (
        (
            *under("train"),
            "test/1.jpg",
            *under("out", ("report.html", "results.json", "figures/a.png")),
        ),
        "2 classes (cat, dog), train 2, test 1 (unlabeled), folders skipped: out/figures",
    ),
    "a report of featx beside classes": (
        (*TWO, "rep/report.html", "rep/results.json", "rep/figures/a.png"),
        "2 classes (cat, dog), 2 images, folders skipped: rep/figures",
    ),
    "splits without classes": (("train/1.jpg", "test/1.jpg"), "train 1, test 1"),
    "Keras: seg_train": (
        (*under("seg_train"), *under("seg_test")),
        "2 classes (cat, dog), train (seg_train) 2, test (seg_test) 2",
    ),
    "Intel scenes: a folder twice": (
        (*under("seg_train/seg_train"), *under("seg_test/seg_test")),
        "2 classes (cat, dog), train (seg_train) 2, test (seg_test) 2",
    ),
    "COCO: train2017": (
        ("train2017/1.jpg", "val2017/1.jpg"),
        "train (train2017) 1, val (val2017) 1",
    ),
    "training_set": (
        (*under("training_set"), *under("test_set")),
        "2 classes (cat, dog), train (training_set) 2, test (test_set) 2",
    ),
    "testset": (
        (*under("trainset"), *under("testset")),
        "2 classes (cat, dog), train (trainset) 2, test (testset) 2",
    ),
    "dev": ((*under("Train"), *under("dev")), "2 classes (cat, dog), train 2, val (dev) 2"),
    "eval": ((*under("train"), *under("eval")), "2 classes (cat, dog), train 2, val (eval) 2"),
    "validation": (
        (*under("train-images"), *under("validation-images")),
        "2 classes (cat, dog), train (train-images) 2, val (validation-images) 2",
    ),
    "splits under the classes": (
        ("cat/train/1.jpg", "cat/test/1.jpg", "dog/train/1.jpg", "dog/test/1.jpg"),
        "2 classes (cat, dog), train 2, test 2",
    ),
    "a class called train": (("train/1.jpg", "car/1.jpg"), "2 classes (car, train), 2 images"),
    "a class called test in splits": (
        (*under("train", ("test/1.jpg", "car/1.jpg")), *under("val", ("test/2.jpg", "car/2.jpg"))),
        "2 classes (car, test), train 2, val 2",
    ),
    "a class called test drive": (
        ("test drive/1.jpg", "city/1.jpg"),
        "2 classes (city, test drive), 2 images",
    ),
    "classes outside the splits": (
        (*under("train"), *under("test"), *under("extra")),
        "2 classes (cat, dog), train 2, test 2, 2 outside the splits",
    ),
    "a folder between": (under("images"), "2 classes (cat, dog), 2 images"),
    "domains": (
        (*under("photo"), *under("sketch")),
        "2 classes (cat, dog), 4 images",
    ),
    "other files": (
        (*TWO, "notes.txt", "a.mp4", "cat/b.mp4", "LICENSE"),
        "2 classes (cat, dog), 2 images, 4 files skipped: 2 .mp4, 1 without suffix, 1 .txt",
    ),
    "many kinds of other files": (
        ("1.jpg", *(f"x.{suffix}" for suffix in ("a", "b", "c", "d", "e"))),
        "1 image, 5 files skipped: 1 .a, 1 .b, 1 .c, 1 .d, …",
    ),
    "folders of systems": (
        (*TWO, "@eaDir/1.jpg", "cat/@eaDir/1.jpg", "$RECYCLE.BIN/1.jpg", "lost+found/1.jpg"),
        "2 classes (cat, dog), 2 images, "
        "folders skipped: $RECYCLE.BIN, @eaDir, lost+found, cat/@eaDir",
    ),
    "a zip from a Mac": (
        (*TWO, "__MACOSX/cat/._1.jpg", ".DS_Store"),
        "2 classes (cat, dog), 2 images, folders skipped: __MACOSX",
    ),
    "thumbnails": (
        (*TWO, "Thumbnails/1.jpg"),
        "2 classes (cat, dog), 2 images, folders skipped: Thumbnails",
    ),
    "café in two Unicode forms": (
        ("train/caf\u00e9/1.jpg", "train/dog/1.jpg", "test/cafe\u0301/1.jpg", "test/dog/1.jpg"),
        "2 classes (caf\u00e9, dog), train 2, test 2",
    ),
}


@pytest.mark.parametrize(("files", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_folders_are_understood(tmp_path: Path, files: tuple[str, ...], expected: str) -> None:
    lay(tmp_path, *files)
    assert described(tmp_path, ".") == expected


LAYOUTS = {
    "{cat,dog}/images/2": "2 classes (cat, dog), 4 images",
    "train/{cat,dog}/images/3 {val,test}/images/2": "2 classes (cat, dog), train 6, val 2 "
    "(unlabeled), test 2 (unlabeled)",
    "images/4": "4 images",
    "{images,sketches}/2": "2 classes (images, sketches), 4 images",
    "{car,bus}/2 train/{steam,diesel}/1": "4 classes (bus, car, diesel, steam), train 2, 4 "
    "outside the splits",
    "{train,test}/{cat,dog}/2 extra/{cat,yak}/1": "3 classes (cat, dog, yak), train 4, test 4, 2 "
    "outside the splits",
    "{train,test}/3 figures/1": "train 3, test 3, 1 outside the splits",
    "train/{cat,dog}/3 test/4 figures/2026/1": "2 classes (cat, dog), train 6, test 4 "
    "(unlabeled), 1 outside the splits (unlabeled)",
    "{seg_train/seg_train,seg_test/seg_test}/{ice,sea}/1 seg_pred/seg_pred/4": "2 classes (ice, "
    "sea), train (seg_train) 2, test (seg_test) 2, 4 outside the splits (unlabeled)",
    "train/{cat,dog}/3 dev/{cat,dog}/2 eval/{cat,dog}/1": "2 classes (cat, dog), train 6, val "
    "(dev) 4, test (eval) 2",
    "train/{cat,dog}/3 test1/4": "2 classes (cat, dog), train 6, test (test1) 4 (unlabeled)",
    "train/{cat,dog}/3 train/1 test/2": "2 classes (cat, dog), train 7 (1 unlabeled), test 2 "
    "(unlabeled)",
    "train/{cat,dog}/3 test/unknown/4": "3 classes (cat, dog, unknown), train 6, test 4",
    "{train,test}/images/{cat,dog}/2": "2 classes (cat, dog), train 4, test 4",
    "{photo,sketch}/{train,test}/{cat,dog}/1": "2 classes (cat, dog), train 4, test 4",
    "train/{cat,dog}/3 test/4 {results.json,table.csv,report.html} figures/2": "2 classes (cat, "
    "dog), train 6, test 4 (unlabeled), folders skipped: figures",
    "cat/thumbnails/2 {cat,dog}/2": "2 classes (cat, dog), 4 images, folders skipped: "
    "cat/thumbnails",
}
"""Files, of which a number stands for so many images, and what is understood."""


@pytest.mark.parametrize(("layout", "expected"), LAYOUTS.items())
def test_layouts_are_understood(tmp_path: Path, layout: str, expected: str) -> None:
    for name in (name for word in layout.split() for name in expand(word)):
        folder, _, last = name.rpartition("/")
        images = tuple(f"{i}.jpg" for i in range(int(last))) if last.isdigit() else (last,)
        lay(tmp_path / folder, *images)
    assert described(tmp_path, ".") == expected


def expand(text: str) -> list[str]:
    """A name with braces as the names that it stands for."""
    head, brace, rest = text.partition("{")
    if not brace:
        return [text]
    middle, _, tail = rest.partition("}")
    return [name for it in middle.split(",") for name in expand(f"{head}{it}{tail}")]


SEVERAL = {
    "two folders": ((*TWO,), ("cat", "dog"), "2 classes (cat, dog), 2 images"),
    "files of two folders": ((*TWO,), TWO, "2 classes (cat, dog), 2 images"),
    "two splits": (
        (*under("train"), *under("test")),
        ("train", "test"),
        "2 classes (cat, dog), train 2, test 2",
    ),
    "two splits elsewhere": (
        (*under("data/train"), *under("data/test")),
        ("data/train", "data/test"),
        "2 classes (cat, dog), train 2, test 2",
    ),
    "files of splits": (
        (*under("train"), *under("test")),
        (*under("train"), *under("test")),
        "2 classes (cat, dog), train 2, test 2",
    ),
    "a folder and a file of it": ((*TWO,), (".", "./cat/1.jpg"), "2 classes (cat, dog), 2 images"),
    "files here": (("a.jpg", "b.jpg"), ("a.jpg", "b.jpg"), "2 images"),
    "files of one folder": (("cat/a.jpg", "cat/b.jpg"), ("cat/a.jpg", "cat/b.jpg"), "2 images"),
}


@pytest.mark.parametrize(("files", "given", "expected"), SEVERAL.values(), ids=SEVERAL)
def test_several_sources_are_understood_together(
    tmp_path: Path, files: tuple[str, ...], given: tuple[str, ...], expected: str
) -> None:
    lay(tmp_path, *files)
    assert described(tmp_path, *given) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((*under("train"), *under("test", ("cat/2.jpg",))), "2 classes (cat, dog), 3 images"),
        (("train/1.jpg", "test/1.jpg"), "2 classes (test, train), 2 images"),
    ],
)
def test_without_splits_their_folders_are_ignored_or_classes(
    tmp_path: Path, files: tuple[str, ...], expected: str
) -> None:
    lay(tmp_path, *files)
    assert described(tmp_path, ".", splits="none") == expected


def test_a_class_that_would_be_missing_is_an_error(tmp_path: Path) -> None:
    lay(tmp_path, *TWO, "bird/1.nef", "bird/2.nef", "bird/3.psd")
    with pytest.raises(
        DatasetError, match=r"bird: featx cannot read any of its images \(2 \.nef, 1 "
    ):
        described(tmp_path, ".")


def test_a_folder_of_other_files_is_no_class_that_vanishes(tmp_path: Path) -> None:
    lay(tmp_path, *TWO, "docs/readme.txt", "docs/logo.svg")
    assert described(tmp_path, ".").endswith("2 files skipped: 1 .svg, 1 .txt")


def test_names_cannot_move_the_cursor(tmp_path: Path) -> None:
    lay(tmp_path, "a\x1b[2J/1.jpg", "b/1.jpg")
    assert "\x1b" not in described(tmp_path, ".")


MANIFESTS = {
    "path and label": ("m.csv", "path,label\ncat/1.jpg,cat\ndog/1.jpg,dog\n"),
    "Kaggle: id and breed": ("m.csv", "id,breed\n1,cat\n2,dog\n"),
    "ISIC: image_id and dx": ("m.csv", "lesion_id,image_id,dx\nL1,1,cat\nL2,2,dog\n"),
    "image and category": ("m.csv", "image,category\n1.jpg,cat\n2.jpg,dog\n"),
    "Image Name and Class": ("m.csv", "Image Name,Class\n1.jpg,cat\n2.jpg,dog\n"),
    "names beside numbers": ("m.csv", "filename,class_id,class_name\n1.jpg,0,cat\n2.jpg,1,dog\n"),
    "species beside an id": ("m.csv", "image_id,file_name,species\n7,1.jpg,cat\n8,2.jpg,dog\n"),
    "blanks around labels": ("m.csv", "path,label\n1.jpg, cat \n2.jpg,dog\n"),
    "backslashes": ("m.csv", "path,label\ncat\\1.jpg,cat\ndog\\1.jpg,dog\n"),
    "file://": ("m.csv", "path,label\nfile://{folder}/1.jpg,cat\nfile://{folder}/2.jpg,dog\n"),
    "from the working folder": ("sub/m.csv", "path,label\n1.jpg,cat\n2.jpg,dog\n"),
    "tabs": ("m.tsv", "file\ttarget\n1.jpg\tcat\n2.jpg\tdog\n"),
    "JSON lines": ("m.jsonl", '{{"file_name": "1.jpg", "label": "cat"}}\n'
                   '{{"file_name": "2.jpg", "label": "dog"}}\n'),
    "a list of objects": ("m.json", '[{{"image": "1.jpg", "class": "cat"}}, '
                          '{{"image": "2.jpg", "class": "dog"}}]'),
    "COCO": ("m.json", '{{"images": [{{"id": 1, "file_name": "1.jpg"}}, '
             '{{"id": 2, "file_name": "2.jpg"}}], "categories": [{{"id": 5, "name": "cat"}}, '
             '{{"id": 6, "name": "dog"}}], "annotations": [{{"image_id": 1, "category_id": 5}}, '
             '{{"image_id": 1, "category_id": 5}}, {{"image_id": 2, "category_id": 6}}]}}'),
    "Label Studio": ("m.json", '[{{"data": {{"image": "/data/local-files/?d=1.jpg"}}, '
                     '"annotations": [{{"result": [{{"value": {{"choices": ["cat"]}}}}]}}]}}, '
                     '{{"data": {{"image": "2.jpg"}}, '
                     '"annotations": [{{"result": [{{"value": {{"choices": ["dog"]}}}}]}}]}}]'),
    "Label Studio, in short": ("m.json", '[{{"image": "1.jpg", "choice": "cat"}}, '
                               '{{"image": "2.jpg", "choice": "dog"}}]'),
    "a list with labels": ("m.txt", "1.jpg cat\n2.jpg dog\n"),
    "Hugging Face": ("metadata.csv", "file_name,label\n1.jpg,cat\n2.jpg,dog\n"),
    "Hugging Face in lines": ("metadata.jsonl", '{{"file_name": "1.jpg", "label": "cat"}}\n'
                              '{{"file_name": "2.jpg", "label": "dog"}}\n'),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifests_are_understood(tmp_path: Path, name: str, text: str) -> None:
    is_metadata = name.startswith("metadata")
    lay(tmp_path, *(() if is_metadata else TWO), "1.jpg", "2.jpg")
    lay(tmp_path, name, content=text.format(folder=tmp_path).encode())
    given = "." if is_metadata else name
    line = described(tmp_path, given).partition(", path from")[0]
    assert line == "2 classes (cat, dog), 2 images"


def test_a_list_of_paths_has_no_labels(tmp_path: Path) -> None:
    lay(tmp_path, "a b.jpg", "2.jpg")
    lay(tmp_path, "m.txt", content=b"# mine\na b.jpg\n\n2.jpg\n")
    assert described(tmp_path, "m.txt") == "2 images"


def test_an_image_with_several_categories_has_no_label(tmp_path: Path) -> None:
    lay(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    text = (
        '{"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}, '
        '{"id": 3, "file_name": "3.jpg"}], "categories": [{"id": 5, "name": "cat"}, '
        '{"id": 6, "name": "dog"}], "annotations": [{"image_id": 1, "category_id": 5}, '
        '{"image_id": 2, "category_id": 5}, {"image_id": 2, "category_id": 6}]}'
    )
    lay(tmp_path, "m.json", content=text.encode())
    assert described(tmp_path, "m.json") == "1 class (cat), 3 images (2 unlabeled)"


def test_metadata_in_each_split_is_read(tmp_path: Path) -> None:
    for split in ("train", "test"):
        lay(tmp_path, f"{split}/1.jpg", f"{split}/2.jpg")
        text = b"file_name,label\n1.jpg,cat\n2.jpg,dog\n"
        lay(tmp_path, f"{split}/metadata.csv", content=text)
    assert described(tmp_path, ".") == "2 classes (cat, dog), train 2, test 2"


def test_images_that_metadata_does_not_name_have_no_class(tmp_path: Path) -> None:
    lay(tmp_path, *TWO, "1.jpg")
    lay(tmp_path, "metadata.csv", content=b"file_name,label\n1.jpg,owl\n")
    assert described(tmp_path, ".").startswith("1 class (owl), 3 images (2 unlabeled)")


def test_metadata_about_something_else_is_told_and_left_alone(tmp_path: Path) -> None:
    lay(tmp_path, *TWO)
    lay(tmp_path, "metadata.csv", content=b"camera,lens\nx,y\n")
    assert described(tmp_path, ".") == "2 classes (cat, dog), 2 images, 1 file skipped: 1 .csv"


def described(folder: Path, *given: str, **options: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return describe_dataset(load_dataset(list(given), **options))
