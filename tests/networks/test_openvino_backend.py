"""OpenVINO: torch's rows, no word to anybody, and torch itself where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from featx._imports import has_openvino
from featx.data.images import Images
from featx.errors import ModelError
from featx.extractors.cnn import CNNFeatures
from featx.networks import network as networks
from featx.networks import openvino_backend as compiled
from featx.networks.network import Network
from featx.networks.openvino_backend import deviations

pytestmark = pytest.mark.skipif(not has_openvino(), reason="OpenVINO is not installed")

WATCHED = """
import sys
seen = []
KINDS = ("socket.", "os.fork", "os.posix_spawn", "os.exec", "subprocess.")
{before}

def watch(event, args):
    if event.startswith(KINDS):
        seen.append(event)
        raise PermissionError(event)

sys.addaudithook(watch)
{program}
print("seen:", sorted(set(seen)))
"""
CONVERSION = """
from featx.extractors.cnn import CNNFeatures
network = CNNFeatures("squeezenet1_0", "pool1", weights="random", size=64, backend="openvino")
rows = network.fit_transform(np.zeros((3, 64, 64, 3), np.uint8))
assert rows.shape == (3, 96 * 14 * 14), rows.shape
assert "openvino" in sys.modules
"""


def watched(program: str, home: Path, before: str = "import numpy as np, torch") -> str:
    """What a program prints that runs without variables of CI, every way out watched."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    script = WATCHED.format(before=before, program=program)
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert not run.returncode, run.stderr
    return run.stdout


@pytest.mark.slow
def test_nobody_is_told_of_an_import_or_a_conversion(tmp_path: Path) -> None:
    assert "seen: []" in watched(CONVERSION, tmp_path)
    assert not (tmp_path / "intel").exists()


def test_the_watch_sees_and_stops_whoever_calls(tmp_path: Path) -> None:
    program = """
import urllib.request
try:
    urllib.request.urlopen("http://localhost:9")
except OSError:
    pass
"""
    assert "seen: ['socket." in watched(program, tmp_path, before="")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the networks that OpenVINO has computed with."""
    converted: list[str] = []
    convert = Network.compiled

    def spy(self: Network, *args: object) -> object:
        result = convert(self, *args)  # type: ignore[arg-type]
        converted.extend([self.config.source.name] * (result is not None))
        return result

    monkeypatch.setattr(Network, "compiled", spy)
    return converted


def both(model: object, layer: object, **how: object) -> tuple[CNNFeatures, CNNFeatures]:
    how = {"weights": "random", "size": 96, **how}
    return tuple(  # type: ignore[return-value]
        CNNFeatures(model, layer, backend=backend, **how)  # type: ignore[arg-type]
        for backend in ("torch", "openvino")
    )


@pytest.mark.parametrize(
    ("model", "layer", "pooling"),
    [
        ("squeezenet1_0", ["pool1", "fire6", "penultimate"], "flatten"),
        ("squeezenet1_0", "pool3", "gem"),
        ("alexnet", ["conv1", "pool1", "relu_fc7", "logits"], "flatten"),
        ("resnet18", ["conv1", "stage2", "penultimate"], "grid=2"),
        ("mobilenet_v3_small", ["conv1", "penultimate"], "auto"),
        ("featxnet", ["conv1", "pool1", "penultimate"], "gap"),
    ],
)
def test_rows_are_torchs(
    model: str, layer: object, pooling: str, images: np.ndarray, converted: list[str]
) -> None:
    torchs, ours = both(model, layer, pooling=pooling)
    wanted = torchs.fit_transform(images)
    assert not converted
    got = ours.fit_transform(images)
    assert converted
    assert deviations(got, wanted).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vit_b_16", "swin_t", "efficientnet_b0"])
def test_rows_of_other_kinds_of_networks_are_torchs(
    model: str, images: np.ndarray, converted: list[str]
) -> None:
    torchs, ours = both(model, "-1", size=224)
    np.testing.assert_array_less(
        deviations(ours.fit_transform(images), torchs.fit_transform(images)), 1e-4
    )
    assert converted


def test_real_images_through_real_weights(
    shared: Callable[[str], Path], photos: list[str], converted: list[str]
) -> None:
    weights = shared("weights/squeezenet1_0-imagenet.pth")
    layers = ["pool1", "penultimate"]
    torchs, ours = both("squeezenet1_0", layers, weights=weights, size=None, pooling="gap")
    wanted = torchs.fit_transform(photos[:24])
    assert deviations(ours.fit_transform(photos[:24]), wanted).max() < 1e-4
    assert converted


@pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(), reason="the processor has no bfloat16"
)
def test_bfloat16_stays_within_its_bound_on_real_images(
    shared: Callable[[str], Path], photos: list[str], converted: list[str]
) -> None:
    weights = shared("weights/squeezenet1_0-imagenet.pth")
    layers = ["pool1", "penultimate"]
    exact, _ = both("squeezenet1_0", layers, weights=weights, size=None, pooling="gap")
    half = exact.set_params(precision="fp32").fit_transform(photos[:24])
    for extractor in both(
        "squeezenet1_0", layers, weights=weights, size=None, pooling="gap", precision="bf16"
    ):
        errors = deviations(extractor.fit_transform(photos[:24]), half)
        assert 1e-4 < errors.max() < 5e-2
    assert converted


def test_any_number_of_images_in_any_batch(images: np.ndarray) -> None:
    _, ours = both("squeezenet1_0", "pool1", pooling="gap")
    wanted = ours.fit_transform(images)
    for n_batch in (1, 2, 3, 7):
        rows = ours.set_params(batch_size=n_batch).transform(images)
        np.testing.assert_allclose(rows, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("fresh_networks")
def test_deviating_rows_are_not_used(
    images: np.ndarray,
    converted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torchs, ours = both("squeezenet1_0", "pool1")
    fill = compiled.CompiledNetwork.fill

    def wrong(self: compiled.CompiledNetwork, pixels: np.ndarray, out: list[np.ndarray]) -> None:
        fill(self, pixels, out)
        out[0][-1] *= 1.001

    monkeypatch.setattr(compiled.CompiledNetwork, "fill", wrong)
    rows = ours.fit_transform(images)
    assert not converted
    assert "rows deviate by 1.0e-03" in caplog.text
    np.testing.assert_array_equal(rows, torchs.fit_transform(images))


@pytest.mark.usefixtures("fresh_networks")
def test_deviations_show_themselves_where_the_first_images_are_blank(
    converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, ours = both("squeezenet1_0", "pool1", mean=(0, 0, 0), std=(1, 1, 1))
    fill = compiled.CompiledNetwork.fill

    def wrong(self: compiled.CompiledNetwork, pixels: np.ndarray, out: list[np.ndarray]) -> None:
        fill(self, pixels, out)
        out[0][pixels.any((1, 2, 3))] *= 1.001

    monkeypatch.setattr(compiled.CompiledNetwork, "fill", wrong)
    ours.fit_transform(np.zeros((2, 96, 96, 3), np.uint8))
    assert not converted


@pytest.fixture
def fresh_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network kept from before, none kept for later."""
    monkeypatch.setattr(networks, "_NETWORKS", networks.Cache(2))


@pytest.mark.usefixtures("fresh_networks")
def test_reproducible_rows_are_of_one_back_end_or_none(images: np.ndarray) -> None:
    torch.manual_seed(0)
    how = {"weights": "default", "mean": (0, 0, 0), "std": (1, 1, 1), "reproducible": True}
    _, ours = both(Wayward(), "conv", **how)
    with pytest.raises(ModelError, match="backend='torch'"):
        ours.fit_transform(images)


@pytest.mark.usefixtures("fresh_networks")
def test_a_run_that_fell_back_says_so(images: np.ndarray) -> None:
    torch.manual_seed(0)
    _, ours = both(Wayward(), "conv", weights="default", mean=(0, 0, 0), std=(1, 1, 1))
    with ours.worker_threads(["conv"], len(images), 1) as threads:
        assert threads.backend() == "openvino"
        threads.extract([ours._prepare(image) for image in images], ["conv"])
        assert threads.backend() == "torch"


class Wayward(nn.Module):
    """A network that no compiler follows: it looks at what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x * 2 if float(x.mean()) > 0 else x


@pytest.mark.usefixtures("fresh_networks")
def test_what_cannot_be_converted_runs_in_torch_with_a_note(
    images: np.ndarray, converted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    how = {"weights": "default", "mean": (0, 0, 0), "std": (1, 1, 1)}
    torchs, ours = both(Wayward(), "conv", **how)
    np.testing.assert_array_equal(ours.fit_transform(images), torchs.fit_transform(images))
    assert not converted
    assert caplog.text.count("OpenVINO cannot run") == 1


def test_broken_images_among_good_ones(images: np.ndarray) -> None:
    torchs, ours = both("squeezenet1_0", "pool1", pooling="gap", on_error="nan")
    mixed = Images([images[0], b"broken", images[1], images[2], b"", images[3]])
    rows = ours.fit(images).transform(mixed)
    assert np.isnan(rows).all(1).tolist() == [False, True, False, False, True, False]
    wanted = torchs.fit_transform(images[:4])
    assert deviations(rows[[0, 2, 3, 5]], wanted).max() < 1e-5


def test_layers_that_the_store_lacks_are_let_go_of_too(images: np.ndarray, tmp_path: Path) -> None:
    _, ours = both("squeezenet1_0", "pool1", pooling="gap", store=tmp_path / "store")
    ours.fit_transform(images)
    more = ours.set_params(layer=["pool1", "pool3"])
    more.fit_transform(images)
    network = more._config().network()
    compiled = [it for it in network._compiled.values() if it is not None]
    assert compiled
    assert not any(it._idle for it in compiled)
