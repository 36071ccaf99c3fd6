from __future__ import annotations

import subprocess
import sys

import pytest

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
