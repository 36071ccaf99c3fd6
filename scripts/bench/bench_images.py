"""Images for benchmarks: as many as wanted, all different, of about the size wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from featx.data.images import decode
from featx.errors import ImageError

SHARES = (0.8, 0.97)
"""Smallest and largest share of each side that a cut-out keeps."""


def many(folder: Path, n_images: int, target: Path, side: int = 500) -> list[str]:
    """Paths of `n_images` images: a folder's own, then cut-outs of them written to `target`.

    Cut-outs are mirrored now and then and brought to a long side of `side` pixels.
    """
    own = []
    for path in sorted(path for path in folder.rglob("*.*") if path.is_file()):
        try:
            decode(path)
        except ImageError:
            continue
        own.append(path)
        if len(own) == n_images:
            return [str(path) for path in own]
    generator = np.random.default_rng(0)
    written = [
        _cut(own[i % len(own)], target / f"{i:06d}.jpg", side, generator)
        for i in range(n_images - len(own))
    ]
    return [str(path) for path in [*own, *written]]


def fill(target: Path, folder: Path, n_images: int, side: int = 500) -> None:
    """Make `target` a folder of `n_images` images: links to a folder's own, and cut-outs."""
    target.mkdir()
    for index, path in enumerate(many(folder, n_images, target, side)):
        if not Path(path).is_relative_to(target):
            (target / f"own{index:06d}{Path(path).suffix}").symlink_to(Path(path).resolve())


def _cut(path: Path, target: Path, side: int, generator: np.random.Generator) -> Path:
    pixels = decode(path)
    height, width = (int(n * generator.uniform(*SHARES)) for n in pixels.shape[:2])
    top = generator.integers(pixels.shape[0] - height + 1)
    left = generator.integers(pixels.shape[1] - width + 1)
    part = pixels[top : top + height, left : left + width]
    image = Image.fromarray(part[:, ::-1] if generator.random() < 0.5 else part)
    scale = side / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    image.save(target, quality=90)
    return target
