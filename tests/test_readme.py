"""Every example of the README and of the pages it was split into is executed as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from featx.cli import main

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/commands.md", "docs/python.md")
BLOCKS = {
    page: re.findall(r"```(\w+)\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    for page in PAGES
}
COMMANDS = {
    page: [line for kind, text in blocks if kind == "sh" for line in text.splitlines() if line]
    for page, blocks in BLOCKS.items()
}
SCRIPTS = [text for blocks in BLOCKS.values() for kind, text in blocks if kind == "python"]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current folder with the sample images."""
    shutil.copytree(ROOT / "data/samples", tmp_path / "data/samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
@pytest.mark.filterwarnings("ignore::featx.errors.EmptyRowsWarning")
@pytest.mark.parametrize("page", [page for page, commands in COMMANDS.items() if commands])
def test_commands_of_a_page_run_in_their_order(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in COMMANDS[page]:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert not stop.value.code, (command, err)
        assert out or " -o " in command, command


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.usefixtures("working_folder")
def test_script_of_a_page_runs(script: str) -> None:
    exec(compile(script, "page.md", "exec"), {"__name__": "__main__"})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::featx.errors.EmptyRowsWarning")
def test_get_started_runs_from_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/get_started.md").read_text("utf-8")
    blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 6
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, "page.md", "exec"), {"__name__": "__main__"})
            continue
        for command in block.splitlines():
            monkeypatch.setattr(sys, "argv", shlex.split(command))
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code, (command, capsys.readouterr().err)
    assert (tmp_path / "report/report.html").exists()
    assert (tmp_path / "depth/report.html").exists()


def test_there_are_examples() -> None:
    assert len(COMMANDS["README.md"]) >= 3
    assert len(COMMANDS["docs/commands.md"]) >= 10
    assert len(SCRIPTS) >= 3
