"""Networks on an accelerator: the same numbers as on the processor, and images per second.

    python scripts/bench/bench_gpu.py [--device cuda] [--images 3000] [--pairs 3] [--short]

Draws its own JPEGs of 500 x 375 pixels and gives the networks random weights, so that it needs no
download. Of each network some layers are compared with the processor, image by image. Then featx
and the plain recipe take turns on the same files: the recipe is torchvision's transform in the
workers of a DataLoader (the faster of two numbers of them), pinned memory, and the network with a
forward hook, averaged over its maps. Beside them stands the decode limit, which is what all cores
decode and prepare without any network. Prints medians of the pairs in Markdown. Takes less than
eight minutes on one GPU; `--short` is a test of the script and takes a minute on a processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision.transforms import v2

from featx.data.images import Images
from featx.extractors.cnn import CNNFeatures

LAYERS = {
    "alexnet": ("pool1", "conv5", "fc7"),
    "squeezenet1_0": ("pool1", "fire6", "penultimate"),
    "resnet50": ("conv1", "stage2", "penultimate"),
}
"""Layers compared with the processor; the last is the one that is timed."""

HOOKED = {"alexnet": "classifier.4", "squeezenet1_0": "features", "resnet50": "avgpool"}
"""Modules whose outputs are those of the layers that are timed."""

SIZE_PX = (500, 375)
BATCH = 128
N_COMPARED = 24


def main() -> None:
    arguments = parse_arguments()
    device = torch.device(arguments.device)
    print(f"{describe(device)}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder), arguments.images)
        print_differences(paths[:N_COMPARED], arguments)
        print_speeds(paths, arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--models", default=",".join(LAYERS))
    parser.add_argument("--workers", default="8,16", help="numbers of workers to try, with commas")
    parser.add_argument("--short", action="store_true", help="few images, one network, one pair")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.images, arguments.pairs, arguments.models = 96, 1, "alexnet"
        arguments.workers = "2"
    return arguments


def describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def draw(folder: Path, n_images: int) -> list[str]:
    """JPEGs of smooth noise with some edges, as large in bytes as photographs are."""

    def draw_one(index: int) -> str:
        rng = np.random.default_rng(index)
        coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
        pixels = np.asarray(coarse.resize(SIZE_PX, Image.Resampling.BICUBIC), np.int16)
        grain = rng.integers(-24, 24, (SIZE_PX[1] // 2, SIZE_PX[0] // 2, 1), np.int16)
        grain = grain.repeat(2, axis=0).repeat(2, axis=1)
        height, width = grain.shape[:2]
        pixels = np.clip(pixels[:height, :width] + grain, 0, 255).astype(np.uint8)
        path = folder / f"{index:05d}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        return str(path)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(draw_one, range(n_images)))


def print_differences(paths: list[str], arguments: argparse.Namespace) -> None:
    print("Largest difference from the processor, relative to the largest value of the layer\n")
    print("| network | layer | fp32 | bf16 |")
    print("|---|---|---|---|")
    for model in arguments.models.split(","):
        for layer in LAYERS[model]:
            expected = extractor(model, layer, "cpu").fit_transform(paths)
            cells = []
            for precision in ("fp32", "bf16"):
                if precision == "bf16" and arguments.device == "cpu":
                    cells.append("-")
                    continue
                rows = extractor(model, layer, arguments.device, precision).fit_transform(paths)
                share = np.abs(rows - expected).max() / np.abs(expected).max()
                cells.append(f"{share:.1e}")
            print(f"| {model} | {layer} | {' | '.join(cells)} |", flush=True)
    print()


def print_speeds(paths: list[str], arguments: argparse.Namespace) -> None:
    print(f"Images per second, {len(paths):,} JPEGs of {SIZE_PX[0]} x {SIZE_PX[1]} pixels\n")
    print("| network | featx fp32 | featx bf16 | plain recipe | ratio (fp32) | decode limit |")
    print("|---|---|---|---|---|---|")
    for model in arguments.models.split(","):
        ours = extractor(model, LAYERS[model][-1], arguments.device)
        half = extractor(model, LAYERS[model][-1], arguments.device, "bf16")
        recipe = best_recipe(model, paths, arguments)
        for part in (ours, half):
            if arguments.device != "cpu" or part is ours:
                part.fit_transform(paths[: 2 * BATCH])  # Once, for what is compiled and loaded.
        pairs = [
            (speed(ours.fit_transform, paths), speed(recipe, paths)) for _ in range(arguments.pairs)
        ]
        halves = [
            speed(half.fit_transform, paths)
            for _ in range(arguments.pairs)
            if arguments.device != "cpu"
        ]
        featx, plain = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        bf16 = f"{statistics.median(halves):,.0f}" if halves else "-"
        limit = speed(partial(prepare_all, ours), paths)
        print(
            f"| {model} | {featx:,.0f} | {bf16} | {plain:,.0f} | {ratio:.2f}x | {limit:,.0f} |",
            flush=True,
        )


def extractor(model: str, layer: str, device: str, precision: str = "fp32") -> CNNFeatures:
    return CNNFeatures(
        model,
        layer=layer,
        weights="random",
        pooling="gap" if layer != "fc7" else "auto",
        precision=precision,
        device=device,
        backend="torch",
        size=256,
        crop=224,
    )


def speed(run: Callable[[list[str]], Any], paths: list[str]) -> float:
    started = time.perf_counter()
    run(paths)
    return len(paths) / (time.perf_counter() - started)


def prepare_all(extractor: CNNFeatures, paths: list[str]) -> None:
    """Decode, resize and crop on all cores, as before a network."""
    images = Images(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda i: extractor._prepare(images.pixels(i)), range(len(images))):
            pass


class Files(Dataset[torch.Tensor]):
    """Files as most people load them."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.Resize(256, antialias=True),
                v2.CenterCrop(224),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        tensor: torch.Tensor = self.transform(Image.open(self.paths[index]).convert("RGB"))
        return tensor


def best_recipe(
    model: str, paths: list[str], arguments: argparse.Namespace
) -> Callable[[list[str]], Any]:
    """The plain recipe with the number of workers that is faster."""
    device = torch.device(arguments.device)
    network = getattr(models, model)(weights=None).eval().to(device)
    recipes = [
        plain_recipe(network, HOOKED[model], device, int(n)) for n in arguments.workers.split(",")
    ]
    some = paths[: max(2 * BATCH, len(paths) // 3)]
    return max(recipes, key=lambda recipe: speed(recipe, some))


def plain_recipe(
    network: nn.Module, module: str, device: torch.device, n_workers: int
) -> Callable[[list[str]], np.ndarray]:
    def run(paths: list[str]) -> np.ndarray:
        loader = DataLoader(
            Files(paths), batch_size=BATCH, num_workers=n_workers, pin_memory=device.type == "cuda"
        )
        return np.concatenate(list(_hooked(network, module, loader, device)))

    return run


@torch.no_grad()
def _hooked(
    network: nn.Module, module: str, loader: Any, device: torch.device
) -> Iterator[np.ndarray]:
    seen: list[torch.Tensor] = []
    hook = network.get_submodule(module).register_forward_hook(lambda *it: seen.append(it[2]))
    try:
        for batch in loader:
            network(batch.to(device, non_blocking=True))
            values = seen.pop()
            yield (values.mean((2, 3)) if values.ndim == 4 else values).cpu().numpy()
    finally:
        hook.remove()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
    sys.stdout.flush()
