"""torchvision's classification networks."""

from __future__ import annotations

import inspect
import re
from typing import Any

from torch import nn

from featx._imports import import_torchvision
from featx.errors import ModelError, WeightsError, did_you_mean
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import DEFAULT, Source, Weights
from featx.networks.weights import (
    fetch,
    read_state,
)


class TorchvisionSource(Source):
    """A classification network of torchvision.

    Raises
    ------
    ModelError
        If torchvision has none of that name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._api = models = import_torchvision().models
        known = models.list_models(module=models)
        if name not in known:
            raise ModelError(_unknown(name, ["featxnet", "lenet", *known]))

    @property
    def identity(self) -> str:
        """The name, under torchvision's."""
        return f"torchvision.{self.name}"

    def build(self, weights: Weights) -> nn.Module:
        """The network as its published weights expect it, without auxiliary heads."""
        builder = self._api.get_model_builder(self.name)
        return builder(weights=None, **self._options(), **weights.options)

    def published(self, weights: str) -> Weights:
        """Weights of a name such as ``IMAGENET1K_V1``, or torchvision's default."""
        known = self._api.get_model_weights(self.name)
        names = [weights.name for weights in known]
        if not names:
            raise WeightsError(f"torchvision has no weights for {self.name}; give a file.")
        if weights != DEFAULT and weights not in names:
            raise WeightsError(
                f"{self.name} has no weights {weights!r}; it has {', '.join(names)}, "
                "and takes files."
            )
        return self._weights(known.DEFAULT if weights == DEFAULT else known[weights])

    def preprocessing(self) -> Preprocessing:
        """What the first weights torchvision published expect: a file is mostly of that kind."""
        first = next(iter(self._api.get_model_weights(self.name)), None)
        return _torchvision_preprocessing(first) if first is not None else Preprocessing()

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """A vision transformer is built for one size of pictures."""
        return {"image_size": preprocessing.crop[0]} if self.name.startswith("vit_") else {}

    def _weights(self, chosen: Any) -> Weights:
        file_name = chosen.url.rpartition("/")[2]
        hashes = re.search(r"-([0-9a-f]{8,})\.", file_name)
        prefix = hashes.group(1) if hashes else None
        preprocessing = _torchvision_preprocessing(chosen)
        return Weights(
            name=f"{self.name}.{chosen.name}",
            digest=f"torchvision:{file_name}",
            preprocessing=preprocessing,
            read=lambda: read_state(fetch(chosen.url, hash_prefix=prefix)),
            options=self.options(preprocessing),
            url=chosen.url,
        )

    def _options(self) -> dict[str, Any]:
        parameters = inspect.signature(self._api.get_model_builder(self.name)).parameters
        if self.name in ("googlenet", "inception_v3"):
            return {"aux_logits": False, "init_weights": False, "transform_input": True}
        return {"progress": False} if "progress" in parameters else {}


def _torchvision_preprocessing(weights: Any) -> Preprocessing:
    preset = weights.transforms()
    crop = preset.crop_size[0]
    return Preprocessing(
        resize=preset.resize_size[0],
        crop=(crop, crop),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )


def _unknown(name: str, known: list[str]) -> str:
    return (
        f"Model {name!r} is not known.{did_you_mean(name, known)} See `featx models`; other "
        "networks are given as timm/NAME, package.module:callable, or a folder."
    )
