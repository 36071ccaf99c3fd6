"""Networks that come with featx."""

from __future__ import annotations

from torch import nn

from featx.errors import WeightsError
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import DEFAULT, Source, Weights


class FeatxnetSource(Source):
    """The bundled network."""

    def build(self, weights: Weights) -> nn.Module:
        """The network, without its weights."""
        from featx.networks.featxnet import featxnet

        return featxnet()

    def published(self, weights: str) -> Weights:
        """The bundled weights."""
        from featx.networks.featxnet import weights_path

        if weights != DEFAULT:
            raise WeightsError(f"featxnet has no weights {weights!r}; it has 'default' alone.")
        path = weights_path()
        if not path.is_file():
            raise WeightsError(
                f"The bundled weights {path} are not there; install featx again, or name another "
                "network: --model alexnet."
            )
        return self.of_file(str(path))

    def preprocessing(self) -> Preprocessing:
        """What the bundled weights were trained with."""
        from featx.networks.featxnet import PREPROCESSING

        crop = PREPROCESSING["crop"]
        return Preprocessing(**{**PREPROCESSING, "crop": (crop, crop)})


class LenetSource(Source):
    """A small network for digits that nobody trained yet: `featx.networks.lenet`."""

    def build(self, weights: Weights) -> nn.Module:
        """The network."""
        from featx.networks.lenet import build_lenet

        return build_lenet()

    def published(self, weights: str) -> Weights:
        """None: it is trained here."""
        raise WeightsError(
            f"lenet has no weights {weights!r}; give a file, such as `featx pretrain` writes, or "
            "weights=random."
        )

    def preprocessing(self) -> Preprocessing:
        """Images of 28 px, MNIST's mean and standard deviation."""
        from featx.networks.lenet import PREPROCESSING

        crop = PREPROCESSING["crop"]
        return Preprocessing(**{**PREPROCESSING, "crop": (crop, crop)})
