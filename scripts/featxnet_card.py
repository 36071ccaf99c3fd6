"""Write the bundled network's weights and model card, and print the card in Markdown.

    python scripts/featxnet_card.py > docs/featxnet.md

The card is a JSON file (``featx/networks/data/featxnet.json``): `write_model` writes it at the end
of the training, and ``scripts/evaluate_featxnet.py --card`` adds the table of accuracies.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from distillation import STORED_PX, Collection, normalize, say
from safetensors.torch import save_file
from torch import nn

from featx._fingerprints import digest_bytes
from featx.networks.featxnet import (
    PREPROCESSING,
    _fold_batch_norm,
    featxnet,
    load_card,
)

if TYPE_CHECKING:
    from train_featxnet import Training

STATISTICS_OF = ("pool1", "pool2", "pool5", "fc6", "fc7")
N_FOR_STATISTICS = 2048
OPTIONS = (
    *("epochs", "small_epochs", "crop_sets", "batch_size", "lr", "weight_decay"),
    *("warm_up", "descent", "power", "averaging", "bf16", "seed"),
)


def write_model(training: Training, target: Path, losses: dict[str, float]) -> None:
    """Write weights (half precision), model card and digests of the images, side by side."""
    network = _fold_batch_norm(training.average)
    target.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(state, target)
    network.load_state_dict({name: value.float() for name, value in state.items()})
    _write_image_digests(training, target.with_suffix(".images.npy"))
    card = _card(training, network, losses) | {"weights_digest": digest_bytes(target.read_bytes())}
    write_card(card, target.with_suffix(".json"))
    say(f"wrote {target} ({target.stat().st_size / 1e6:.2f} MB)")


def write_card(card: dict[str, Any], file: Path) -> None:
    """Write a model card as JSON, lists of numbers on one line."""
    statistics = {k: json.dumps(v) for k, v in card.get("feature_statistics", {}).items()}
    text = json.dumps(card | {"feature_statistics": statistics}, indent=1)
    for line in statistics.values():
        text = text.replace(json.dumps(line), line)
    file.write_text(text + "\n", encoding="utf-8")


def _card(training: Training, network: nn.Module, losses: dict[str, float]) -> dict[str, Any]:
    args = training.args
    return {
        "name": "featxnet",
        "licence": "BSD-3-Clause",
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "preprocessing": PREPROCESSING,
        "trained_on": [_collection_card(c, args.seed) for c in args.data],
        "teacher": _teacher_card(args.teacher_name, args.teacher),
        "losses": losses,
        "options": {name: getattr(args, name) for name in OPTIONS},
        "remark": args.remark,
        "n_steps": training.step,
        "minutes": round(training.seconds / 60, 1),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "n_threads": args.threads,
        "feature_statistics": _statistics(network, training.crop_sets.load(0)["images"]),
    }


def _teacher_card(name: str, weights: Path) -> dict[str, str]:
    return {"name": name, "weights_digest": digest_bytes(weights.read_bytes())}


def _collection_card(collection: Collection, seed: int) -> dict[str, Any]:
    digests = collection.digests(seed)
    return {
        "name": collection.path.name,
        "n_images": len(digests),
        "weight": collection.weight,
        "digest": digest_bytes("\n".join(digests).encode()),
    }


def _write_image_digests(training: Training, file: Path) -> None:
    """Write the first eight bytes of each image's digest as sorted 64-bit numbers."""
    args = training.args
    digests = {d[:16] for c in args.data for d in c.digests(args.seed)}
    np.save(file, np.array(sorted(int(d, 16) for d in digests), np.uint64))


def _statistics(network: nn.Module, images: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Return mean and standard deviation of each channel's average, over training images."""
    indices = np.linspace(0, len(images) - 1, min(N_FOR_STATISTICS, len(images))).astype(int)
    margin = (STORED_PX - PREPROCESSING["crop"]) // 2
    batches: dict[str, list[torch.Tensor]] = {name: [] for name in STATISTICS_OF}
    for part in np.array_split(indices, max(1, len(indices) // 64)):
        pixels = torch.from_numpy(images[part]).permute(0, 3, 1, 2)
        crops = pixels[..., margin:-margin, margin:-margin]
        for name, rows in _pooled_layers(network, normalize(crops)):
            batches[name].append(rows)
    features = {name: torch.cat(rows) for name, rows in batches.items()}
    return {
        name: {"mean": _rounded(x.mean(0)), "std": _rounded(x.std(0))}
        for name, x in features.items()
    }


@torch.inference_mode()
def _pooled_layers(network: nn.Module, value: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """Return rows ``(n, n_channels)`` of each layer in `STATISTICS_OF`, maps averaged."""
    layers = []
    for name, module in network.named_children():
        value = module(value)
        if name in STATISTICS_OF:
            layers.append((name, value.flatten(2).mean(2) if value.ndim > 2 else value))
    return layers


def _rounded(values: torch.Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]


# ---------------------------------------------------------------------------- prose


PROSE = """\
# Model card: featxnet

featxnet is bundled with featx, for features without a download. It is built like AlexNet, so that
its layers have the usual names: {layers}.
It has {n_parameters:,} parameters and an input size of {crop}x{crop} px, and is stored in half
precision as safetensors. It was distilled from `{teacher}` (trained on ImageNet) on
{n_images:,} unlabeled images in {minutes:.0f} minutes.

The same card in JSON is `featx/networks/data/featxnet.json`, which also contains the mean and
standard deviation of each channel on the training images. `featxnet.images.npy` beside it contains
the digests of these images.

## Intended use

Trying out featx, teaching, tests, and machines without network access. It suits data sets of a few
hundred to a few thousand photographs of objects, plants, animals and scenes, with a linear
classifier on `pool5`, `fc6` or `fc7`. Global average pooling (`--pooling gap`) suits small data
sets.

## Limitations

Its accuracy is lower than its teacher's, and much lower than that of today's large networks. It
was trained on web photographs, mostly of single objects, some drawings and a few digits, and is
not suited to medical, microscopic or aerial images or to text. `fc8` only approximates the
probabilities of the 1,000 ImageNet classes and is not reliable as a classifier. Nothing was done
to reduce the biases of its teacher and its training images. Do not use it to identify people.

## Training data

{sources}

With a weight of 3, each image is used three times per epoch; with one below 1, a fixed random
sample of that fraction is used. The digest is that of the sorted digests of the images used.

## Training

The teacher is `{teacher}` with the weights of digest `{teacher_digest}`. It was applied
once to each of {crop_sets} random crops of every image (30 to 100 % of its area). The student was
trained on the same crops, augmented by zooming, flipping and changes of brightness, contrast and
saturation of up to 30 %. The loss is the weighted sum of these terms:

{losses}

- `maps`: squared error of the last feature maps on a 4 x 4 grid, in units of the standard
  deviation of the teacher's;
- `pooled`: the same after global average pooling; `fc6` is initialized to the identity on these
  features;
- `classes`: Kullback-Leibler divergence of the class probabilities at temperature {temperature:g};
- `like_*`: squared error of the cosine similarities between the images of a batch, at that layer.

It was trained by AdamW in {n_steps:,} steps on {n_threads} CPU thread(s), first on smaller images.
The weights are a running average, with batch norms folded into the convolutions.

{options}

{remark}

## Evaluation

Accuracy of logistic regression on frozen features (standardized, C = 0.1; feature maps averaged
over positions) on images not used in training: flowers17 (40 training and 40 test images per
class) and ants_bees (its own split), 5 seeds. Each accuracy is given with half its 95 % interval.
Purity is the fraction of an image's ten nearest neighbors, by cosine distance, that are of its
class. "Random weights" is the same architecture, untrained.

{table}

## Reproduction

```bash
python scripts/train_featxnet.py --teacher squeezenet1_0-imagenet.pth \\
{data} \\
    --work work {command}
python scripts/evaluate_featxnet.py --data flowers17 --data ants_bees \\
    --teacher squeezenet1_0-imagenet.pth --card
python scripts/featxnet_card.py > docs/featxnet.md
```

Weights: digest `{weights_digest}`, {date}, PyTorch {torch}. Licence: {licence}.
"""


def as_prose(card: dict[str, Any]) -> str:
    """Return the model card in Markdown."""
    options, sources = card["options"], card["trained_on"]
    names = [name for name, _ in featxnet().named_children() if name[:2] in ("co", "po", "fc")]
    losses = {k: v for k, v in card["losses"].items() if k != "temperature"}
    fields = {
        "layers": ", ".join(names),
        "crop": card["preprocessing"]["crop"],
        "teacher": card["teacher"]["name"],
        "teacher_digest": card["teacher"]["weights_digest"],
        "n_images": sum(source["n_images"] for source in sources),
        "sources": _markdown([SOURCE_COLUMNS, *([s[c] for c in SOURCE_COLUMNS] for s in sources)]),
        "crop_sets": options["crop_sets"],
        "losses": _markdown([list(losses), list(losses.values())]),
        "temperature": card["losses"]["temperature"],
        "options": _markdown([list(options), list(options.values())]),
        "table": as_table(card["table"]) if "table" in card else "Not measured yet.",
        "data": " \\\n".join(f"    --data {s['name']}={s['weight']:g}" for s in sources),
        "command": _command(options),
    }
    return PROSE.format(**(card | fields))


SOURCE_COLUMNS = ["name", "n_images", "weight", "digest"]


def _command(options: dict[str, Any]) -> str:
    numbers = {name: value for name, value in options.items() if not isinstance(value, bool)}
    return " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in numbers.items())


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of accuracies in Markdown."""
    datasets = list(rows[0]["accuracy"])
    lines = [["features", *(column for name in datasets for column in (name, "purity"))]]
    for row in rows:
        cells = [row["name"]]
        for name in datasets:
            cells.append(f"{row['accuracy'][name]:.3f} ± {row['interval'][name]:.3f}")
            cells.append(f"{row['purity'][name]:.2f}")
        lines.append(cells)
    return _markdown(lines)


def _markdown(rows: list[list[Any]]) -> str:
    """Return a table in Markdown; the first row is its header."""
    header, *body = [[str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    print(as_prose(load_card()), end="")
