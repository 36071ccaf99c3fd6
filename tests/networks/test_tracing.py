from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import get_graph_node_names

from featx.networks.configs import list_layers
from featx.networks.network import switch_off_in_place
from featx.networks.tapping import Traced
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
    "operation",
    [lambda x: x / 2, lambda x: 2 / x, lambda x: 2 - x, lambda x: 2**x, lambda x: x % 2],
)
def test_an_operator_has_one_name_in_the_graph_and_the_run(
    operation: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    class Operation(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return operation(x)

    names = [node.name for node in record(Operation(), (4, 4)).nodes]
    assert list(Traced(Operation(), (4, 4)).nodes) == names
