"""A first convolution for other than three bands, made of the one that was trained on three."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor, nn

from featx.data.reading import N_RGB
from featx.errors import ModelError
from featx.networks.preprocessing import Preprocessing

_MARK = "featx_n_input_bands"


def adapt_first_convolution(module: nn.Module, n_bands: int, name: str) -> nn.Module:
    """The module itself, taking `n_bands` channels by timm's rule [1]_.

    The kernels of red, green and blue are repeated in turn and scaled by ``3 / n_bands``, so that
    the same image in every band gives what it gave in three.

    Parameters
    ----------
    module : nn.Module
        With its weights.
    n_bands : int
    name : str
        The network's, in an error.

    Raises
    ------
    ModelError
        If no convolution takes three channels.

    References
    ----------
    .. [1] timm, ``adapt_input_conv`` in ``models/_manipulate.py``.
    """
    if n_bands == N_RGB:
        return module
    first = next(filter(_takes_rgb, module.modules()), None)
    if first is None:
        raise ModelError(
            f"{name} has no first convolution of three channels to adapt to {n_bands} bands; take "
            "one or three bands, or each as an image of its own (--bands each)."
        )
    assert isinstance(first, nn.Conv2d)
    first.weight = nn.Parameter(
        _spread_kernels(first.weight.detach(), n_bands), requires_grad=first.weight.requires_grad
    )
    first.in_channels = n_bands
    setattr(first, _MARK, n_bands)
    return module


def count_input_bands(module: nn.Module) -> int:
    """Channels that a network takes: three, or as many as it was adapted to."""
    return next((getattr(it, _MARK) for it in module.modules() if hasattr(it, _MARK)), N_RGB)


def adapt_preprocessing(preprocessing: Preprocessing, n_bands: int) -> Preprocessing:
    """The same with the means over red, green and blue for each of `n_bands`, as timm has it."""
    if n_bands == N_RGB:
        return preprocessing
    mean, std = (
        (sum(values) / len(values),) * n_bands for values in (preprocessing.mean, preprocessing.std)
    )
    return replace(preprocessing, mean=mean, std=std)


def _takes_rgb(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels == N_RGB and module.groups == 1


def _spread_kernels(weight: Tensor, n_bands: int) -> Tensor:
    """Kernels ``(n, 3, h, w)`` as ``(n, n_bands, h, w)``."""
    repeated = weight.repeat(1, math.ceil(n_bands / N_RGB), 1, 1)[:, :n_bands]
    return repeated.contiguous() * (N_RGB / n_bands)
