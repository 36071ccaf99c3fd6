from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import featx
from featx import _imports
from featx._imports import (
    WithoutCompilerMixin,
    compiled,
    has_openvino,
    load_opencv,
    single_threaded_opencv,
    skip_initialization,
)
from featx.errors import FeatxWarning

TORCHVISION = (
    "import sys; from featx._imports import import_torchvision; tv = import_torchvision();"
)


def run(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_the_module_itself_imports_nothing_heavy() -> None:
    heavy = ["numpy", "numba", "cv2", "torch", "torchvision", "openvino"]
    code = f"import sys, featx._imports; print([n for n in {heavy} if n in sys.modules])"
    assert run(code) == "[]"


@pytest.mark.parametrize("name", ["cv2", "openvino"])
def test_no_other_module_imports(name: str) -> None:
    package = Path(featx.__file__).parent
    nodes = [
        (path.name, node)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
    importers = {
        file
        for file, node in nodes
        if (isinstance(node, ast.Import) and name in [alias.name for alias in node.names])
        or (isinstance(node, ast.ImportFrom) and node.module == name)
    }
    assert importers == {"_imports.py"}


def test_opencv_gets_its_threads_back_when_the_last_user_leaves() -> None:
    cv2 = load_opencv()
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        first, second = single_threaded_opencv(), single_threaded_opencv()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        n_inside = cv2.getNumThreads()
        second.__exit__(None, None, None)
        assert (n_inside, cv2.getNumThreads()) == (1, 2)
    finally:
        cv2.setNumThreads(before)


# torchvision without PyTorch's compiler


def test_torchvision_leaves_the_compiler_unimported() -> None:
    code = f"{TORCHVISION} print([n for n in sys.modules if n.startswith('torch._dynamo')])"
    assert run(code) == "[]"


@pytest.mark.parametrize(
    "use",
    [
        "from torch._dynamo.utils import is_compile_supported as own; own('cpu')",
        "import torch._dynamo.utils as utils; utils.counters",
        "import torch; torch.compile(lambda x: x + 1, backend='eager')(torch.zeros(1))",
    ],
)
def test_the_compiler_is_imported_when_it_is_used(use: str) -> None:
    code = f"{TORCHVISION} {use}; print(sys.modules['torch._dynamo.utils'].__file__ is not None)"
    assert run(code) == "True"


def test_roi_align_asks_the_compiler_through_the_stand_in() -> None:
    code = """
import torch
torch.use_deterministic_algorithms(True)
boxes = torch.tensor([[0, 0, 0, 8, 8.0]])
maps = torch.arange(100.0).view(1, 1, 10, 10)
print(tv.ops.roi_align.__globals__['is_compile_supported']('cpu'))
print(tv.ops.roi_align(maps, boxes, 2).tolist())
"""
    expected = run("import sys, torchvision as tv\n" + code)
    assert run(TORCHVISION + code) == expected


def test_the_compiler_replaces_the_stand_in_when_it_is_imported_meanwhile() -> None:
    code = """
import sys
from featx._imports import _COMPILER, _StandIn
sys.modules[_COMPILER] = stand_in = _StandIn(_COMPILER)
import torch._dynamo
stand_in.remove()
print(torch._dynamo.utils is sys.modules[_COMPILER], torch._dynamo.utils is not stand_in)
"""
    assert run(code) == "True True"


@pytest.mark.parametrize("model", ["featxnet", "resnet18", "squeezenet1_0"])
def test_tracing_a_network_needs_no_compiler(model: str) -> None:
    code = f"""
import sys
from featx.networks.configs import find_config
plan = find_config("{model}", weights="random")
plan.table, plan.network()
print([name for name in sys.modules if name.startswith("torch._dynamo")])
"""
    assert run(code) == "[]"


# Modes of PyTorch


def test_a_mode_without_the_compiler_does_not_import_it() -> None:
    code = """
import sys, torch
from featx._imports import WithoutCompilerMixin
from torch.utils._python_dispatch import TorchDispatchMode
class Mode({bases}):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {{}}))
with Mode():
    torch.zeros(1) + 1
print("torch._dynamo" in sys.modules)
"""
    bases = "WithoutCompilerMixin, TorchDispatchMode", "TorchDispatchMode"
    assert [run(code.format(bases=names)) for names in bases] == ["False", "True"]


def test_a_mode_without_the_compiler_sees_each_operation() -> None:
    class Recorder(WithoutCompilerMixin, TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    with Recorder():
        torch.ones(1).exp()
    assert names == ["ones.default", "exp.default"]


def test_skipped_initialization_leaves_values_alone() -> None:
    weight = nn.Parameter(torch.full((3, 3), 7.0))
    with skip_initialization():
        assert nn.init.kaiming_normal_(weight) is weight
        weight.uniform_()
    assert (weight == 7).all()


def test_skipped_initialization_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    with skip_initialization():
        nn.Conv2d(3, 4, 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_skipped_initialization_still_draws_what_is_no_parameter() -> None:
    with skip_initialization():
        assert torch.zeros(100).normal_().std() > 0.5


def test_initialization_is_back_afterwards() -> None:
    with skip_initialization():
        pass
    assert (nn.init.uniform_(torch.zeros(9)) > 0).any()


# OpenCV


@pytest.fixture
def _fresh_opencv() -> None:
    load_opencv.cache_clear()


@pytest.mark.usefixtures("_fresh_opencv")
def test_clashing_wheels_of_opencv_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"opencv-python": "4.12.0", "opencv-python-headless": "5.0.0"}
    monkeypatch.setattr(_imports, "_version", versions.get)
    with pytest.warns(FeatxWarning, match="opencv-python-headless 5.0.0 and opencv-python 4.12.0"):
        load_opencv()


@pytest.mark.usefixtures("_fresh_opencv")
def test_equal_versions_of_opencv_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"opencv-python": "5.0.0", "opencv-python-headless": "5.0.0"}
    monkeypatch.setattr(_imports, "_version", versions.get)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hasattr(load_opencv(), "SIFT_create")


@pytest.mark.usefixtures("_fresh_opencv")
def test_wheels_of_opencv_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(_imports, "_version", names.append)
    assert load_opencv() is load_opencv()
    assert names == list(_imports._OPENCV_WHEELS)


# OpenVINO


@pytest.mark.skipif(not has_openvino(), reason="OpenVINO is not installed")
def test_openvino_is_loaded_without_its_telemetry() -> None:
    code = """
import sys
from featx._imports import load_openvino
print(hasattr(load_openvino(), "Core"), sys.modules["openvino_telemetry"])
"""
    assert run(code) == "True None"


@pytest.mark.skipif(not has_openvino(), reason="OpenVINO is not installed")
def test_a_program_that_imported_openvino_keeps_its_telemetry() -> None:
    code = """
import sys, types
sys.modules["openvino"] = sys.modules["openvino_telemetry"] = own = types.ModuleType("own")
from featx._imports import load_openvino
print(load_openvino() is own, sys.modules["openvino_telemetry"] is own)
"""
    assert run(code) == "True True"


def test_a_missing_openvino_is_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not has_openvino()


# numba


def double(x: int) -> int:
    return 2 * x


def test_a_compiled_function_gives_what_the_function_gives() -> None:
    x = np.arange(5)
    np.testing.assert_array_equal(compiled()(double)(x), double(x))
