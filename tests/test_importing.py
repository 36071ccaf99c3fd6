"""Torchvision comes without the compiler, and loses nothing by it."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


START = "import sys; from featx.importing import import_torchvision; tv = import_torchvision();"


def test_the_compiler_stays_out() -> None:
    """The larger part of torchvision's import is not made, and nothing is left in its place."""
    assert run(f"{START} print([n for n in sys.modules if n.startswith('torch._dynamo')])") == "[]"


@pytest.mark.parametrize(
    "use",
    [
        "from torch._dynamo.utils import is_compile_supported as own; own('cpu')",
        "import torch._dynamo.utils as utils; utils.counters",
        "import torch; torch.compile(lambda x: x + 1, backend='eager')(torch.zeros(1))",
    ],
)
def test_the_compiler_is_there_when_it_is_used(use: str) -> None:
    """Whoever wants it later gets PyTorch's own."""
    code = f"{START} {use}; print(sys.modules['torch._dynamo.utils'].__file__ is not None)"
    assert run(code) == "True"


def test_the_operation_that_asks_for_it_works() -> None:
    """`roi_align` finds out through the stand-in what it is to do, as with a plain import."""
    code = """
import torch
torch.use_deterministic_algorithms(True)
boxes = torch.tensor([[0, 0, 0, 8, 8.0]])
maps = torch.arange(100.0).view(1, 1, 10, 10)
print(tv.ops.roi_align.__globals__['is_compile_supported']('cpu'))
print(tv.ops.roi_align(maps, boxes, 2).tolist())
"""
    expected = run("import sys, torchvision as tv\n" + code)
    assert run(START + code) == expected


def test_whoever_imports_the_compiler_meanwhile_gets_it() -> None:
    """A module that other code takes while torchvision is being imported is not a dummy."""
    code = """
import sys
from featx.importing import COMPILER, _StandIn
sys.modules[COMPILER] = stand_in = _StandIn(COMPILER)
import torch._dynamo
stand_in.leave()
print(torch._dynamo.utils is sys.modules[COMPILER], torch._dynamo.utils is not stand_in)
"""
    assert run(code) == "True True"


@pytest.mark.parametrize("model", ["featxnet", "resnet18", "squeezenet1_0"])
def test_looking_at_a_network_needs_no_compiler(model: str) -> None:
    """Its layers and its random weights are had without PyTorch's compiler."""
    code = f"""
import sys
from featx.models.plans import find_plan
plan = find_plan("{model}", weights="random")
plan.table, plan.network()
print([name for name in sys.modules if name.startswith("torch._dynamo")])
"""
    assert run(code) == "[]"
