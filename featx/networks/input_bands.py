"""Adapt the first convolution of a network, trained on RGB, to another number of bands."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor, nn

from featx.data.reading import N_RGB
from featx.errors import ModelError
from featx.networks.preprocessing import Preprocessing

_MARK = "featx_n_input_bands"


def adapt_first_convolution(module: nn.Module, n_bands: int, name: str) -> nn.Module:
    """Adapt a network's first convolution to `n_bands` input channels, in place, as timm does [1]_.

    The kernels of red, green and blue are repeated in turn and scaled by ``3 / n_bands``, so that
    an image with the same values in every band has the same output as with three bands.

    Parameters
    ----------
    module : torch.nn.Module
        With its weights loaded.
    n_bands : int
        Number of input channels.
    name : str
        Name of the network, for the error message.

    Returns
    -------
    torch.nn.Module
        The same module.

    Raises
    ------
    ModelError
        If no convolution has three input channels.

    References
    ----------
    .. [1] timm, ``adapt_input_conv`` in ``models/_manipulate.py``.
    """
    if n_bands == N_RGB:
        return module
    first = next(filter(_takes_rgb, module.modules()), None)
    if first is None:
        raise ModelError(
            f"{name} has no convolution of three channels to adapt to {n_bands} bands; use one or "
            "three bands, or each band as a separate image (--bands each)."
        )
    assert isinstance(first, nn.Conv2d)
    first.weight = nn.Parameter(
        _spread_kernels(first.weight.detach(), n_bands), requires_grad=first.weight.requires_grad
    )
    first.in_channels = n_bands
    setattr(first, _MARK, n_bands)
    return module


def count_input_bands(module: nn.Module) -> int:
    """Return the number of input channels: three, unless the network was adapted."""
    return next((getattr(it, _MARK) for it in module.modules() if hasattr(it, _MARK)), N_RGB)


def adapt_preprocessing(preprocessing: Preprocessing, n_bands: int) -> Preprocessing:
    """Return preprocessing for `n_bands` channels, each with the RGB average of mean and std."""
    if n_bands == N_RGB:
        return preprocessing
    mean, std = (
        (sum(values) / len(values),) * n_bands for values in (preprocessing.mean, preprocessing.std)
    )
    return replace(preprocessing, mean=mean, std=std)


def _takes_rgb(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels == N_RGB and module.groups == 1


def _spread_kernels(weight: Tensor, n_bands: int) -> Tensor:
    """Turn kernels ``(n, 3, h, w)`` into kernels ``(n, n_bands, h, w)``."""
    repeated = weight.repeat(1, math.ceil(n_bands / N_RGB), 1, 1)[:, :n_bands]
    return repeated.contiguous() * (N_RGB / n_bands)
