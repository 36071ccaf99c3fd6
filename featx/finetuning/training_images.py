"""Data sets of the training loop: images, and cached features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

_CACHED_BYTES = 1 << 30
"""Maximum size of the images cached in memory; others are decoded in each epoch."""


@dataclass(frozen=True)
class LabeledImages:
    """Images and their classes.

    Parameters
    ----------
    images : Images
    targets : ndarray of shape (n_images,), int64
        Index of the class of each.
    """

    images: Images
    targets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: npt.NDArray[np.intp]) -> LabeledImages:
        """Some of them."""
        return LabeledImages(self.images.take(indices.tolist()), self.targets[indices])


class TrainingImages(Dataset[tuple[Tensor, int]]):
    """Images resized and cropped for a network, with random augmentation if any.

    Parameters
    ----------
    images : Images
    targets : sequence of int
        Index of the class of each.
    preprocessing : Preprocessing
    augmentation : Augmentation, optional
        By default none: images are cropped at the center.
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
        self._augment: v2.Transform | None = None
        self._augment_deep: v2.Transform | None = None
        if augmentation is not None and not augmentation.is_none:
            self._augment = augmentation.pixels(preprocessing.crop)
            self._augment_deep = augmentation.pixels(preprocessing.crop, is_deep=True)
        self._cached: dict[int, Tensor] = {}
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        prepared = self._prepared(index)
        if prepared.dtype.is_floating_point and self._augment_deep is not None:
            prepared = self._augment_deep(prepared / 255) * 255
        elif self._augment is not None:
            prepared = self._augment(prepared)
        return prepared, self.targets[index]

    def _prepared(self, index: int) -> Tensor:
        if index in self._cached:
            return self._cached[index]
        pixels = self.images.pixels(index)
        if self._augment is not None:
            tensor = prepare_whole(pixels, self.preprocessing)
        else:
            tensor = torch.from_numpy(self.preprocessing.prepare(pixels)).permute(2, 0, 1)
        if self._n_bytes + tensor.nbytes <= _CACHED_BYTES:
            self._cached[index] = tensor
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
