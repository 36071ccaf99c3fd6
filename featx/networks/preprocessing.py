"""What a picture goes through before a network: it belongs to the weights, not to the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.data.images import MAX_PIXELS, Pixels
from featx.errors import ImageError, ModelError

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")

_MAX_SIDE = 16_384
"""Largest side of an input that a file may ask for: its batches take gigabytes."""

_N_BY_PILLOW = 64
"""Pictures of a process that Pillow itself resizes: for few, importing numba takes longer."""
_MOST_BY_PILLOW = 4
"""Times the crop that Pillow may resize; of a narrow picture our kernel makes the crop alone."""

_resized = count()


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, 0 to 1, minus the mean, by the deviation.

    Parameters
    ----------
    resize : int or tuple of int, default=256
        What the short side is brought to, or height and width.
    crop : tuple of int, default=(224, 224)
        Height and width cut from the centre: the size of the network's input.
    mean, std : tuple of float
        Of each channel, in 0 to 1.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos"}, default="bilinear"
    """

    resize: int | tuple[int, int] = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    interpolation: str = "bilinear"

    def override(
        self,
        *,
        size: int | Sequence[int] | None = None,
        crop: int | Sequence[int] | None = None,
        interpolation: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> Preprocessing:
        """The same with another size, crop or interpolation; a size alone is the crop too.

        Raises
        ------
        ValueError
            If the crop is larger than the resized picture.

        Examples
        --------
        >>> Preprocessing().override(size=128).crop
        (128, 128)
        """
        resize = self.resize if size is None else _plain_size(size)
        cut = _pair(crop) if crop is not None else self.crop if size is None else _pair(resize)
        changed = replace(
            self,
            resize=resize,
            crop=cut,
            interpolation=interpolation or self.interpolation,
            mean=self.mean if mean is None else tuple(mean),
            std=self.std if std is None else tuple(std),
        )
        if any(c > r for c, r in zip(cut, _pair(resize))):
            raise ValueError(
                f"crop={crop or cut} is larger than the resized picture ({resize} px); raise size."
            )
        return changed

    def prepare(self, pixels: Pixels, *, by_torch: bool = False) -> Pixels:
        """One picture resized and cropped.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 3), uint8 or float32
        by_torch : bool, default=False
            Resize as torch does a uint8 tensor, instead of as Pillow does: one value in some
            hundred differs by 1 in 255, which moves deep layers by up to 1 %.

        Returns
        -------
        ndarray of shape (*crop, 3), of the type it had
        """
        height, width = resized_shape(pixels.shape[:2], self.resize)
        if height * width > MAX_PIXELS:
            raise ImageError(
                "", f"{pixels.shape[1]}x{pixels.shape[0]} px is too long and narrow to resize"
            )
        window = _center_window((height, width), self.crop)
        if (height, width) == pixels.shape[:2]:
            return np.ascontiguousarray(pixels[window])
        if by_torch:
            return _resize_tensor(pixels, (height, width), self.interpolation)[window]
        is_narrow = height * width > _MOST_BY_PILLOW * self.crop[0] * self.crop[1]
        is_deep = pixels.dtype != np.uint8 or pixels.shape[2] != 3
        is_first = not is_narrow and next(_resized) < _N_BY_PILLOW
        if is_deep or is_first or self.interpolation == "nearest":
            resized = _resize_pillow(pixels, (height, width), self.interpolation)
            return np.ascontiguousarray(resized[window])
        from featx.data.resizing import resize_crop

        return resize_crop(pixels, (height, width), self.interpolation, window)

    def settings(self) -> dict[str, Any]:
        """All of it as plain values, for a fingerprint."""
        return asdict(self)


def check_values(values: Mapping[str, Any]) -> None:
    """Check values of a `Preprocessing` that a file or a module gives, before they are used.

    Parameters
    ----------
    values : mapping
        By the names of its parameters.

    Raises
    ------
    ModelError
        It names the first that is none.
    """
    sizes = {"resize": values.get("resize", 1), "crop": values.get("crop", 1)}
    for name, value in sizes.items():
        sides = value if isinstance(value, tuple) and len(value) == 2 else (value,)
        if not all(type(side) is int and 1 <= side <= _MAX_SIDE for side in sides):
            raise ModelError(
                f"{name} must be 1 to {_MAX_SIDE:,} px, or two of these; got {value!r}."
            )
    for name in ("mean", "std"):
        value = values.get(name, (0.5, 0.5, 0.5))
        is_number = isinstance(value, tuple) and len(value) == 3
        if not is_number or not all(type(it) in (int, float) and isfinite(it) for it in value):
            raise ModelError(f"{name} must be three numbers; got {value!r}.")
    if not all(values.get("std", (1.0,))):
        raise ModelError("std must not be zero.")
    if values.get("interpolation", "bilinear") not in _INTERPOLATIONS:
        raise ModelError(
            f"interpolation must be one of {', '.join(_INTERPOLATIONS)}; got "
            f"{values['interpolation']!r}."
        )


def resized_shape(shape: Sequence[int], resize: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width after a resize, in torchvision's rounding.

    Examples
    --------
    >>> resized_shape((500, 333), 256)
    (384, 256)
    """
    if not isinstance(resize, int):
        return resize
    height, width = shape
    if height <= width:
        return resize, int(resize * width / height)
    return int(resize * height / width), resize


def _center_window(shape: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the middle of a picture, in torchvision's rounding.

    Examples
    --------
    >>> _center_window((384, 256), (224, 224))
    (slice(80, 304, None), slice(16, 240, None))
    """
    top, left = (round((have - want) / 2.0) for have, want in zip(shape, size))
    return slice(top, top + size[0]), slice(left, left + size[1])


def _plain_size(size: int | Sequence[int]) -> int | tuple[int, int]:
    """A size in Python's own numbers: a grid search hands over NumPy's."""
    return int(size) if isinstance(size, int | np.integer) else _pair(size)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int | np.integer):
        return int(value), int(value)
    height, width = value
    return int(height), int(width)


def _resize_pillow(pixels: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    how = Image.Resampling[interpolation.upper()]
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.array(Image.fromarray(pixels).resize(size[::-1], how))
    bands = [
        np.asarray(Image.fromarray(np.ascontiguousarray(pixels[:, :, c])).resize(size[::-1], how))
        for c in range(pixels.shape[2])
    ]
    return np.stack(bands, axis=2).clip(0, 255)  # Cubics overshoot, and 8 bits cut that off.


def _resize_tensor(pixels: Pixels, size: tuple[int, int], interpolation: str) -> npt.NDArray[Any]:
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    image = torch.from_numpy(pixels).permute(2, 0, 1)  # (3, h, w)
    resized = resize(image, list(size), InterpolationMode(interpolation), antialias=True)
    return resized.clamp(0, 255).permute(1, 2, 0).numpy()
