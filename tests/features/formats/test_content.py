from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.features.formats.content import row_chunks

SAVE_BIG = """
import resource, sys
from pathlib import Path
import numpy as np, pyarrow.parquet, h5py
from featx.features.feature_set import FeatureSet
folder = Path(sys.argv[1])
X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (2048, 50_000))
X[:, 0] = 1
features = FeatureSet(X, [str(i) for i in range(len(X))])
status = lambda: int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])
before = status()
features.save(folder / f"f{sys.argv[2]}")
print((status() - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".npz", ".npy", ".parquet", ".h5", ".safetensors", ""])
def test_matrix_larger_than_memory_is_written_piece_by_piece(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-c", SAVE_BIG, str(tmp_path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150  # MiB; the matrix has 390.


def test_chunks_are_the_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx._linalg._CHUNK_BYTES", 32)
    X = np.arange(10, dtype=np.float32).reshape(5, 2)
    chunks = list(row_chunks(X))
    assert list(map(len, chunks)) == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(chunks), X)


def test_row_wider_than_a_chunk_is_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx._linalg._CHUNK_BYTES", 16)
    assert len(list(row_chunks(np.zeros((3, 9), np.float32)))) == 3
