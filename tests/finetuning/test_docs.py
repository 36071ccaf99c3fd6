"""Every example of docs/finetuning.md is executed as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from featx.cli import main

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/finetuning.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
SECTIONS = [text.splitlines() for kind, text in BLOCKS if kind == "sh"]
SCRIPTS = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current folder with the sample images."""
    shutil.copytree(ROOT / "data/samples", tmp_path / "data/samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
@pytest.mark.parametrize("commands", SECTIONS, ids=lambda commands: commands[0][6:40])
def test_commands_of_a_section_run_in_their_order(
    commands: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands:
        monkeypatch.setattr("sys.argv", shlex.split(command))
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert not stop.value.code, (command, err)
        assert out, command


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
@pytest.mark.parametrize("script", SCRIPTS)
def test_script_runs(script: str) -> None:
    exec(compile(script, "finetuning.md", "exec"), {"__name__": "__main__"})


def test_there_are_examples() -> None:
    assert sum(map(len, SECTIONS)) >= 15
    assert SCRIPTS
