from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from featx.data.archives.archive_listings import is_archive
from featx.data.datasets import load_dataset
from featx.errors import DatasetError, ImageError


def test_members_are_named_by_archive_and_path_and_classed_by_folder(make_tar, image) -> None:
    path = make_tar("photos.tar", {"train/cat/1.png": image(9), "test/dog/1.png": image(8)})
    dataset = load_dataset(path)
    assert dataset.names == [f"{path}/train/cat/1.png", f"{path}/test/dog/1.png"]
    assert dataset.labels.tolist() == ["cat", "dog"]
    assert dataset.splits.tolist() == ["train", "test"]


def test_member_decodes_and_digests_as_its_file(make_tar, image, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(image(7))
    member = load_dataset(make_tar("a.tar", {"1.png": image(7)})).images
    file = load_dataset(tmp_path / "1.png").images
    assert member.digest(0) == file.digest(0)
    np.testing.assert_array_equal(member.pixels(0), file.pixels(0))


def test_braces_name_shards_in_order(make_tar, image) -> None:
    paths = [make_tar(f"{i:04d}.tar", {"a.png": image(i)}) for i in (9, 10)]
    pattern = str(paths[0].parent / "{0009..0010}.tar")
    assert load_dataset(pattern).names == [f"{path}/a.png" for path in paths]


def test_glob_names_shards_sorted(make_tar, image, tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar"):
        make_tar(name, {"1.png": image(1)})
    names = load_dataset(str(tmp_path / "*.tar")).names
    assert [Path(name).parent.name for name in names] == ["a.tar", "b.tar"]


def test_missing_shard_is_a_failure_and_the_others_are_read(make_tar, image) -> None:
    folder = make_tar("0.tar", {"a.png": image(1)}).parent
    dataset = load_dataset(str(folder / "{0..1}.tar"))
    assert dataset.names == [f"{folder}/0.tar/a.png", f"{folder}/1.tar"]
    with pytest.raises(ImageError, match=r"1\.tar: no such file or directory"):
        dataset.images.pixels(1)


def test_pattern_without_any_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"No archive matches '.*\{0\.\.3\}\.tar'; for example"):
        load_dataset(str(tmp_path / "{0..3}.tar"))


def test_webdataset_takes_classes_from_cls_and_json(make_tar, image) -> None:
    members = {"x/0.png": image(1), "x/0.cls": b"3\n", "x/1.png": image(2)}
    members |= {"x/1.json": json.dumps({"label": "ant"}).encode(), "x/2.png": image(3)}
    dataset = load_dataset(make_tar("a.tar", members))
    assert dataset.labels.tolist() == ["3", "ant", ""]
    assert dataset.n_ignored == 0


def test_mask_beside_an_image_of_the_same_key_is_left_out(make_tar, image) -> None:
    members = {"0.png": image(1), "0.cls": b"1", "0.mask.png": image(2)}
    assert len(load_dataset(make_tar("a.tar", members))) == 1


def test_broken_sidecar_gives_no_class(make_tar, image) -> None:
    members = {"0.png": image(1), "0.json": b"[" * 9999, "1.png": image(1), "1.cls": b"1"}
    assert load_dataset(make_tar("a.tar", members)).labels.tolist() == ["", "1"]


def test_shards_called_as_splits_are_splits(make_tar, image) -> None:
    shards = ["inat-train-0000.tar", "inat-train-0001.tar", "inat-val-00000-of-00001.tar"]
    paths = [make_tar(name, {"cat/1.png": image(1)}) for name in shards]
    dataset = load_dataset(paths)
    assert dataset.splits.tolist() == ["train", "train", "val"]
    assert dataset.labels.tolist() == ["cat"] * 3


@pytest.mark.parametrize("name", ["../../etc/1.png", "/etc/1.png", "a/../../1.png"])
def test_name_that_leads_out_is_a_failure(make_tar, image, name: str) -> None:
    dataset = load_dataset(make_tar("a.tar", {"ok.png": image(1), name: image(2)}))
    assert len(dataset) == 2
    with pytest.raises(ImageError, match="its name leads out of the archive"):
        dataset.images.pixels(1)


def test_hidden_files_are_left_out(make_tar, image) -> None:
    members = {"cat/1.png": image(1), "__MACOSX/cat/._1.png": b"x", ".thumbs/1.png": image(2)}
    assert len(load_dataset(make_tar("a.tar", members))) == 1


def test_archive_without_images_is_refused(make_tar) -> None:
    with pytest.raises(DatasetError, match=r"no member is one by suffix \(1 .txt\)"):
        load_dataset(make_tar("a.tar", {"a.txt": b"text"}))


def test_archive_is_known_by_suffix_but_a_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.tar").mkdir()
    assert not is_archive(str(tmp_path / "x.tar"))
    assert is_archive("x.tar")


def test_groups_column_is_refused(make_tar, image) -> None:
    with pytest.raises(DatasetError, match="Groups 'patient' is the column of a manifest"):
        load_dataset(make_tar("a.tar", {"1.png": image(1)}), groups="patient")


def test_braces_of_too_many_names_are_refused() -> None:
    with pytest.raises(DatasetError, match="stands for more than 1,000,000 names"):
        load_dataset("{0..999999999}.tar")


def test_archive_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 999)
    with pytest.raises(DatasetError, match=r"a\.tar: is no tar archive") as error:
        load_dataset(tmp_path / "a.tar")
    assert "\n" not in str(error.value)


def test_link_is_left_out_and_said(make_tar, image, tmp_path: Path) -> None:
    path = make_tar("a.tar", {"1.png": image(1)})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    dataset = load_dataset(path)
    assert len(dataset) == 1
    assert "1 link skipped" in dataset.remarks
