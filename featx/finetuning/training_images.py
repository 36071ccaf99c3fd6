"""Images and cached features as a training loop takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from featx.data.images import Images
from featx.finetuning.augmentation import Augmentation, prepare_whole
from featx.networks.preprocessing import Preprocessing

_KEPT_BYTES = 1 << 30
"""Prepared images kept in memory; further ones are decoded in each epoch."""


class TrainingImages(Dataset[tuple[Tensor, int]]):
    """Images prepared for a network, changed at random where that is asked for.

    Parameters
    ----------
    images : Images
    targets : sequence of int
        Class of each.
    preprocessing : Preprocessing
    augmentation : Augmentation, optional
        None for the middle of the image as it is.
    """

    def __init__(
        self,
        images: Images,
        targets: Sequence[int] | npt.NDArray[np.int64],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.images = images
        self.targets = [int(target) for target in targets]
        self.preprocessing = preprocessing
        self.change: v2.Transform | None = None
        self._change_deep: v2.Transform | None = None
        if augmentation is not None and not augmentation.is_none:
            self.change = augmentation.pixels(preprocessing.crop)
            self._change_deep = augmentation.pixels(preprocessing.crop, is_deep=True)
        self._kept: dict[int, Tensor] = {}
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        prepared = self._prepared(index)
        if prepared.dtype.is_floating_point and self._change_deep is not None:
            prepared = self._change_deep(prepared / 255) * 255
        elif self.change is not None:
            prepared = self.change(prepared)
        return prepared, self.targets[index]

    def _prepared(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        pixels = self.images.pixels(index)
        if self.change is not None:
            tensor = prepare_whole(pixels, self.preprocessing)
        else:
            tensor = torch.from_numpy(self.preprocessing.prepare(pixels)).permute(2, 0, 1)
        if self._n_bytes + tensor.nbytes <= _KEPT_BYTES:
            self._kept[index] = tensor
            self._n_bytes += tensor.nbytes
        return tensor


class FeatureRows(Dataset[tuple[Tensor, int]]):
    """Cached features of a layer, in the shape in which the layer returned them.

    Parameters
    ----------
    rows : ndarray of shape (n_images, n_features), float32
    targets : sequence of int
    shape : tuple of int
        Of the layer's output for one image.
    """

    def __init__(self, rows: Any, targets: Any, shape: tuple[int, ...]) -> None:
        self.rows = np.asarray(rows, np.float32)
        self.targets = [int(target) for target in targets]
        self.shape = shape

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.rows[index]).reshape(self.shape), self.targets[index]
