"""Unfinished files go with the process; finished ones, and those of others, stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from featx._files import atomic_write
from featx.process import unfinished_files as module
from featx.process.unfinished_files import forget_unfinished, remove_unfinished, unfinished

INSIDE = """
import sys, threading
from pathlib import Path
from featx._files import atomic_write
from featx.process.unfinished_files import remove_unfinished

def write(name, entered):
    with atomic_write(Path(name)) as temporary:
        temporary.mkdir() if name == "folder" else temporary.write_text("half")
        if name == "folder":
            (temporary / "inner").mkdir()
            (temporary / "inner" / "file").write_text("half")
            (temporary / "link").symlink_to(Path("kept").absolute(), target_is_directory=True)
        entered.set()
        threading.Event().wait()

Path("kept").mkdir()
Path("kept", "file").write_text("whole")
with atomic_write(Path("whole")) as temporary:
    temporary.write_text("whole")
for name in ("file", "folder"):
    entered = threading.Event()
    threading.Thread(target=write, args=[name, entered], daemon=True).start()
    entered.wait()
remove_unfinished()
late = threading.Thread(target=write, args=["late", threading.Event()], daemon=True)
late.start()
late.join(0.2)
sys.stdout.write(str(late.is_alive()))
sys.stdout.flush()
import os; os._exit(0)
"""


def test_what_is_not_complete_is_removed_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INSIDE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "True"
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["kept", "kept/file", "whole"]


def test_nothing_is_remembered_once_it_is_complete(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file") as temporary:
        assert str(temporary) in module._paths
        temporary.write_text("whole")
    assert module._paths == set()


def test_a_copy_of_the_process_leaves_its_parents_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("half")
    with unfinished(tmp_path / "file"):
        forget_unfinished()
        remove_unfinished()
        forget_unfinished()  # Lets go of the lock, which is held for ever otherwise.
    assert (tmp_path / "file").exists()
