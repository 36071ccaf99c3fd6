"""Stored machine code: it saves time, and its faults cost no more than time."""

from __future__ import annotations

import errno
import os
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import platformdirs
import pytest

import featx
from featx._imports import compiled
from featx.trust import machine_code, safe_folders

needs_posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes are POSIX's")

LOOPS = """
from featx._imports import compiled

if "FACTOR" not in globals():
    from constants import FACTOR

@compiled()
def times(x):
    return FACTOR * x

@compiled()
def plus(x):
    return x + 1
"""


class Ran:
    """Object whose pickle leaves a file behind when it is loaded."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sentinel,)


class Program:
    """Two compiled functions in a file, which may be imported again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        (folder / "loops.py").write_text(LOOPS)
        (folder / "constants.py").write_text("FACTOR = 2\n")

    def files(self, suffix: str) -> list[Path]:
        """Stored files: each function has one of each suffix."""
        return sorted(self.cache.rglob(f"*.{suffix}"))

    def run(self) -> tuple[int, int, int]:
        """Two results, and how many functions took their machine code from disk."""
        machine_code._warned.clear()
        constants = runpy.run_path(str(self.folder / "constants.py"))
        loops = runpy.run_path(str(self.folder / "loops.py"), {"FACTOR": constants["FACTOR"]})
        times, plus = loops["times"], loops["plus"]
        results = times(4), plus(4)
        return *results, sum(len(it.stats.cache_hits) for it in (times, plus))

    def plant(self, sentinel: Path) -> None:
        """Pickles that run code, with the right digest, which anybody can compute."""
        for file in self.files("nbi"):
            payload = pickle.dumps(Ran(sentinel))
            file.write_bytes(machine_code._digest(payload) + payload)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    program = Program(tmp_path)
    monkeypatch.setattr(machine_code.config, "CACHE_DIR", str(program.cache))
    return program


def run_process(program: Program, before: str = "") -> tuple[str, list[str]]:
    """What a new process prints, and the lines of its log."""
    path = os.pathsep.join([str(program.folder), str(Path(featx.__file__).parents[1])])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(program.cache), "PYTHONPATH": path}
    code = f"{before}\nfrom loops import *\nprint(times(4), plus(4), len(plus.stats.cache_hits))"
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return process.stdout.strip(), process.stderr.splitlines()


def test_a_second_process_loads_what_the_first_compiled(program: Program) -> None:
    assert [run_process(program) for _ in range(2)] == [("8 5 0", []), ("8 5 1", [])]


@needs_posix
def test_a_full_disk_is_reported_once_and_leaves_nothing(program: Program) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))"
    output, [line] = run_process(program, limit)
    assert output == "8 5 0"
    assert "File too large" in line
    assert [path for path in program.cache.rglob("*") if path.is_file()] == []


def test_a_changed_constant_of_another_file_is_compiled_anew(program: Program) -> None:
    assert [program.run() for _ in range(2)] == [(8, 5, 0), (8, 5, 2)]
    (program.folder / "constants.py").write_text("FACTOR = 3\n")
    assert program.run() == (12, 5, 1)


def test_a_changed_function_of_another_file_is_compiled_anew(tmp_path: Path) -> None:
    stamps = []
    for text in ("x", "-x"):
        (tmp_path / "inner.py").write_text(f"def inner(x):\n    return {text}\n")
        inner = compiled()(runpy.run_path(str(tmp_path / "inner.py"))["inner"])
        outer = FunctionType(call_inner.__code__, {"inner": inner})
        stamps.append(b"".join(machine_code._dependencies(outer, set())))
    assert stamps[0] != stamps[1]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: data[:40], lambda data: data[:-1], lambda data: b"x" * 999],
    ids=["empty", "head", "one byte less", "garbage"],
)
def test_a_damaged_file_is_reported_once_and_compiled_anew(
    program: Program,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    spoil: Callable[[bytes], bytes],
) -> None:
    program.run()
    for file in program.files(suffix):
        file.write_bytes(spoil(file.read_bytes()))
    assert [program.run() for _ in range(2)] == [(8, 5, 0), (8, 5, 2)]
    [line] = caplog.messages
    assert line.startswith("Stored machine code cannot be read and is recompiled: ")


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_planted_pickle_is_not_loaded(program: Program, tmp_path: Path, suffix: str) -> None:
    program.run()
    for file in program.files(suffix):
        file.write_bytes(pickle.dumps(Ran(tmp_path / "ran")))
    assert program.run() == (8, 5, 0)
    assert not (tmp_path / "ran").exists()


@needs_posix
@pytest.mark.parametrize("component", ["folder", "file"])
def test_what_others_can_write_is_not_loaded(
    program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture, component: str
) -> None:
    program.run()
    program.plant(tmp_path / "ran")
    for file in program.files("nbi"):
        (file.parent if component == "folder" else file).chmod(0o777)
    assert program.run() == (8, 5, 0)
    [line] = caplog.messages
    assert "can be written by others" in line
    assert not (tmp_path / "ran").exists()


def test_what_only_the_user_can_write_is_loaded(program: Program, tmp_path: Path) -> None:
    """The test above would notice if the pickle ran."""
    program.run()
    program.plant(tmp_path / "ran")
    assert program.run() == (8, 5, 0)
    assert (tmp_path / "ran").exists()


def test_a_folder_that_cannot_be_made_is_reported_once(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    program.cache.write_text("a file")
    assert program.run() == (8, 5, 0)
    [line] = caplog.messages
    assert line.startswith("Machine code cannot be stored and is recompiled by every process: ")
    assert line.endswith("Name another folder by NUMBA_CACHE_DIR.")


def test_a_folder_that_cannot_be_written_is_read(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    program.run()
    for folder in {file.parent for file in program.files("nbi")}:
        folder.chmod(0o500)
    assert program.run() == (8, 5, 2)
    assert not caplog.messages


def test_no_room_for_the_machine_code_is_reported_once(
    program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fill(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(machine_code._SafeFile, "_write", fill)
    assert program.run() == (8, 5, 0)
    [line] = caplog.messages
    assert "No space left on device" in line


def double(x: Any) -> Any:
    return 2 * x


def call_inner(x: Any) -> Any:
    return inner(x)  # type: ignore[name-defined]  # noqa: F821


def test_a_function_typed_at_a_prompt_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    names: dict[str, Any] = {}
    exec("def thrice(x):\n    return 3 * x", names)
    assert compiled()(names["thrice"])(4) == 12
    assert not caplog.records


@needs_posix
def test_the_folder_is_private_and_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setattr(machine_code.config, "CACHE_DIR", "")
    compiled()(double)(4)
    [index] = (tmp_path / "featx" / "compiled").rglob("*.nbi")
    for folder in (tmp_path / "featx", index.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_machine_code_of_other_versions_is_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_code.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machine_code, "_VERSIONS", "numba-0.1.0-featx-0.0.1")
    compiled()(double)(4)
    n_bytes = sum(it.stat().st_size for it in tmp_path.rglob("*.nb?"))
    monkeypatch.setattr(machine_code, "_VERSIONS", "numba-0.1.0-featx-0.0.2")
    compiled()(double)(4)
    files = set(tmp_path.glob("numba-0.1.0-featx-0.0.2/*/*"))

    assert machine_code.prune_machine_code() == n_bytes > 0

    assert {it for it in tmp_path.rglob("*") if it.is_file()} == files
    assert [it.name for it in tmp_path.iterdir()] == ["numba-0.1.0-featx-0.0.2"]


@pytest.mark.parametrize(
    "name",
    ["mine/a.nbc", "numba-examples/a.nbc", "numba-0.1.0/a.py", "numba-0.1.0/inner/a.txt"],
)
def test_files_of_others_are_not_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(machine_code.config, "CACHE_DIR", str(tmp_path / "chosen"))
    (tmp_path / "chosen" / name).parent.mkdir(parents=True)
    (tmp_path / "chosen" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.nbc").touch()
    (tmp_path / "chosen" / "numba-0.2.0").symlink_to(tmp_path / "elsewhere")

    assert machine_code.prune_machine_code() == 0

    assert (tmp_path / "chosen" / name).exists()
    assert (tmp_path / "elsewhere" / "a.nbc").exists()


@needs_posix
def test_a_folder_that_others_can_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(safe_folders, "_is_own_group", lambda gid: False)
    monkeypatch.setattr(machine_code.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machine_code, "_warned", set())
    tmp_path.chmod(0o770)
    assert compiled()(double)(4) == 8
    assert str(tmp_path) in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_compiled_here_is_stored_here() -> None:
    assert not isinstance(numba.njit(cache=True)(double)._cache, machine_code._SafeCache)
