from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from featx.networks.lenet import Gray, build_lenet


def test_lenet_is_that_of_caffes_example_by_hand() -> None:
    network, batch = build_lenet(), torch.rand(2, 3, 28, 28)
    w1, b1, w2, b2, w3, b3, w4, b4 = network.parameters()
    x = F.max_pool2d(F.conv2d(batch.sum(1, keepdim=True) / 3, w1, b1).clamp(min=0), 2)
    x = F.max_pool2d(F.conv2d(x, w2, b2).clamp(min=0), 2)
    logits = (x.reshape(2, 800) @ w3.T + b3).clamp(min=0) @ w4.T + b4
    assert torch.allclose(network(batch), logits, atol=1e-6)


def test_lenet_has_as_many_parameters_as_caffes() -> None:
    # 20*(25+1) + 50*(20*25+1) + 500*(800+1) + 10*(500+1)
    assert sum(parameter.numel() for parameter in build_lenet().parameters()) == 431_080


def test_gray_does_not_depend_on_the_order_of_colors() -> None:
    maps = torch.rand(2, 3, 4, 4)
    assert torch.allclose(Gray()(maps), Gray()(maps.flip(1)))


def test_each_lenet_is_drawn_anew_from_torchs_generator() -> None:
    first, second = build_lenet(), build_lenet()
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
    torch.manual_seed(0)
    third = build_lenet()
    torch.manual_seed(0)
    assert torch.equal(build_lenet().fc2.weight, third.fc2.weight)
