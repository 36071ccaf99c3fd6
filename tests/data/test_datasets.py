from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from featx.data import drawings
from featx.data.datasets import load_dataset, train_test_indices
from featx.errors import DatasetError

Shared = Callable[[str], Path]


def lay(root: Path, *names: str) -> Path:
    """Empty files of these names under `root`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_ants_bees_gives_398_images_with_labels_and_splits(shared: Shared) -> None:
    dataset = load_dataset(shared("data/ants_bees"))
    assert Counter(zip(dataset.labels.tolist(), dataset.splits.tolist())) == {
        ("ants", "train"): 124,
        ("bees", "train"): 121,
        ("ants", "val"): 70,
        ("bees", "val"): 83,
    }
    assert (dataset.n_ignored, dataset.domains) == (0, None)


def test_pacs_gives_four_domains_of_seven_classes(shared: Shared) -> None:
    dataset = load_dataset(shared("data/pacs_mini"), domains=True)
    counts = Counter(zip(dataset.domains.tolist(), dataset.labels.tolist()))
    assert len(counts) == 28
    assert set(counts.values()) == {30}


def test_domains_asked_for_are_kept_alone(tmp_path: Path) -> None:
    lay(tmp_path, "photo/dog/1.jpg", "sketch/dog/2.jpg", "cartoon/dog/3.jpg")
    dataset = load_dataset(tmp_path, domains=["sketch", "photo"])
    assert dataset.domains.tolist() == ["photo", "sketch"]


@pytest.mark.parametrize(
    ("domains", "message"),
    [(["phot"], "Did you mean 'photo'"), (["photo", "x"], "'x' is not in .*: photo")],
)
def test_unknown_domain_is_met_with_those_there_are(
    tmp_path: Path, domains: list[str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        load_dataset(lay(tmp_path, "photo/dog/1.jpg"), domains=domains)


def test_domains_of_data_without_any_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no domains; expected folders"):
        load_dataset(lay(tmp_path, "dog/1.jpg"), domains=True)


def test_names_open_from_the_same_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, "photos/cat/a.1.jpg", "photos/cat/a.2.jpg")
    monkeypatch.chdir(tmp_path)
    assert load_dataset("./photos/").names == ["photos/cat/a.1.jpg", "photos/cat/a.2.jpg"]
    assert load_dataset(".").names == ["photos/cat/a.1.jpg", "photos/cat/a.2.jpg"]
    assert load_dataset("photos/../photos").names[0] == "photos/../photos/cat/a.1.jpg"


def test_order_is_that_of_the_names(tmp_path: Path) -> None:
    names = load_dataset(lay(tmp_path, "b/1.jpg", "a.jpg", "a/2.jpg", "c.jpg", "B/1.jpg")).names
    assert names == sorted(names)


def test_names_in_any_script_are_kept(tmp_path: Path) -> None:
    dataset = load_dataset(lay(tmp_path, "ねこ/α β.jpg", "хлеб/😀.png"))
    assert dataset.labels.tolist() == ["хлеб", "ねこ"]
    assert [Path(name).exists() for name in dataset.names] == [True, True]


def test_names_that_are_no_utf8_become_printable_and_unique(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    dataset = load_dataset(lay(tmp_path, "caf\\xe9.jpg"))
    assert [os.path.basename(name) for name in dataset.names] == [
        "caf\\xe9.jpg",
        "caf\\xe9.jpg (2)",
    ]
    assert all(os.path.exists(dataset.images.path(i)) for i in range(2))


def test_images_without_a_class_among_others_have_the_empty_label(tmp_path: Path) -> None:
    assert load_dataset(lay(tmp_path, "1.jpg", "cat/2.jpg")).labels.tolist() == ["", "cat"]


def test_nothing_known_is_none(tmp_path: Path) -> None:
    dataset = load_dataset(lay(tmp_path, "1.jpg", "2.jpg"))
    assert (dataset.labels, dataset.splits, dataset.domains) == (None, None, None)


def test_files_named_one_by_one_are_taken_in_order_whatever_their_suffix(tmp_path: Path) -> None:
    lay(tmp_path, "cat/b.xyz", "a")
    dataset = load_dataset([tmp_path / "cat/b.xyz", tmp_path / "a"])
    assert dataset.names == [f"{tmp_path}/cat/b.xyz", f"{tmp_path}/a"]
    assert dataset.labels is None


def test_file_given_twice_is_taken_once(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg", "cat/2.jpg")
    assert len(load_dataset([tmp_path, tmp_path / "cat/2.jpg"])) == 2


def test_mixed_sources_keep_what_each_knows(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat/1.jpg", "alone.jpg")
    dataset = load_dataset([tmp_path / "alone.jpg", tmp_path, "digits"])
    assert dataset.labels[:3].tolist() == ["", "cat", "0"]
    assert dataset.splits[:3].tolist() == ["", "train", ""]
    assert dataset.images.pixels(2).shape == (8, 8, 3)


def test_manifest_gives_labels_splits_and_domains(tmp_path: Path) -> None:
    lay(tmp_path, "far/1.jpg")
    text = "path,label,split,domain\nfar/1.jpg,cat,Testing,photo\nfar/gone.jpg,dog,,\n"
    (tmp_path / "m.csv").write_text(text)
    dataset = load_dataset(tmp_path / "m.csv")
    assert dataset.names[0] == f"{tmp_path}/far/1.jpg"
    assert dataset.splits.tolist() == ["test", ""]
    assert dataset.domains.tolist() == ["photo", ""]


def test_manifest_gives_groups_by_itself_by_column_or_not_at_all(tmp_path: Path) -> None:
    lay(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "m.csv").write_text("path,group,site\n1.jpg,p1,a\n2.jpg,p1,b\n3.jpg,,b\n")

    def groups_of(groups: str | bool | None) -> list[str] | None:
        values = load_dataset(tmp_path / "m.csv", groups=groups).take([0, 2]).groups
        return None if values is None else values.tolist()

    assert groups_of(None) == ["p1", ""]
    assert groups_of("site") == ["a", "b"]
    assert groups_of(r"re:(\d)\.jpg") == ["1", "3"]
    assert groups_of(False) is None


def test_sources_are_known_as_a_command_line_has_them(tmp_path: Path) -> None:
    lay(tmp_path, "my cats/1.jpg", "dogs/1.jpg", "owls/1.jpg", "ants/1.jpg")
    names = [str(tmp_path / name) for name in ("my cats", "dogs", "owls", "ants")]
    assert load_dataset(names[:2]).quoted_source == f"'{names[0]}' {names[1]}"
    assert load_dataset(names).quoted_source.endswith("owls …")


def test_groups_by_column_need_a_manifest(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg")
    with pytest.raises(DatasetError, match=r"'patient' is the column of a manifest.*re:PATTERN"):
        load_dataset(tmp_path, groups="patient")


def test_joined_data_keep_their_groups(tmp_path: Path) -> None:
    lay(tmp_path, "1.jpg", "cat/2.jpg")
    (tmp_path / "m.csv").write_text("path,group\n1.jpg,p1\n")
    joined = load_dataset([tmp_path / "m.csv", tmp_path / "cat"])
    assert joined.groups.tolist() == ["p1", ""]


def test_manifest_whose_files_are_all_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path\n1.jpg\n2.jpg\n")
    with pytest.raises(DatasetError, match=r"none of its 2 files exists, .*manifest's folder"):
        load_dataset(tmp_path / "m.csv")


def test_digits_are_scikit_learns_rescaled() -> None:
    dataset = load_dataset("digits")
    theirs = load_digits()
    assert dataset.labels.tolist() == list(map(str, theirs.target))
    pixels = dataset.images.pixels(17)[:, :, 0]
    np.testing.assert_allclose(pixels, theirs.images[17] * 255 / 16, atol=0.5)


@pytest.mark.parametrize(("name", "n_images"), [("digits", 1797), ("drawings", 10)])
def test_folder_with_a_built_in_name_is_reached_as_a_path(
    name: str,
    n_images: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lay(tmp_path, f"{name}/1.jpg")
    monkeypatch.setattr(drawings, "draw_objects", partial(drawings.draw_objects, 1))
    monkeypatch.chdir(tmp_path)
    assert load_dataset(Path(name)).names == load_dataset(f"./{name}").names == [f"{name}/1.jpg"]
    assert len(load_dataset(name)) == n_images
    assert f"write ./{name} for the folder" in caplog.text


def test_take_takes_what_is_known_along(tmp_path: Path) -> None:
    dataset = load_dataset(lay(tmp_path, "train/cat/1.jpg", "val/dog/2.jpg")).take([1])
    assert (dataset.labels.tolist(), dataset.splits.tolist()) == (["dog"], ["val"])
    assert dataset.images.path(0) == dataset.names[0]


def test_split_gives_places(tmp_path: Path) -> None:
    dataset = load_dataset(lay(tmp_path, "train/cat/1.jpg", "test/cat/2.jpg", "train/cat/3.jpg"))
    assert dataset.split("train").tolist() == [1, 2]
    assert dataset.split("val").tolist() == []
    assert load_dataset("digits").split("train").tolist() == []


@pytest.mark.parametrize("name", ["digts", "photo"])
def test_wrong_name_gets_the_nearest_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(lay(tmp_path, "photos/1.jpg"))
    with pytest.raises(DatasetError, match=r"Did you mean '(digits|photos)'\?"):
        load_dataset(name)


@pytest.mark.parametrize("name", ["", "nowhere/at/all.jpg"])
def test_name_near_nothing_is_told_what_is_wanted(name: str) -> None:
    with pytest.raises(DatasetError, match="Expected a folder, files, a manifest"):
        load_dataset(name)


def test_no_source_at_all_is_refused() -> None:
    with pytest.raises(DatasetError, match="No data given"):
        load_dataset([])


def test_folder_without_images_says_what_was_there(tmp_path: Path) -> None:
    lay(tmp_path, *(f"{i}.txt" for i in range(11)), "scan")
    with pytest.raises(DatasetError, match=r"12 files, none .* \(11 \.txt, 1 without one\)"):
        load_dataset(tmp_path)


def test_empty_folder_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="contains no files, or only hidden ones"):
        load_dataset(lay(tmp_path, ".DS_Store"))


def test_ignored_files_and_unreadable_folders_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lay(tmp_path, "cat/1.jpg", "cat/notes.txt", "shut/2.jpg")
    scan = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset(tmp_path)
    assert dataset.n_ignored == 1
    assert dataset.unreadable == [(f"{tmp_path}/shut", "Permission denied")]
    assert "Permission denied" in caplog.text


def test_training_part_has_as_many_of_each_class() -> None:
    labels = ["a"] * 10 + ["b"] * 5
    train, test = train_test_indices(labels, train_size=3, random_state=1)
    assert Counter(labels[i] for i in train) == {"a": 3, "b": 3}
    assert sorted([*train, *test]) == list(range(15))


def test_training_part_depends_on_the_seed_alone() -> None:
    labels = np.repeat(["a", "b"], 20)
    same = [train_test_indices(labels, train_size=0.5, random_state=7)[0] for _ in range(2)]
    other = train_test_indices(labels, train_size=0.5, random_state=8)[0]
    assert same[0].tolist() == same[1].tolist() != other.tolist()
