"""List the available networks, their weights, and whether these have been downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from featx._imports import import_torchvision
from featx.networks.sources.torchvision import image_networks
from featx.networks.weights import download_folder


@dataclass(frozen=True)
class ModelInfo:
    """A network that is available by name.

    Parameters
    ----------
    name : str
        Name for `CNNFeatures`.
    source : str
        ``featx``, ``torchvision`` or ``timm``.
    weights : tuple of str
        Names of its published weights, the default first.
    is_local : bool
        Whether the default weights are on this machine.
    n_parameters : int, optional
        Number of parameters, if known without building the network.
    url : str
        Where the default weights can be downloaded.
    """

    name: str
    source: str
    weights: tuple[str, ...]
    is_local: bool
    n_parameters: int | None = None
    url: str = ""


def list_models(pattern: str = "") -> list[ModelInfo]:
    """Return the networks whose name matches `pattern`; timm's only if it starts with ``timm``."""
    if pattern.startswith("timm"):
        return list(_timm_models(pattern))
    infos = [_featxnet(), ModelInfo("lenet", "featx", (), is_local=False), *_torchvision_models()]
    return [info for info in infos if _matches(info.name, pattern)]


def _matches(name: str, pattern: str) -> bool:
    return pattern.lower() in name or fnmatchcase(name, pattern.lower())


def _featxnet() -> ModelInfo:
    from featx.networks.featxnet import weights_path

    return ModelInfo("featxnet", "featx", ("default",), weights_path().is_file())


def _torchvision_models() -> Iterator[ModelInfo]:
    models = import_torchvision().models
    for name in image_networks(models):
        published = models.get_model_weights(name)
        if not len(published):
            yield ModelInfo(name, "torchvision", (), is_local=False)
            continue
        yield _torchvision_model(name, published)


def _torchvision_model(name: str, published: Any) -> ModelInfo:
    default = published.DEFAULT
    others = [weights.name for weights in published if weights is not default]
    return ModelInfo(
        name=name,
        source="torchvision",
        weights=(default.name, *others),
        is_local=(download_folder() / default.url.rpartition("/")[2]).is_file(),
        n_parameters=default.meta.get("num_params"),
        url=default.url,
    )


def _timm_models(pattern: str) -> Iterator[ModelInfo]:
    from featx.networks.sources.timm import import_timm

    timm = import_timm(pattern)
    timm_pattern = pattern.removeprefix("timm").removeprefix("/")
    for name in timm.list_models():
        if not _matches(name, timm_pattern):
            continue
        config = timm.get_pretrained_cfg(name)
        tags = tuple(timm.list_pretrained(f"{name}.*")) if config and config.has_weights else ()
        yield ModelInfo(f"timm/{name}", "timm", tags, is_local=False)
