"""What a user asked for -> the network, weights and preprocessing that it means."""

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

_N_PLANS_KEPT = 16


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
    """Plan for a network, the last one made where the same is asked for.

    Parameters
    ----------
    model : str, path or torch.nn.Module
    weights, load, size, crop, interpolation, mean, std, device, precision, tap, trust
        As in `featx.extractors.cnn.CNNFeatures`.
    n_bands : int, default=3
        Channels of the images, to which the first convolution is adapted.
    is_checked : bool, default=True
        Whether to see first if a weights file or a module's values have changed meanwhile.

    Raises
    ------
    ModelError
        If the network is not known, or there are no such weights.
    """
    named = model if isinstance(model, nn.Module) else os.fspath(model)
    which = id(model) if isinstance(model, nn.Module) else named
    how = (load, size, crop, interpolation, mean, std, device, precision, tap, trust, n_bands)
    # A relative name means another folder or file elsewhere.
    key = repr((which, os.fspath(weights), how, os.getcwd()))

    @phase("load network")
    def make() -> tuple[Any, NetworkConfig]:
        source = find_source(named, trust=trust)
        chosen = source.weights(weights)
        preprocessing = chosen.preprocessing.override(
            size=size, crop=crop, interpolation=interpolation, mean=mean, std=std
        )
        preprocessing = adapt_preprocessing(preprocessing, n_bands)
        if preprocessing.crop != chosen.preprocessing.crop:
            chosen = replace(chosen, options=source.resized(chosen.options, preprocessing))
        plan = NetworkConfig(source, chosen, preprocessing, load, device, precision, tap, n_bands)
        return _stamp(named, weights), plan

    stamp, plan = _PLANS.get(key, make)
    if is_checked and stamp != _stamp(named, weights):
        _PLANS.drop(key)
        stamp, plan = _PLANS.get(key, make)
    return plan


def _stamp(model: Any, weights: str | os.PathLike[str]) -> Any:
    """What changes when a module's values, a model's folder or a weights file do."""
    if isinstance(model, nn.Module):
        how = getattr(model, "preprocessing", None)  # In no identity: it is in keys by its effect.
        return [state_stamp(model), repr(how), _file_stamp(weights)]
    return [_file_stamp(os.path.join(model, name)) for name in FOLDER_FILES] + [
        _file_stamp(weights)
    ]


def _file_stamp(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    path = split_part(os.path.expanduser(os.fspath(path)))[0]
    if not os.path.isfile(path):
        return None
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ino


_PLANS = Cache(_N_PLANS_KEPT)


if TYPE_CHECKING:
    from featx.networks.layers import LayerTable


def list_layers(
    model: Any = "featxnet", *, size: Any = None, crop: Any = None, trust: Trust = None
) -> LayerTable:
    """Every layer of a network, in order of execution.

    Parameters
    ----------
    model : str, path or torch.nn.Module, default="featxnet"
        As in `featx.extractors.cnn.CNNFeatures`.
    size, crop : int or tuple of int, optional
        The size of the images, which decides shapes and cost; by default what the network's
        own weights expect.
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.

    Returns
    -------
    LayerTable
        A sequence of `Layer`, found by any of its names with ``find``.

    Raises
    ------
    ModelError
        If the network is not known, or its folder names code that is not trusted.

    Examples
    --------
    >>> layer = list_layers("alexnet").find("pool1")
    >>> layer.node, layer.shape, layer.n_features
    ('features.2', (64, 27, 27), 46656)
    """
    return find_config(model, weights="random", size=size, crop=crop, trust=trust).table
