"""Random augmentation of training images: presets, each part of which can be changed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from featx.data.images import Images, Pixels, round_pixels
from featx.data.percentiles import measure_range
from featx.errors import SpecError
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.finding import find_source
from featx.trust.callables import Trust

PRESETS: dict[str, dict[str, float]] = {
    "none": {},
    "light": {"flip": 0.5, "shift": 0.05, "brightness": 0.1},
    "standard": {
        "flip": 0.5,
        "rotation": 10,
        "zoom": 0.15,
        "shear": 5,
        "shift": 0.1,
        "brightness": 0.2,
        "jitter": 0.2,
    },
    "strong": {
        "flip": 0.5,
        "rotation": 20,
        "zoom": 0.3,
        "shear": 10,
        "shift": 0.15,
        "brightness": 0.4,
        "jitter": 0.4,
        "channel_shift": 0.1,
        "erasing": 0.5,
        "mixup": 0.2,
        "cutmix": 1.0,
    },
}


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images; zero disables a part.

    Parameters
    ----------
    flip : float, default=0
        Fraction of images mirrored left to right.
    rotation : float, default=0
        Maximum rotation in degrees, in either direction.
    zoom : float, default=0
        Maximum change of scale, as a fraction of the size.
    shear : float, default=0
        Maximum shear in degrees, in either direction along both axes.
    shift : float, default=0
        Maximum translation along either axis, as a fraction of the size. Images are then cropped
        at a random position instead of the center.
    brightness : float, default=0
        Maximum relative change of brightness.
    jitter : float, default=0
        Maximum relative change of contrast and saturation; the hue changes by up to a quarter of
        it.
    channel_shift : float, default=0
        Maximum that is added to each color channel, as a fraction of its range.
    erasing : float, default=0
        Fraction of images in which a rectangle is blanked out (CutOut [1]_).
    mixup, cutmix : float, default=0
        Parameter of the Beta distribution of the fraction of the other image; labels are mixed in
        the same proportion ([2]_, [3]_). If both are above zero, each batch uses one of them.

    References
    ----------
    .. [1] Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
    .. [2] Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    .. [3] Yun et al., "CutMix", ICCV 2019.

    Examples
    --------
    >>> Augmentation.parse("standard,erasing=0.25", flip=False).erasing
    0.25
    """

    flip: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    jitter: float = 0.0
    channel_shift: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @classmethod
    def parse(cls, text: str | Augmentation, *, flip: bool = True) -> Augmentation:
        """Augmentation of ``PRESET[,part=number...]``.

        Parameters
        ----------
        text : str
            ``none``, ``light``, ``standard`` or ``strong``, then changes to it.
        flip : bool, default=True
            False disables mirroring: for text, digits and other images in which left and right
            differ.

        Raises
        ------
        SpecError
            If a preset or part does not exist, or a number is invalid.
        """
        if isinstance(text, Augmentation):
            return text if flip else replace(text, flip=0.0)
        preset, *changes = text.split(",")
        if preset not in PRESETS:
            raise SpecError(f"Augmentation {preset!r} is not one of {', '.join(PRESETS)}.")
        parts = PRESETS[preset] | dict(_read_change(change) for change in changes)
        augmentation = cls(**(parts if flip else parts | {"flip": 0.0}))
        for name, value in asdict(augmentation).items():
            if not 0 <= value < math.inf:
                raise SpecError(f"Augmentation {text!r} is invalid: {name} must be 0 or more.")
        try:
            augmentation.pixels((8, 8))
            augmentation.batches(2)
        except (TypeError, ValueError) as error:  # torchvision's own checks.
            raise SpecError(f"Augmentation {text!r} is invalid: {error}") from error
        return augmentation

    @property
    def is_none(self) -> bool:
        """Whether nothing changes."""
        return not any(asdict(self).values())

    def pixels(self, crop: tuple[int, int], *, is_deep: bool = False) -> v2.Transform:
        """Transform of one image to a tensor of the crop's size.

        Parameters
        ----------
        crop : tuple of int
        is_deep : bool, default=False
            Whether images are float32 in 0 to 1, torchvision's range of floats, rather than uint8.
        """
        gray = 127 / 255 if is_deep else 127
        steps: list[v2.Transform] = []
        if self.rotation or self.zoom or self.shear or self.shift:
            steps.append(
                v2.RandomAffine(
                    self.rotation,
                    (self.shift, self.shift),
                    (1 - self.zoom, 1 + self.zoom),
                    (-self.shear, self.shear, -self.shear, self.shear) if self.shear else None,
                    v2.InterpolationMode.BILINEAR,
                    fill=gray,
                )
            )
        steps.append(v2.RandomCrop(crop) if self.shift else v2.CenterCrop(crop))
        if self.flip:
            steps.append(v2.RandomHorizontalFlip(self.flip))
        if self.brightness or self.jitter:
            hue = min(0.5, self.jitter / 4)
            steps.append(v2.ColorJitter(self.brightness, self.jitter, self.jitter, hue))
        if self.channel_shift:
            steps.append(_ChannelShift(self.channel_shift, 1 if is_deep else 255))
        if self.erasing:
            steps.append(v2.RandomErasing(self.erasing, value=gray))
        return v2.Compose(steps)

    def batches(self, n_classes: int) -> v2.Transform | None:
        """Transform that mixes the images and labels of a batch; None if none does."""
        mixes: list[v2.Transform] = []
        if self.mixup:
            mixes.append(v2.MixUp(alpha=self.mixup, num_classes=n_classes))
        if self.cutmix:
            mixes.append(v2.CutMix(alpha=self.cutmix, num_classes=n_classes))
        return v2.RandomChoice(mixes) if mixes else None


def prepare_whole(pixels: Pixels, preprocessing: Preprocessing) -> Tensor:
    """One image resized as the weights expect, before cropping.

    Returns
    -------
    Tensor of shape (3, h, w), uint8 or float32
    """
    height, width = preprocessing.resized_shape(pixels.shape[:2])
    whole = max(height, preprocessing.crop[0]), max(width, preprocessing.crop[1])
    prepared = replace(preprocessing, crop=whole).prepare(pixels)
    return torch.from_numpy(np.ascontiguousarray(prepared)).permute(2, 0, 1)  # (3, h, w)


def preview_augmentations(
    images: Sequence[str | os.PathLike[str]],
    presets: Sequence[str] = tuple(PRESETS),
    *,
    model: Any = "featxnet",
    size: int | None = None,
    flip: bool = True,
    n_views: int = 8,
    random_state: int = 0,
    trust: Trust = None,
    **reading: Any,
) -> Pixels:
    """Grid of images as a network sees them in training, with a row per augmentation.

    Parameters
    ----------
    images : sequence of path
    presets : sequence of str, default=all
        Presets and changes to them, as in `Augmentation.parse`.
    model : str, path or torch.nn.Module, default="featxnet"
        Network whose input size is used.
    size : int, optional
        Another side length in px.
    flip : bool, default=True
        Whether presets mirror images.
    n_views : int, default=8
        Random views per row, after the image itself.
    random_state : int, default=0
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.
    **reading
        ``value_range``, ``window``, ``pages`` and ``bands``, as in `featx.Images`.

    Returns
    -------
    ndarray of shape (n_presets * h, (1 + n_views) * w, 3), uint8

    Raises
    ------
    SpecError
        If an augmentation does not exist.
    """
    decoded = Images(images, **reading)
    if decoded.reading.percentiles is not None:
        decoded = decoded.read_as(measure_range(decoded))
    return _draw_grid(
        [round_pixels(decoded.pixels(i)) for i in range(len(decoded))],
        [Augmentation.parse(text, flip=flip) for text in presets],
        find_source(model, trust=trust).preprocessing().override(size=size),
        n_views=n_views,
        random_state=random_state,
    )


def _draw_grid(
    images: Sequence[Pixels],
    augmentations: Sequence[Augmentation],
    preprocessing: Preprocessing,
    *,
    n_views: int = 8,
    random_state: int = 0,
) -> Pixels:
    """Rows of views per augmentation: the unchanged image, then images in turn, (h, w, 3) uint8."""
    wholes = [prepare_whole(pixels, preprocessing) for pixels in images]
    plain = Augmentation().pixels(preprocessing.crop)(wholes[0])
    rows = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        for augmentation in augmentations:
            change = augmentation.pixels(preprocessing.crop)
            views = torch.stack([change(wholes[i % len(wholes)]) for i in range(n_views)])
            mix = augmentation.batches(2)
            if mix is not None:
                views = mix(views.float(), torch.zeros(n_views, dtype=torch.int64))[0]
            views = torch.cat([plain[None], views.round().to(torch.uint8)])
            rows.append(torch.cat(list(views), dim=2))
    grid = torch.cat(rows, dim=1)  # (3, n_augmentations * h, (1 + n_views) * w)
    return grid.permute(1, 2, 0).contiguous().numpy()


class _ChannelShift(v2.Transform):
    """Adds a random number to each color channel."""

    def __init__(self, maximum: float, white: float) -> None:
        super().__init__()
        self.maximum = maximum
        self.white = white

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """A number per channel, on the scale of black to white."""
        return {"shift": (torch.rand(3, 1, 1) * 2 - 1) * self.maximum * self.white}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Shift one image."""
        shifted = (inpt + params["shift"]).clamp(0, self.white)
        return shifted if inpt.dtype.is_floating_point else shifted.round().to(inpt.dtype)


def _read_change(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    parts = [field.name for field in fields(Augmentation)]
    try:
        if name.strip() in parts:
            return name.strip(), float(number)
    except ValueError:
        pass
    raise SpecError(
        f"Augmentation {text!r} is invalid; expected PART=NUMBER with one of {', '.join(parts)}."
    )
