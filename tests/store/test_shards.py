"""Shards are written completely or not at all, and damaged ones are recognized."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import featx
from featx.errors import StoreError
from featx.store.shards import (
    PRODUCERS,
    Shard,
    ShardLayout,
    _append,
    describe,
    is_orphan,
    is_sound,
    open_shard,
    row_crc,
    write_shard,
)

FINGERPRINT = "f" * 32
DIGESTS = ["0a" * 16, "0b" * 16, "0c" * 16]

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from featx.errors import StoreError
from featx.store.shards import write_shard

resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    write_shard(Path(sys.argv[1]), "f" * 32, ["0a" * 16], np.zeros((1, 10**6), np.float32))
except StoreError as error:
    print(error)
"""


@pytest.fixture
def matrix() -> np.ndarray:
    return np.arange(12, dtype=np.float32).reshape(3, 4)


def opened(folder: Path, shard: Shard) -> np.ndarray | None:
    return open_shard(folder, shard.file, shard.layout)


def test_a_matrix_comes_back_mapped_read_only_and_equal(tmp_path: Path, matrix: np.ndarray) -> None:
    rows = opened(tmp_path, write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix))
    np.testing.assert_array_equal(rows, matrix)
    assert not rows.flags.writeable
    assert isinstance(rows.base, np.memmap)


def test_ragged_rows_lie_one_after_the_other(tmp_path: Path) -> None:
    parts = [np.full((k, 2), k, np.uint8) for k in (3, 0, 1)]
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, parts)
    assert (shard.starts, shard.stops) == ((0, 3, 3), (3, 3, 4))
    np.testing.assert_array_equal(opened(tmp_path, shard), [[3, 3]] * 3 + [[1, 1]])


def test_rows_of_no_length_at_all_are_kept(tmp_path: Path) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, [np.empty((0, 5), np.uint8)] * 3)
    assert opened(tmp_path, shard).shape == (0, 5)


def test_any_memory_order_gives_the_same_shard(tmp_path: Path, matrix: np.ndarray) -> None:
    fortran = write_shard(tmp_path, FINGERPRINT, DIGESTS, np.asfortranarray(matrix))
    assert fortran.crcs == write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix).crcs


def test_a_shard_pickles_and_names_what_made_it(tmp_path: Path, matrix: np.ndarray) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix, {"device": "cuda"})
    assert (shard.producer["numpy"], shard.producer["device"]) == (np.__version__, "cuda")
    assert shard.layout.n_bytes == (tmp_path / shard.file).stat().st_size
    joblib.dump(shard, tmp_path / "pickled")
    assert joblib.load(tmp_path / "pickled") == shard


def test_every_package_that_a_shard_may_name_is_one_that_featx_imports() -> None:
    code = "\n".join(file.read_text("utf-8") for file in Path(featx.__file__).parent.rglob("*.py"))
    imported = set(re.findall(r"(?:\n *(?:import|from) |import_module\(\")(\w+)", code))
    assert set(PRODUCERS) - imported == set()


def test_no_two_shards_share_a_file(tmp_path: Path, matrix: np.ndarray) -> None:
    files = {write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix).file for _ in range(5)}
    assert len(files) == len(list((tmp_path / "shards").iterdir())) == 5


def test_shards_are_private_whatever_the_umask(tmp_path: Path, matrix: np.ndarray) -> None:
    umask = os.umask(0)
    try:
        write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    finally:
        os.umask(umask)
    assert (tmp_path / "shards").stat().st_mode & 0o777 == 0o700


def test_too_few_rows_are_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Expected rows of 3 images; got those of 2"):
        write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix[:2])


def test_nothing_is_renamed_before_it_is_on_disk(
    tmp_path: Path, matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("fsync", "replace"):
        act = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _f=act: (calls.append(_n), _f(*a))[1])
    write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=r"^No space left .*; the stored rows remain valid\. Free"):
        write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    assert list((tmp_path / "shards").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are POSIX's")
def test_a_limit_on_file_sizes_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("No space left on the disk of the store")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_disk_that_is_really_full_leaves_nothing(tiny_disk: Path, matrix: np.ndarray) -> None:
    good = write_shard(tiny_disk, FINGERPRINT, DIGESTS, matrix)
    with pytest.raises(StoreError, match="No space left"):
        write_shard(tiny_disk, FINGERPRINT, DIGESTS, np.zeros((3, 10**6), np.float32))
    assert [path.name for path in (tiny_disk / "shards").iterdir()] == [Path(good.file).name]
    np.testing.assert_array_equal(opened(tiny_disk, good), matrix)


def test_no_flipped_byte_gives_a_wrong_row(tmp_path: Path, matrix: np.ndarray) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS[:1], matrix[:1])
    content = (tmp_path / shard.file).read_bytes()
    n_noticed = 0
    for index in range(len(content)):
        damaged = bytearray(content)
        damaged[index] ^= 1 << index % 8
        (tmp_path / shard.file).write_bytes(damaged)
        rows = opened(tmp_path, shard)
        is_noticed = rows is None or row_crc(DIGESTS[0], rows[:1]) != shard.crcs[0]
        assert is_noticed or np.array_equal(rows, matrix[:1]), index
        n_noticed += is_noticed
    assert n_noticed >= matrix[:1].nbytes


@pytest.mark.parametrize("n_bytes", [0, 10, 100])
def test_a_truncated_shard_is_none(tmp_path: Path, matrix: np.ndarray, n_bytes: int) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    os.truncate(tmp_path / shard.file, n_bytes)
    assert opened(tmp_path, shard) is None


def test_no_value_of_a_header_byte_is_taken_for_another(tmp_path: Path, matrix: np.ndarray) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    content = bytearray((tmp_path / shard.file).read_bytes())
    end = content.index(b'{"fingerprint"')  # What follows is for a rebuild, with a sum of its own.
    for index in (*range(shard.layout.offset), *range(shard.layout.stop, end)):
        for value in {0, 1, 0x2E, 0x7F, 0x80, 0xFF, content[index] ^ 1} - {content[index]}:
            damaged = content[:]
            damaged[index] = value
            (tmp_path / shard.file).write_bytes(damaged)
            assert opened(tmp_path, shard) is None, (index, value)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "<i4"},
        {"dtype": "<f2", "width": 8},
        {"width": 6, "n_rows": 2},
        {"container_crc": 0},
        {"n_bytes": 10**6},
    ],
)
def test_a_shard_of_another_layout_is_none(
    tmp_path: Path, matrix: np.ndarray, change: dict[str, Any]
) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    assert open_shard(tmp_path, shard.file, shard.layout._replace(**change)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"file": name}
        for name in ("../a.joblib", "shards/../a.joblib", "/a.joblib", "shards/a", "shards/a/b")
    ]
    + [{"file": value} for value in (None, b"shards/a.joblib", 7, "shards/a\n.joblib")]
    + [{"dtype": value} for value in ("O", "|O", "<f4,<f4", "|V4", "f4", None, 4)]
    + [{"offset": value} for value in (-16, 3, 10**6, 2**62, "240", None, 240.0)]
    + [{"n_rows": -3}, {"n_rows": 4}, {"width": -2}, {"width": 2**40}, {"n_bytes": 2**62}]
    + [{"n_rows": -3, "width": -2}, {"container_crc": "0"}],
)
def test_what_no_writer_enters_into_an_index_is_unsound(change: dict[str, Any]) -> None:
    layout = ShardLayout("<f4", n_rows=3, width=2, offset=240, n_bytes=265, container_crc=0)
    assert is_sound("shards/a.joblib", *layout)
    values = {"file": "shards/a.joblib", **layout._asdict(), **change}
    assert not is_sound(*values.values())


def test_joblib_opens_a_shard_where_there_is_no_featx(tmp_path: Path, matrix: np.ndarray) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    code = (
        "import sys; sys.modules['featx'] = None; import joblib; "
        "print(joblib.load(sys.argv[1], mmap_mode='r').tolist())"
    )
    command = [sys.executable, "-I", "-c", code, str(tmp_path / shard.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == matrix.tolist()


@pytest.mark.parametrize("n_columns", range(1, 40))
def test_rows_are_found_behind_any_padding(tmp_path: Path, n_columns: int) -> None:
    rows = np.full((3, n_columns), 0xFF, np.uint8)  # The value that joblib pads with.
    shard = write_shard(tmp_path, "f" * n_columns, DIGESTS, rows)
    content = (tmp_path / shard.file).read_bytes()
    assert content[shard.layout.offset : shard.layout.stop + 1] == rows.tobytes() + b"."
    np.testing.assert_array_equal(opened(tmp_path, shard), rows)


def test_a_layout_that_is_not_joblib_s_is_never_published(
    tmp_path: Path, matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "dump", lambda array, file: file.write(array.tobytes() * 9 + b"."))
    with pytest.raises(RuntimeError, match=r"^joblib \S+ writes arrays in an unknown layout"):
        write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    assert list((tmp_path / "shards").iterdir()) == []


def test_rows_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows of numbers; got values of type object"):
        write_shard(tmp_path, FINGERPRINT, DIGESTS, np.full((3, 1), None))


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")
@pytest.mark.parametrize(
    "replace",
    [
        lambda path: path.symlink_to(path.rename(path.with_suffix(".moved"))),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["link", "pipe", "folder"],
)
def test_a_shard_that_is_no_file_is_none(
    tmp_path: Path, matrix: np.ndarray, replace: Callable[[Path], object]
) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    replace(tmp_path / shard.file)
    assert opened(tmp_path, shard) is None


def test_no_row_passes_for_another_image_s(matrix: np.ndarray) -> None:
    assert row_crc(DIGESTS[0], matrix) != row_crc(DIGESTS[1], matrix)


def test_a_file_is_abandoned_after_an_hour_whoever_wrote_it(
    tmp_path: Path, matrix: np.ndarray
) -> None:
    path = tmp_path / write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix).file
    assert not is_orphan(path)
    assert not is_orphan(path, time.time() + 3500)
    assert is_orphan(path, time.time() + 3700)


def test_a_file_of_a_dead_writer_is_abandoned_after_a_minute(
    tmp_path: Path, matrix: np.ndarray
) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    path = tmp_path / write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix).file
    orphan = path.rename(str(path).replace(f"-{os.getpid()}-", f"-{child.pid}-"))
    assert not is_orphan(orphan)
    assert is_orphan(orphan, time.time() + 70)


def test_a_file_that_is_gone_is_not_abandoned(tmp_path: Path) -> None:
    assert not is_orphan(tmp_path / "gone")


def test_a_shard_says_what_it_holds(tmp_path: Path) -> None:
    parts = [np.full((n, 4), n, np.uint8) for n in (2, 0, 3)]
    settings = {"extractor": "x", "words": np.zeros((2, 3))}
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, parts, {"device": "cpu"}, settings)
    expected = {"extractor": "x", "words": "float64[2, 3]"}
    assert describe(tmp_path, shard.file) == (shard, expected)


def test_no_change_of_what_a_shard_says_goes_unnoticed(tmp_path: Path, matrix: np.ndarray) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    path = tmp_path / shard.file
    content = path.read_bytes()
    for i in range(shard.layout.stop + 1, len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        assert describe(tmp_path, shard.file) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("digests", ["x"] * 3),
        ("digests", [1] * 3),
        ("starts", [0]),
        ("stops", [1, 2, 2**60]),
        ("crcs", ["a"] * 3),
        ("fingerprint", "e" * 32),
        ("layout", ["O", 3, 4, 240]),
        ("settings", []),
        ("more", 1),
    ],
)
def test_a_shard_that_says_what_cannot_be_is_not_believed(
    tmp_path: Path, matrix: np.ndarray, name: str, value: Any
) -> None:
    shard = write_shard(tmp_path, FINGERPRINT, DIGESTS, matrix)
    content = (tmp_path / shard.file).read_bytes()[: shard.layout.stop + 1]
    layout = (shard.layout.dtype, *shard.layout[1:4])
    fields = ("fingerprint", "digests", "starts", "stops", "crcs", "producer")
    description = {key: getattr(shard, key) for key in fields} | {"layout": layout, "settings": {}}
    with (tmp_path / shard.file).open("wb") as file:
        file.write(content)
        _append(file, description | {name: value}, value if name == "layout" else layout)
    assert describe(tmp_path, shard.file) is None
