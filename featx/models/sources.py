"""Where networks come from: bundled, torchvision, timm, the user's own."""

from __future__ import annotations

import inspect
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from featx._imports import import_torchvision
from featx.errors import ModelError, WeightsError, did_you_mean
from featx.models.preprocessing import Preprocessing
from featx.models.weights import State, fetch, file_digest, is_weights_file, read_state

logger = logging.getLogger(__name__)

RANDOM_SEED = 0
DEFAULT, RANDOM = "default", "random"


@dataclass(frozen=True)
class Weights:
    """Weights that were chosen, and what belongs to them.

    Parameters
    ----------
    name : str
        What to call them in messages.
    digest : str
        What stands for their values in a fingerprint.
    preprocessing : Preprocessing
    read : callable, optional
        Gives their tensors; None for random ones, and for those that come with the network.
    options : mapping
        What the network is built with so that they fit.
    url : str, default=""
        Where they can be downloaded.
    """

    name: str
    digest: str
    preprocessing: Preprocessing
    read: Callable[[], State] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""


class Source(ABC):
    """A network that can be built, and the weights there are for it.

    Parameters
    ----------
    name : str
        As the user wrote it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def identity(self) -> str:
        """What stands for the network's code in a fingerprint."""
        return self.name

    @abstractmethod
    def build(self, weights: Weights) -> nn.Module:
        """The network, its parameters as its constructor leaves them."""

    @abstractmethod
    def published(self, wish: str) -> Weights:
        """Published weights of a name, or the source's own for ``default``."""

    def of_file(self, path: str) -> Weights:
        """Weights of a file."""
        return Weights(
            name=path,
            digest=f"file:{file_digest(path)}",
            preprocessing=self.preprocessing(),
            read=lambda: read_state(path),
            options=self.options(self.preprocessing()),
        )

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """What the network is built with, so that it takes pictures of that size."""
        return {}

    def preprocessing(self) -> Preprocessing:
        """What random weights and those of a file expect."""
        return Preprocessing()

    def weights(self, wish: str | os.PathLike[str]) -> Weights:
        """Weights of a wish: ``default``, a name, a file, or ``random``.

        Raises
        ------
        WeightsError
            If there are none such.
        """
        if wish == RANDOM:
            how = self.preprocessing()
            return Weights(RANDOM, f"random:{RANDOM_SEED}:2", how, options=self.options(how))
        if is_weights_file(wish):
            return self.of_file(os.path.expanduser(os.fspath(wish)))
        return self.published(str(wish))


def find_source(model: Any) -> Source:
    """Source of a model.

    Parameters
    ----------
    model : str, path or torch.nn.Module
        ``featxnet``, ``lenet``, a torchvision name, ``timm/NAME``, ``package.module:callable``,
        a folder that ``featx finetune`` wrote, or a module object.

    Raises
    ------
    ModelError
        If there is none such.
    """
    if isinstance(model, nn.Module):
        from featx.models.own import ModuleSource

        return ModuleSource(model)
    name = os.fspath(model)
    if name == "featxnet":
        return FeatxnetSource(name)
    if name == "lenet":
        return LenetSource(name)
    if name.startswith("timm/"):
        from featx.models.own import TimmSource

        return TimmSource(name)
    if (Path(name).expanduser() / "model.json").is_file():
        from featx.models.own import FolderSource

        return FolderSource(name, resolve=find_source)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", name):
        from featx.models.own import CallableSource

        return CallableSource(name)
    return TorchvisionSource(name)


class FeatxnetSource(Source):
    """The bundled network."""

    def build(self, weights: Weights) -> nn.Module:
        """The network, without its weights."""
        from featx.models.featxnet import featxnet

        return featxnet()

    def published(self, wish: str) -> Weights:
        """The bundled weights."""
        from featx.models.featxnet import weights_path

        if wish != DEFAULT:
            raise WeightsError(f"featxnet has no weights {wish!r}; it has 'default' alone.")
        path = weights_path()
        if not path.is_file():
            raise WeightsError(
                f"The bundled weights {path} are not there; install featx again, or name another "
                "network: --model alexnet."
            )
        return self.of_file(str(path))

    def preprocessing(self) -> Preprocessing:
        """What the bundled weights were trained with."""
        from featx.models.featxnet import PREPROCESSING

        crop = PREPROCESSING["crop"]
        return Preprocessing(**{**PREPROCESSING, "crop": (crop, crop)})


class LenetSource(Source):
    """A small network for digits that nobody trained yet: `featx.models.classics`."""

    def build(self, weights: Weights) -> nn.Module:
        """The network."""
        from featx.models.classics import lenet

        return lenet()

    def published(self, wish: str) -> Weights:
        """None: it is trained here."""
        raise WeightsError(
            f"lenet has no weights {wish!r}; give a file, such as `featx pretrain` writes, or "
            "weights=random."
        )

    def preprocessing(self) -> Preprocessing:
        """Pictures of 28 px, MNIST's mean and deviation."""
        from featx.models.classics import PREPROCESSING

        crop = PREPROCESSING["crop"]
        return Preprocessing(**{**PREPROCESSING, "crop": (crop, crop)})


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

    def published(self, wish: str) -> Weights:
        """Weights of a name such as ``IMAGENET1K_V1``, or torchvision's default."""
        known = self._api.get_model_weights(self.name)
        names = [weights.name for weights in known]
        if not names:
            raise WeightsError(f"torchvision has no weights for {self.name}; give a file.")
        if wish != DEFAULT and wish not in names:
            raise WeightsError(
                f"{self.name} has no weights {wish!r}; it has {', '.join(names)}, and takes files."
            )
        return self._weights(known.DEFAULT if wish == DEFAULT else known[wish])

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
