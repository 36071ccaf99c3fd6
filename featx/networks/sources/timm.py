"""Networks of timm."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from featx._imports import skip_initialization
from featx.errors import ModelError, WeightsError
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import (
    DEFAULT,
    Source,
    Weights,
)


class TimmSource(Source):
    """A network of timm: ``timm/NAME``.

    Raises
    ------
    ModelError
        If timm is not installed, or has no network of that name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._timm = timm = import_timm(name)
        self._timm_name = name.removeprefix("timm/")
        if not timm.is_model(self._timm_name):
            raise ModelError(f"timm {timm.__version__} has no model {self._timm_name!r}.")

    def build(self, weights: Weights) -> nn.Module:
        """Build the network, without its weights."""
        return self._timm.create_model(self._timm_name, pretrained=False, **weights.options)

    def resized(
        self, options: Mapping[str, Any], preprocessing: Preprocessing
    ) -> Mapping[str, Any]:
        """Arguments for building a network for images of another size.

        Transformers with a fixed input size interpolate their position embeddings or, if they
        cannot do that, are built for the new size.
        """
        config = self._timm.get_pretrained_cfg(self._timm_name)
        if config is None or not config.fixed_input_size:
            return options
        for size_option in ({"dynamic_img_size": True}, {"img_size": preprocessing.crop}):
            try:
                with torch.device("meta"), skip_initialization():
                    self._timm.create_model(self._timm_name, pretrained=False, **size_option)
            except TypeError:  # The constructor has no such parameter.
                continue
            return {**options, **size_option}
        return options

    def published(self, weights: str) -> Weights:
        """Return timm's default weights, or those of a tag such as ``a1_in1k``."""
        name = (
            self._timm_name if weights == DEFAULT else f"{self._timm_name.split('.')[0]}.{weights}"
        )
        try:
            config = self._timm.get_pretrained_cfg(name)
        except RuntimeError:  # timm has no such tag.
            config = None
        if config is None or not config.has_weights:
            raise WeightsError(f"timm has no weights {weights!r} for {self.name}.")
        return Weights(
            name=f"timm/{config.architecture}.{config.tag}",
            digest=f"timm:{config.architecture}.{config.tag}",
            preprocessing=timm_preprocessing(config.to_dict()),
            read=lambda: self._download(name, config),
            url=config.url or f"https://huggingface.co/{config.hf_hub_id}",
        )

    def preprocessing(self) -> Preprocessing:
        """Preprocessing for timm's default weights."""
        config = self._timm.get_pretrained_cfg(self._timm_name)
        return timm_preprocessing(config.to_dict() if config else {})

    def _download(self, name: str, config: Any) -> dict[str, torch.Tensor]:
        try:
            return dict(self._timm.create_model(name, pretrained=True).state_dict())
        except Exception as error:  # huggingface_hub raises many types if it is offline.
            url = config.url or f"https://huggingface.co/{config.hf_hub_id}"
            raise WeightsError(
                f"Weights {config.architecture}.{config.tag} are not on this machine and cannot "
                f"be downloaded. Download model.safetensors from {url} elsewhere, and pass it: "
                "weights=FILE.safetensors."
            ) from error


def import_timm(name: str) -> Any:
    """Import timm, which the network `name` needs.

    Raises
    ------
    ModelError
        If timm is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(
            f'{name} needs timm, which is not installed: pip install "featx[timm]".'
        ) from error


def timm_preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    """Convert a ``pretrained_cfg`` of timm."""
    data = import_timm("timm").data.resolve_data_config(pretrained_cfg=dict(config))
    height, width = data["input_size"][1:]
    resize: Any = tuple(math.floor(side / data["crop_pct"]) for side in (height, width))
    fit = {"squash": "exact", "border": "border"}.get(data["crop_mode"], "cover")
    if fit == "cover" and resize[0] == resize[1]:
        resize, fit = resize[0], "exact"
    return Preprocessing(
        resize=resize,
        crop=(height, width),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
        fit=fit,
    )
