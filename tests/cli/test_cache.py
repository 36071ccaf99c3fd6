from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.cli import main
from featx.cli.cache import _bytes
from featx.extractors.color import MeanColor


@pytest.fixture(autouse=True)
def _filled() -> None:
    """Store of this test with four rows."""
    from featx.store.feature_store import FeatureStore

    images = np.arange(4 * 27, dtype=np.uint8).reshape(4, 3, 3, 3)
    MeanColor(store=FeatureStore()).fit_transform(images)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["featx", "cache", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_info_counts_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", "--json") == 0
    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert (row["n_rows"], row["n_settings"]) == (4, 1)


def test_store_called_default_is_the_users_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", "--store", "default", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["n_rows"] == 4


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes are POSIX's")
def test_a_store_that_a_group_can_write_is_used_when_it_is_said_to_be_shared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("featx.trust.safe_folders._is_own_group", lambda gid: False)
    os.chmod(os.environ["FEATX_STORE"], 0o770)
    assert run(monkeypatch, "info") == 1
    assert "--shared-store" in capsys.readouterr().err
    assert run(monkeypatch, "info", "--shared-store") == 0


def test_ls_names_the_extractor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "ls") == 0
    assert "mean_color" in capsys.readouterr().out


def test_verify_reads_every_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "verify") == 0
    assert capsys.readouterr().out == "4 rows read, 0 damaged and dropped\n"


def test_verify_runs_nothing_that_a_store_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = str(tmp_path / "executed")
    reduced = pickle.dumps(type("Crafted", (), {"__reduce__": lambda _: (os.mkdir, (target,))})())
    for shard in (Path(os.environ["FEATX_STORE"]) / "shards").iterdir():
        shard.write_bytes(reduced.ljust(shard.stat().st_size, b"\0"))
    assert run(monkeypatch, "verify") == 0
    assert capsys.readouterr().out == "4 rows read, 4 damaged and dropped\n"
    assert not Path(target).exists()


def test_clear_empties_the_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "clear", "--yes") == 0
    capsys.readouterr()
    assert run(monkeypatch, "ls") == 0
    assert "empty" in capsys.readouterr().err


def test_prune_to_a_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "prune", "--max-size", "0") == 0
    assert "4 rows" in capsys.readouterr().out
    assert run(monkeypatch, "prune", "--max-size", "much") == 2


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("1000", 1000), ("20G", 20 * 10**9), ("1.5 mb", 1_500_000), ("2k", 2000)]
)
def test_sizes_are_read(text: str, n_bytes: int) -> None:
    assert _bytes(text) == n_bytes


def test_rebuild_brings_rows_back_without_computing_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(os.environ["FEATX_STORE"], "index.sqlite").unlink()
    assert run(monkeypatch, "rebuild") == 0
    assert capsys.readouterr().out.startswith("New index: 4 rows added (files read: ")
    monkeypatch.setattr(MeanColor, "_extract", lambda *_: pytest.fail("computed"))
    images = np.arange(4 * 27, dtype=np.uint8).reshape(4, 3, 3, 3)
    assert MeanColor(store="default").fit_transform(images).shape == (4, 3)


def test_mistyped_store_is_not_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("info", "ls", "verify", "prune", "rebuild"):
        assert run(monkeypatch, command, "--store", str(tmp_path / "stroe")) == 1
        assert f"There is no store in {tmp_path / 'stroe'}." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_merge_says_what_it_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source, target = os.environ["FEATX_STORE"], str(tmp_path / "all")
    assert run(monkeypatch, "merge", source, "--to", target) == 0
    copied = f"{target}: 4 rows copied, 0 were present, 0 damaged and skipped\n"
    assert capsys.readouterr().out == copied
    assert run(monkeypatch, "merge", source, "--to", target, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["n_present"] == 4


def test_merge_of_a_store_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "merge", str(tmp_path / "none"), "--to", "all") == 1
    assert capsys.readouterr().err == f"featx: There is no store in {tmp_path}/none.\n"
