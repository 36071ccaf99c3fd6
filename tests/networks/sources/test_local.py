from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featx.errors import ModelError, UnstoredRowsWarning, WeightsError
from featx.extractors.cnn import CNNFeatures
from featx.finetuning.heads import build_network
from featx.networks.configs import find_config
from featx.networks.module_state import state_digest
from featx.networks.sources.local import ModuleSource
from featx.networks.weights import read_state

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


class Block(nn.Module):
    """Residual block of a CIFAR ResNet, its shortcut without parameters."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        stride = n_out // n_in
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.pad = (n_out - n_in) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return torch.relu(out + x)


class ResNet20(nn.Module):
    """The network that the stranger's checkpoint fits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 16))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def small() -> nn.Module:
    """Network of a callable's name."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten())
    network.preprocessing = {"resize": 16, "crop": 16}  # type: ignore[assignment]
    return network


def test_strangers_checkpoint_goes_into_a_users_module(shared: Callable[[str], Path]) -> None:
    path = shared("weights/cifar10-resnet20-12fca82f.th")
    state = read_state(path)
    twin = ResNet20().eval()
    twin.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    features = CNNFeatures(ResNet20(), "logits", weights=path, size=32)
    mean, std = (np.array(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    batch = torch.from_numpy((IMAGES / 255 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        assert np.allclose(features.fit_transform(IMAGES), twin(batch), rtol=1e-4, atol=1e-4)


def test_part_of_a_strangers_checkpoint(shared: Callable[[str], Path]) -> None:
    path = shared("weights/cifar10-resnet32-d509ac18.th")
    with pytest.raises(WeightsError, match="not those of alexnet"):
        CNNFeatures("alexnet", "pool1", weights=path).fit_transform(IMAGES)
    report = find_config(ResNet20(), weights=path, load="conv1*,layer1*", size=32).network().report
    assert report.renamed["module.layer1.2.conv2.weight"] == "layer1.2.conv2.weight"
    assert "module.layer1.3.conv1.weight" in report.skipped
    assert "layer3.0.conv1.weight" in report.new


def test_users_module_is_left_alone() -> None:
    network = ResNet20().train()
    calls: list[Any] = []
    network.conv1.register_forward_hook(lambda *args: calls.append(1))
    before = state_digest(network)
    CNNFeatures(network, ["conv1", "-1"], size=32).fit_transform(IMAGES)
    assert (state_digest(network), network.training, calls) == (before, True, [])
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert len(network.conv1._forward_hooks) == 1


def test_module_that_was_trained_on_gives_new_rows(store: Any) -> None:
    network = ResNet20()
    features = CNNFeatures(network, "layer1", size=32, pooling="gap", store=store)
    before = features.fit_transform(IMAGES)
    with torch.no_grad():
        network.conv1.weight.data.mul_(2)  # as an optimizer writes: the version stays
    after = features.transform(IMAGES)
    assert not np.allclose(before, after)


def test_modules_of_equal_values_share_their_rows() -> None:
    one, other = small(), small()
    assert CNNFeatures(one).fingerprint() == CNNFeatures(other).fingerprint()
    nn.init.zeros_(other[0].weight)
    assert CNNFeatures(one).fingerprint() != CNNFeatures(other).fingerprint()


def test_structure_without_parameters_counts() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3)
    fingerprints = {
        CNNFeatures(nn.Sequential(conv, step)).fingerprint() for step in (nn.ReLU(), nn.GELU())
    }
    assert len(fingerprints) == 2


class Standardized(nn.Module):
    """Its parameters lie on a module of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.weight)


def test_random_control_of_ones_own_parameters_is_not_the_trained_network() -> None:
    torch.manual_seed(1)
    nets = Standardized(), Standardized()
    trained = CNNFeatures(nets[0], "logits", size=32).fit_transform(IMAGES)
    controls = [CNNFeatures(net, "logits", size=32, weights="random") for net in nets]
    rows = [control.fit_transform(IMAGES) for control in controls]
    assert not np.allclose(rows[0], trained, atol=0.1)
    assert np.array_equal(rows[0], controls[0].fit_transform(IMAGES))
    assert not np.array_equal(*rows)  # Random as it is, its spread is that of what was trained.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_modules_in_half_and_double_precision_run_in_single(dtype: torch.dtype) -> None:
    rows = CNNFeatures(small().to(dtype), "0", size=32).fit_transform(IMAGES)
    assert np.allclose(rows, CNNFeatures(small(), "0", size=32).fit_transform(IMAGES), atol=0.05)


class Power(nn.Module):
    """Two of these differ in a plain attribute alone."""

    def __init__(self, power: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.power = nn.Conv2d(3, 4, 3), power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).abs().pow(self.power)


def test_modules_that_differ_in_an_attribute_share_no_rows() -> None:
    network = Power(1.0)
    first = CNNFeatures(network, "output", size=32).fit_transform(IMAGES)
    other = CNNFeatures(Power(3.0), "output", size=32).fit_transform(IMAGES)
    assert np.allclose(other, first**3, rtol=1e-3)
    network.power = 3.0
    assert np.array_equal(CNNFeatures(network, "output", size=32).fit_transform(IMAGES), other)


class Opaque:
    """Can be copied, and neither pickled nor read."""

    def __deepcopy__(self, memo: Any) -> Opaque:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("it lives on another machine")


def test_rows_of_what_cannot_be_seen_are_never_stored(store: Any) -> None:
    network = Power(1.0)
    network.remote = Opaque()
    features = CNNFeatures(network, "output", size=32, store=store)
    expected = r"neither stored nor read.*Power.remote \(.*Opaque\)"
    with pytest.warns(UnstoredRowsWarning, match=expected):
        rows = features.fit_transform(IMAGES)
    assert np.array_equal(rows, CNNFeatures(Power(1.0), "output", size=32).fit_transform(IMAGES))
    assert not store.ls()


def test_module_says_its_own_preprocessing() -> None:
    assert CNNFeatures(small(), "0").fit_transform(IMAGES).shape == (3, 4 * 14 * 14)


def test_callable_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "someones_nets", sys.modules[__name__])
    named = CNNFeatures("someones_nets:small", "0").fit_transform(IMAGES)
    assert np.array_equal(named, CNNFeatures(small(), "0").fit_transform(IMAGES))


def trained() -> nn.Module:
    network = small()
    nn.init.constant_(network[0].weight, 0.123)
    return network


def test_random_weights_of_a_folder_are_not_those_that_its_callable_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "someones_nets", sys.modules[__name__])
    card = {"model": "someones_nets:trained", "replacements": [], "classes": ["a", "b"]}
    (tmp_path / "model.json").write_text(json.dumps(card))
    save_file(trained().state_dict(), tmp_path / "weights.safetensors")

    for name in ("someones_nets:trained", str(tmp_path)):
        network, _ = build_network(find_config(name, weights="random", size=32, trust=tmp_path))
        assert float(network.get_submodule("0").weight.std()) > 0.05  # type: ignore[arg-type]


class Picky(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def reset_parameters(self, std: float) -> None:
        nn.init.normal_(self.fc.weight, std=std)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def test_parts_that_cannot_be_drawn_anew_are_named() -> None:
    with pytest.raises(ModelError, match=r"Picky.reset_parameters has required arguments"):
        build_network(find_config(Picky(), weights="random", size=32))


def test_attention_is_drawn_anew() -> None:
    source = ModuleSource(nn.MultiheadAttention(8, 2))
    nn.init.constant_(source.module.in_proj_weight, 0.123)

    network = source.build(source.weights("random"))

    assert float(network.in_proj_weight.std()) > 0.05  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "message"),
    [("no_such_package:net", "cannot be imported"), ("json:dumps.x", "cannot be imported")],
)
def test_callable_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        CNNFeatures(name).fit(IMAGES)


def test_an_object_of_timm_has_timms_preprocessing() -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("vit_small_patch14_dinov2", img_size=28)
    how = find_config(network).preprocessing
    data = timm.data.resolve_data_config(model=network)
    assert (how.crop, how.interpolation) == (data["input_size"][1:], "bicubic")
    assert how == find_config("timm/vit_small_patch14_dinov2", weights="random").preprocessing
    network.preprocessing = {"resize": 28, "crop": 28}
    assert find_config(network).preprocessing.crop == (28, 28)


@pytest.mark.parametrize("precision", [torch.half, torch.double, torch.bfloat16])
def test_modules_of_another_precision_are_cast(precision: torch.dtype) -> None:
    network = ResNet20().to(precision)
    features = CNNFeatures(network, "logits", size=32).fit_transform(IMAGES)
    wanted = CNNFeatures(ResNet20().to(precision), "logits", size=32)
    wanted.model.load_state_dict(network.float().state_dict())
    assert features.dtype == np.float32
    assert np.allclose(features, wanted.fit_transform(IMAGES), rtol=1e-3, atol=1e-4)


def test_a_module_of_half_precision_stays_as_it_is() -> None:
    network = ResNet20().half()
    CNNFeatures(network, "logits", size=32).fit_transform(IMAGES)
    assert {it.dtype for it in network.parameters()} == {torch.half}
