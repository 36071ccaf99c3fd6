from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.caching import CacheImpl

from featx.compiling import compiled


def double(x: int) -> int:
    return 2 * x


def test_a_function_is_compiled_where_no_folder_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert compiled()(double)(4) == 8


def test_a_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(
        "from featx.compiling import compiled\n"
        "@compiled()\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "double(4)\n"
        "print(sum(double.stats.cache_hits.values()))\n"
    )
    hits = [
        subprocess.run(
            [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import loops",
             str(tmp_path)],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for _ in range(2)
    ]  # fmt: skip
    assert hits == ["0", "1"]
