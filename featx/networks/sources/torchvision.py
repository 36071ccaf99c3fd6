"""Networks of torchvision for classification and segmentation, and the backbones of detectors."""

from __future__ import annotations

import inspect
import re
from typing import Any

from torch import Tensor, nn

from featx._imports import import_torchvision
from featx.errors import ModelError, WeightsError, did_you_mean
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import DEFAULT, Source, Weights
from featx.networks.weights import (
    fetch,
    read_state,
)

_UNSUPPORTED = {
    "video": "its input is video clips",
    "optical_flow": "its input is pairs of images",
    "quantization": "its activations are quantized to 8 bits; use the network without quantized_",
}
"""Modules of torchvision.models whose networks are not supported, and why."""

_SIZES = {
    "ssd300_vgg16": 300,
    "ssdlite320_mobilenet_v3_large": 320,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 320,
}
_DETECTOR_SIZE = 800
"""Default length in px to which detectors resize the short side."""

_CHANNELS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ssd300_vgg16": ((0.48235, 0.45882, 0.40784), (1 / 255,) * 3),
    "ssdlite320_mobilenet_v3_large": ((0.5,) * 3, (0.5,) * 3),
}
"""Mean and standard deviation of detectors that do not use ImageNet's."""

_SUBSAMPLED = "pool"
"""Level of Faster R-CNN that only subsamples the level before it by two."""

_EPS_ZERO = re.compile(r"(faster|mask|keypoint)rcnn_resnet50_fpn|retinanet_resnet50_fpn")
"""Detectors for whose weights COCO_V1 torchvision sets the eps of batch norms to 0."""


class TorchvisionSource(Source):
    """A network of torchvision whose input is single images.

    For a detector this is its backbone, with the names that layers have in the detector: later
    layers compute boxes, whose number varies.

    Raises
    ------
    ModelError
        If torchvision has no network of that name, or the network is not supported.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._api = models = import_torchvision().models
        for task, reason in _UNSUPPORTED.items():
            if name in models.list_models(module=getattr(models, task)):
                raise ModelError(f"{name} is not supported: {reason}.")
        names = image_networks(models)
        if name not in names:
            raise ModelError(_unknown(name, ["featxnet", "lenet", *names]))
        self._is_detector = name in models.list_models(module=models.detection)

    @property
    def identity(self) -> str:
        """The network's name, prefixed with torchvision's."""
        return f"torchvision.{self.name}"

    def build(self, weights: Weights) -> nn.Module:
        """Build the network as its published weights expect it, without auxiliary heads."""
        builder = self._api.get_model_builder(self.name)
        options = dict(weights.options)
        eps = options.pop("eps", None)
        network: nn.Module = builder(weights=None, **self._options(), **options)
        if not self._is_detector:
            return network
        backbone = _Backbone(network)
        for part in backbone.modules():
            if eps is not None and isinstance(part, nn.BatchNorm2d):
                part.eps = eps
        return backbone

    def published(self, weights: str) -> Weights:
        """Return weights by name, such as ``IMAGENET1K_V1``, or torchvision's default."""
        published = self._api.get_model_weights(self.name)
        names = [weights.name for weights in published]
        if not names:
            raise WeightsError(f"torchvision has no weights for {self.name}; pass a file.")
        if weights != DEFAULT and weights not in names:
            raise WeightsError(
                f"{self.name} has no weights {weights!r}; expected one of {', '.join(names)}, or a "
                "file."
            )
        return self._weights(published.DEFAULT if weights == DEFAULT else published[weights])

    def preprocessing(self) -> Preprocessing:
        """Preprocessing for torchvision's first weights, which files of others mostly share."""
        if self._is_detector:
            return _detector_preprocessing(self.name)
        first = next(iter(self._api.get_model_weights(self.name)), None)
        return _torchvision_preprocessing(first) if first is not None else Preprocessing()

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """Arguments for building the network: vision transformers need their image size."""
        return {"image_size": preprocessing.crop[0]} if self.name.startswith("vit_") else {}

    def _weights(self, chosen: Any) -> Weights:
        file_name = chosen.url.rpartition("/")[2]
        hashes = re.search(r"-([0-9a-f]{8,})\.", file_name)
        prefix = hashes.group(1) if hashes else None
        options: dict[str, Any] = {}
        if self._is_detector:
            preprocessing = _detector_preprocessing(self.name)
            if chosen.name == "COCO_V1" and _EPS_ZERO.fullmatch(self.name):
                options = {"eps": 0.0}
        else:
            preprocessing = _torchvision_preprocessing(chosen)
        return Weights(
            name=f"{self.name}.{chosen.name}",
            digest=f"torchvision:{file_name}",
            preprocessing=preprocessing,
            read=lambda: read_state(fetch(chosen.url, hash_prefix=prefix)),
            options={**self.options(preprocessing), **options},
            url=chosen.url,
        )

    def _options(self) -> dict[str, Any]:
        parameters = inspect.signature(self._api.get_model_builder(self.name)).parameters
        if self.name in ("googlenet", "inception_v3"):
            return {"aux_logits": False, "init_weights": False, "transform_input": True}
        options: dict[str, Any] = {"progress": False} if "progress" in parameters else {}
        if "weights_backbone" in parameters:  # By default it downloads them.
            options["weights_backbone"] = None
        return options


class _Backbone(nn.Module):
    """The backbone of a detector, whose output is the deepest level of its feature pyramid."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone: nn.Module = detector.get_submodule("backbone")

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``(n, c, h, w)`` of the deepest level."""
        levels: dict[str, Tensor] = self.backbone(x)
        return [maps for name, maps in levels.items() if name != _SUBSAMPLED][-1]


def image_networks(models: Any) -> list[str]:
    """Return the names of the networks of ``torchvision.models`` whose input is single images."""
    modules = (models, models.segmentation, models.detection)
    return [name for module in modules for name in models.list_models(module=module)]


def _detector_preprocessing(name: str) -> Preprocessing:
    size = _SIZES.get(name, _DETECTOR_SIZE)
    preprocessing = Preprocessing(resize=size, crop=(size, size))
    mean, std = _CHANNELS.get(name, (preprocessing.mean, preprocessing.std))
    return preprocessing.override(mean=mean, std=std)


def _torchvision_preprocessing(weights: Any) -> Preprocessing:
    preset = weights.transforms()
    crop = getattr(preset, "crop_size", preset.resize_size)[0]  # Segmentation has no crop.
    return Preprocessing(
        resize=preset.resize_size[0],
        crop=(crop, crop),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )


def _unknown(name: str, names: list[str]) -> str:
    return (
        f"Unknown model {name!r}.{did_you_mean(name, names)} See `featx models`; other networks "
        "are specified as timm/NAME, package.module:callable, or a folder."
    )
