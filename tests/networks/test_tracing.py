from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import get_graph_node_names

from featx.networks.configs import list_layers
from featx.networks.network import switch_off_in_place
from featx.networks.tracing import Namer, function_name, record


class Branches(nn.Module):
    """A module called twice, an operation in place, a branch on values, names with numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv_2 = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.relu(self.conv_1(x))
        second = self.relu(self.conv_2(first))
        second += first
        return self.fc(second.mean((2, 3)))


def test_repeated_calls_are_numbered_and_modules_keep_their_names() -> None:
    network = Branches().eval().to("meta")
    switch_off_in_place(network)
    nodes = record(network, (8, 8)).nodes
    names = [node.name for node in nodes]
    assert names == ["conv_1", "relu", "conv_2", "relu_1", "add", "mean", "fc"]


def test_a_function_takes_no_modules_name() -> None:
    network = nn.ModuleDict({"add": nn.ReLU()})
    namer = Namer(network)
    assert [namer.function("", "add"), namer.function("", "add")] == ["add_1", "add_2"]


@pytest.mark.parametrize("model", ["alexnet", "squeezenet1_0", "resnet18", "densenet121"])
def test_names_are_torchvisions(model: str) -> None:
    network = getattr(models, model)(weights=None)
    theirs = get_graph_node_names(network, suppress_diff_warning=True)[1]
    ours = [node.names[0] for node in list_layers(model).recording.nodes]
    assert [name for name in ours if name not in theirs] == []


def test_recording_leaves_no_hooks() -> None:
    network = Branches().eval()
    record(network, (8, 8))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize(
    ("function", "name"),
    [(torch.flatten, "flatten"), (torch.Tensor.add_, "add"), ("view", "view")],
)
def test_functions_are_called_as_in_a_graph(function: object, name: str) -> None:
    assert function_name(function) == name


@pytest.mark.parametrize(
    ("model", "layer", "axes", "n_prefix"),
    [
        ("vit_b_16", "conv_proj", "chw", 0),
        ("vit_b_16", "reshape", "ct", 0),
        ("vit_b_16", "block3", "tc", 1),
        ("vit_b_16", "getitem", "c", 0),
        ("swin_t", "features.0.0", "chw", 0),
        ("swin_t", "features.1.0.attn", "hwc", 0),
        ("swin_t", "stage4", "hwc", 0),
        ("convnext_tiny", "block1", "chw", 0),
        ("convnext_tiny", "features.1.0.block.2", "hwc", 0),
        ("shufflenet_v2_x1_0", "stage2", "chw", 0),
        ("maxvit_t", "block1", "chw", 0),
    ],
)
def test_axes_are_known(model: str, layer: str, axes: str, n_prefix: int) -> None:
    found = list_layers(model).find(layer)
    assert (found.axes, found.n_prefix) == (axes, n_prefix)
