from pathlib import Path

import pytest

from featx.errors import NotEnoughMemoryError
from featx.process import memory
from featx.process.memory import available_bytes, require_memory


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert available_bytes() == 3000


def test_a_container_without_a_limit_has_the_memory_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert available_bytes() > 2**20


def test_too_little_memory_is_one_line_with_both_figures_and_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 3_100_000_000)
    require_memory(3_100_000_000, "This", "Lower --max-images")
    with pytest.raises(NotEnoughMemoryError) as raised:
        require_memory(6_900_000_000, "A map of 9 images", "Lower --max-images")
    assert str(raised.value) == (
        "A map of 9 images needs about 6.9 GB of memory; 3.1 GB are available. Lower --max-images."
    )
