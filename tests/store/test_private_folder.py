"""The store's folder: nobody else's, and its errors in one line."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.errors import StoreError
from featx.extractors.color import ColorHistogram
from featx.store.feature_store import FeatureStore
from featx.store.index import INDEX_FILE, Index
from featx.store.private_folder import store_errors
from featx.store.shards import SHARD_FOLDER
from featx.trust import safe_folders

needs_posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes are POSIX's")


@pytest.fixture(autouse=True)
def _no_private_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group of what a test makes is anybody's, though its user may have one alone."""
    monkeypatch.setattr(safe_folders, "_is_own_group", lambda gid: False)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "store")


@needs_posix
def test_folder_and_index_are_private_whatever_the_umask(index: Index) -> None:
    umask = os.umask(0)
    try:
        index.counts()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(index.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((index.folder / INDEX_FILE).stat().st_mode) == 0o600


@needs_posix
@pytest.mark.parametrize("name", ["", "store", "store/shards", f"store/{INDEX_FILE}"])
def test_a_component_of_another_user_is_refused_and_named(
    index: Index, given_away: Callable[[Path], None], name: str
) -> None:
    index.counts()
    component = index.folder.parent / name
    given_away(component)
    message = rf"{re.escape(str(component))} belongs to user .*mode .*--shared-store"
    with pytest.raises(StoreError, match=message):
        index.counts()


@needs_posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
@pytest.mark.parametrize("name", ["", "store", "store/shards", f"store/{INDEX_FILE}"])
def test_a_component_that_others_can_write_is_refused(index: Index, name: str, mode: int) -> None:
    index.counts()
    component = index.folder.parent / name
    component.chmod(mode)
    letters = {0o770: "g", 0o707: "o", 0o777: "go"}[mode]
    message = rf"{component} can be written by others .*chmod {letters}-w {component}`"
    with pytest.raises(StoreError, match=message):
        index.counts()


@needs_posix
def test_the_command_that_the_error_names_is_the_cure(index: Index) -> None:
    index.folder.parent.chmod(0o777)
    with pytest.raises(StoreError) as info:
        index.counts()
    subprocess.run(re.findall("`(chmod .*)`", str(info.value))[0].split(), check=True)
    assert index.counts()["n_rows"] == 0


@needs_posix
def test_a_store_may_lie_in_a_sticky_folder_that_all_can_write(index: Index) -> None:
    index.folder.parent.chmod(0o1777)
    assert index.counts()["n_rows"] == 0


@needs_posix
def test_the_store_itself_may_not_be_a_folder_that_all_can_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)  # Sticky, but anybody could have put the index there.
    with pytest.raises(StoreError, match="can be written by others"):
        Index(tmp_path).counts()


@needs_posix
def test_a_link_of_ones_own_is_followed(index: Index) -> None:
    index.counts()
    link = index.folder.with_name("link")
    link.symlink_to("store")
    assert Index(link / ".." / "link").counts()["n_rows"] == 0


@needs_posix
def test_a_link_of_another_user_is_refused(
    index: Index, given_away: Callable[[Path], None]
) -> None:
    index.counts()
    link = index.folder.with_name("link")
    link.symlink_to(index.folder)
    given_away(link)
    with pytest.raises(StoreError, match=f"{link} belongs to user"):
        Index(link).counts()


@needs_posix
def test_what_a_link_leads_through_is_checked(index: Index, tmp_path: Path) -> None:
    (tmp_path / "open" / "inner").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    index.folder.symlink_to(tmp_path / "open" / "inner")
    with pytest.raises(StoreError, match=f"{tmp_path / 'open'} can be written"):
        index.counts()


@needs_posix
def test_a_link_in_the_place_of_the_shards_is_followed_as_far_as_nobody_else_can_write(
    index: Index, tmp_path: Path
) -> None:
    index.counts()
    (index.folder / SHARD_FOLDER).rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (index.folder / SHARD_FOLDER).symlink_to(tmp_path / "elsewhere")
    assert index.counts()["n_rows"] == 0
    (tmp_path / "elsewhere").chmod(0o770)
    with pytest.raises(StoreError, match=f"{tmp_path / 'elsewhere'} can be written"):
        index.counts()


@needs_posix
def test_links_in_a_circle_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to("store")
    with pytest.raises(StoreError, match="cannot be used: too many levels of symbolic links"):
        Index(tmp_path / "store").counts()


@needs_posix
def test_an_index_that_is_a_link_is_refused(index: Index, tmp_path: Path) -> None:
    index.counts()
    (index.folder / INDEX_FILE).rename(tmp_path / "elsewhere")
    (index.folder / INDEX_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        index.counts()


# A group's store


@needs_posix
def test_a_groups_store_may_belong_to_others_and_be_written_by_the_group(
    index: Index, given_away: Callable[[Path], None]
) -> None:
    index.counts()
    given_away(index.folder.parent)
    index.folder.chmod(0o770)
    assert Index(index.folder, shared=True).counts()["n_rows"] == 0


@needs_posix
@pytest.mark.parametrize("name", ["", "store", "store/shards", f"store/{INDEX_FILE}"])
def test_not_even_a_groups_store_may_be_written_by_all(index: Index, name: str) -> None:
    index.counts()
    component = index.folder.parent / name
    component.chmod(0o777)
    with pytest.raises(StoreError, match=rf"chmod o-w {component}`, or name") as info:
        Index(index.folder, shared=True).counts()
    assert "--shared-store" not in str(info.value)


@needs_posix
def test_what_is_new_in_a_groups_store_can_be_written_by_the_group(
    tmp_path: Path, photos: list[str]
) -> None:
    store = FeatureStore(tmp_path / "store", shared=True)
    ColorHistogram(store=store).transform(photos[:1])
    [shard] = (store.folder / SHARD_FOLDER).iterdir()
    paths = [store.folder, shard.parent, store.folder / INDEX_FILE, shard]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o2770, 0o2770, 0o660, 0o660]


# Other errors


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match=r"cannot be used: not a directory\."):
        Index(tmp_path / "store").counts()


def test_other_errors_keep_their_reason(tmp_path: Path) -> None:
    message = r"cannot be used: permission denied\. Name another"
    with pytest.raises(StoreError, match=message), store_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
