"""featx against the plain recipe, from images on disk to features on disk, in turn.

    python scripts/bench/bench_extract.py FOLDER [--images 1000] [--pairs 5]
        [--work squeezenet1_0:pool1,resnet50:-1] [--precisions fp32,bf16] [--layers]

The plain recipe is what everyone copies: a DataLoader with 2 workers, Pillow, the transforms
that belong to the weights, `create_feature_extractor`, batches of 32, rows into a file. It is
timed in steady state (from its third batch on) and at batches of other lengths once each;
featx is timed whole, from the scan to rows in its store on disk, with the network loaded and
converted, which the first run does. Weights are random: they take as long.
`--layers` times one pass for six layers against the deepest alone instead.

Where FOLDER has fewer images, different cut-outs of them are made, of 500 px.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_images import many
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import v2

from featx import extract
from featx.data.images import Images
from featx.extractors.cnn import CNNFeatures
from featx.networks.openvino_backend import deviations
from featx.store.shards import write_shard

WORK = "squeezenet1_0:pool1,squeezenet1_0:-1,alexnet:pool1,alexnet:-1,resnet50:pool1,resnet50:-1"
SIX = {
    "squeezenet1_0": ["pool1", "pool2", "fire6", "fire8", "pool3", "-1"],
    "alexnet": ["pool1", "pool2", "conv4", "pool5", "fc6", "fc7"],
    "resnet50": ["pool1", "stage1", "stage2", "stage3", "stage4", "-1"],
}
N_WARM = 2
BATCHES = (4, 8, 16, 64)
RECIPE_BATCH = 32


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        paths = many(arguments.folder, arguments.images, Path(folder))
        print(f"{len(paths)} images, {os.cpu_count()} cores, torch {torch.__version__}")
        for work in arguments.work.split(","):
            model, layer = work.split(":")
            if arguments.layers:
                compare_layers(model, paths, arguments.pairs)
            else:
                compare_recipe(model, layer, paths, arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--work", default=WORK, help="MODEL:LAYER,…")
    parser.add_argument("--precisions", default="fp32", help="fp32,bf16")
    parser.add_argument("--backend", default="openvino", help="what a long run would take")
    parser.add_argument("--other-batches", action="store_true", help="find the recipe's best")
    parser.add_argument("--layers", action="store_true", help="six layers against one")
    return parser.parse_args()


class RecipeImages(Dataset):  # type: ignore[type-arg]
    """What the recipe's workers do: open, convert, transform."""

    def __init__(self, paths: list[str], transform: Callable[[Any], Any]) -> None:
        self.paths = paths
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


class Recipe:
    """The plain recipe for one layer."""

    def __init__(self, extractor: CNNFeatures) -> None:
        config = extractor._config()
        torch.manual_seed(0)
        # The same weights: random ones of featx, in torchvision's own network.
        model = get_model(str(extractor.model), weights=None)
        model.load_state_dict(config.network().module.state_dict())
        (tap,) = extractor._taps(extractor.layers).values()
        self.network = create_feature_extractor(model.eval(), {tap.layer.node: "x"})
        self.width = tap.width
        pre = config.preprocessing
        self.transform = v2.Compose(
            [
                v2.Resize(pre.resize),
                v2.CenterCrop(pre.crop),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(pre.mean, pre.std),
            ]
        )

    def rate(self, paths: list[str], batch: int = RECIPE_BATCH) -> float:
        """RecipeImages a second in steady state, with rows written to a file."""
        # Not forked: what computes has threads of its own by now, and a fork may die of them.
        loader = DataLoader(
            RecipeImages(paths, self.transform),
            batch,
            num_workers=2,
            multiprocessing_context="forkserver",
        )
        start, n_done, n_timed = 0.0, 0, 0
        with tempfile.NamedTemporaryFile(suffix=".npy") as file, torch.inference_mode():
            rows = np.lib.format.open_memmap(
                file.name, "w+", np.float32, shape=(len(paths), self.width)
            )
            for i, images in enumerate(loader):
                if i == N_WARM:
                    start = time.perf_counter()
                values = self.network(images)["x"].flatten(1)
                rows[n_done : n_done + len(values)] = values.numpy()
                n_done += len(values)
                n_timed += len(values) if i >= N_WARM else 0
            rows.flush()
            return n_timed / (time.perf_counter() - start)

    def rows(self, paths: list[str]) -> np.ndarray:
        """Rows of a few images."""
        images = torch.stack([RecipeImages(paths, self.transform)[i] for i in range(len(paths))])
        with torch.inference_mode():
            return self.network(images)["x"].flatten(1).numpy()


def ours(extractor: CNNFeatures, paths: list[str]) -> float:
    """RecipeImages a second of featx, from the scan to rows on disk."""
    with tempfile.TemporaryDirectory() as store:
        start = time.perf_counter()
        extract(paths, extractor, store=store, collect=False)
        return len(paths) / (time.perf_counter() - start)


def network_of(model: str, layer: Any, **how: Any) -> CNNFeatures:
    return CNNFeatures(model, layer, weights="random", device="cpu", **how)


def compare_recipe(model: str, layer: str, paths: list[str], arguments: argparse.Namespace) -> None:
    precisions = arguments.precisions.split(",")
    extractors = {
        precision: network_of(model, layer, precision=precision, backend=arguments.backend)
        for precision in precisions
    }
    recipe = Recipe(network_of(model, layer))
    print(f"\n{model} {layer}: {recipe.width} features")
    few = paths[:32]
    wanted = recipe.rows(few)
    for precision, extractor in extractors.items():
        start = time.perf_counter()
        ours(extractor, paths)  # Loads and converts.
        first = time.perf_counter() - start
        with extractor.worker_threads([layer], len(paths), 1) as threads:
            (rows,) = threads.extract(prepared(extractor, few), [layer]).values()
        print(
            f"  {precision} by {threads.backend()}: "
            f"deviation {deviations(rows, wanted).max():.1e}, first run {first:.1f} s"
        )
    rounds = [
        (recipe.rate(paths), *(ours(extractor, paths) for extractor in extractors.values()))
        for _ in range(arguments.pairs)
    ]
    recipe_rate = statistics.median(rates[0] for rates in rounds)
    print(f"  {'recipe':18}{recipe_rate:8.1f} images/s")
    best = recipe_rate
    if arguments.other_batches:
        rates = {batch: recipe.rate(paths, batch) for batch in BATCHES}
        best = max(best, *rates.values())
        print("  recipe by batch: " + "  ".join(f"{n}: {rate:.0f}" for n, rate in rates.items()))
    for place, (precision, extractor) in enumerate(extractors.items(), 1):
        rate = statistics.median(rates[place] for rates in rounds)
        ratio = statistics.median(rates[place] / rates[0] for rates in rounds)
        at_best = f", {rate / best:.2f}x its best batch" if arguments.other_batches else ""
        print(f"  {'featx ' + precision:18}{rate:8.1f} images/s  {ratio:.2f}x the recipe{at_best}")
        print("    one core, ms per image: " + spent(extractor, layer, paths[:64]))


def prepared(extractor: CNNFeatures, paths: list[str]) -> list[np.ndarray]:
    images = Images(paths)
    return [extractor._prepare(images.pixels(i)) for i in range(len(paths))]


def spent(extractor: CNNFeatures, layer: str, paths: list[str]) -> str:
    """Where the time of one image goes, each step alone on one core."""
    images = Images(paths)
    times: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        times[name] = 1e3 * (time.perf_counter() - start) / len(paths)
        return result

    pixels = timed("decode", lambda: [images.pixels(i) for i in range(len(paths))])
    batch = timed("resize", lambda: [extractor._prepare(it) for it in pixels])
    with extractor.worker_threads([layer], 10**9, 1) as threads:
        threads.begin()
        threads.extract(batch[:8], [layer])
        (rows,) = timed("network", lambda: threads.extract(batch, [layer])).values()
    with tempfile.TemporaryDirectory() as folder:
        names = [str(i) for i in range(len(rows))]
        timed("write", lambda: write_shard(Path(folder), "0" * 32, names, rows))
    return ", ".join(f"{name} {value:.2f}" for name, value in times.items())


def compare_layers(model: str, paths: list[str], n_pairs: int) -> None:
    six = network_of(model, SIX[model], pooling="gap")
    one = network_of(model, SIX[model][-1], pooling="gap")
    ours(six, paths), ours(one, paths)
    rounds = [(ours(one, paths), ours(six, paths)) for _ in range(n_pairs)]
    ratio = statistics.median(alone / together for alone, together in rounds)
    rates = [statistics.median(rates) for rates in zip(*rounds, strict=True)]
    print(f"{model}: {SIX[model][-1]} {rates[0]:.1f}, six layers {rates[1]:.1f} images/s, ", end="")
    print(f"{ratio:.2f}x its time")


if __name__ == "__main__":
    main()
