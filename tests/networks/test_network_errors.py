from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featx.errors import LayerError, ModelError
from featx.extractors.cnn import CNNFeatures
from featx.finetuning.classifier import FineTunedClassifier
from featx.networks.configs import find_config, list_layers
from featx.networks.network_errors import name_network
from featx.networks.pooling import Tap

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)


class SilentError(Exception):
    """Fails at what it says."""

    def __str__(self) -> str:
        raise KeyError


class Block(nn.Module):
    """A layer whose own code may raise."""

    def __init__(self, act: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.act(x)
        maps: torch.Tensor = self.conv(x)
        return maps


class Net(nn.Module):
    """A network with such a layer."""

    preprocessing = {"resize": 8, "crop": 8}

    def __init__(self, act: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.body, self.fc = nn.Sequential(Block(act)), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.body(x).mean((2, 3)))
        return logits


def raises(error: BaseException) -> Callable[[Any], None]:
    def act(x: Any) -> None:
        raise error

    return act


def fails_late(x: torch.Tensor) -> None:
    """Raise in a real run, not while the network is looked at."""
    if x.shape[0] > 3:
        raise LookupError("now")


def fails_in_training(x: torch.Tensor) -> None:
    if torch.is_grad_enabled() and x.shape[0] > 3:
        raise OverflowError("now")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        SystemExit(0),
        SilentError(),
        NotImplementedError(),
        RuntimeError(),
        OSError(2, "no"),
    ],
)
def test_whatever_a_layer_raises_is_one_line_with_its_name(error: BaseException) -> None:
    with pytest.raises(ModelError, match=r"^Net does not .* layer 'body.0' \(Block\): ") as caught:
        list_layers(Net(raises(error)))
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)
    assert f"{type(error).__name__}" in str(caught.value)
    assert "(test_network_errors.py:" in str(caught.value)


@pytest.mark.parametrize("tap", ["auto", "hooks"])
def test_what_a_layer_raises_in_a_run_names_it(tap: str) -> None:
    features = CNNFeatures(Net(fails_late), "fc", tap=tap, batch_size=9)
    with pytest.raises(
        ModelError, match=r"Net does not run: in layer .body\.0. .*: LookupError: now"
    ):
        features.fit_transform(IMAGES)


def test_what_a_layer_raises_in_training_names_it() -> None:
    tuned = FineTunedClassifier(Net(fails_in_training), train="all", validation=0, head_epochs=0)
    with pytest.raises(ModelError, match=r"in layer 'body\.0' \(Block\): OverflowError: now"):
        tuned.fit(IMAGES, np.arange(9) % 2)


def test_a_graph_that_fails_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    network = find_config(Net(len), size=8).network()
    layer = network.config.table.find("body.0.conv")
    taps = [Tap(layer, "flatten", ("body.0.conv",))]
    with pytest.raises(ModelError, match="Net does not run"):
        network.rows(torch.zeros(2, 5, 8, 8, dtype=torch.uint8), taps)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def make(:", r"cannot be imported: SyntaxError: .*mynet\w*\.py, line 1\)"),
        ("import sys; sys.exit()", r"cannot be imported: SystemExit.*\(mynet\w*\.py:1\)"),
        ("import nowhere", r"cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("\ndef make(): return {}['a']", r"cannot be built: KeyError: 'a' \(mynet\w*\.py:2\)"),
        ("def make(n): return n", r"cannot be built: TypeError: make\(\) missing 1 required"),
    ],
)
def test_what_a_users_file_raises_is_one_line(
    code: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"mynet{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ModelError, match=f"Model '{name}:make' {expected}"):
        list_layers(f"{name}:make")


def test_a_network_that_makes_no_tensors_is_refused() -> None:
    class Empty(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, str]:
            return {"out": "text"}

    with pytest.raises(ModelError, match="Empty computes no tensor with one row per image"):
        list_layers(Empty())


def test_attributes_and_values_that_cannot_be_read_are_named() -> None:
    class Closed(nn.Linear):
        @property
        def preprocessing(self) -> Any:
            raise LookupError("closed")

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            raise LookupError("sealed")

    with pytest.raises(ModelError, match=r"Closed (has invalid|cannot return) .*: LookupError"):
        CNNFeatures(Closed(3, 3)).fit_transform(IMAGES)


def test_errors_of_featx_and_lack_of_memory_stay_what_they_are() -> None:
    for error in (LayerError("a", "b"), MemoryError(), KeyboardInterrupt()):
        with pytest.raises(type(error)), name_network("net", "does not run"):
            raise error


def test_code_that_catches_exceptions_does_not_hide_the_end_of_a_tapped_run() -> None:
    class Catching(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return super().forward(x)
            except Exception:
                raise AssertionError("a stranger's exception") from None

    network = Catching(len)
    rows = [
        CNNFeatures(network, "body.0", tap=tap).fit_transform(IMAGES) for tap in ("auto", "hooks")
    ]
    assert np.allclose(*rows, atol=1e-5)
