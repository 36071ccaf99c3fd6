from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from featx.data.folders import (
    _MAGIC,
    FolderInfo,
    _is_image,
    interpret_folders,
    missing_folders,
    read_tree,
)
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.features.results import Result

PNG = _MAGIC[1] + b"\0" * 8


def lay(root: Path, *names: str, content: bytes = b"") -> str:
    """Files of these names under `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(root)


def infos_of(root: str) -> dict[str, FolderInfo]:
    tree = read_tree(root)
    infos = interpret_folders(tree.images)
    return {
        "/".join((*parts, name)): infos[parts]
        for parts, names in tree.images.items()
        for name in names
    }


def test_parent_folder_names_the_class(tmp_path: Path) -> None:
    root = lay(tmp_path, "cat/1.jpg", "dog/2.jpg", "3.jpg")
    assert infos_of(root) == {
        "3.jpg": FolderInfo(),
        "cat/1.jpg": FolderInfo("cat"),
        "dog/2.jpg": FolderInfo("dog"),
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("Training", "train"), ("valid", "val"), ("validation", "val")]
    + [("val", "val"), ("TEST", "test"), ("testing", "test")],
)
def test_folder_above_the_class_is_the_split(tmp_path: Path, name: str, split: str) -> None:
    assert infos_of(lay(tmp_path, f"{name}/cat/1.jpg")) == {
        f"{name}/cat/1.jpg": FolderInfo("cat", split)
    }


def test_class_beside_other_classes_may_be_called_train(tmp_path: Path) -> None:
    root = lay(tmp_path, "car/1.jpg", "train/2.jpg")
    assert infos_of(root)["train/2.jpg"] == FolderInfo("train")


def test_class_called_test_inside_a_split_stays_a_class(tmp_path: Path) -> None:
    root = lay(tmp_path, "train/test/1.jpg", "train/car/2.jpg", "val/test/3.jpg", "val/car/4.jpg")
    assert infos_of(root)["val/test/3.jpg"] == FolderInfo("test", "val")


def test_split_folders_without_classes_are_splits(tmp_path: Path) -> None:
    root = lay(tmp_path, "train/1.jpg", "test/2.jpg", "notes/readme.txt")
    assert infos_of(root)["train/1.jpg"] == FolderInfo("", "train")


def test_split_under_the_class_leaves_the_class(tmp_path: Path) -> None:
    root = lay(tmp_path, "cat/train/1.jpg", "cat/test/2.jpg")
    assert infos_of(root)["cat/test/2.jpg"] == FolderInfo("cat", "test")


@pytest.mark.parametrize("name", ["photo/train/dog", "train/photo/dog"])
def test_domain_is_above_the_class_with_splits_left_out(tmp_path: Path, name: str) -> None:
    assert infos_of(lay(tmp_path, f"{name}/1.jpg")) == {
        f"{name}/1.jpg": FolderInfo("dog", "train", "photo")
    }


def test_folder_called_the_same_everywhere_is_no_domain(tmp_path: Path) -> None:
    root = lay(tmp_path, "amazon/images/bike/1.jpg", "dslr/images/bike/2.jpg", "dslr/notes.txt")
    assert [index.domain for index in infos_of(root).values()] == ["amazon", "dslr"]


def test_only_domain_there_is_stays_one(tmp_path: Path) -> None:
    root = lay(tmp_path, "photo/dog/1.jpg", "photo/cat/2.jpg")
    assert {index.domain for index in infos_of(root).values()} == {"photo"}


def test_dot_files_and_dot_folders_are_not_seen(tmp_path: Path) -> None:
    tree = read_tree(lay(tmp_path, "a/.DS_Store", "a/._1.jpg", ".git/2.jpg", "a/1.jpg"))
    assert tree.images == {("a",): ["1.jpg"]}
    assert not tree.other


def test_other_suffixes_are_counted(tmp_path: Path) -> None:
    tree = read_tree(lay(tmp_path, "a/notes.txt", "a/b.TXT", "a/c.mp4", "d.jpg"))
    assert tree.other == {".txt": 2, ".mp4": 1}


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_known_suffix_is_an_image_in_any_case_even_if_empty(suffix: str) -> None:
    assert _is_image(f"nowhere/x{suffix}")
    assert _is_image(f"nowhere/x{suffix.upper()}")


@pytest.mark.parametrize(
    "head",
    [*_MAGIC, b"RIFF1234WEBPVP8 ", b"BM1234\0\0\0\0xxxx", b"P6\n1 1\n255\n"],
    ids=repr,
)
def test_file_without_suffix_is_known_by_its_first_bytes(tmp_path: Path, head: bytes) -> None:
    lay(tmp_path, "scan", content=head)
    assert _is_image(str(tmp_path / "scan"))


@pytest.mark.parametrize("head", [b"", b"BMW is a car", b"RIFF1234WAVE", b"Plain text", b"P7"])
def test_other_file_without_suffix_is_no_image(tmp_path: Path, head: bytes) -> None:
    lay(tmp_path, "scan", content=head)
    assert not _is_image(str(tmp_path / "scan"))


def test_links_are_followed_and_loops_cut(tmp_path: Path) -> None:
    lay(tmp_path / "far", "cat/1.jpg")
    root = lay(tmp_path / "near", "dog/2.jpg")
    (tmp_path / "near/linked").symlink_to(tmp_path / "far")
    (tmp_path / "far/loop").symlink_to(tmp_path / "near")
    assert infos_of(root).keys() == {"dog/2.jpg", "linked/cat/1.jpg"}


def test_own_path_of_a_folder_wins_over_a_link_to_it(tmp_path: Path) -> None:
    root = lay(tmp_path, "z/cat/1.jpg")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    assert infos_of(root).keys() == {"z/cat/1.jpg"}


def test_link_to_a_folder_above_is_cut(tmp_path: Path) -> None:
    root = lay(tmp_path, "a/1.jpg")
    (tmp_path / "a/up").symlink_to(tmp_path)
    assert infos_of(root).keys() == {"a/1.jpg"}


def test_link_that_leads_nowhere_is_taken_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert infos_of(str(tmp_path)).keys() == {"gone.jpg"}


def test_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    assert not read_tree(str(tmp_path)).images


def test_unreadable_folder_is_reported_and_the_rest_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lay(tmp_path, "a/1.jpg", "b/2.jpg")
    scan = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("a"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    tree = read_tree(root)
    assert tree.images == {("b",): ["2.jpg"]}
    assert tree.unreadable == [(f"{root}/a", "Permission denied")]


def test_root_that_cannot_be_read_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tree(str(tmp_path / "nowhere"))


def test_link_to_itself_loses_no_neighbor(tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        (tmp_path / name).touch()
    (tmp_path / "loop.png").symlink_to("loop.png")
    tree = read_tree(str(tmp_path))
    assert tree.images == {(): ["0.png", "1.png", "loop.png"]}
    assert tree.unreadable == []


def test_class_folders_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    other = unicodedata.normalize("NFD", "café")
    root = lay(tmp_path, "train/café/1.jpg", "train/dog/1.jpg", f"test/{other}/2.jpg")
    assert {it.label for it in infos_of(root).values()} == {"café", "dog"}


LABELLED = ("train/cat/1.jpg", "train/dog/1.jpg")


@pytest.mark.parametrize("stray", ["figures/plot.png", "plot.png", "figures/2026/plot.png"])
def test_stray_image_beside_the_splits_makes_no_class_of_an_unlabeled_one(
    tmp_path: Path, stray: str
) -> None:
    infos = infos_of(lay(tmp_path, *LABELLED, "test/1.jpg", stray))
    assert infos["test/1.jpg"] == FolderInfo("", "test")
    assert infos[stray] == FolderInfo()
    assert infos["train/cat/1.jpg"] == FolderInfo("cat", "train")


@pytest.mark.parametrize("layout", [LABELLED, ("train/1.jpg",)])
def test_folder_of_images_beside_splits_is_no_class(
    tmp_path: Path, layout: tuple[str, ...]
) -> None:
    infos = infos_of(lay(tmp_path, *layout, "val/1.jpg", "figures/1.png"))
    assert infos["figures/1.png"] == FolderInfo()
    assert infos["val/1.jpg"] == FolderInfo("", "val")


def test_images_beside_splits_keep_a_class_that_the_splits_have(tmp_path: Path) -> None:
    infos = infos_of(lay(tmp_path, *LABELLED, "test/cat/1.jpg", "cat/2.jpg"))
    assert infos["cat/2.jpg"] == FolderInfo("cat")


def test_classes_beside_one_called_train_with_folders_in_it_stay_classes(tmp_path: Path) -> None:
    infos = infos_of(lay(tmp_path, "car/1.jpg", "bus/2.jpg", "train/steam/3.jpg"))
    assert {it.label for it in infos.values()} == {"car", "bus", "steam"}


@pytest.mark.parametrize(
    "name", ["@eaDir", "$RECYCLE.BIN", "lost+found", "thumbnails", "Thumbnails", "__MACOSX"]
)
def test_folders_of_systems_are_left_out_and_named(tmp_path: Path, name: str) -> None:
    tree = read_tree(lay(tmp_path, "cat/1.jpg", f"cat/{name}/1.jpg", f"{name}/cat/1.jpg"))
    assert tree.images == {("cat",): ["1.jpg"]}
    assert sorted(tree.skipped) == sorted([(name,), ("cat", name)])


@pytest.mark.parametrize("where", ["", "rep/", "reports/1-probe/"])
def test_report_of_featx_among_the_images_changes_nothing(tmp_path: Path, where: str) -> None:
    before = infos_of(lay(tmp_path, *LABELLED, "test/1.jpg"))
    Result("probe", "photos", [{"spec": "hog", "accuracy": 0.5}]).save(tmp_path / where)
    lay(tmp_path, f"{where}figures/ranking.png", f"{where}report.html", f"{where}thumbnails.json")
    assert infos_of(str(tmp_path)) == before
    assert not read_tree(str(tmp_path)).other


def test_folder_called_figures_is_a_class_where_there_is_no_report(tmp_path: Path) -> None:
    assert infos_of(lay(tmp_path, "figures/1.png"))["figures/1.png"] == FolderInfo("figures")


@pytest.mark.parametrize(
    ("layout", "lost"),
    [
        (("cat/1.jpg", "dog/1.jpg", "bird/1.psd"), ["bird"]),
        ((*LABELLED, "train/bird/1.psd"), ["train/bird"]),
        ((*LABELLED, "test/1.psd", "val/1.jpg"), ["test"]),
        (("cat/1.jpg", "dog/1.jpg", "bird/a/1.psd", "bird/b/1.psd"), ["bird"]),
        (("cat/1.jpg", "dog/1.jpg", "docs/1.txt"), []),
        (("cat/1.jpg", "cat/2.psd", "dog/1.jpg"), []),
        (("cat/1.jpg", "cat/raw/1.psd", "dog/1.jpg"), []),
        (("1.jpg", "raw/1.psd"), []),
        ((*LABELLED, "test/1.jpg", "drawings/1.psd"), []),
    ],
)
def test_folder_whose_images_are_not_read_vanishes_where_it_would_mean_something(
    tmp_path: Path, layout: tuple[str, ...], lost: list[str]
) -> None:
    infos = missing_folders(read_tree(lay(tmp_path, *layout)))
    assert ["/".join(parts) for parts in infos] == lost


def test_images_under_a_suffix_of_their_own_are_known_by_their_content(tmp_path: Path) -> None:
    root = lay(tmp_path, "cat/1.jpg", "bird/1.scan", content=PNG)
    assert missing_folders(read_tree(root)) == {("bird",): {".scan": 1}}


def test_folders_of_classes_beside_splits_keep_their_classes(tmp_path: Path) -> None:
    infos = infos_of(lay(tmp_path, *LABELLED, "test/cat/1.jpg", "extra/cat/2.jpg"))
    assert (infos["extra/cat/2.jpg"].label, infos["extra/cat/2.jpg"].split) == ("cat", "")


def test_folder_of_a_split_inside_one_of_its_name_is_passed_over(tmp_path: Path) -> None:
    root = lay(tmp_path, "seg_train/seg_train/sea/1.jpg", "seg_test/seg_test/sea/1.jpg")
    infos = infos_of(lay(Path(root), "seg_pred/seg_pred/1.jpg"))
    assert sorted((it.label, it.split) for it in infos.values()) == [
        ("", ""),
        ("sea", "test"),
        ("sea", "train"),
    ]


def test_splits_may_be_refused() -> None:
    folders = [("train", "cat"), ("test",)]
    infos = interpret_folders(folders, has_splits=False)
    assert [(it.label, it.split) for it in infos.values()] == [("cat", ""), ("test", "")]


def test_lists_of_dicoms_and_features_of_featx_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("DICOMDIR", "features.npy", "IM0001", "a.npy"):
        (tmp_path / "cat" / name).write_bytes(bytes(128) + b"DICM")
    assert read_tree(str(tmp_path)).images == {("cat",): ["IM0001", "a.npy"]}
