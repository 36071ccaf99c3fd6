"""Every example of the README and of the pages it was split into is executed as it stands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
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
COMMANDS["README.md"] = [
    command for command in COMMANDS["README.md"] if command not in COMMANDS["docs/commands.md"]
]
"""Those that are not run with the other page's."""

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


@pytest.mark.slow
def test_own_extractor_becomes_a_plug_in(tmp_path: Path) -> None:
    text = (ROOT / "docs/own_extractor.md").read_text("utf-8")
    blocks = dict(re.findall(r"```(toml|sh)\n(.*?)```", text, re.DOTALL))
    module, check = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "edge_density.py").write_text(module, "utf-8")
    (tmp_path / "pyproject.toml").write_text(blocks["toml"], "utf-8")
    _run("-m", "pip", "install", ".", "--no-deps", "--no-build-isolation", "-q", "-t", "installed",
         folder=tmp_path)  # fmt: skip
    _run("-c", check, folder=tmp_path)
    outputs = [
        _run("-m", *shlex.split(command), folder=tmp_path) for command in blocks["sh"].splitlines()
    ]
    assert "edges" in outputs[0]
    assert (tmp_path / "edges.npz").exists()
    assert "edges:4" in outputs[2]


def _run(*words: str, folder: Path) -> str:
    """Output of Python, which finds packages installed below the folder."""
    path = os.pathsep.join([str(folder / "installed"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return done.stdout


def test_there_are_examples() -> None:
    assert len(BLOCKS["README.md"]) >= 3
    assert len(COMMANDS["docs/commands.md"]) >= 10
    assert len(SCRIPTS) >= 3
