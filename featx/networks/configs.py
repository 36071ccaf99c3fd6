"""Resolve a user's parameters to a network, its weights and its preprocessing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from featx.data.reading import N_RGB
from featx.networks.input_bands import adapt_preprocessing
from featx.networks.module_state import state_stamp
from featx.networks.network import Cache, NetworkConfig
from featx.networks.sources.finding import find_source
from featx.networks.sources.saved_folder import FOLDER_FILES
from featx.networks.weights import split_part
from featx.process.phases import phase
from featx.trust.callables import Trust

_N_CONFIGS_CACHED = 16


def find_config(
    model: Any,
    *,
    weights: str | os.PathLike[str] = "default",
    load: str | None = None,
    size: int | Sequence[int] | None = None,
    crop: int | Sequence[int] | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    tap: str = "auto",
    trust: Trust = None,
    n_bands: int = N_RGB,
    is_checked: bool = True,
) -> NetworkConfig:
    """Return the configuration of a network, cached for repeated calls with the same parameters.

    Parameters
    ----------
    model : str, path or torch.nn.Module
    weights, load, size, crop, interpolation, mean, std, device, precision, tap, trust
        As in `featx.extractors.cnn.CNNFeatures`.
    n_bands : int, default=3
        Channels of the images, to which the first convolution is adapted.
    is_checked : bool, default=True
        Whether to check that neither the weights file nor the module's values have changed since
        the configuration was cached.

    Raises
    ------
    ModelError
        If the network is unknown or there are no such weights.
    """
    model = model if isinstance(model, nn.Module) else os.fspath(model)
    identity = id(model) if isinstance(model, nn.Module) else model
    settings = (load, size, crop, interpolation, mean, std, device, precision, tap, trust, n_bands)
    # The working directory: relative paths depend on it.
    key = repr((identity, os.fspath(weights), settings, os.getcwd()))

    @phase("load network")
    def make() -> tuple[Any, NetworkConfig]:
        source = find_source(model, trust=trust)
        chosen = source.weights(weights)
        preprocessing = chosen.preprocessing.override(
            size=size, crop=crop, interpolation=interpolation, mean=mean, std=std
        )
        preprocessing = adapt_preprocessing(preprocessing, n_bands)
        if preprocessing.crop != chosen.preprocessing.crop:
            chosen = replace(chosen, options=source.resized(chosen.options, preprocessing))
        config = NetworkConfig(source, chosen, preprocessing, load, device, precision, tap, n_bands)
        return _stamp(model, weights), config

    stamp, config = _CONFIGS.get(key, make)
    if is_checked and stamp != _stamp(model, weights):
        _CONFIGS.drop(key)
        stamp, config = _CONFIGS.get(key, make)
    return config


def _stamp(model: Any, weights: str | os.PathLike[str]) -> Any:
    """Value that changes whenever a module's values, a model folder or a weights file do."""
    if isinstance(model, nn.Module):
        # Apart, since a module's identity leaves its preprocessing out.
        preprocessing = getattr(model, "preprocessing", None)
        return [state_stamp(model), repr(preprocessing), _file_stamp(weights)]
    return [_file_stamp(os.path.join(model, name)) for name in FOLDER_FILES] + [
        _file_stamp(weights)
    ]


def _file_stamp(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    path = split_part(os.path.expanduser(os.fspath(path)))[0]
    if not os.path.isfile(path):
        return None
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ino


_CONFIGS = Cache(_N_CONFIGS_CACHED)


if TYPE_CHECKING:
    from featx.networks.layers import LayerTable


def list_layers(
    model: Any = "featxnet", *, size: Any = None, crop: Any = None, trust: Trust = None
) -> LayerTable:
    """Return every layer of a network, in order of execution.

    Parameters
    ----------
    model : str, path or torch.nn.Module, default="featxnet"
        As in `featx.extractors.cnn.CNNFeatures`.
    size, crop : int or tuple of int, optional
        Size of the images in px, which determines shapes and cost; by default as the network's
        default weights expect.
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.

    Returns
    -------
    LayerTable
        A sequence of `Layer`; its method ``find`` looks one up by any of its names.

    Raises
    ------
    ModelError
        If the network is unknown, or its folder names code that is not trusted.

    Examples
    --------
    >>> layer = list_layers("alexnet").find("pool1")
    >>> layer.node, layer.shape, layer.n_features
    ('features.2', (64, 27, 27), 46656)
    """
    return find_config(model, weights="random", size=size, crop=crop, trust=trust).table
