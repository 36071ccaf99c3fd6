"""Networks with a new head to plan training on, without any weights file; some photographs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
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
    """A network whose tensors count as loaded, except those of the new head."""
    config = find_config(model, weights="random", size=64)
    prepared = prepare_network(config, n_classes, Head(**head))
    prepared.take_as_loaded()
    return prepared


def trained(prepared: Prepared, **policy: Any) -> set[str]:
    """Names of the parameters that train under a policy."""
    return set(plan_training(prepared, Policy(**policy)).rates)


@pytest.fixture(scope="session")
def ants_bees(shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty of the photographs, and one that cannot be read."""
    source, folder = shared("data/ants_bees"), tmp_path_factory.mktemp("ants_bees")
    for split, n in (("train", 12), ("val", 8)):
        for name in ("ants", "bees"):
            (folder / split / name).mkdir(parents=True)
            for path in sorted((source / split / name).glob("*.jpg"))[:n]:
                shutil.copy(path, folder / split / name)
    (folder / "val" / "bees" / "broken.jpg").write_bytes(b"no image")
    return folder
