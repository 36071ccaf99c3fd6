"""Networks: sources, weights, their preprocessing, their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx.layers import LayerTable
    from featx.models.catalog import ModelInfo

__all__ = ["list_layers", "list_models"]


def list_layers(model: Any = "featxnet", *, size: Any = None, crop: Any = None) -> LayerTable:
    """Every layer of a network, in order of execution.

    Parameters
    ----------
    model : str, path or torch.nn.Module, default="featxnet"
        As in `featx.extractors.cnn.CNNFeatures`.
    size, crop : int or tuple of int, optional
        The size of the pictures, which decides shapes and cost; by default what the network's
        own weights expect.

    Returns
    -------
    LayerTable
        A sequence of `Layer`, found by any of its names with ``find``.

    Raises
    ------
    ModelError
        If the network is not known.

    Examples
    --------
    >>> layer = list_layers("alexnet").find("pool1")
    >>> layer.node, layer.shape, layer.n_features
    ('features.2', (64, 27, 27), 46656)
    """
    from featx.models.plans import find_plan

    return find_plan(model, weights="random", size=size, crop=crop).table


def list_models(pattern: str = "") -> list[ModelInfo]:
    """Networks that can be used by name.

    Parameters
    ----------
    pattern : str, default=""
        Part of the name, or a pattern such as ``resnet*``; ``timm/`` lists timm's.

    Returns
    -------
    list of ModelInfo
        Name, source, weights, and whether these are on this machine.
    """
    from featx.models.catalog import list_models

    return list_models(pattern)
