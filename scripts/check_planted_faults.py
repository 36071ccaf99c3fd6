"""What ``featx check`` finds of faults planted in a copy of a collection, in a table.

    python scripts/check_planted_faults.py ../shared/data/flowers17 --model squeezenet1_0 \
        --weights ../shared/weights/squeezenet1_0-imagenet.pth

Every image goes to ``train/`` or ``test/`` at random. Planted are 30 exact copies (in the other
split, half of them in another class), 30 near copies (encoded anew, cropped by 5 % or mirrored),
and another label for 5 % of the images. A false copy is an image that is listed as a copy and
neither is one nor has one, unless the collection as it was has it twice: what is listed there is
counted first, and shown by ``featx check DATA --report DIR``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from featx.evaluation.data_checks import check
from featx.streaming.progress import ProgressCallback

N_COPIES = 30
SWAPPED = 0.05
N_DOUBTED = 60


@dataclass
class Planted:
    """A collection with faults, and where they are."""

    folder: Path
    copies: dict[str, str] = field(default_factory=dict)
    """Name of each copy and of the image it was made of."""
    near: set[str] = field(default_factory=set)
    swapped: set[str] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of images by class")
    parser.add_argument("--model", default="featxnet")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where to leave the collection")
    arguments = parser.parse_args(sys.argv[1:])
    with TemporaryDirectory() as folder:
        planted = plant(arguments.data, arguments.keep or Path(folder), arguments.seed)
        network = {"model": arguments.model, "weights": arguments.weights}
        before = check(arguments.data, only="duplicates", store=None, **network)
        report(planted, network, {Path(it[k]).name for it in before.rows if it.get("other")
                                  for k in ("path", "other")})  # fmt: skip


def plant(source: Path, folder: Path, seed: int) -> Planted:
    """Copy a collection with faults."""
    rng = np.random.default_rng(seed)
    files = sorted(it for it in source.glob("*/*") if it.suffix.lower() in (".jpg", ".png"))
    classes = sorted({it.parent.name for it in files})
    planted = Planted(folder)
    order = rng.permutation(len(files))
    swapped = set(order[: round(SWAPPED * len(files))].tolist())
    placed: list[Path] = []
    for i, file in enumerate(files):
        label = _another(classes, file.parent.name, rng) if i in swapped else file.parent.name
        target = folder / ("train", "test")[int(rng.integers(2))] / label / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
        placed.append(target)
        if i in swapped:
            planted.swapped.add(_name(target, folder))
    for number, i in enumerate(order[-2 * N_COPIES :].tolist()):
        original = placed[i]
        split = "test" if original.parts[-3] == "train" else "train"
        is_exact = number < N_COPIES
        label = original.parent.name
        if is_exact and number % 2:
            label = _another(classes, label, rng)
        copy = folder / split / label / f"copy{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        if is_exact:
            copy.write_bytes(original.read_bytes())
        else:
            _alter(Image.open(original).convert("RGB"), number % 3).save(copy, quality=70)
            planted.near.add(_name(copy, folder))
        planted.copies[_name(copy, folder)] = _name(original, folder)
    return planted


def report(planted: Planted, network: dict[str, Any], known: set[str]) -> None:
    """Run the checks and print what they found of what was planted."""
    progress = ProgressCallback()
    result = check(planted.folder, store=None, progress=progress, **network)
    names = {row["path"]: _name(Path(row["path"]), planted.folder) for row in result.rows
             if row.get("path")}  # fmt: skip
    pairs = [
        {names[row["path"]], _name(Path(row["other"]), planted.folder)}
        for row in result.rows
        if row.get("other")
    ]
    listed = {name for pair in pairs for name in pair}
    planted_names = {*planted.copies, *planted.copies.values()}
    doubted = [names[row["path"]] for row in result.rows if row["problem"] == "doubtful label"]
    relabeled = planted.swapped | {
        name
        for copy, original in planted.copies.items()
        if copy.split("/")[-2] != original.split("/")[-2]
        for name in (copy, original)
    }
    print(f"{network['model']} on {planted.folder.name}: {len(planted.copies)} copies planted, "
          f"{len(planted.swapped)} labels swapped")  # fmt: skip
    for kind, wanted in (
        ("exact copies", set(planted.copies) - planted.near),
        ("near copies", planted.near),
    ):
        found = sum(any({copy, planted.copies[copy]} <= pair for pair in pairs) for copy in wanted)
        print(f"  {kind} found           {found} of {len(wanted)}")
    false = {name for name in listed - planted_names if Path(name).name not in known}
    n_images = sum(1 for _ in planted.folder.glob("*/*/*"))
    print(f"  listed as copies, false     {len(false)} of {n_images} images")
    print(f"  copies that were there before   {len(known)} images")
    first = doubted[:N_DOUBTED]
    right = sum(name in relabeled for name in first) / max(1, len(first))
    n_swapped = sum(name in planted.swapped for name in doubted)
    print(f"  precision of the {len(first)} most doubtful labels   {right:.2f}")
    print(f"  swapped among the {len(doubted)} doubted   {n_swapped} of {len(planted.swapped)}")
    for sentence in result.sentences:
        print(f"  {sentence}")


def _alter(image: Image.Image, how: int) -> Image.Image:
    """An image to encode anew: as it is, cropped by 5 %, or mirrored."""
    if how == 1:
        width, height = image.size
        return image.crop((round(0.05 * width), 0, width, round(0.95 * height)))
    return ImageOps.mirror(image) if how == 2 else image


def _another(classes: list[str], label: str, rng: np.random.Generator) -> str:
    others = [name for name in classes if name != label]
    return others[int(rng.integers(len(others)))]


def _name(path: Path, folder: Path) -> str:
    return "/".join(path.parts[-3:])


if __name__ == "__main__":
    main()
