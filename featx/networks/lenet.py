"""LeNet, for digits; there are no published weights."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

PREPROCESSING: dict[str, Any] = {
    "resize": 28,
    "crop": 28,
    "mean": (0.1307, 0.1307, 0.1307),
    "std": (0.3081, 0.3081, 0.3081),
    "interpolation": "bilinear",
}
"""Resize and crop (px), mean and standard deviation of MNIST."""


class Gray(nn.Module):
    """Convert images to gray by averaging their channels.

    Examples
    --------
    >>> Gray()(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 1, 4, 4])
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Images ``(n, 1, h, w)``."""
        return maps.mean(1, keepdim=True)


def build_lenet() -> nn.Sequential:
    """Return LeNet, randomly initialized, for images of 28x28 px.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(n, 3, 28, 28)``, averaged over channels, to ``(n, 10)`` logits.

    Notes
    -----
    LeNet-5 (LeCun et al. 1998) with the widths of Caffe's example: 20 and 50 channels, 500 units.

    Examples
    --------
    >>> build_lenet()(torch.zeros(2, 3, 28, 28)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(
        OrderedDict(
            gray=Gray(),
            conv1=nn.Conv2d(1, 20, 5),
            relu_conv1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),  # (n, 20, 12, 12)
            conv2=nn.Conv2d(20, 50, 5),
            relu_conv2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),  # (n, 50, 4, 4)
            flatten=nn.Flatten(),  # (n, 800)
            fc1=nn.Linear(800, 500),
            relu_fc1=nn.ReLU(),
            fc2=nn.Linear(500, 10),
        )
    )
