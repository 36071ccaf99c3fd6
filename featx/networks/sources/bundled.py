"""Networks that come with featx."""

from __future__ import annotations

from torch import nn

from featx.errors import WeightsError
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import DEFAULT, Source, Weights


class FeatxnetSource(Source):
    """The bundled network."""

    def build(self, weights: Weights) -> nn.Module:
        """Build the network, without its weights."""
        from featx.networks.featxnet import featxnet

        return featxnet()

    def published(self, weights: str) -> Weights:
        """Return the bundled weights."""
        from featx.networks.featxnet import weights_path

        if weights != DEFAULT:
            raise WeightsError(f"featxnet has no weights {weights!r}; it has only 'default'.")
        path = weights_path()
        if not path.is_file():
            raise WeightsError(
                f"The bundled weights {path} are missing; install featx again, or use another "
                "network, such as --model alexnet."
            )
        return self.of_file(str(path))

    def preprocessing(self) -> Preprocessing:
        """Preprocessing with which the bundled weights were trained."""
        from featx.networks.featxnet import PREPROCESSING

        crop = PREPROCESSING["crop"]
        return Preprocessing(**{**PREPROCESSING, "crop": (crop, crop)})


class LenetSource(Source):
    """LeNet, for digits, without published weights: `featx.networks.lenet`."""

    def build(self, weights: Weights) -> nn.Module:
        """Build the network."""
        from featx.networks.lenet import build_lenet

        return build_lenet()

    def published(self, weights: str) -> Weights:
        """Raise `WeightsError`: there are no published weights."""
        raise WeightsError(
            f"lenet has no weights {weights!r}; pass a file, such as one of `featx pretrain`, or "
            "weights=random."
        )

    def preprocessing(self) -> Preprocessing:
        """Images of 28 px, MNIST's mean and standard deviation."""
        from featx.networks.lenet import PREPROCESSING

        crop = PREPROCESSING["crop"]
        return Preprocessing(**{**PREPROCESSING, "crop": (crop, crop)})
