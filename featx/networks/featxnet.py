"""The bundled network: small, built like AlexNet, usable without a download.

``scripts/train_featxnet.py`` trains the variant with batch norm (`trainable_featxnet`), folds the
batch norms into the convolutions (`_fold_batch_norm`) and writes the weights to `weights_path`.
``docs/featxnet.md`` is the model card in prose.
"""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

PREPROCESSING: dict[str, Any] = {
    "resize": 128,
    "crop": 112,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
}
"""Resize the short side (px), center crop (px), channel mean and standard deviation."""

N_CHANNELS = 512
"""Channels of the last feature maps, and features of fc6 and fc7."""

_DATA = Path(__file__).parent / "data"


class _Bottleneck(nn.Module):
    """Residual block with input and output of the same shape.

    Parameters
    ----------
    n_channels : int
        Input and output channels.
    n_inner : int
        Channels of the 3x3 convolution in the middle.

    Notes
    -----
    The bottleneck of He et al., "Deep Residual Learning", CVPR 2016, figure 5 right.
    """

    def __init__(self, n_channels: int, n_inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(
                reduce=nn.Conv2d(n_channels, n_inner, 1, bias=False),
                bn_reduce=nn.BatchNorm2d(n_inner),
                relu_reduce=nn.ReLU(),
                spatial=nn.Conv2d(n_inner, n_inner, 3, padding=1, bias=False),
                bn_spatial=nn.BatchNorm2d(n_inner),
                relu_spatial=nn.ReLU(),
                widen=nn.Conv2d(n_inner, n_channels, 1, bias=False),
                bn_widen=nn.BatchNorm2d(n_channels),
            )
        )
        self.relu = nn.ReLU()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return feature maps of the same shape ``(n, n_channels, h, w)``, after a ReLU."""
        out: torch.Tensor = self.relu(maps + self.body(maps))
        return out


def trainable_featxnet() -> nn.Sequential:
    """Return the network to train: with batch norm, randomly initialized, in training mode.

    Returns
    -------
    network : torch.nn.Sequential
        Maps ``(n, 3, 112, 112)`` to ``(n, 1000)`` logits.
    """
    network = nn.Sequential(
        OrderedDict(
            **_convolution(1, 3, 32, 5, stride=2),
            pool1=_pool(),  # (n, 32, 28, 28)
            **_convolution(2, 32, 64, 3),
            res2=_Bottleneck(64, 32),
            pool2=_pool(),  # (n, 64, 14, 14)
            **_convolution(3, 64, 128, 3),
            res3=_Bottleneck(128, 64),
            **_convolution(4, 128, 256, 3),
            res4=_Bottleneck(256, 64),
            **_convolution(5, 256, 256, 1),
            res5=_Bottleneck(256, 64),
            pool5=_pool(),  # (n, 256, 7, 7)
            widen=nn.Conv2d(256, N_CHANNELS, 1, bias=False),
            bn_widen=nn.BatchNorm2d(N_CHANNELS),
            relu_widen=nn.ReLU(),
            gap=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),  # (n, 512)
            fc6=nn.Linear(N_CHANNELS, N_CHANNELS),
            relu_fc6=nn.ReLU(),
            fc7=nn.Linear(N_CHANNELS, N_CHANNELS),
            relu_fc7=nn.ReLU(),
            fc8=nn.Linear(N_CHANNELS, 1000),
        )
    )
    # The pooled maps learn the teacher's features; fc6 and fc7 start as the identity, so as not to
    # lose them.
    for name in ("fc6", "fc7"):
        # Not `nn.init.eye_`, which imports torch's compiler for tensors on meta.
        network.get_parameter(f"{name}.weight").data.zero_().fill_diagonal_(1)
    return network


def featxnet() -> nn.Module:
    """Return the bundled network as it is distributed (without batch norm), with random weights.

    Returns
    -------
    network : torch.nn.Module
        Maps ``(n, 3, 112, 112)`` to ``(n, 1000)`` logits; in evaluation mode. Its state dict has
        the keys of the file at `weights_path`.

    Examples
    --------
    >>> import torch
    >>> featxnet()(torch.zeros(1, 3, 112, 112)).shape
    torch.Size([1, 1000])
    """
    return _fold_in_place(trainable_featxnet())


def _fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy of the network with each batch norm folded into the convolution before it.

    Parameters
    ----------
    network : torch.nn.Module
        A network in which every batch norm directly follows a convolution in the same module.

    Returns
    -------
    folded : torch.nn.Module
        In evaluation mode; computes the same as ``network.eval()``, up to rounding.
    """
    return _fold_in_place(copy.deepcopy(network))


def _fold_in_place(network: nn.Module) -> nn.Module:
    network.eval()
    for container in list(network.modules()):
        _fold_children(container)
    return network


def weights_path() -> Path:
    """Return the path of the bundled weights: safetensors, half precision."""
    return _DATA / "featxnet.safetensors"


def load_card() -> dict[str, Any]:
    """Return the model card: training data, training parameters and measured accuracy."""
    card: dict[str, Any] = json.loads((_DATA / "featxnet.json").read_text(encoding="utf-8"))
    return card


def training_image_digests() -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of the digest of each training image, sorted, as uint64.

    These are the digests of `featx._fingerprints.digest_bytes`, which the store also uses.
    """
    digests: npt.NDArray[np.uint64] = np.load(_DATA / "featxnet.images.npy", allow_pickle=False)
    return digests


def _convolution(
    number: int, n_in: int, n_out: int, kernel_px: int, *, stride: int = 1
) -> dict[str, nn.Module]:
    """Return a convolution, batch norm and ReLU under their usual names, such as ``conv1``."""
    conv = nn.Conv2d(n_in, n_out, kernel_px, stride, kernel_px // 2, bias=False)
    return {
        f"conv{number}": conv,
        f"bn{number}": nn.BatchNorm2d(n_out),
        f"relu_conv{number}": nn.ReLU(),
    }


def _pool() -> nn.Module:
    """Return AlexNet's overlapping max pooling, padded so that height and width are halved."""
    return nn.MaxPool2d(3, 2, 1)


def _fold_children(container: nn.Module) -> None:
    """Fold each batch norm among the direct children into the convolution before it."""
    children = list(container.named_children())
    for (_, conv), (norm_name, norm) in pairwise(children):
        if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d):
            _fold_into(conv, norm)
            delattr(container, norm_name)


def _fold_into(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold a batch norm into the convolution before it, in place."""
    if conv.weight.is_meta:
        # There are no values to fold, and torch would import its compiler to do so.
        conv.bias = nn.Parameter(torch.empty(norm.num_features, device="meta"), requires_grad=False)
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
