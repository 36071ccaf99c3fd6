"""Preprocessing of images for a network: by default as its weights expect."""

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
_FITS = ("exact", "cover", "border")
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")

_MAX_SIDE = 16_384
"""Largest input size (px) that a file may specify: batches of larger images take gigabytes."""

_N_BY_PILLOW = 64
"""Number of images per process resized by Pillow: importing numba pays off only after these."""
_MAX_PILLOW_RATIO = 4
"""Largest area, as a multiple of the crop, that Pillow may resize an image to.

Of elongated images, our kernel computes only the crop.
"""

_resize_count = count()


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of images: resize, center crop, scale to 0 to 1, normalize per channel.

    Parameters
    ----------
    resize : int or tuple of int, default=256
        Length in px to which the short side is resized, or height and width.
    crop : tuple of int, default=(224, 224)
        Height and width of the center crop in px: the size of the network's input.
    mean, std : tuple of float
        Mean and standard deviation of each channel, for values from 0 to 1.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos"}, default="bilinear"
    fit : {"exact", "cover", "border"}, default="exact"
        Meaning of height and width in `resize`. ``exact`` ignores the image's aspect ratio (timm's
        crop mode ``squash``). ``cover`` preserves it, and the image covers height and width.
        ``border`` preserves it, and the image fits into them, with a border in the mean color.
    """

    resize: int | tuple[int, int] = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    interpolation: str = "bilinear"
    fit: str = "exact"

    def override(
        self,
        *,
        size: int | Sequence[int] | None = None,
        crop: int | Sequence[int] | None = None,
        interpolation: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> Preprocessing:
        """Return a copy with some values replaced; `size` without `crop` sets both.

        Raises
        ------
        ValueError
            If the crop is larger than the resized image.

        Examples
        --------
        >>> Preprocessing().override(size=128).crop
        (128, 128)
        """
        resize = self.resize if size is None else _plain_size(size)
        shape = _pair(crop) if crop is not None else self.crop if size is None else _pair(resize)
        changed = replace(
            self,
            resize=resize,
            crop=shape,
            interpolation=interpolation or self.interpolation,
            mean=self.mean if mean is None else tuple(mean),
            std=self.std if std is None else tuple(std),
        )
        if any(c > r for c, r in zip(shape, _pair(resize))):
            raise ValueError(
                f"crop={crop or shape} is larger than the resized image ({resize} px); raise size."
            )
        return changed

    def prepare(self, pixels: Pixels, *, by_torch: bool = False) -> Pixels:
        """Resize and crop one image.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, c), uint8 or float32
        by_torch : bool, default=False
            Resize as torchvision does for uint8 tensors, rather than for PIL images. One value in
            some hundred differs by 1 in 255, which changes deep layers by up to 1 %.

        Returns
        -------
        ndarray of shape (*crop, c), of the same dtype
        """
        height, width = self.resized_shape(pixels.shape[:2])
        if height * width > MAX_PIXELS:
            raise ImageError(
                "", f"{pixels.shape[1]}x{pixels.shape[0]} px is too elongated to resize"
            )
        if height < self.crop[0] or width < self.crop[1]:
            inner = replace(self, crop=(min(height, self.crop[0]), min(width, self.crop[1])))
            return self._with_border(inner.prepare(pixels, by_torch=by_torch))
        window = _center_window((height, width), self.crop)
        if (height, width) == pixels.shape[:2]:
            return np.ascontiguousarray(pixels[window])
        if by_torch:
            return _resize_tensor(pixels, (height, width), self.interpolation)[window]
        is_elongated = height * width > _MAX_PILLOW_RATIO * self.crop[0] * self.crop[1]
        is_8_bit_rgb = pixels.dtype == np.uint8 and pixels.shape[2] == 3
        is_early = not is_elongated and next(_resize_count) < _N_BY_PILLOW
        if not is_8_bit_rgb or is_early or self.interpolation == "nearest":
            resized = _resize_pillow(pixels, (height, width), self.interpolation)
            return np.ascontiguousarray(resized[window])
        from featx.data.resizing import resize_crop

        return resize_crop(pixels, (height, width), self.interpolation, window)

    def resized_shape(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return height and width of an image after resizing, before cropping.

        Examples
        --------
        >>> Preprocessing(resize=(200, 100), fit="border").resized_shape((50, 50))
        (100, 100)
        >>> Preprocessing(resize=(200, 100), fit="cover").resized_shape((50, 50))
        (200, 200)
        """
        if self.fit == "exact":
            return resized_shape(shape, self.resize)
        ratios = [side / target for side, target in zip(shape, _pair(self.resize))]
        ratio = max(ratios) if self.fit == "border" else min(ratios)
        height, width = (max(1, round(side / ratio)) for side in shape)
        return height, width

    def settings(self) -> dict[str, Any]:
        """Return all parameters as plain values, for a fingerprint."""
        values = asdict(self)
        if self.fit == "exact":
            del values["fit"]
        return values

    def _with_border(self, pixels: Pixels) -> Pixels:
        """Pad an image to the size of the crop, with the mean color, as timm does."""
        height, width, n_channels = pixels.shape
        top, left = (self.crop[0] - height) // 2, (self.crop[1] - width) // 2
        fill = [round(255 * mean) for mean in self.mean]
        canvas = np.empty((*self.crop, n_channels), pixels.dtype)
        canvas[:] = fill if len(fill) == n_channels else fill[0]
        canvas[top : top + height, left : left + width] = pixels
        return canvas


def check_values(values: Mapping[str, Any]) -> None:
    """Validate values for `Preprocessing` that were read from a file or a module.

    Parameters
    ----------
    values : mapping
        Parameter name -> value.

    Raises
    ------
    ModelError
        If a value is invalid.
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
    if values.get("fit", "exact") not in _FITS:
        raise ModelError(f"fit must be one of {', '.join(_FITS)}; got {values['fit']!r}.")
    if values.get("interpolation", "bilinear") not in _INTERPOLATIONS:
        raise ModelError(
            f"interpolation must be one of {', '.join(_INTERPOLATIONS)}; got "
            f"{values['interpolation']!r}."
        )


def resized_shape(shape: Sequence[int], resize: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width after resizing, rounded as in torchvision.

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
    """Rows and columns of a center crop, rounded as in torchvision.

    Examples
    --------
    >>> _center_window((384, 256), (224, 224))
    (slice(80, 304, None), slice(16, 240, None))
    """
    top, left = (round((side - length) / 2.0) for side, length in zip(shape, size))
    return slice(top, top + size[0]), slice(left, left + size[1])


def _plain_size(size: int | Sequence[int]) -> int | tuple[int, int]:
    """A size as Python integers: a grid search passes NumPy's."""
    return int(size) if isinstance(size, int | np.integer) else _pair(size)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int | np.integer):
        return int(value), int(value)
    height, width = value
    return int(height), int(width)


def _resize_pillow(pixels: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    resampling = Image.Resampling[interpolation.upper()]
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.array(Image.fromarray(pixels).resize(size[::-1], resampling))
    channels = [np.ascontiguousarray(pixels[:, :, c]) for c in range(pixels.shape[2])]
    resized = [
        np.asarray(Image.fromarray(channel).resize(size[::-1], resampling)) for channel in channels
    ]
    # Bicubic interpolation of float32 overshoots; with 8 bits Pillow clips.
    return np.stack(resized, axis=2).clip(0, 255)


def _resize_tensor(pixels: Pixels, size: tuple[int, int], interpolation: str) -> npt.NDArray[Any]:
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    image = torch.from_numpy(pixels).permute(2, 0, 1)  # (3, h, w)
    resized = resize(image, list(size), InterpolationMode(interpolation), antialias=True)
    return resized.clamp(0, 255).permute(1, 2, 0).numpy()
