from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import FeatureFileError, ProjectionError
from featx.features.feature_set import FeatureSet, check_output
from featx.features.formats import _FORMATS

KINDS = [*_FORMATS, ""]
N_FILES = {".npy": 2, ".csv": 2, "": 3}
"""Formats of several files."""

HARD_NAMES = ["a.jpg", "dir/ü 漢字 😀.jpg", 'c,"q".png', "d\ne.png", " e ", "caf\\xe9.jpg", "g'"]
HARD_LABELS = ["a", "", "NaN", "ü", "NA", "null", "1.0"]


def made(n: int = 7, **changes: Any) -> FeatureSet:
    """Features with everything that is hard to store."""
    X = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    X.flat[:3] = [np.nan, np.inf, 1e-42]
    fields: dict[str, Any] = {
        "paths": HARD_NAMES[:n],
        "labels": HARD_LABELS[:n],
        "splits": ["train", "val", "", "test", "", "", ""][:n],
        "groups": ["p 1", "", "NaN", "1", "ü", "p 1", ""][:n],
        "blocks": {"cnn:timm/x:fc,pooling=gap": (0, 2), "path": (2, 5)},
        "failures": [("x.jpg", "the file is empty")],
        "provenance": {"extractors": [{"fingerprint": "ab"}], "size": [2, 3]},
    }
    return FeatureSet(X, **(fields | changes))


def same(a: Any, b: Any) -> bool:
    return (a is None and b is None) or a.tolist() == b.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [7, 1])
def test_every_format_gives_back_everything(tmp_path: Path, kind: str, n: int) -> None:
    features = made(n)
    features.save(tmp_path / f"f{kind}")
    loaded = FeatureSet.load(tmp_path / f"f{kind}")
    np.testing.assert_array_equal(loaded.X, features.X)
    assert loaded.X.dtype == np.float32
    for column in ("paths", "labels", "splits", "domains", "groups"):
        assert same(getattr(loaded, column), getattr(features, column))
    assert list(loaded.blocks.items()) == list(features.blocks.items())
    assert (loaded.failures, loaded.provenance) == (features.failures, features.provenance)


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_no_image_at_all_round_trip(tmp_path: Path, kind: str) -> None:
    made().take([]).save(tmp_path / f"f{kind}")
    assert FeatureSet.load(tmp_path / f"f{kind}").X.shape == (0, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_written_in_many_chunks_are_the_same(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx._linalg._CHUNK_BYTES", 80)
    made().save(tmp_path / f"f{kind}")
    np.testing.assert_array_equal(FeatureSet.load(tmp_path / f"f{kind}").X, made().X)


@pytest.mark.parametrize("kind", KINDS)
def test_output_of_the_same_settings_is_replaced(tmp_path: Path, kind: str) -> None:
    made().save(tmp_path / f"f{kind}")
    made(3).save(tmp_path / f"f{kind}")
    assert len(FeatureSet.load(tmp_path / f"f{kind}")) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_output_of_other_settings_stays_unless_forced(tmp_path: Path, kind: str) -> None:
    made().save(tmp_path / f"f{kind}")
    other = made(3, provenance={"extractors": [{"fingerprint": "cd"}]})
    with pytest.raises(FeatureFileError, match=r"other extractor settings; .*--force"):
        other.save(tmp_path / f"f{kind}")
    assert len(FeatureSet.load(tmp_path / f"f{kind}")) == 7
    other.save(tmp_path / f"f{kind}", force=True)
    assert len(FeatureSet.load(tmp_path / f"f{kind}")) == 3


@pytest.mark.parametrize("kind", _FORMATS)
def test_file_of_somebody_else_stays_unless_forced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"f{kind}"
    path.write_bytes(b"my thesis")
    with pytest.raises(FeatureFileError, match="was not written by featx"):
        made().save(path)
    assert path.read_bytes() == b"my thesis"
    made().save(path, force=True)
    assert len(FeatureSet.load(path)) == 7


def test_folder_of_somebody_else_keeps_its_files_even_if_forced(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(FeatureFileError, match="was not written by featx"):
        made().save(tmp_path)
    made().save(tmp_path, force=True)
    names = {"holiday.jpg", "features.npy", "manifest.parquet", "meta.json"}
    assert set(os.listdir(tmp_path)) == names


def test_names_beside_a_missing_matrix_stay_too(tmp_path: Path) -> None:
    (tmp_path / "f.npy.json").write_text("{}")
    with pytest.raises(FeatureFileError, match="was not written by featx"):
        made().save(tmp_path / "f.npy")


def test_features_without_fingerprints_never_replace(tmp_path: Path) -> None:
    made(provenance={}).save(tmp_path / "f.npz")
    with pytest.raises(FeatureFileError, match="other extractor settings"):
        made(provenance={}).save(tmp_path / "f.npz")


@pytest.mark.parametrize("kind", KINDS)
def test_output_is_checked_without_being_touched(tmp_path: Path, kind: str) -> None:
    provenance = {"extractors": [{"fingerprint": "ab"}]}
    check_output(tmp_path / f"new/f{kind}", provenance)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "f.npx",
            r"'\.npx' of .* is not a format .*Did you mean '\.npz' or '\.npy'\? Expected one of",
        ),
        ("f.jpg/g.npz", "is not a folder"),
        ("f.jpg", "is not a format for features"),
    ],
)
def test_impossible_output_is_refused_at_once(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "f.jpg").touch()
    with pytest.raises(FeatureFileError, match=message):
        check_output(tmp_path / name, {})


def test_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.npz").mkdir()
    with pytest.raises(FeatureFileError, match="is a folder; expected the name of a file"):
        check_output(tmp_path / "f.npz", {}, force=True)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_file_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"f{kind}"
    made().save(path)
    damaged = path / "features.npy" if path.is_dir() else path
    damaged.write_bytes(damaged.read_bytes()[:-30])
    message = "is damaged or was not written by featx|or one was changed since"
    with pytest.raises(FeatureFileError, match=message) as raised:
        FeatureSet.load(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", _FORMATS)
@pytest.mark.parametrize("held", [b"", b"no features at all" * 99])
def test_file_of_another_kind_is_one_line(tmp_path: Path, kind: str, held: bytes) -> None:
    (tmp_path / f"f{kind}").write_bytes(held)
    with pytest.raises(FeatureFileError, match=r"is damaged|is missing") as raised:
        FeatureSet.load(tmp_path / f"f{kind}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "missing", "holds"),
    [
        (".npy", "f.npy.json", "the names of the rows"),
        (".csv", "f.csv.json", "the names of the rows"),
        ("", "f/meta.json", "the blocks"),
    ],
)
def test_missing_second_file_is_named_with_what_it_holds(
    tmp_path: Path, kind: str, missing: str, holds: str
) -> None:
    made().save(tmp_path / f"f{kind}")
    (tmp_path / missing).unlink()
    with pytest.raises(FeatureFileError, match=f"{missing} is missing; it holds {holds} and how"):
        FeatureSet.load(tmp_path / f"f{kind}")


def test_missing_file_is_named() -> None:
    with pytest.raises(FeatureFileError, match=r"No feature file nowhere.npz"):
        FeatureSet.load("nowhere.npz")


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_writing_leaves_the_old_file(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"f{kind}"
    made().save(path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FeatureFileError, match=r"Cannot write .*no space left on device"):
        made(3).save(path)
    assert len(FeatureSet.load(path)) == 7
    assert not list(tmp_path.rglob("*.tmp"))


KILLS = [(kind, rename) for kind in KINDS for rename in range(N_FILES.get(kind, 1))]


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize(("kind", "rename"), KILLS)
def test_killed_writer_leaves_the_old_features_or_the_new_ones(
    tmp_path: Path, kind: str, rename: int, is_first: bool, killed_at_rename: Any
) -> None:
    path = tmp_path / f"f{kind}"
    if not is_first:
        made().save(path)
    new = made(labels=None, provenance=made().provenance | {"run": 2})
    with killed_at_rename(rename):
        new.save(path)
    if is_first and rename == 0:
        with pytest.raises(FeatureFileError):
            FeatureSet.load(path)
    else:
        loaded = FeatureSet.load(path)
        assert loaded.provenance == (made() if rename == 0 else new).provenance
        assert (loaded.labels is None) == (rename > 0)


@pytest.mark.parametrize(("kind", "rename"), KILLS)
def test_writing_again_after_a_kill_leaves_nothing_of_it(
    tmp_path: Path,
    kind: str,
    rename: int,
    killed_at_rename: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f"f{kind}"
    with killed_at_rename(rename):
        made().save(path)
    assert list(tmp_path.rglob("*.tmp"))
    monkeypatch.setattr("featx._files._is_writer_dead", lambda _: True)
    made(3).save(path)
    assert len(FeatureSet.load(path)) == 3
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("kind", N_FILES)
@pytest.mark.parametrize("second", range(1, 3))
def test_files_of_two_writings_are_refused(tmp_path: Path, kind: str, second: int) -> None:
    for name, features in (("a", made()), ("b", made(3))):
        (tmp_path / name).mkdir()
        features.save(tmp_path / name / f"f{kind}")
    files = sorted(it.relative_to(tmp_path / "a") for it in (tmp_path / "a").rglob("*.*"))
    mixed = files[second % len(files)]
    (tmp_path / "b" / mixed).replace(tmp_path / "a" / mixed)
    with pytest.raises(FeatureFileError, match=r"were not written together, or one was changed"):
        FeatureSet.load(tmp_path / f"a/f{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_same_features_are_the_same_bytes(tmp_path: Path, kind: str) -> None:
    if kind in (".mat", ".h5"):
        pytest.skip("their headers tell the time")
    for name in "ab":
        (tmp_path / name).mkdir()
        made().save(tmp_path / name / f"f{kind}")
    files = [it for it in (tmp_path / "a").rglob("*") if it.is_file()]
    assert all(it.read_bytes() == Path(str(it).replace("/a/", "/b/")).read_bytes() for it in files)


READ = """
import sys
from featx.features.feature_set import FeatureSet
for _ in range(int(sys.argv[2])):
    X = FeatureSet.load(sys.argv[1])
    run = X.provenance["run"]
    assert (X.X == run).all() and set(X.paths) == {run}, "torn"
"""
WRITE = """
import sys
import numpy as np
from featx.features.feature_set import FeatureSet
run = sys.argv[2]
made = FeatureSet(np.full((9, 5), run, np.float32), [run] * 9, provenance={"run": run})
made.save(sys.argv[1], force=True)
print(flush=True)
while True:
    made.save(sys.argv[1], force=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_reader_beside_two_writers_gets_whole_features(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / f"f{kind}")
    code = READ.replace("== run)", "== int(run))")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, path, run], stdout=subprocess.PIPE)
        for run in "12"
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        subprocess.run([sys.executable, "-c", code, path, "1000"], check=True)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


@pytest.mark.parametrize("kind", KINDS)
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    wide = FeatureSet(np.random.default_rng(0).random((200, 5000), np.float32), ["a"] * 200)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(FeatureFileError, match=r"Cannot write .*ile too large") as raised:
            wide.save(tmp_path / f"f{kind}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(raised.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", [".npy", ".safetensors", ""])
def test_matrix_is_mapped_rather_than_read(tmp_path: Path, kind: str) -> None:
    made().save(tmp_path / f"f{kind}")
    assert isinstance(FeatureSet.load(tmp_path / f"f{kind}").X, np.memmap)


def test_mapped_features_save_over_their_own_file(tmp_path: Path) -> None:
    made().save(tmp_path / "f.npy")
    FeatureSet.load(tmp_path / "f.npy").save(tmp_path / "f.npy")
    np.testing.assert_array_equal(FeatureSet.load(tmp_path / "f.npy").X, made().X)


def test_link_is_followed_when_written_through(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "far.npz")
    made().save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert len(FeatureSet.load(tmp_path / "far.npz")) == 7


def test_layer_is_a_view_of_its_columns() -> None:
    features = made()
    assert features.layer("path").base is not None
    np.testing.assert_array_equal(features.layer("path"), features.X[:, 2:])


def test_wrong_layer_gets_the_nearest_right_one() -> None:
    with pytest.raises(FeatureFileError, match=r"Block 'pat' .* Did you mean 'path'"):
        made().layer("pat")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["a"]}, "labels must have one value per row of X"),
        ({"blocks": {"a": (0, 2)}}, "must cover the 5 columns"),
        ({"blocks": {"a": (0, 2), "b": (3, 5)}}, "be adjacent"),
        ({"blocks": {"": (0, 5)}}, "must have names"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_one_block_is_made_where_none_is_named() -> None:
    assert made(blocks={}).blocks == {"features": (0, 5)}


def test_take_takes_rows_by_place_or_mask() -> None:
    features = made()
    by_mask = features.take(features.splits == "train")
    assert same(by_mask.paths, features.take([0]).paths)
    assert by_mask.X.shape == (1, 5)


def test_provenance_of_arrays_and_paths_is_stored_as_plain_values(tmp_path: Path) -> None:
    provenance = {"root": Path("a"), "size": (np.int64(3), 4), "mean": np.ones(2)}
    made(provenance=provenance).save(tmp_path / "f.npz")
    held = FeatureSet.load(tmp_path / "f.npz").provenance
    assert held == {"root": "a", "size": [3, 4], "mean": [1.0, 1.0]}


def test_features_that_are_not_finite_are_refused_by_block_and_image() -> None:
    X = np.ones((3, 4), np.float32)
    features = FeatureSet(X, ["a.png", "b.png", "c.png"], blocks={"pool1": (0, 2), "fc7": (2, 4)})
    features.check_finite()
    X[1, 3] = np.inf
    with pytest.raises(ProjectionError, match=r"fc7 has NaN or infinite .* in 1 of 3 .* b\.png"):
        features.check_finite()
