"""What an image goes through before a network: it belongs to the weights, not to the user."""

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
"""Largest side of an input that a file may ask for: its batches take gigabytes."""

_N_BY_PILLOW = 64
"""Images of a process that Pillow itself resizes: for few, importing numba takes longer."""
_MOST_BY_PILLOW = 4
"""Times the crop that Pillow may resize; of a narrow image our kernel makes the crop alone."""

_resized = count()


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, 0 to 1, minus the mean, divided by the standard deviation.

    Parameters
    ----------
    resize : int or tuple of int, default=256
        What the short side is brought to, or height and width.
    crop : tuple of int, default=(224, 224)
        Height and width cut from the centre: the size of the network's input.
    mean, std : tuple of float
        Of each channel, in 0 to 1.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos"}, default="bilinear"
    fit : {"exact", "cover", "border"}, default="exact"
        What height and width in `resize` mean: the image has exactly these, whatever its own
        proportions (timm's crop mode ``squash``); it keeps its proportions and covers them; or it
        keeps them and lies within, with a border of the mean around it (timm's ``border``).
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
        """The same with another size, crop or interpolation; a size alone is the crop too.

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
                f"crop={crop or cut} is larger than the resized image ({resize} px); raise size."
            )
        return changed

    def prepare(self, pixels: Pixels, *, by_torch: bool = False) -> Pixels:
        """One image resized and cropped.

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
        height, width = self.resized_shape(pixels.shape[:2])
        if height * width > MAX_PIXELS:
            raise ImageError(
                "", f"{pixels.shape[1]}x{pixels.shape[0]} px is too long and narrow to resize"
            )
        if height < self.crop[0] or width < self.crop[1]:
            inner = replace(self, crop=(min(height, self.crop[0]), min(width, self.crop[1])))
            return self._with_border(inner.prepare(pixels, by_torch=by_torch))
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

    def resized_shape(self, shape: Sequence[int]) -> tuple[int, int]:
        """Height and width of an image after it is resized, before it is cropped.

        Examples
        --------
        >>> Preprocessing(resize=(200, 100), fit="border").resized_shape((50, 50))
        (100, 100)
        >>> Preprocessing(resize=(200, 100), fit="cover").resized_shape((50, 50))
        (200, 200)
        """
        if self.fit == "exact":
            return resized_shape(shape, self.resize)
        ratios = [have / want for have, want in zip(shape, _pair(self.resize))]
        ratio = max(ratios) if self.fit == "border" else min(ratios)
        height, width = (max(1, round(side / ratio)) for side in shape)
        return height, width

    def settings(self) -> dict[str, Any]:
        """All of it as plain values, for a fingerprint."""
        values = asdict(self)
        if self.fit == "exact":
            del values["fit"]
        return values

    def _with_border(self, pixels: Pixels) -> Pixels:
        """An image smaller than the crop in the middle of the mean, as timm has it."""
        missing = [want - have for have, want in zip(pixels.shape, self.crop)]
        (top, left), fill = (n // 2 for n in missing), [round(255 * mean) for mean in self.mean]
        canvas = np.empty((*self.crop, pixels.shape[2]), pixels.dtype)
        canvas[:] = fill if len(fill) == pixels.shape[2] else fill[0]
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return canvas


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
    if values.get("fit", "exact") not in _FITS:
        raise ModelError(f"fit must be one of {', '.join(_FITS)}; got {values['fit']!r}.")
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
    """Rows and columns of the middle of an image, in torchvision's rounding.

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
