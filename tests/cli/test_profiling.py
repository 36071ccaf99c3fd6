from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from featx.cli.profiling import print_profile
from featx.process.phases import phase


def test_phases_are_printed_longest_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import time

    monkeypatch.setattr("featx.cli.profiling._start_s", time.time)
    with print_profile():
        for name, seconds in {"short": 0.02, "long": 0.1}.items():
            with phase(name):
                time.sleep(seconds)
    title, *lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"0\.\d\d s, peak memory [\d,]+ MB:", title)
    assert [line.split()[0] for line in lines] == ["long", "short", "other"]


@pytest.mark.slow
def test_parts_of_a_command_add_up_to_its_time(tmp_path: Path) -> None:
    images = Path(__file__).parents[2] / "data/samples/photo"
    command = f"-m featx compare {images} --no-store --profile -q"
    done = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True)
    total = float(done.stderr.split()[0])
    parts = {
        match[1]: float(match[2])
        for match in re.finditer(r"^  (\w[\w ]*?) +([\d.]+) s", done.stderr, re.MULTILINE)
    }
    assert sum(parts.values()) == pytest.approx(total, rel=0.01)
    assert parts["other"] < 0.05 * total
    assert {"import", "decode", "extract", "train classifier"} <= set(parts)
