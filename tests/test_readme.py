"""Every example of the README is executed as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from featx.cli import main

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line]
SCRIPTS = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current folder with the sample images."""
    shutil.copytree(ROOT / "data/samples", tmp_path / "data/samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
@pytest.mark.filterwarnings("ignore::featx.errors.EmptyRowsWarning")
def test_commands_of_the_readme_run_in_their_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert not stop.value.code, (command, err)
        assert out or " -o " in command, command


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.usefixtures("working_folder")
def test_script_of_the_readme_runs(script: str) -> None:
    exec(compile(script, "README.md", "exec"), {"__name__": "__main__"})


def test_there_are_examples() -> None:
    assert len(COMMANDS) >= 10
    assert len(SCRIPTS) >= 3
