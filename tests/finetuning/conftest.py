"""Networks with a new head to plan training on, without any weights file."""

from __future__ import annotations

from typing import Any

from torch import nn

from featx.finetuning.freezing import Policy, plan_training
from featx.finetuning.heads import Head, Prepared, prepare_network
from featx.networks.configs import find_config


class Normed(nn.Sequential):
    """Two convolutions with batch norm, and a classifier."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 10),
        )


def prepare(model: Any = "squeezenet1_0", n_classes: int = 2, **head: Any) -> Prepared:
    """A network as if weights had given all of it but the new head."""
    config = find_config(model, weights="random", size=64)
    prepared = prepare_network(config, n_classes, Head(**head))
    prepared.take_as_loaded()
    return prepared


def trained(prepared: Prepared, **policy: Any) -> set[str]:
    """Names of the parameters that train under a policy."""
    return set(plan_training(prepared, Policy(**policy)).rates)
