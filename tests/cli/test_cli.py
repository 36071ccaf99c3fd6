from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from featx.cli import main
from featx.errors import FeatxError
from tests.cli.test_options import commands

HEAVY = ("torch", "torchvision", "cv2", "umap", "sklearn", "skimage", "numba", "numpy", "pandas")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["extract", "--help"], ["cache", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from featx.cli import main\n"
        f"sys.argv = ['featx', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "featx" in done.stdout


def test_importing_featx_imports_nothing_heavy() -> None:
    code = f"import featx, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException, *arguments: str) -> Any:
    """Run a command whose work raises an error; its exit code."""

    def raise_it(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("featx.networks.sources.catalog.list_models", raise_it)
    monkeypatch.setattr(sys, "argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


UNEXPECTED = (
    r"featx: unexpected \w+ in test_cli.py:\d+: .*; please report this, with the traceback that "
    r"--debug shows\n"
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("x"), UNEXPECTED),
        (EOFError("short\nfile"), UNEXPECTED),
        (AssertionError(), UNEXPECTED),
        (RecursionError("deep"), UNEXPECTED),
        (FeatxError("No such thing."), "featx: No such thing.\n"),
        (MemoryError("6.9 GB"), "featx: out of memory; .*: 6.9 GB\n"),
        (PermissionError(13, "Permission denied", "a/b"), "featx: a/b: permission denied\n"),
        (OSError(28, "No space left on device"), "featx: no space left on device\n"),
    ],
)
def test_any_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    line: str,
) -> None:
    monkeypatch.delenv("FEATX_DEBUG", raising=False)
    assert fail(monkeypatch, error, "models") == 1
    assert re.fullmatch(line, capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [["--debug", "models"], ["models", "--debug"]])
def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert fail(monkeypatch, FeatxError("No such thing."), *arguments) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "featx: No such thing.")


def test_a_variable_of_the_environment_asks_for_tracebacks_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEATX_DEBUG", "1")
    fail(monkeypatch, KeyError("x"), "models")
    assert capsys.readouterr().err.startswith("Traceback")


def test_every_command_takes_debug() -> None:
    for name, command in commands():
        assert "debug" in inspect.signature(command).parameters, name


def test_an_interrupt_without_our_handler_is_one_line_and_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(monkeypatch, KeyboardInterrupt(), "models") == 130
    assert capsys.readouterr().err.startswith("featx: interrupted; ")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux shows who catches what")
@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1])
def test_ctrl_c_while_the_program_starts_is_one_line_and_130(delay_s: float) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "featx", "extractors"]
    child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    while not catches(child.pid, signal.SIGTERM):
        time.sleep(0.001)
    time.sleep(delay_s)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    line = "featx: interrupted; stored rows remain valid, run again to resume\n"
    assert (child.returncode, err) == (130, line)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    [mask] = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_console_without_the_letters_of_a_class_shows_their_codes(tmp_path: Path) -> None:
    for name in ("кот", "пёс"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            shade = 60 * number + 20 * (name == "кот")
            Image.new("RGB", (16, 16), (shade, 9, 9)).save(
                tmp_path / "photos" / name / f"{number}.png"
            )
    command = [sys.executable, "-m", "featx", "probe", str(tmp_path / "photos"), "-e", "mean_color"]
    options = ["--n-splits", "2", "-q", "--no-store", "--report", str(tmp_path / "report")]

    done = subprocess.run(
        [*command, *options], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}
    )

    assert done.returncode == 0
    assert rb"\u043a\u043e\u0442" in done.stdout
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["extractors"], ["--help"]])
def test_full_output_is_one_line_and_a_code(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "featx", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "featx: no space left on device\n")


@pytest.mark.parametrize("suffix", [".npz", ".skops", ".png", ".csv"])
def test_name_too_long_for_a_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    suffix: str,
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    long = "y" * 260 + suffix
    arguments = {
        ".npz": ["extract", "a.png", "-e", "mean_color", "-o", long],
        ".skops": ["extract", "a.png", "-e", "mean_color", "--save-extractor", long],
        ".png": ["augment", "a.png", "-o", long],
        ".csv": ["extract", long, "-e", "mean_color"],
    }[suffix]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1
    assert last.startswith("featx: ")
    assert "unexpected" not in last
