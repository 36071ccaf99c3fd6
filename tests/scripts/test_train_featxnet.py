"""The training of the bundled network: its losses, and that a kill costs nothing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from featx.networks.featxnet import featxnet

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture
def script(load_script) -> ModuleType:
    return load_script("train_featxnet")


def test_student_that_says_the_same_diverges_by_nothing(script: ModuleType) -> None:
    logits = torch.randn(4, 10)

    assert float(script.divergence(logits, logits)) == pytest.approx(0, abs=1e-6)
    assert float(script.divergence(logits, logits.flip(1))) > 0.1


def test_likeness_does_not_depend_on_scale_or_place(script: ModuleType) -> None:
    features = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))

    assert float(script.unlikeness(3 * features + 2, features)) == pytest.approx(0, abs=1e-6)
    assert float(script.unlikeness(features.flip(0), features)) > 0.1


def test_recolored_images_stay_within_range(script: ModuleType) -> None:
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8).float()

    changed = script.recolor(images, torch.Generator().manual_seed(0))

    assert changed.shape == images.shape
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255


def test_mirrored_images_come_with_mirrored_maps(script: ModuleType) -> None:
    ramp = torch.arange(120.0).expand(64, 3, 120, 120)
    grid = torch.arange(4.0).expand(64, 1, 4, 4)

    images, teacher = script.augment(ramp, {"grid": grid}, 112, torch.Generator().manual_seed(0))

    rises = images[:, 0, 0, -1] > images[:, 0, 0, 0]
    assert torch.equal(rises, teacher["grid"][:, 0, 0, -1] > teacher["grid"][:, 0, 0, 0])
    assert 0 < int(rises.sum()) < 64


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Options of a run over two epochs of two batches, with a teacher that knows nothing."""
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_0().state_dict(), tmp_path / "teacher.pth")
    data = ["--data", str(SAMPLES / "photo" / "fish")]
    sizes = ["--epochs", "2", "--small-epochs", "1", "--crop-sets", "1", "--batch-size", "8"]
    teacher = ["--teacher", str(tmp_path / "teacher.pth")]
    return [*data, *sizes, *teacher, "--workers", "0", "--threads", "1"]


def run(script: ModuleType, command: list[str], work: Path, *more: str) -> dict[str, torch.Tensor]:
    output = work / "weights.safetensors"
    script.main([*command, "--work", str(work), "-o", str(output), *more])
    return load_file(output)


@pytest.mark.slow
def test_killed_run_goes_on_to_the_same_weights(
    script: ModuleType, command: list[str], tmp_path: Path
) -> None:
    whole = run(script, command, tmp_path / "whole")

    stopped = run(script, command, tmp_path / "killed", "--stop-at", "3")
    resumed = run(script, command, tmp_path / "killed")

    assert not torch.equal(stopped["fc8.bias"], resumed["fc8.bias"])
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_weights_it_writes_fit_the_network(
    script: ModuleType, command: list[str], tmp_path: Path
) -> None:
    state = run(script, command, tmp_path, "--stop-at", "1")

    featxnet().load_state_dict(state)
