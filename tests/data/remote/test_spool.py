from __future__ import annotations

import gc

from featx.data.remote.spool import Spool


def test_content_is_kept_until_it_is_dropped() -> None:
    spool = Spool()
    spool.put("a", b"one")
    assert spool.get("a") == b"one"
    spool.drop("a")
    assert spool.get("a") is None


def test_no_more_is_kept_than_fits() -> None:
    spool = Spool(max_bytes=5)
    spool.put("a", b"four")
    spool.put("b", b"two")
    assert (spool.get("a"), spool.get("b")) == (b"four", None)
    spool.drop("a")
    spool.put("b", b"two")
    assert spool.get("b") == b"two"


def test_folder_is_private_and_goes_with_the_spool() -> None:
    spool = Spool()
    spool.put("a", b"one")
    folder = spool._folder
    assert folder.stat().st_mode & 0o77 == 0
    del spool
    gc.collect()
    assert not folder.exists()
