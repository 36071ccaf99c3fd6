"""What the bundled network learns from: unlabeled images, and what a teacher says of them."""

from __future__ import annotations

import gzip
import io
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.data import DataLoader, Dataset, Subset

from featx._files import reserve
from featx._fingerprints import digest_bytes
from featx.networks.featxnet import N_CHANNELS, PREPROCESSING

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
STORED_PX = 120  # a little more than the student sees, so that it also learns small shifts
TEACHER_PX = 224
BATCH = 16  # images that the teacher looks at together
GRID = 4  # cells per side at which the maps of teacher and student are compared

_last_said = 0.0


def say(words: str, *, every_s: float = 0.0) -> None:
    """Tell the progress on stderr, at most once in so many seconds."""
    global _last_said
    if time.monotonic() - _last_said >= every_s:
        _last_said = time.monotonic()
        print(time.strftime("%H:%M:%S"), words, file=sys.stderr, flush=True)


@dataclass
class Collection:
    """Images of one folder, one zip file or one MNIST file (``-ubyte.gz``)."""

    path: Path
    weight: float

    @cached_property
    def names(self) -> list[str]:
        """Names of all images, sorted."""
        if self.path.is_dir():
            found = (p for p in self.path.rglob("*") if not p.name.startswith("."))
            return sorted(p.relative_to(self.path).as_posix() for p in found if _is_image(p.name))
        if self.path.suffix == ".zip":
            return sorted(filter(_is_image, self._archive.namelist()))
        return [f"{i:05d}" for i in range(len(self._digits))]

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        # In memory: decoding processes forked later must not share a file's position.
        return zipfile.ZipFile(io.BytesIO(self.path.read_bytes()))

    @cached_property
    def _digits(self) -> np.ndarray:
        content = gzip.decompress(self.path.read_bytes())
        return np.frombuffer(content[16:], np.uint8).reshape(-1, 28, 28)

    def read(self, name: str) -> bytes:
        """Return the bytes of one image."""
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        if self.path.suffix == ".zip":
            return self._archive.read(name)
        return self._digits[int(name)].tobytes()

    def open(self, name: str) -> Image.Image:
        """Return one image, decoded to RGB."""
        if self.path.suffix == ".gz":
            return Image.fromarray(self._digits[int(name)]).convert("RGB")
        return Image.open(io.BytesIO(self.read(name))).convert("RGB")

    def chosen(self, seed: int) -> list[str]:
        """Return the names used: each `weight` times, or a seeded share when it is below 1."""
        if self.weight >= 1:
            return self.names * round(self.weight)
        n_chosen = max(1, round(self.weight * len(self.names)))
        rng = np.random.default_rng(seed)
        return [self.names[i] for i in sorted(rng.choice(len(self.names), n_chosen, replace=False))]

    def digests(self, seed: int) -> list[str]:
        """Return the sorted digests of the images used, as featx's store computes them."""
        return sorted({digest_bytes(self.read(name)) for name in set(self.chosen(seed))})


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and "__MACOSX" not in name


class Crops(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Seeded random crops of the chosen images, each at two sizes: student's and teacher's."""

    def __init__(self, collections: Sequence[Collection], number: int, seed: int) -> None:
        self.entries = [(c, name) for c in collections for name in c.chosen(seed)]
        self.number, self.seed = number, seed

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        collection, name = self.entries[index]
        image = collection.open(name)
        box = _random_box(image.size, np.random.default_rng([self.seed, self.number, index]))
        return _cut(image, box, STORED_PX), _cut(image, box, TEACHER_PX)


def _cut(image: Image.Image, box: tuple[float, ...], side_px: int) -> np.ndarray:
    resized = image.resize((side_px, side_px), Image.Resampling.BILINEAR, box=box)
    return np.array(resized)  # a copy: PyTorch wants to own what it is given


def _random_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[float, ...]:
    """Return a box of 30 to 100 % of the area, sides 3:4 to 4:3; 60 % at least if tiny."""
    width, height = size
    least = 0.6 if min(size) < 64 else 0.3
    for _ in range(10):
        area = width * height * rng.uniform(least, 1.0)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = np.sqrt(area * ratio), np.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return left, top, left + w, top + h
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


class Teacher:
    """A torchvision classifier whose last maps and logits are to be learned."""

    def __init__(self, name: str, weights: Path, *, bf16: bool = False) -> None:
        self.bf16 = bf16
        self.network: nn.Module = getattr(torchvision.models, name)()
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.network.eval().to(memory_format=torch.channels_last)
        self.maps = torch.empty(0)
        _last_maps(self.network).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        self.maps = output

    @torch.inference_mode()
    def look(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        """Return pooled maps (n, c), maps on a grid (n, c, g, g) and logits (n, k), float16."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.network(normalize(images.permute(0, 3, 1, 2)))
        maps = share_channels(self.maps.float(), N_CHANNELS)
        grid = adaptive_avg_pool2d(maps, GRID)
        found = {"pooled": maps.mean((2, 3)), "grid": grid, "logits": logits.float()}
        return {name: value.half().numpy() for name, value in found.items()}


def _last_maps(network: nn.Module) -> nn.Module:
    """Return the module whose maps the classifier of a torchvision network reads."""
    found: nn.Module = network.features if hasattr(network, "features") else network.layer4
    return found


def share_channels(maps: torch.Tensor, n_wanted: int) -> torch.Tensor:
    """Return maps (n, n_wanted, h, w): channels repeated where too few, averaged where too many."""
    n_found = maps.shape[1]
    n_rounds = -(-n_found // n_wanted)
    if n_found == n_wanted:
        return maps
    channels = torch.arange(n_rounds * n_wanted) % n_found
    return maps[:, channels].unflatten(1, (n_rounds, n_wanted)).mean(1)


def normalize(images: torch.Tensor) -> torch.Tensor:
    """Return images (n, 3, h, w) of 0 to 255 as networks want them, channels last."""
    mean, std = (torch.tensor(PREPROCESSING[k]).view(3, 1, 1) * 255 for k in ("mean", "std"))
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass
class CropSets:
    """Crops and what the teacher said of them, made at first use and kept on disk."""

    collections: Sequence[Collection]
    folder: Path
    teacher_name: str
    teacher_weights: Path
    seed: int
    n_workers: int
    bf16: bool = False

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded when a crop set is missing."""
        return Teacher(self.teacher_name, self.teacher_weights, bf16=self.bf16)

    def load(self, number: int) -> dict[str, np.ndarray]:
        """Return memory-mapped arrays: images, pooled, grid, logits."""
        target = self.folder / f"{number:02d}"
        if not target.exists():
            self._make(number, target)
        return {file.stem: np.load(file, mmap_mode="r") for file in sorted(target.glob("*.npy"))}

    def _make(self, number: int, target: Path) -> None:
        partial = target.with_name(f"{target.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        crops = Crops(self.collections, number, self.seed)
        n_done = _n_complete(partial)
        rest = Subset(crops, range(n_done, len(crops)))
        for small, large in DataLoader(rest, BATCH, num_workers=self.n_workers):
            rows = {"images": small.numpy(), **self.teacher.look(large)}
            for name, value in rows.items():
                array = _open(partial / f"{name}.npy", len(crops), value)
                array[n_done : n_done + len(value)] = value
            n_done += len(small)
            say(f"crop set {number}: {n_done} of {len(crops)} images", every_s=20)
        partial.rename(target)


def _n_complete(partial: Path) -> int:
    """Return how many rows an interrupted run wrote: the teacher's logits are never all zero."""
    file = partial / "logits.npy"
    if not file.exists():
        return 0
    n_written = int(np.load(file, mmap_mode="r").any(axis=1).sum())
    return max(0, n_written - 1) // BATCH * BATCH


def _open(file: Path, n_rows: int, like: np.ndarray) -> np.ndarray:
    """Return a memory-mapped array with rows like those given, new where there is none."""
    if file.exists():
        return np.load(file, mmap_mode="r+")
    array = np.lib.format.open_memmap(file, "w+", like.dtype, (n_rows, *like.shape[1:]))
    with file.open("r+b") as opened:
        reserve(opened, file.stat().st_size)
    return array
